"""Data frames in: pandas, polars or a dict of columns becomes one polars frame.

Written out because polars converts text columns of pandas only where pyarrow is installed, which
this package does not ask for.
"""

import uuid

import numpy as np

_NUMBERS = (int, float, np.integer, np.floating)  # a bool is an int, too


def is_raw(x, schema):
    """Whether `x` holds rows of raw values, not the packed arrays of a `schema`, or batches."""
    packed = [key for key in ("ids", "values") if key in schema.shapes()]
    if isinstance(x, dict) and all(key in x for key in packed):
        return False
    return is_frame(x) and (not isinstance(x, dict) or any(f.name in x for f in schema))


def is_frame(x):
    """Whether `x` is one table of raw values: whatever `as_polars` takes."""
    rows = isinstance(x, list) and bool(x) and all(isinstance(row, dict) for row in x)
    return rows or isinstance(x, dict) or hasattr(x, "columns") or hasattr(x, "__arrow_c_stream__")


def as_polars(frame):
    """Returns a table of raw values as a `polars.DataFrame`.

    Args:
        frame: a pandas or polars data frame, an Arrow table (anything with `__arrow_c_stream__`), a
            dict of columns, or a list of rows, each a dict.

    NaN, None and `pandas.NA` become null in every column but floats, which keep their NaN. Names
    of columns become text; the index of a pandas frame is left out.

    Raises:
        ValueError: another type, two columns of one name, or names of several levels.
    """
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, dict):
        return _of_columns(frame)
    if isinstance(frame, list) and is_frame(frame):
        names = dict.fromkeys(name for row in frame for name in row)
        return _of_columns({name: [row.get(name) for row in frame] for name in names})
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        if hasattr(frame, "__arrow_c_stream__"):  # a table of Arrow, whoever made it
            return pl.DataFrame(frame)
        raise ValueError(
            "`frame` must be a pandas or polars data frame, an Arrow table, a dict of columns or a "
            f"list of rows. Received: {type(frame).__name__}"
        )
    if isinstance(frame.columns, pd.MultiIndex):
        raise ValueError(
            "Column names must have one level, such as after "
            "`df.columns = ['_'.join(map(str, name)) for name in df.columns]`. Received: "
            f"{frame.columns.nlevels} levels"
        )
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Column names must be unique. Received twice: {', '.join(twice)}")
    return pl.DataFrame([_series(name, frame.iloc[:, at]) for at, name in enumerate(names)])


def _of_columns(columns):
    """A dict of columns as a frame."""
    import pandas as pd
    import polars as pl

    found = []
    for name, values in columns.items():
        if isinstance(values, str | bytes | dict) or not hasattr(values, "__iter__"):
            raise ValueError(
                "Every column of a dict must be a list or an array, one value per row. Received: "
                f"{name}={values!r}"
            )
        if not isinstance(values, pl.Series):
            flat = hasattr(values, "dtype") and np.ndim(values) == 1
            values = pd.Series(values if flat else list(values), dtype=None if flat else object)
            values = _series(str(name), values)
        found.append(values.rename(str(name)))
    lengths = {series.name: len(series) for series in found}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Columns must have one length. Received: {lengths}")
    return pl.DataFrame(found)


def _series(name, column):
    """One pandas column as a polars series."""
    import pandas as pd
    import polars as pl

    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = _series(name, pd.Series(column.cat.categories))
        codes = pl.Series(column.cat.codes.to_numpy().astype("int64"))
        return categories.gather(codes.set(codes < 0, None)).rename(name)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufmM":
        values = np.ascontiguousarray(column.to_numpy())
        return pl.Series(name, values.astype("float64") if values.dtype.kind == "f" else values)
    if isinstance(column.dtype, pd.PeriodDtype | pd.IntervalDtype):
        column = column.astype(str).astype(object).where(column.notna(), None)
    if column.dtype.kind == "c":
        return pl.Series(name, column.tolist(), dtype=pl.Object)  # no quantity: refused by name
    if pd.api.types.is_numeric_dtype(column.dtype):  # nullable: Int64, Float64, boolean
        kind = column.dtype.kind if column.dtype.kind in "biuf" else "f"
        width = {"b": "bool", "i": "int64", "u": "uint64", "f": "float64"}[kind]
        filled = pl.Series(name, column.to_numpy(dtype=width, na_value=0))
        return filled.set(pl.Series(column.isna().to_numpy()), None)
    values = column.tolist()
    missing = pd.isna(column).tolist()
    values = [None if gone else value for value, gone in zip(values, missing, strict=True)]
    if any(isinstance(value, list | tuple | np.ndarray) for value in values):
        values = [None if value is None else list(value) for value in values]
        return pl.Series(name, values)
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and all(issubclass(kind, _NUMBERS) for kind in kinds):
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    if (
        len(kinds) > 1 or kinds and issubclass(*kinds, (uuid.UUID, pd.Interval, pd.Period))
    ):  # "a" beside 1 as well
        values = [None if value is None else str(value) for value in values]
    try:
        return pl.Series(name, values)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series(name, values, dtype=pl.Object)
