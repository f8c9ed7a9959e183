"""What an encoder learns about one column: `Hashes`, `Quantiles`, `Ids`; `Vocabulary`.

One class per way of encoding, all used alike: `count` raw values block by block, `finish`, and from
then on `ids`, which never changes what was learnt. Those of quantities are in `quantities.py`.
"""

import numpy as np

from keras_ctr.features.columns import FIRST_TOKEN, PADDING, Cross
from keras_ctr.features.hashing import murmur3
from keras_ctr.features.quantities import Sample
from keras_ctr.features.tokens import hashed, numbers, pandas_hash, texts_of
from keras_ctr.features.vocabulary import Vocabulary

MURMUR3, PANDAS = "murmur3", "pandas"


def learner(feature):
    """Returns the unfitted state that encodes a `Categorical`."""
    if isinstance(feature.buckets, int):
        return Quantiles(feature)
    if feature.hash_size is not None:
        return Hashes(feature)
    held = feature.size is not None and not isinstance(feature, Cross)  # no column holds its ids
    if held and feature.buckets is None:
        return Ids(feature)
    return Vocabulary(feature)


class Hashes:
    """Ids `2 + hash(token) mod hash_size`: nothing is learnt, nothing is unseen.

    The hash is MurmurHash3, which serving engines have; older encoders keep that of pandas.
    """

    def __init__(self, feature):
        self.feature = feature
        self.hash = MURMUR3
        self.size = feature.hash_size + FIRST_TOKEN

    def count(self, column, name, row, fill=True):
        """Nothing to learn; values that have no text are refused."""
        texts_of(self.feature, column.head(1), name, row, fill)

    def finish(self):
        """Nothing to do."""

    def ids(self, column, name, row, fill=True):
        """Returns the int32 ids `(n,)` of a block of raw values."""
        texts = texts_of(self.feature, column, name, row, fill)
        found = hashed(texts, murmur3 if self.hash == MURMUR3 else pandas_hash)
        ids = (found % np.uint64(self.feature.hash_size)).astype("int32") + FIRST_TOKEN
        ids[texts.is_null().to_numpy()] = PADDING
        return ids

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        return {"hash": self.hash}

    def load(self, folder, state):
        """The inverse of `save`."""
        self.hash = state.get("hash", PANDAS)


class Quantiles:
    """Ids `2 + bucket`, the buckets cut at quantiles of (a sample of) the training data."""

    def __init__(self, feature):
        self.feature = feature
        self.boundaries = None
        self._sample = Sample()

    def count(self, column, name, row, fill=True):
        """Learns from a block of raw values."""
        self._sample.add(self._filled(column, name, row, fill))

    def finish(self):
        """Closes what was learnt: from here on it never changes."""
        cuts = np.arange(1, self.feature.buckets) / self.feature.buckets
        x = self._sample.values
        self.boundaries = np.unique(np.quantile(x, cuts) if len(x) else []).tolist()
        self._sample = None

    @property
    def size(self):
        """Number of ids."""
        return len(self.boundaries) + 1 + FIRST_TOKEN

    def ids(self, column, name, row, fill=True):
        """Returns the int32 ids `(n,)` of a block of raw values."""
        return self.buckets(self._filled(column, name, row, fill))

    def buckets(self, x):
        """Returns the int32 ids of numbers, float64 `(n,)` with NaN where one is missing."""
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
        return self.checked(x, name, row)

    def checked(self, x, name, row):
        """Returns numbers, float64 `(n,)` with NaN where one is missing, as int32 ids."""
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
