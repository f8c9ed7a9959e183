"""`synthesize`: files in the raw format of Criteo or Avazu, of any size, with a known truth.

Nothing in them is real. What is like the real files: the format, the kinds of columns and how many
values they have, how skewed and how often missing they are. Values follow a power law; whether a
row is clicked is drawn from a probability that the generator knows, so that the best possible AUC
is known too.
"""

import contextlib
import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_ctr._checks import require_choice, require_positive
from keras_ctr.datasets._ahead import in_order
from keras_ctr.datasets.progress import Progress

ROWS = 2**16  # made at a time, by a generator of their own: no row depends on the threads
IN_CACHE = 2**10  # rows put together at a time
EFFECTS = 2**12  # values of one column share so many effects
PILOT = 2**16  # rows that fix the intercept
FIRST_HOUR, DAYS = 14102100, 10  # of Avazu, YYMMDDHH
SIXTEEN = np.frombuffer(
    "".join(f"{at:04x}" for at in range(2**16)).encode(), np.uint32
)  # four hexadecimal digits each
# By number of digits: which bytes are written of a sign and so many places.
KEPT = {n: np.arange(n, -1, -1) < np.arange(n + 1)[:, None] for n in (4, 8, 20)}
TEN = np.frombuffer("".join(f"{at:04d}" for at in range(10**4)).encode(), np.uint32)


@dataclass(frozen=True)
class Codes:
    """A column of codes: value `r` of `size` has a probability in proportion to about `r^-power`.

    Written as eight hexadecimal digits, or as `first + step · r`.
    """

    name: str
    size: int
    power: float
    missing: float = 0.0
    first: int | None = None
    step: int = 1


@dataclass(frozen=True)
class Counts:
    """A column of whole numbers, `floor(exp(N(mean, deviation))) + shift`, at most `largest`."""

    name: str
    mean: float
    deviation: float
    largest: int
    missing: float
    shift: int = -1


@dataclass(frozen=True)
class Format:
    """How a raw file is written, and what its rows are made of.

    Attributes:
        columns: of `Codes` and `Counts`, and names of others, in the order of the file.
        file: its usual name.
        separator: between fields.
        header: whether names come first.
        click_rate: share of clicks.
        noise: standard deviation of the logit.
        pairs: names of columns of which the combination of values has an effect, by twos.
    """

    columns: tuple
    file: str
    separator: str
    header: bool
    click_rate: float
    noise: float
    pairs: tuple


@dataclass
class Synthesized:
    """What `synthesize` wrote.

    Attributes:
        path: the file.
        rows: number of rows.
        clicks: number of rows with label 1.
        bayes_auc: AUC that the true probabilities are expected to have, on all rows: no model has
            more, but by chance.
        bayes_logloss: their expected log loss, in nats.
    """

    path: Path
    rows: int
    clicks: int
    bayes_auc: float
    bayes_logloss: float


