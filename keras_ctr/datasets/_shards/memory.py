"""`Memory`: the sink that keeps encoded rows, for data frames."""

from keras_ctr.datasets._shards.split import Split


class Memory:
    """Takes encoded rows as `Writer` does, and keeps them.

    Args:
        encoder: the fitted `Encoder`.
    """

    def __init__(self, encoder):
        self.encoder = encoder
        self._parts = {}

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        """Nothing to close."""

    def add(self, split, arrays, skipped_rows=0):
        """Appends encoded rows to a split, see `Writer.add`."""
        self._parts.setdefault(split, []).append(arrays)

    @property
    def splits(self):
        """`{name: Split}`."""
        return {name: Split(parts) for name, parts in self._parts.items()}
