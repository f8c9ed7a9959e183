"""What an encoder learns of quantities: `Scale` of `Numeric`, `Widths` of `Vector`, `Clock`."""

from statistics import NormalDist

import numpy as np

from keras_ctr.features.histories import as_lists
from keras_ctr.features.times import parts, stamps
from keras_ctr.features.tokens import kind_of, numbers

SAMPLE_ROWS = 2**18  # quantiles of a sample this large are off by about 0.1% of the rows
RANKS = 1000  # of `transform="quantile"`; so encoded values lie within ±3.29


class Sample:
    """A uniform sample of the numbers of a column, however its rows are cut into blocks."""

    def __init__(self):
        self.values = np.empty(0)
        self._keys = np.empty(0)
        self._rng = np.random.default_rng(0)

    def add(self, x):
        """Takes a block of numbers, NaN among them ignored."""
        x = x[~np.isnan(x)]
        keys = np.concatenate([self._keys, self._rng.random(len(x))])  # the smallest ones stay
        sample = np.concatenate([self.values, x])
        if len(keys) > SAMPLE_ROWS:
            kept = np.argpartition(keys, SAMPLE_ROWS)[:SAMPLE_ROWS]
            keys, sample = keys[kept], sample[kept]
        self._keys, self.values = keys, sample


class Moments:
    """Mean and standard deviation of the columns of arrays `(n, width)`, block by block.

    Chan, Golub & LeVeque 1979: merging block moments loses nothing to a large mean.
    """

    def __init__(self):
        self.rows = self.mean = self.squares = 0.0

    def add(self, x):
        """Takes a block; NaN in it is ignored."""
        there = ~np.isnan(x)
        rows = there.sum(axis=0)
        safe = np.maximum(rows, 1)
        mean = np.where(there, x, 0.0).sum(axis=0) / safe
        total = self.rows + rows
        apart = (mean - self.mean) * (rows > 0)
        share = rows / np.maximum(total, 1)
        self.squares = (
            self.squares
            + np.where(there, (x - mean) ** 2, 0.0).sum(axis=0)
            + apart**2 * self.rows * share
        )
        self.mean = self.mean + apart * share
        self.rows = total

    def deviation(self):
        """The standard deviation; 1 for a constant, where what is left is its mean's rounding."""
        found = np.sqrt(self.squares / np.maximum(self.rows, 1))
        return np.where(found > 1e-14 * np.abs(self.mean), found, 1.0)


class Scale:
    """A `Numeric` column: fill, transform, and 0 for what is missing."""

    def __init__(self, feature):
        self.feature = feature
        self.mean, self.scale = 0.0, 1.0
        self.ranks = None  # of "quantile": values, and the normal quantile of each
        self.edges = None
        self._moments = Moments()
        self._sample = Sample()

    @property
    def facts(self):
        """Options of the feature that are known now."""
        return {} if self.edges is None else {"edges": tuple(self.edges)}

    def count(self, column, name, row):
        """Learns from a block of raw values."""
        x = self._filled(numbers(column, name, row))
        if self.feature.transform == "standardize":
            self._moments.add(x[:, None])
        if self.feature.transform == "quantile" or self.feature.embedding == "piecewise":
            self._sample.add(x)

    def finish(self):
        """Closes what was learnt: from here on it never changes."""
        if self.feature.transform == "standardize" and np.any(self._moments.rows):
            self.mean = float(self._moments.mean[0])
            self.scale = float(self._moments.deviation()[0])
        sample, self._sample = self._sample.values, None
        if self.feature.transform == "quantile":
            self.ranks = _ranks(sample)
        if self.feature.embedding == "piecewise":
            self.edges = bin_edges(self._transformed(sample), self.feature.bins)

    def values(self, column, name, row):
        """Returns the float32 values `(n,)` of a block of raw values."""
        return self.encoded(numbers(column, name, row), name, row)

    def encoded(self, x, name, row):
        """Returns numbers, float64 `(n,)` with NaN where one is missing, as float32 values."""
        x = np.nan_to_num(self._transformed(self._filled(x)), nan=0.0)
        wrong = np.flatnonzero(np.abs(x) > np.finfo("float32").max)
        if len(wrong):
            raise ValueError(
                f"Column {name!r} must fit float32. "
                f"Received: {x[wrong[0]]:g} at row {row(wrong[0])}"
            )
        return x.astype("float32")

    def _transformed(self, x):
        if self.feature.transform == "log":
            return np.sign(x) * np.log1p(np.abs(x))
        if self.feature.transform == "standardize":
            return (x - self.mean) / self.scale
        if self.feature.transform == "quantile":
            return np.interp(x, *self.ranks) if len(self.ranks[0]) else x * 0.0
        return x

    def _filled(self, x):
        return x if self.feature.fill is None else np.where(np.isnan(x), self.feature.fill, x)

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        state = {"mean": self.mean, "scale": self.scale}
        further = {"ranks": self.ranks, "edges": self.edges}
        return state | {key: value for key, value in further.items() if value is not None}

    def load(self, folder, state):
        """The inverse of `save`."""
        self.mean, self.scale = state["mean"], state["scale"]
        self.ranks, self.edges = state.get("ranks"), state.get("edges")


def _ranks(sample):
    """Values `x` that ascend, and for each the normal quantile of its (middle) rank."""
    if not len(sample):
        return [], []
    levels = (np.arange(RANKS) + 0.5) / RANKS
    x, first, count = np.unique(np.quantile(sample, levels), return_index=True, return_counts=True)
    middle = (levels[first] + levels[first + count - 1]) / 2
    normal = NormalDist()
    return x.tolist(), [normal.inv_cdf(level) for level in middle]