# Numbers of values as the files have them, rounded; powers and gaps near those of their heads.
CRITEO = Format(
    columns=(
        "click",
        Counts("I1", 0.8, 1.0, 6_000, 0.45),
        Counts("I2", 2.1, 2.2, 250_000, 0.0, shift=-3),
        Counts("I3", 2.2, 1.4, 65_535, 0.21),
        Counts("I4", 1.7, 1.0, 970, 0.21),
        Counts("I5", 7.2, 2.9, 23_000_000, 0.03),
        Counts("I6", 3.6, 1.8, 430_000, 0.22),
        Counts("I7", 1.5, 1.4, 56_000, 0.04),
        Counts("I8", 2.1, 1.2, 6_000, 0.001),
        Counts("I9", 3.6, 1.7, 29_000, 0.04),
        Counts("I10", 0.4, 0.4, 11, 0.45),
        Counts("I11", 0.9, 0.8, 230, 0.04),
        Counts("I12", 0.3, 0.6, 4_000, 0.77),
        Counts("I13", 1.9, 1.1, 7_400, 0.21),
        Codes("C1", 1_460, 1.7),
        Codes("C2", 583, 1.0),
        Codes("C3", 10_100_000, 1.0, 0.035),
        Codes("C4", 2_200_000, 1.05, 0.035),
        Codes("C5", 305, 2.4),
        Codes("C6", 24, 1.4, 0.12),
        Codes("C7", 12_500, 0.6),
        Codes("C8", 633, 2.1),
        Codes("C9", 3, 4.0),
        Codes("C10", 93_000, 1.3),
        Codes("C11", 5_700, 0.6),
        Codes("C12", 8_400_000, 1.0, 0.035),
        Codes("C13", 3_200, 0.6),
        Codes("C14", 27, 1.3),
        Codes("C15", 15_000, 0.7),
        Codes("C16", 5_500_000, 1.0, 0.035),
        Codes("C17", 10, 1.2),
        Codes("C18", 5_700, 0.8),
        Codes("C19", 2_200, 1.4, 0.44),
        Codes("C20", 4, 0.3, 0.44),
        Codes("C21", 7_000_000, 1.0, 0.035),
        Codes("C22", 18, 1.5, 0.76),
        Codes("C23", 15, 1.3),
        Codes("C24", 290_000, 1.0, 0.035),
        Codes("C25", 105, 1.6, 0.44),
        Codes("C26", 140_000, 1.0, 0.44),
    ),
    file="train.txt",
    separator="\t",
    header=False,
    click_rate=0.256,
    noise=1.3,
    pairs=("C14", "C17", "C6", "C23", "C2", "C9", "C5", "C20"),
)
AVAZU = Format(
    columns=(
        "id",
        "click",
        "hour",
        Codes("C1", 7, 3.8, first=1001),
        Codes("banner_pos", 7, 2.5, first=-1),
        Codes("site_id", 4_700, 1.3),
        Codes("site_domain", 7_700, 1.3),
        Codes("site_category", 26, 1.3),
        Codes("app_id", 8_600, 2.2),
        Codes("app_domain", 560, 2.6),
        Codes("app_category", 36, 2.5),
        Codes("device_id", 2_700_000, 1.2),
        Codes("device_ip", 6_700_000, 0.8),
        Codes("device_model", 8_300, 1.0),
        Codes("device_type", 5, 3.8, first=-1),
        Codes("device_conn_type", 4, 3.5, first=-1),
        Codes("C14", 2_600, 0.9, first=374, step=9),
        Codes("C15", 8, 4.5, first=120, step=100),
        Codes("C16", 9, 4.5, first=20, step=30),
        Codes("C17", 435, 1.3, first=111, step=6),
        Codes("C18", 4, 1.8, first=-1),
        Codes("C19", 68, 1.5, first=33, step=2),
        Codes("C20", 172, 1.1, 0.47, first=99_999, step=1),
        Codes("C21", 60, 1.3, first=12, step=4),
    ),
    file="train.csv",
    separator=",",
    header=True,
    click_rate=0.17,
    noise=1.1,
    pairs=("site_id", "device_model", "banner_pos", "C21", "app_id", "C17"),
)
FORMATS = {"criteo": CRITEO, "avazu": AVAZU}


def synthesize(name, rows, seed=0, path=None):
    """Writes a file in the raw format of a data set, row by row as the real one, with made-up rows.

    The file is `prepare`d as the real one is. Its label is drawn from `σ(b + Σ effects)`: every
    value of every column has an effect, and so have some combinations of two columns' values; the
    intercept `b` and the scale of effects are fixed so that the share of clicks is that of the real
    file, and the logit's standard deviation 1.3 (Criteo) or 1.1 (Avazu). Our choice.

    Args:
        name: `"criteo"` (tab separated, no header: label, I1 to I13, C1 to C26) or `"avazu"` (CSV
            with a header of 24 columns; rows in the order of time).
        rows: number of rows.
        seed: the same numbers give the same bytes.
        path: the file, or a folder for `train.txt` (Criteo) or `train.csv` (Avazu); by default the
            current folder. A path that ends in `.gz` is compressed.

    Returns:
        A `Synthesized`.

    Raises:
        ValueError: another name, no rows.
        OSError: the file cannot be written.
    """
    require_choice(tuple(FORMATS), name=name)
    require_positive(rows=rows)
    form, path = FORMATS[name], Path(path or ".")
    if path.is_dir() or not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        path = path / form.file
    truth = Truth(form, rows, seed)
    starts = range(0, rows, ROWS)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with (
            _opened(unfinished, path.suffix == ".gz") as file,
            Progress(f"Writing {path.name}", rows) as progress,
        ):
            if form.header:
                names = [getattr(column, "name", column) for column in form.columns]
                file.write((form.separator.join(names) + "\n").encode())
            for lines, *facts in in_order(truth.lines, starts):
                file.write(lines)
                truth.add(*facts)
                progress.advance(len(facts[0]))
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return Synthesized(path, rows, truth.clicks, truth.auc(), truth.logloss())


