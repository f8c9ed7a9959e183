"""Lists of a row: as one flat series of events, and back as an array, padded left or right."""

import numpy as np


def as_lists(column, separator):
    """A polars series as one of lists, `None` where it holds neither these nor text."""
    import polars as pl

    if column.dtype == pl.String:
        return column.set(column == "", None).str.split(separator)
    if column.dtype == pl.Null:
        return column.cast(pl.List(pl.String))
    if isinstance(column.dtype, pl.Array):
        return column.arr.to_list()
    return column if column.dtype == pl.List else None


def events(column, sequence, whole=False):
    """The events of all histories (or bags) in one series, and the row each belongs to.

    Unless `whole`, only the `length` events that `keep` selects are returned.
    """
    kind, column = column.dtype, as_lists(column, sequence.separator)
    if column is None:
        raise ValueError(
            f"Column {sequence.name!r} must hold lists, or text joined by "
            f"{sequence.separator!r}. Received: {kind}"
        )
    if not whole:
        end = column.list.tail if sequence.keep == "last" else column.list.head
        column = end(sequence.length)
    lengths = column.list.len().fill_null(0)
    rows = np.repeat(np.arange(len(column)), lengths.to_numpy())
    return column.filter(lengths > 0).list.explode(), rows


def left_aligned(values, rows, height, length):
    """Packs the values of all bags to `(height, length)`, zeros on the right."""
    packed = np.zeros((height, length), values.dtype)
    starts = np.searchsorted(rows, rows)  # where the bag of each value starts
    packed[rows, np.arange(len(rows)) - starts] = values
    return packed


def right_aligned(ids, rows, height, length):
    """Packs the ids of all histories to `(height, length)`, newest last, zeros on the left."""
    packed = np.zeros((height, length), "int32")
    ends = np.searchsorted(rows, rows, side="right")  # where the history of each event ends
    packed[rows, length - ends + np.arange(len(rows))] = ids
    return packed
