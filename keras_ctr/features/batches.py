"""Checks of packed arrays: names, shapes, dtypes, ids in range, histories right-aligned."""

import numpy as np


def check_arrays(batch, schema):
    """Raises `ValueError` unless `batch` holds the schema's packed arrays with ids in range."""
    shapes = schema.shapes()
    if set(batch) != set(shapes):
        raise ValueError(f"Inputs must be a dict of {sorted(shapes)}. Received: {sorted(batch)}")
    for key, ((width,), dtype) in shapes.items():
        shape = tuple(batch[key].shape)
        if len(shape) != 2 or shape[1] != width:
            raise ValueError(f"`{key}` must have shape (N, {width}). Received: shape={shape}")
        if isinstance(batch[key], np.ndarray):
            kind = "iu" if dtype == "int32" else "iuf"
            if batch[key].dtype.kind not in kind:
                raise ValueError(f"`{key}` must be {dtype}. Received: dtype={batch[key].dtype}")
    for key, columns in schema.bounds().items():
        if isinstance(batch[key], np.ndarray):
            check_ids(batch[key], columns)
    for sequence in schema.sequences:
        if isinstance(batch[sequence.name], np.ndarray):
            check_alignment(batch[sequence.name], sequence.name)


def check_ids(ids, columns):
    """Raises `ValueError` unless each column of `ids` lies in `[0, size)`.

    `columns` is a list of `(name, size)`: one per column, or a single one for all.
    """
    sizes = np.array([size for _, size in columns])
    bad = (ids < 0) | (ids >= sizes)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        name, size = columns[min(column, len(columns) - 1)]
        raise ValueError(
            f"Ids of column {name!r} must lie in [0, {size}). "
            f"Received: {ids[row, column]} in row {row} ({bad.sum()} such ids in all)"
        )


def check_alignment(events, name):
    """Raises `ValueError` if the histories `(N, S)` plainly have their padding on the right.

    That is, if the oldest place is taken and the newest empty in all rows that are neither full nor
    empty. A single such row may be a history whose newest event is missing.
    """
    taken = events != 0
    partial = taken.any(axis=1) & ~taken.all(axis=1)
    if partial.sum() > 1 and (taken[partial, 0] & ~taken[partial, -1]).all():
        raise ValueError(
            f"Histories must be right-aligned, the newest event last and zeros before the oldest: "
            f"all of {name!r} that are not full have their zeros on the right. "
            f"Received, for one: {events[partial][0].tolist()}"
        )
