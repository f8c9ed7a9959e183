"""`Split`: the encoded rows of one split, as shards that lie on disk or in memory."""

import numpy as np

SCAN_IDS = 2**28  # up to 1 GB of ids is read again, every id, when a prepared data set is opened
SCAN_ROWS = 2**18


class Split:
    """Rows cut into shards: `{key: array}` dicts with the keys of `Encoder.encode`.

    Further keys are `"extra:<name>"`, float32 columns that are no input of a model.

    Args:
        shards: list of dicts of arrays (memory-mapped or not) of one height each.
        skipped_rows: malformed rows left out while the split was read.
    """

    def __init__(self, shards, skipped_rows=0):
        self.shards = shards
        self.skipped_rows = skipped_rows
        heights = [len(shard["label"]) for shard in shards]
        self.starts = np.concatenate([[0], np.cumsum(heights)]).astype(np.int64)
        self.rows = int(self.starts[-1])

    @property
    def keys(self):
        """Names of the arrays."""
        return list(self.shards[0])

    def column(self, key):
        """The whole array of `key`, in the order in which the rows are stored."""
        arrays = [np.asarray(shard[key]) for shard in self.shards]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def take(self, key, rows):
        """The rows with the given numbers, which must ascend, as a fresh array."""
        cuts = np.searchsorted(rows, self.starts)
        first = self.shards[0][key]
        taken = np.empty((len(rows), *first.shape[1:]), first.dtype)
        for at in np.flatnonzero(cuts[1:] > cuts[:-1]):
            start, end = cuts[at], cuts[at + 1]
            # mode="clip" writes to `out` without a copy; the numbers are in range by construction.
            np.take(
                self.shards[at][key],
                rows[start:end] - self.starts[at],
                axis=0,
                out=taken[start:end],
                mode="clip",
            )
        return taken

    def slice(self, key, start, end):
        """The rows from `start` to `end`, as a fresh array."""
        parts = []
        for at in range(len(self.shards)):
            low, high = self.starts[at], self.starts[at + 1]
            if start < high and end > low:
                parts.append(self.shards[at][key][max(start - low, 0) : end - low])
        return np.concatenate(parts)


def bounds(array):
    """`[[smallest, largest id] per column]` of a 2-D array of ids."""
    return np.stack([array.min(axis=0), array.max(axis=0)], axis=1).tolist()


def check_ids(name, split, schema):
    """Checks that every id of a split lies in its table.

    Raises:
        ValueError: names column, row, id and size. (Keras would wrap a negative id to the last row
            of the table on every backend, and JAX make NaN of one past the end.)
    """
    for key, columns in schema.bounds().items():
        names = [column for column, _ in columns]
        sizes = np.array([size for _, size in columns])
        for start, shard in zip(split.starts, split.shards, strict=False):
            ids = shard[key]
            for low in range(0, len(ids), SCAN_ROWS):
                block = ids[low : low + SCAN_ROWS]
                if block.min() >= 0 and (block.max(axis=0) < sizes).all():
                    continue
                row, column = np.argwhere((block < 0) | (block >= sizes))[0]
                at = column if len(names) > 1 else 0  # a sequence has many positions, one name
                raise ValueError(
                    f"Ids must lie in [0, size). Received: id {block[row, column]} in column "
                    f"{names[at]!r} at row {start + low + row} of {name}, where size is {sizes[at]}"
                )
