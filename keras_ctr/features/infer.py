"""A `Schema` guessed from a data frame: which column is a name, a quantity, a history."""

import warnings

from keras_ctr._checks import unknown
from keras_ctr.features.columns import Categorical, Numeric, Sequence
from keras_ctr.features.frames import as_polars
from keras_ctr.features.schema import Schema


def infer(df, label, group=None, numeric=(), categorical=(), sequences=None, drop=()):
    """Returns a `Schema` guessed from a data frame; see `Schema.infer`."""
    import polars as pl

    frame = as_polars(df)
    sequences = dict(sequences or {})
    given = [label, *numeric, *categorical, *sequences, *drop]
    for name in given + ([group] if group is not None else []):
        if name not in frame.columns:
            raise unknown("column", name, frame.columns)
    features = []
    for name in frame.columns:
        if name == label or name in drop:
            continue
        dtype = frame.schema[name]
        if isinstance(dtype, pl.List | pl.Array):
            if name not in sequences:
                raise ValueError(
                    f"Column {name!r} holds lists: say in `sequences` which categorical it is "
                    "a history of, or `drop` it."
                )
            longest = frame[name].list.len().max() or 1
            features.append(Sequence(name, of=sequences[name], length=longest))
        elif name in numeric or (name not in categorical and _is_quantity(frame[name])):
            features.append(Numeric(name))
        else:
            if name not in categorical:
                _warn_of_time(frame[name])
            features.append(Categorical(name))
    return Schema(features, label=label, group=group)


def _is_quantity(column):
    """Whether a polars column holds floats that are not all whole numbers."""
    if not column.dtype.is_float():
        return False
    there = column.drop_nulls().drop_nans()
    infinite = there.is_infinite()
    if infinite.any():
        raise ValueError(
            f"Column {column.name!r} must be finite. Received: infinite numbers in "
            f"{infinite.sum()} rows. Replace them (by None, say, which is a missing value), or "
            "`drop` the column."
        )
    return not (there == there.round()).all()


ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"  # a date, or a moment


def _warn_of_time(column):
    """Warns of a column of dates or times, whose distinct values are to become categories."""
    import polars as pl

    if column.dtype == pl.String:  # as a text file has them
        some = column.drop_nulls().head(1000)
        of_time = len(some) and some.str.contains(ISO).all()
    else:
        of_time = column.dtype.is_temporal() and column.dtype != pl.Duration
    if of_time:
        kind = "dates or times" if column.dtype == pl.String else f"{column.dtype}"
        warnings.warn(
            f"Column {column.name!r} holds {kind}: each of its {column.n_unique():,} values "
            "becomes a category of its own, and one of tomorrow is none of them. Derive columns "
            "such as the hour or the weekday from it, and `drop` it; or name it in `categorical`.",
            stacklevel=4,
        )
