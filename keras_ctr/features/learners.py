"""What an encoder learns about one column: `Hashes`, `Quantiles`, `Ids`, `Scale`; `Vocabulary`.

One class per way of encoding, all used alike: `count` raw values block by block, `finish`, and from
then on `ids` (or `values`), which never changes what was learnt.
"""

import numpy as np

from keras_ctr.features.columns import FIRST_TOKEN, PADDING
from keras_ctr.features.tokens import hashed, numbers, texts_of
from keras_ctr.features.vocabulary import Vocabulary

SAMPLE_ROWS = 2**18  # quantiles of a sample this large are off by about 0.1% of the rows


def learner(feature):
    """Returns the unfitted state that encodes a `Categorical`."""
    if isinstance(feature.buckets, int):
        return Quantiles(feature)
    if feature.hash_size is not None:
        return Hashes(feature)
    if feature.size is not None and feature.buckets is None:
        return Ids(feature)
    return Vocabulary(feature)


class Hashes:
    """Ids `2 + hash(token) mod hash_size`: nothing is learnt, nothing is unseen."""

    def __init__(self, feature):
        self.feature = feature
        self.size = feature.hash_size + FIRST_TOKEN

    def count(self, column, name, row, fill=True):
        """Nothing to learn; values that have no text are refused."""
        texts_of(self.feature, column.head(1), name, row, fill)

    def finish(self):
        """Nothing to do."""

    def ids(self, column, name, row, fill=True):
        """Returns the int32 ids `(n,)` of a block of raw values."""
        texts = texts_of(self.feature, column, name, row, fill)
        ids = (hashed(texts) % self.feature.hash_size).astype("int32") + FIRST_TOKEN
        ids[texts.is_null().to_numpy()] = PADDING
        return ids

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        return {}

    def load(self, folder, state):
        """Nothing to do."""


class Quantiles:
    """Ids `2 + bucket`, the buckets cut at quantiles of (a sample of) the training data."""

    def __init__(self, feature):
        self.feature = feature
        self.boundaries = None
        self._rng = np.random.default_rng(0)
        self._sample, self._keys = np.empty(0), np.empty(0)

    def count(self, column, name, row, fill=True):
        """Learns from a block of raw values."""
        x = self._filled(column, name, row, fill)
        x = x[~np.isnan(x)]
        # The rows with the smallest random keys are a uniform sample, however the rows are cut.
        keys = np.concatenate([self._keys, self._rng.random(len(x))])
        sample = np.concatenate([self._sample, x])
        if len(keys) > SAMPLE_ROWS:
            kept = np.argpartition(keys, SAMPLE_ROWS)[:SAMPLE_ROWS]
            keys, sample = keys[kept], sample[kept]
        self._keys, self._sample = keys, sample

    def finish(self):
        """Closes what was learnt: from here on it never changes."""
        cuts = np.arange(1, self.feature.buckets) / self.feature.buckets
        found = np.quantile(self._sample, cuts) if len(self._sample) else []
        self.boundaries = np.unique(found).tolist()
        self._sample = self._keys = None

    @property
    def size(self):
        """Number of ids."""
        return len(self.boundaries) + 1 + FIRST_TOKEN

    def ids(self, column, name, row, fill=True):
        """Returns the int32 ids `(n,)` of a block of raw values."""
        x = self._filled(column, name, row, fill)
        ids = np.searchsorted(self.boundaries, x, side="right").astype("int32") + FIRST_TOKEN
        ids[np.isnan(x)] = PADDING
        return ids

    def _filled(self, column, name, row, fill):
        x = numbers(column, name, row)
        if fill and self.feature.fill is not None:
            x = np.where(np.isnan(x), float(self.feature.fill), x)
        return x

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        return {"boundaries": self.boundaries}

    def load(self, folder, state):
        """The inverse of `save`."""
        self.boundaries = state["boundaries"]


class Ids:
    """Values that are ids already, as a `size` in the schema says; they are only checked."""

    def __init__(self, feature):
        self.feature = feature
        self.size = feature.size

    def count(self, column, name, row, fill=True):
        """Learns from a block of raw values."""
        self.ids(column, name, row, fill)

    def finish(self):
        """Nothing to do."""

    def ids(self, column, name, row, fill=True):
        """Returns the int32 ids `(n,)` of a block of raw values."""
        try:
            x = numbers(column, name, row)
        except ValueError as error:
            raise ValueError(
                f"{error}. (Its `size` is given, so it must hold ids: leave `size` out to fit a "
                "vocabulary, or use an encoder that is fitted.)"
            ) from error
        if fill and self.feature.fill is not None:
            x = np.where(np.isnan(x), float(self.feature.fill), x)
        x = np.nan_to_num(x, nan=PADDING)
        wrong = np.flatnonzero((x < 0) | (x >= self.size) | (x != np.floor(x)))
        if len(wrong):
            raise ValueError(
                f"Column {name!r} has `size` {self.size}, so it must hold whole ids from 0 to "
                f"{self.size - 1} (leave `size` out to fit a vocabulary). "
                f"Received: {x[wrong[0]]:.15g} at row {row(wrong[0])} ({len(wrong)} such rows)"
            )
        return x.astype("int32")

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        return {}

    def load(self, folder, state):
        """Nothing to do."""


class Scale:
    """A `Numeric` column: fill, transform, and 0 for what is missing."""

    def __init__(self, feature):
        self.feature = feature
        self.mean, self.scale = 0.0, 1.0
        self._rows, self._squares = 0, 0.0

    def count(self, column, name, row):
        """Learns from a block of raw values."""
        x = self._filled(column, name, row)
        x = x[~np.isnan(x)]
        if self.feature.transform != "standardize" or not len(x):
            return
        # Chan, Golub & LeVeque 1979: merging block moments loses nothing to a large mean.
        mean, rows = x.mean(), self._rows + len(x)
        apart = mean - self.mean
        self._squares += ((x - mean) ** 2).sum() + apart**2 * self._rows * len(x) / rows
        self.mean = float(self.mean + apart * len(x) / rows)
        self._rows = rows

    def finish(self):
        """Closes what was learnt: from here on it never changes."""
        deviation = float(np.sqrt(self._squares / max(self._rows, 1)))
        # A constant column: what is left is the rounding of its own mean.
        self.scale = deviation if deviation > 1e-14 * abs(self.mean) else 1.0

    def values(self, column, name, row):
        """Returns the float32 values `(n,)` of a block of raw values."""
        x = self._filled(column, name, row)
        if self.feature.transform == "log":
            x = np.sign(x) * np.log1p(np.abs(x))
        elif self.feature.transform == "standardize":
            x = (x - self.mean) / self.scale
        x = np.nan_to_num(x, nan=0.0)
        wrong = np.flatnonzero(np.abs(x) > np.finfo("float32").max)
        if len(wrong):
            raise ValueError(
                f"Column {name!r} must fit float32. "
                f"Received: {x[wrong[0]]:g} at row {row(wrong[0])}"
            )
        return x.astype("float32")

    def _filled(self, column, name, row):
        x = numbers(column, name, row)
        return x if self.feature.fill is None else np.where(np.isnan(x), self.feature.fill, x)

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        return {"mean": self.mean, "scale": self.scale}

    def load(self, folder, state):
        """The inverse of `save`."""
        self.mean, self.scale = state["mean"], state["scale"]