def bin_edges(x, bins):
    """Ascending edges of at most that many bins of about as many rows each; at least two edges.

    A value that many rows share has an edge to itself, and what is left of the bins is for the
    others: quantiles of all rows would be that value over and over.

    Args:
        x: float64 `(n,)`, finite.
        bins: largest number of bins.
    """
    values, counts = np.unique(x.astype("float32"), return_counts=True)
    if len(values) > bins + 1:
        heavy = np.zeros(len(values), bool)
        while True:  # with fewer rows left, others are heavy among them
            left = bins + 1 - heavy.sum()
            more = ~heavy & (counts * left > counts[~heavy].sum())
            if not more.any() or heavy.sum() + more.sum() > bins // 2:
                break
            heavy |= more
        rest = np.repeat(values[~heavy], counts[~heavy])
        cuts = np.linspace(0, 1, max(int(bins + 1 - heavy.sum()), 2))
        quantiles = np.quantile(rest, cuts, method="nearest")
        values = np.unique(np.concatenate([values[heavy], values[[0, -1]], quantiles]))
    if len(values) < 2:
        middle = float(values[0]) if len(values) else 0.0
        return [middle - 0.5, middle + 0.5]
    return values.astype("float64").tolist()


class Widths:
    """A `Vector` column: one width for all rows, each number standardized by itself."""

    def __init__(self, feature):
        self.feature = feature
        self.width = feature.width
        self.mean, self.scale = [], []
        self._moments = Moments()

    @property
    def facts(self):
        """Options of the feature that are known now."""
        return {"width": self.width}

    def count(self, column, name, row):
        """Learns from a block of raw values."""
        x = self._numbers(column, name, row)
        if x is not None and self.feature.transform == "standardize":
            self._moments.add(x)

    def finish(self):
        """Closes what was learnt: from here on it never changes."""
        if self.width is None:
            raise ValueError(
                f"Column {self.feature.name!r} is a Vector, but no row of it holds one: give its "
                "`width`, or leave it out."
            )
        if self.feature.transform == "standardize":
            mean, scale = self._moments.mean, self._moments.deviation()
            self.mean = np.broadcast_to(mean, self.width).tolist()
            self.scale = np.broadcast_to(scale, self.width).tolist()

    def values(self, column, name, row):
        """Returns the float32 values `(n, width)` of a block of raw values."""
        x = self._numbers(column, name, row)
        if x is None:
            return np.zeros((len(column), self.width), "float32")
        return self.encoded(x)

    def encoded(self, x):
        """Returns the float32 values of numbers, float64 `(n, width)`, NaN where one is missing."""
        if self.feature.transform == "standardize":
            x = (x - np.asarray(self.mean)) / np.asarray(self.scale)
        return np.nan_to_num(x, nan=0.0).astype("float32")

    def _numbers(self, column, name, row):
        """A block as float64 `(n, width)`, NaN where missing; `None` where no row has a value."""
        import polars as pl

        if column.dtype == pl.Null or not len(column):
            return None
        text = column.str.strip_chars() if column.dtype == pl.String else column
        lists = as_lists(text, self.feature.separator)
        if lists is None:
            raise ValueError(
                f"Column {name!r} must hold arrays of numbers. Received: {kind_of(column)}"
            )
        column = lists
        lengths = column.list.len()
        there = lengths.is_not_null().to_numpy()
        if self.width is None and there.any():
            self.width = int(lengths.drop_nulls()[0])
        if not there.any():
            return None
        wrong = (lengths != self.width).fill_null(False).arg_true()
        if len(wrong) or not self.width:
            at = wrong[0] if len(wrong) else 0
            raise ValueError(
                f"Column {name!r} must hold {self.width or 'some'} numbers in every row. Received: "
                f"{lengths[at]} at row {row(at)}"
            )
        rows = np.flatnonzero(there)
        found = np.full((len(column), self.width), np.nan)
        flat = column.filter(there).list.explode()
        found[rows] = numbers(flat, name, lambda at: row(rows[at // self.width])).reshape(
            -1, self.width
        )
        return found

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        return {"width": self.width, "mean": self.mean, "scale": self.scale}

    def load(self, folder, state):
        """The inverse of `save`."""
        self.width, self.mean, self.scale = state["width"], state["mean"], state["scale"]


class Clock:
    """A `Time` column: the first and last moment of the training data."""

    def __init__(self, feature):
        self.feature = feature
        self.first, self.last = np.inf, -np.inf

    facts = {}

    def count(self, column, name, row):
        """Learns from a block of raw values."""
        seconds = stamps(column, name, row, self.feature.unit)
        seconds = seconds[~np.isnan(seconds)]
        self.first = float(min(self.first, seconds.min(initial=np.inf)))
        self.last = float(max(self.last, seconds.max(initial=-np.inf)))

    def finish(self):
        """Closes what was learnt: from here on it never changes."""
        if self.first > self.last:
            self.first = self.last = 0.0

    def parts(self, column, name, row, held=True):
        """Returns `{derived column: values (n,)}`; `held` between the moments learnt, or not."""
        seconds = stamps(column, name, row, self.feature.unit)
        bounds = (self.first, self.last) if held else (-np.inf, np.inf)
        return parts(self.feature, seconds, *bounds)

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        return {"first": self.first, "last": self.last}

    def load(self, folder, state):
        """The inverse of `save`."""
        self.first, self.last = state["first"], state["last"]
