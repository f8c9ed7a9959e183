"""Data frames in: pandas, polars or a dict of columns becomes one polars frame.

Written out because polars converts text columns of pandas only where pyarrow is installed, which
this package does not ask for.
"""

import numpy as np


def as_polars(frame):
    """Returns `frame` (pandas, polars, or a dict of columns) as a `polars.DataFrame`.

    NaN, None and `pandas.NA` become null in every column but floats, which keep their NaN.

    Raises:
        ValueError: another type, or two columns of one name.
    """
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, dict):
        return pl.DataFrame(frame)
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ValueError(
            "`frame` must be a pandas or polars data frame, or a dict of columns. "
            f"Received: {type(frame).__name__}"
        )
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Column names must be unique. Received twice: {', '.join(twice)}")
    return pl.DataFrame([_series(name, frame.iloc[:, at]) for at, name in enumerate(names)])


def _series(name, column):
    """One pandas column as a polars series."""
    import pandas as pd
    import polars as pl

    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = _series(name, pd.Series(column.cat.categories))
        codes = pl.Series(column.cat.codes.to_numpy().astype("int64"))
        return categories.gather(codes.set(codes < 0, None)).rename(name)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufmM":
        return pl.Series(name, np.ascontiguousarray(column.to_numpy()))
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
    if len(kinds) > 1:  # "a" beside 1: every value by its text
        values = [None if value is None else str(value) for value in values]
    return pl.Series(name, values)
