"""A `Schema` guessed from a data frame by its values: a name, a quantity, a moment, a list.

Every guess has a reason, which `Schema.describe` prints beside it.
"""

import dataclasses
import logging
import re
import warnings

import numpy as np

from keras_ctr._checks import unknown
from keras_ctr.features.codes import code_or_quantity
from keras_ctr.features.columns import (
    UNITS,
    Bag,
    Categorical,
    Cross,
    Numeric,
    Sequence,
    Time,
    Vector,
)
from keras_ctr.features.crossing import interactions
from keras_ctr.features.frames import as_polars
from keras_ctr.features.histories import as_lists
from keras_ctr.features.schema import Schema
from keras_ctr.features.times import DAY, ISO, parts, stamps
from keras_ctr.features.tokens import kind_of, labels, spelled

log = logging.getLogger("keras_ctr")

SEPARATORS = ("|", ";", ",", "^")
FEW = 2  # integers with so few distinct values are names, whatever else they may be
STANDING_OUT = 256  # quantities with so few distinct values have a field of single values as well
IDS = re.compile(
    r"(^|[^a-z])(id|ids|code|zip|zipcode|postcode|postal|hash|uuid|guid|key|sku|ean|asin)$", re.I
)
SINCE, UNTIL = 631152000.0, 2524608000.0  # moments of numbers: from 1990 to 2050


@dataclasses.dataclass(frozen=True)
class Guess:
    """What a column was taken for, and why; `feature` is `None` for one that was left out."""

    feature: object
    why: str


def infer(df, label, group, numeric, categorical, sequences, drop, weight, crosses):
    """`Schema.infer`, whose arguments these are."""
    frame = as_polars(df)
    sequences = dict(sequences or {})
    given = [label, *numeric, *categorical, *sequences, *drop]
    for name in given + [name for name in (group, weight) if name is not None]:
        if name not in frame.columns:
            raise unknown("column", name, frame.columns)
    if not len(frame):
        raise ValueError("`df` must have rows. Received: none")
    y = clicks_of(frame[label])
    guesses = {}
    for name in frame.columns:
        column = frame[name]
        if name in (label, weight):
            continue
        if name in drop:
            guesses[name] = Guess(None, "in `drop`")
        elif name in sequences:
            lists = as_lists(column, Sequence.separator)
            longest = None if lists is None else lists.list.len().max()
            guesses[name] = Guess(
                Sequence(name, of=sequences[name], length=longest or 1), "in `sequences`"
            )
        elif name in numeric:
            guesses[name] = Guess(_numeric(column), "in `numeric`")
        elif name in categorical:
            guesses[name] = Guess(_categorical(column), "in `categorical`")
        else:
            guesses[name] = guess(column, y)
    left_out = [name for name, guess in guesses.items() if guess.feature is None]
    for name in left_out:
        if name not in drop:
            log.warning("Column %r is left out: %s.", name, guesses[name].why)
    features = [guess.feature for guess in guesses.values() if guess.feature is not None]
    if not features:
        reasons = "; ".join(f"{name!r}: {guesses[name].why}" for name in left_out)
        raise ValueError(
            "`df` must have a column that can tell clicks from others. "
            f"Received: {reasons or 'none'}"
        )
    _warn_of_leaks(frame, guesses, label, y)
    pairs = {} if y is None else _crosses(frame, features, y, crosses)
    schema = Schema(
        features + [guess.feature for guess in pairs.values()],
        label=label,
        group=group,
        weight=weight,
    )
    schema.guesses = guesses | pairs
    return schema


def _crosses(frame, features, y, most):
    """Guesses of pairs of columns, `{name: Guess}`."""
    import polars as pl

    codes = {}
    for feature in features:
        if type(feature) is Categorical:
            codes[feature.name] = frame[feature.name]
        elif isinstance(feature, Time):
            seconds = stamps(frame[feature.name], feature.name, unit=feature.unit)
            found = parts(feature, seconds, -np.inf, np.inf)
            names = [f.name for f in feature.derived if isinstance(f, Categorical)]
            codes |= {name: pl.Series(found[name]) for name in names}
    codes = {name: _numbered(column) for name, column in codes.items()}
    guesses = {}
    for share, one, other in interactions(codes, y, most):
        name = f"{one} x {other}"
        if name not in frame.columns:
            cross = Cross(name, min_count=max(2, rare(len(frame))), of=(one, other))
            guesses[name] = Guess(cross, f"combinations take {share:.1%} off the log loss")
    return guesses


