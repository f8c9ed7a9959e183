"""A `Schema` guessed from a data frame: which column is a name, a quantity, a history."""

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
            features.append(Categorical(name))
    return Schema(features, label=label, group=group)


def _is_quantity(column):
    """Whether a polars column holds floats that are not all whole numbers."""
    if not column.dtype.is_float():
        return False
    finite = column.drop_nulls().drop_nans()
    return not (finite == finite.round()).all()