class Truth:
    """Draws rows, and adds up what their probabilities say.

    Args:
        form: `Format`.
        rows: number of rows.
        seed: integer.
    """

    BINS = 2**14  # of logits in [-LIMIT, LIMIT]
    LIMIT = 16.0

    def __init__(self, form, rows, seed):
        self.form, self.rows, self.seed = form, rows, seed
        named = [column for column in form.columns if not isinstance(column, str)]
        rng = np.random.default_rng([seed, 0])
        tables = len(named) + len(form.pairs) // 2 + 1  # and one of hours
        self._effects = rng.normal(size=(tables, EFFECTS)).astype("float32")
        self._expected = np.zeros((2, self.BINS))
        self._entropy = 0.0
        self.clicks = 0
        self._scale, self._intercept = 1.0, 0.0
        self._fix()

    def lines(self, start):
        """Returns the rows from `start` on as bytes, and what is to be added up of them."""
        rng = np.random.default_rng([self.seed, 1, start])
        count = min(ROWS, self.rows - start)
        fields, logits = self._drawn(rng, start, count)
        p = 1.0 / (1.0 + np.exp(-logits))
        clicks = (rng.random(count) < p).astype("int64")
        fields["click"] = _digits(clicks, np.zeros(count, bool), 1)
        return self._written(fields, count), logits, p, int(clicks.sum())

    def _written(self, fields, count):
        """The rows as bytes, put together in the cache of a core."""
        always = np.ones((IN_CACHE, 1), bool)
        mark, end = (
            np.full((IN_CACHE, 1), ord(at), np.uint8) for at in (self.form.separator, "\n")
        )
        order = [fields[getattr(column, "name", column)] for column in self.form.columns]
        lines = []
        for low in range(0, count, IN_CACHE):
            high = min(low + IN_CACHE, count)
            data, kept = [], []
            for text, mask in order:
                data += [text[low:high], mark[: high - low]]
                kept += [mask[low:high], always[: high - low]]
            data[-1] = end[: high - low]
            lines.append(np.concatenate(data, axis=1)[np.concatenate(kept, axis=1)])
        return np.concatenate(lines)

    def add(self, logits, p, clicks):
        """Adds up what decides the best AUC and log loss."""
        at = (logits + self.LIMIT) * (self.BINS / (2 * self.LIMIT))
        at = np.clip(at, 0, self.BINS - 1).astype("int64")
        for row, weights in enumerate((p, 1 - p)):
            self._expected[row] += np.bincount(at, weights, self.BINS)
        inside = np.clip(p, 1e-12, 1 - 1e-12)
        self._entropy -= float(np.sum(p * np.log(inside) + (1 - p) * np.log(1 - inside)))
        self.clicks += clicks

    def auc(self):
        """The expected AUC of the true probabilities."""
        clicked, not_clicked = self._expected
        below = np.cumsum(not_clicked) - not_clicked / 2
        return float(clicked @ below / (clicked.sum() * not_clicked.sum()))

    def logloss(self):
        """The expected log loss of the true probabilities."""
        return self._entropy / self.rows

    def _fix(self):
        """Finds the scale of effects and the intercept on rows that are not written."""
        rng = np.random.default_rng([self.seed, 2])
        _, logits = self._drawn(rng, 0, PILOT)
        self._scale = self.form.noise / max(float(logits.std()), 1e-9)
        logits, low, high = logits * self._scale, -100.0, 100.0
        for _ in range(60):
            middle = (low + high) / 2
            rate = np.mean(1.0 / (1.0 + np.exp(-logits - middle)))
            low, high = (middle, high) if rate < self.form.click_rate else (low, middle)
        self._intercept = low

    def _drawn(self, rng, start, count):
        """The fields of rows as `{name: (bytes, which count)}`, and their logits."""
        fields, keys = {}, {}
        logits = np.zeros(count, "float32")
        table = 0
        for column in self.form.columns:
            if isinstance(column, str):
                if column != "click":
                    fields[column], effect = getattr(self, f"_{column}")(rng, start, count)
                    logits += effect
                continue
            gone = rng.random(count, "float32") < column.missing
            if isinstance(column, Codes):
                fields[column.name], key = _codes(column, table, rng, gone)
            else:
                fields[column.name], key = _counts(column, table, rng, gone)
            keys[column.name] = key
            logits += self._effects[table][key & np.uint64(EFFECTS - 1)]
            table += 1
        for one, other in zip(self.form.pairs[::2], self.form.pairs[1::2], strict=True):
            both = _mixed(keys[one] ^ (keys[other] << np.uint64(1)))
            logits += 2 * self._effects[table][both & np.uint64(EFFECTS - 1)]
            table += 1
        return fields, logits * np.float32(self._scale) + np.float32(self._intercept)

    def _id(self, rng, start, count):
        numbers = rng.integers(10**15, 10**19, count, "uint64")
        return _digits(numbers, np.zeros(count, bool), 20), 0.0

    def _hour(self, rng, start, count):
        hours = (np.arange(start, start + count) * (24 * DAYS) // self.rows) % (24 * DAYS)
        written = FIRST_HOUR + hours // 24 * 100 + hours % 24
        return _digits(written, np.zeros(count, bool), 8), self._effects[-1][hours % 24]


def _codes(column, table, rng, gone):
    """The fields of a column of codes, and a 64-bit key per row."""
    u, one = rng.random(len(gone)), 1.0 - column.power
    if abs(one) < 1e-9:
        u *= np.log(column.size + 1.0)
    else:  # the same by way of a logarithm, since a power takes twice as long
        u *= (column.size + 1.0) ** one - 1.0
        np.log1p(u, out=u)
        u /= one
    np.exp(u, out=u)
    rank = np.minimum(u, column.size, out=u).astype("uint64")
    rank[gone] = 0
    key = _mixed(rank + np.uint64(table << 40))
    if column.first is not None:
        values = column.first + column.step * rank.astype("int64")
        if column.missing:
            values[gone] = -1  # as Avazu writes it
        return _digits(values, np.zeros(len(gone), bool), 8), key
    text = np.empty((len(gone), 2), np.uint32)
    text[:, 0] = SIXTEEN[key >> np.uint64(48)]
    text[:, 1] = SIXTEEN[(key >> np.uint64(32)) & np.uint64(0xFFFF)]
    return (text.view(np.uint8), np.repeat(~gone[:, None], 8, axis=1)), key


def _counts(column, table, rng, gone):
    """The fields of a column of numbers, and a key per row: that of its order of magnitude."""
    x = np.exp(rng.standard_normal(len(gone), "float32") * column.deviation + column.mean)
    values = np.minimum(np.floor(x), column.largest).astype("int64") + column.shift
    level = np.frexp(x)[1].astype("int64") + 64
    level[gone] = 0
    return _digits(values, gone, 8), _mixed(level.astype("uint64") + np.uint64(table << 40))


def _digits(values, gone, width):
    """Whole numbers as `(bytes, which count)`, of a sign and `width` digits."""
    groups = -(-width // 4)
    text = np.empty((len(values), groups), np.uint32)
    rest = np.abs(values).astype("uint64") if values.dtype.kind == "i" else values
    most = int(rest.max(initial=1))
    size = np.ones(len(values), np.int8)
    for at in range(1, len(str(most))):
        size += rest >= np.uint64(10**at)
    if most < 2**32:
        rest = rest.astype(np.uint32)
    for at in reversed(range(groups)):
        above = rest // 10**4
        text[:, at] = TEN[rest - above * 10**4]
        rest = above
    data = np.empty((len(values), 4 * groups + 1), np.uint8)
    data[:, 0] = ord("-")
    data[:, 1:] = text.view(np.uint8)
    kept = KEPT[4 * groups][np.where(gone, 0, size)]
    kept[:, 0] = (values < 0) & ~gone
    return data, kept


def _mixed(keys):
    """The finalizer of SplitMix64, on uint64."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    other = keys >> np.uint64(30)
    for shift, factor in ((27, 0xBF58476D1CE4E5B9), (31, 0x94D049BB133111EB)):
        keys ^= other
        keys *= np.uint64(factor)
        np.right_shift(keys, np.uint64(shift), out=other)
    keys ^= other
    return keys


@contextlib.contextmanager
def _opened(path, compressed):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        if not compressed:
            yield file
            return
        # Without its name and the time, so that equal content has equal bytes.
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
            yield packed