def _numbered(column):
    """Numbers from 0 in the place of a column's values, int64; missing values are one, too."""
    return column.rank("dense").fill_null(0).cast(int).to_numpy()


def guess(column, y):
    """What one column is."""
    import polars as pl

    name, dtype = column.name, column.dtype
    if dtype == pl.Null or column.null_count() == len(column):
        return Guess(None, "it has no values")
    if isinstance(dtype, pl.List | pl.Array):
        return _guess_list(column)
    if dtype in (pl.Binary, pl.Object) or dtype == pl.Struct:
        what = "a struct: unnest it" if dtype == pl.Struct else kind_of(column)
        raise ValueError(
            f"Column {name!r} must hold numbers, text, moments or lists of them. Received: {what}. "
            "Or `drop` it."
        )
    if dtype == pl.Duration:
        return Guess(_numeric(column), "durations, as seconds")
    if dtype.is_temporal():
        return _guess_time(column, f"{dtype}")
    if dtype == pl.Boolean:
        return _constant(column) or Guess(_categorical(column), "true or false")
    if dtype in (pl.Categorical, pl.Enum):
        return _constant(column) or Guess(_categorical(column), "categories")
    if dtype == pl.String:
        return _guess_text(column, y)
    return _guess_number(column, y)


def _guess_list(column):
    inner = column.dtype.inner
    lists = as_lists(column, None)
    lengths = lists.list.len().drop_nulls()
    if inner.is_float() and lengths.n_unique() == 1 and lengths[0] > 1:
        return Guess(Vector(column.name, width=int(lengths[0])), f"{lengths[0]} numbers in each")
    if inner.is_nested() or inner.is_float():
        raise ValueError(
            f"Column {column.name!r} holds lists of {inner} of {lengths.n_unique()} lengths: only "
            "lists of names are a Bag, and only floats of one length a Vector. Change or `drop` it."
        )
    distinct = lists.list.explode().n_unique()
    bag = Bag(column.name, min_count=rare(len(column)))
    return Guess(bag, f"lists, of {distinct:,} values; for histories, name it in `sequences`")


def _guess_text(column, y):
    import polars as pl

    text = column.str.strip_chars()
    text = text.set(text == "", None).drop_nulls()
    if not len(text):
        return Guess(None, "it has no values")
    sample = text.head(1000)
    if sample.str.contains(ISO).all() and text.str.contains(ISO).all():
        return _guess_time(column, "text of dates")
    numbers = spelled(text)
    if numbers.null_count() == 0 and not text.str.contains(r"^[+-]?0[0-9]").any():
        if not text.str.to_lowercase().is_in(["true", "false"]).all():
            return _guess_number(
                pl.Series(column.name, spelled(column.str.strip_chars())), y, " as text"
            )
    constant = _constant(column)
    if constant:
        return constant
    separator = _separator(text)
    if separator:
        parts = text.str.split(separator).list.explode().str.strip_chars().n_unique()
        bag = Bag(column.name, separator=separator, min_count=rare(len(column)))
        return Guess(bag, f"text of several values joined by {separator!r}, {parts:,} of them")
    distinct = text.n_unique()
    if _all_differ(distinct, len(text)):
        return Guess(None, f"{distinct:,} distinct texts in {len(text):,} rows: it names rows")
    return Guess(_categorical(column), f"text, {distinct:,} distinct")


def _guess_number(column, y, how=""):
    import polars as pl

    constant = _constant(column)
    if constant:
        return constant
    x = column.drop_nulls()
    if x.dtype.is_float():
        x = x.drop_nans()
        infinite = x.is_infinite().sum()
        if infinite:
            raise ValueError(
                f"Column {column.name!r} must be finite. Received: infinite numbers in {infinite} "
                "rows. Replace them (by None, say, which is a missing value), or `drop` the column."
            )
    x = x.cast(pl.Float64).to_numpy()
    distinct = np.unique(x)
    if (x != np.floor(x)).any():
        return Guess(_numeric(column), f"numbers with fractions{how}")
    if len(distinct) <= FEW:
        return Guess(_categorical(column), f"{len(distinct)} distinct numbers{how}")
    unit = _unit_of_stamps(distinct)
    if unit:
        return _guess_time(column, f"numbers{how} that are moments in {unit}", unit)
    steps = np.diff(x)
    what = f"whole numbers{how}, {len(distinct):,} distinct"
    if len(distinct) == len(x) and len(x) > 20:
        if (steps > 0).all() or (steps < 0).all():
            return Guess(None, f"whole numbers{how} that rise from row to row: a row number")
        if distinct[-1] - distinct[0] < 2 * len(x) or IDS.search(column.name):
            return Guess(None, f"whole numbers{how}, another in every row: it names rows")
    if IDS.search(column.name):
        if _all_differ(len(distinct), len(x)):
            return Guess(None, f"{len(distinct):,} codes in {len(x):,} rows: it names rows")
        return Guess(_categorical(column), f"{what}, called a code")
    code, quantity, why = code_or_quantity(column, y)
    code = code or len(distinct) <= STANDING_OUT
    feature = _numeric(column, code) if quantity else _categorical(column)
    return Guess(feature, f"{what}; {why}")


