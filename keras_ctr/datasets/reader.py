"""`Dataset`: the batches of one split, as `model.fit` takes them on every backend."""

import math
import threading

import keras
import numpy as np

from keras_ctr.datasets.sampling import Negatives

BLOCK = 2**16  # rows read in one piece
WINDOW = 16  # blocks whose rows are mixed: a million rows
KEPT = 64  # windows whose order is remembered (4 MB each)


class Dataset(keras.utils.PyDataset):
    """The rows of one split in batches.

    `dataset[i]` is `(batch, label)`: the batch is a dict of the arrays of `schema.shapes()`, the
    label `(B, 1)` float32. If the data have an extra column `weight`, it is
    `(batch, label, weight)`.

    Shuffled by block, then by row: the order of blocks of 65,536 contiguous rows is drawn anew each
    epoch, and the rows of 16 neighbours in that order are mixed. So `dataset[i]` depends on the
    seed, the epoch and `i` alone, may be read from many threads, and every row comes exactly once
    per epoch. Within a batch, rows ascend by row number.

    Made by `keras_ctr.datasets.load` and `from_pandas`.

    Args:
        split: `Split` with the encoded rows.
        encoder: the fitted `Encoder` that encoded them.
        batch_size: rows per batch; the last batch may be smaller.
        shuffle: whether to shuffle, each epoch anew.
        seed: integer that fixes the order.
        drop_remainder: whether to leave out the last batch if it is smaller.
        negatives: share of the rows with label 0 that an epoch holds, in (0, 1], each epoch others.
            An epoch has all rows with label 1 and `round(negatives × the others)` of those with
            label 0. A `CTRModel` that is trained on them still learns the probabilities of all
            rows, see `CTRModel.fit`.
        **workers: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.
    """

    def __init__(
        self,
        split,
        encoder,
        batch_size=4096,
        shuffle=False,
        seed=0,
        drop_remainder=False,
        negatives=1.0,
        **workers,
    ):
        super().__init__(**workers)
        if not isinstance(negatives, int | float) or not 0 < negatives <= 1:
            raise ValueError(
                f"`negatives` must be a share in (0, 1]. Received: negatives={negatives!r}"
            )
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
        self.encoder = encoder
        self.schema = encoder.schema
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.drop_remainder = drop_remainder
        self.negatives = float(negatives)
        self.epoch = 0
        self._split = split
        self._sample = None  # made when the first number is asked for: it reads all labels
        self._orders = {}
        self._lock = threading.Lock()

    @property
    def num_rows(self):
        """Number of rows of an epoch: all of the split, but for `negatives` that are left out."""
        return self._split.rows if self._sampled is None else self._sampled.num_rows

    @property
    def _sampled(self):
        if self.negatives == 1.0:
            return None
        with self._lock:
            if self._sample is None:
                self._sample = Negatives(self._split, self.negatives, BLOCK)
        return self._sample

    @property
    def labels(self):
        """All labels, `(N, 1)` float32, in the order of the stored rows.

        Like `groups`, `weights` and `extra`, of all `N` rows of the split, also where `negatives`
        leaves some out of an epoch: `predict` and `evaluate` read all of them.
        """
        return self._split.column("label")

    @property
    def groups(self):
        """The group of every row, `(N,)` int64 in stored order; None without groups."""
        return self._split.column("group") if "group" in self._split.keys else None

    @property
    def weights(self):
        """The sample weight of every row, `(N,)` float32 in stored order, or None."""
        key = "extra:weight"
        return self._split.column(key) if key in self._split.keys else None

    @property
    def extras(self):
        """Names of the columns that `extra` returns."""
        return [key.removeprefix("extra:") for key in self._split.keys if key.startswith("extra:")]

    def extra(self, name):
        """A further column of the data, `(N,)` float32 in stored order."""
        from keras_ctr._checks import unknown

        if name not in self.extras:
            raise unknown("extra column", name, self.extras)
        return self._split.column(f"extra:{name}")

    @property
    def positives(self):
        """Number of rows with label 1."""
        return int(self.labels.sum(dtype=np.float64))

    @property
    def skipped_rows(self):
        """Malformed rows that were left out when the raw files were read."""
        return self._split.skipped_rows

    def with_options(
        self, batch_size=None, shuffle=None, seed=None, drop_remainder=None, negatives=None
    ):
        """Returns another view of the same rows, at epoch 0, with some options changed.

        Example:

        >>> train, *_ = keras_ctr.datasets.load("synthetic", rows=1000)
        >>> sampled = train.with_options(negatives=0.5)
        >>> sampled.positives == train.positives, sampled.num_rows < train.num_rows
        (True, True)
        """
        given = {
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "drop_remainder": drop_remainder,
            "negatives": negatives,
        }
        options = {name: getattr(self, name) if v is None else v for name, v in given.items()}
        view = Dataset(
            self._split,
            self.encoder,
            **options,
            workers=self.workers,
            use_multiprocessing=self.use_multiprocessing,
            max_queue_size=self.max_queue_size,
        )
        view.schema = self.schema
        return view

    def without_sequences(self):
        """Returns another view of the same rows that holds no behaviour sequences."""
        view = self.with_options()
        kept = [feature for feature in self.schema if feature not in self.schema.sequences]
        view.schema = self.schema.like(kept)
        return view

    def to_pandas(self, rows=5):
        """The first stored rows, encoded, as a `pandas.DataFrame`: to look at."""
        import pandas as pd

        rows = min(rows, self._split.rows)
        columns = {}
        for key, features in (("ids", self.schema.categoricals), ("values", self.schema.numerics)):
            if features:
                packed = self._split.slice(key, 0, rows)
                columns |= {f.name: packed[:, at] for at, f in enumerate(features)}
        for key in self.schema.shapes():
            if key not in ("ids", "values"):
                columns[key] = self._split.slice(key, 0, rows).tolist()
        columns[self.schema.label] = self._split.slice("label", 0, rows)[:, 0]
        names = [*self.schema.columns, *columns]
        return pd.DataFrame({name: columns[name] for name in names if name in columns})

    def on_epoch_end(self):
        """Called by Keras: the next epoch has another order."""
        self.epoch += 1

    def __len__(self):
        rounded = math.floor if self.drop_remainder else math.ceil
        return rounded(self.num_rows / self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"The batch must be in [0, {len(self)}). Received: {index}")
        start = index * self.batch_size
        end = min(start + self.batch_size, self.num_rows)
        if self.shuffle or self.negatives < 1:
            rows = self._shuffled(self.epoch, start, end)
            batch = {key: self._split.take(key, rows) for key in self._inputs()}
        else:
            batch = {key: self._split.slice(key, start, end) for key in self._inputs()}
        label = batch.pop("label")
        weight = batch.pop("extra:weight", None)
        return (batch, label) if weight is None else (batch, label, weight)

    def __repr__(self):
        return (
            f"<Dataset: {self.num_rows:,} rows, {len(self.schema)} columns, "
            f"{len(self):,} batches of {self.batch_size:,}>"
        )

    def _inputs(self):
        return [key for key in self._split.keys if key in self._wanted]

    @property
    def _wanted(self):
        return {*self.schema.shapes(), "label", "extra:weight"}

    def _shuffled(self, epoch, start, end):
        """Numbers of the rows at the places `start` to `end` of the epoch's order, ascending."""
        blocks, ends = self._blocks(epoch)
        first = np.searchsorted(ends, start, side="right")
        last = np.searchsorted(ends, end, side="left")
        rows = []
        for window in range(first, last + 1):
            low = ends[window - 1] if window else 0
            order = self._order(epoch, window, blocks)
            rows.append(order[max(start - low, 0) : end - low])
        return np.sort(np.concatenate(rows))

    def _blocks(self, epoch):
        """The epoch's order of blocks, and where each window of that order ends."""
        count = math.ceil(self._split.rows / BLOCK)
        blocks = np.arange(count)
        if self.shuffle:
            blocks = np.random.default_rng([self.seed, epoch]).permutation(count)
        if self._sampled is None:
            heights = np.minimum(BLOCK, self._split.rows - blocks * BLOCK)
        else:
            heights = self._sampled.heights(self.seed, epoch)[blocks]
        ends = np.cumsum(heights)
        last = np.arange(WINDOW - 1, count + WINDOW - 1, WINDOW)
        return blocks, ends[np.minimum(last, count - 1)]

    def _rows(self, block, epoch):
        """The numbers of the rows that a block has in the epoch."""
        if self._sampled is None:
            return np.arange(block * BLOCK, min((block + 1) * BLOCK, self._split.rows))
        return self._sampled.rows(block, self.seed, epoch)

    def _order(self, epoch, window, blocks):
        """The mixed row numbers of a window."""
        key = (epoch, window)
        with self._lock:
            if key in self._orders:
                return self._orders[key]
        chosen = blocks[window * WINDOW : (window + 1) * WINDOW]
        order = np.concatenate([self._rows(block, epoch) for block in chosen])
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch, window]).permutation(order)
        with self._lock:
            while len(self._orders) >= KEPT:
                self._orders.pop(next(iter(self._orders)))
            self._orders[key] = order
        return order