def _guess_time(column, what, unit="s"):
    import polars as pl

    constant = _constant(column)
    if constant:
        return constant
    seconds = stamps(column, column.name, unit=unit)
    seconds = seconds[~np.isnan(seconds)]
    parts = []
    if np.unique(seconds // 3600 % 24).size > 1:
        parts.append("hour")
    days = seconds // DAY
    if np.unique(days).size > 1:
        parts.append("weekday")
        if np.ptp(days) > 2 * 365:  # the same season came twice
            parts.append("month")
    if column.dtype != pl.Time:
        parts.append("days")
    if parts == ["days"] and np.ptp(seconds) < 2 * 3600:
        parts = ["hour", "days"]
    return Guess(Time(column.name, parts=tuple(parts), unit=unit), f"{what}: {', '.join(parts)}")


def _constant(column):
    """The guess for a column of a single value; `None` for others."""
    there = column.drop_nulls()
    if there.dtype.is_float():
        there = there.drop_nans()
    if not len(there):
        return Guess(None, "it has no values")
    if there.n_unique() == 1 and len(there) == len(column):
        return Guess(None, f"it is {there[0]!r} in every row")
    return None


def _numeric(column, codes=False):
    """A quantity: by ranks, embedded piecewise, with a flag where values are missing."""
    missing = column.null_count()
    if column.dtype.is_float():
        missing += column.is_nan().sum() or 0
    if column.dtype.is_nested():
        return Numeric(column.name)  # which refuses it by name when it is read
    return Numeric(
        column.name,
        transform="quantile",
        embedding="piecewise",
        flag=bool(missing),
        codes=rare(len(column)) if codes else None,
    )


def _categorical(column):
    return Categorical(column.name, min_count=rare(len(column)))


def rare(rows):
    """Returns how often a value must be seen, in so many rows, to have an id of its own."""
    return 1 if rows < 1000 else 2 if rows < 1_000_000 else 5 if rows < 20_000_000 else 10


def _all_differ(distinct, rows):
    """Whether a column of names has (nearly) another one in every row."""
    return rows >= 50 and distinct > 0.95 * rows


def _unit_of_stamps(distinct):
    """The unit in which numbers are moments since 1970, or `None`."""
    if len(distinct) < 20:
        return None
    for unit, seconds in UNITS.items():
        if distinct[0] >= SINCE / seconds and distinct[-1] <= UNTIL / seconds:
            return unit
    return None


def _separator(text):
    """What joins several values in each text, or `None`: the values must come again and again."""
    distinct = text.n_unique()
    for separator in SEPARATORS:
        has = text.str.contains(separator, literal=True)
        if has.mean() < 0.05:
            continue
        values = text.str.split(separator).list.explode().str.strip_chars()
        known = values.n_unique()
        if known * 2 <= distinct and len(values) >= 5 * known:
            return separator
    return None


def clicks_of(column):
    """The label as float64 `(n,)`, or `None` where it is not yet 0 and 1."""
    try:
        return labels(column, column.name, lambda at: at)[:, 0].astype("float64")
    except ValueError:
        return None


def _warn_of_leaks(frame, guesses, label, y):
    """Warns of a column that is the label itself under another name."""
    if y is None or np.ptp(y) == 0:
        return
    for name, guess in guesses.items():
        if isinstance(guess.feature, Categorical) and frame[name].n_unique() == 2:
            values = frame[name]
            if values.null_count():
                continue
            same = (values == values[int(np.argmax(y))]).to_numpy() == (y == 1)
            if same.all():
                warnings.warn(
                    f"Column {name!r} tells the label {label!r} in every row. If it is made of it, "
                    "leave it out: `drop` it.",
                    stacklevel=4,
                )
