"""Raw values as tokens (text, null = missing) or as numbers (float64, NaN = missing).

A token is the text of a value, and the same value has one text wherever it comes from: pandas turns
integers with a gap into floats and writes them as `14.0`, so 14, 14.0 and "14.0" are all "14";
booleans are "true" and "false". The empty text is a missing value, as it is in a CSV file.
"""

import numpy as np


def tokens(column, name):
    """Returns the text of every value of a polars series; null where it is missing.

    Text columns are returned as they are: `plain` rewrites their rare "14.0" and "True", and is
    applied to distinct values only, not to rows.

    Raises:
        ValueError: values that have no text (lists, structs, bytes).
    """
    import polars as pl

    dtype = column.dtype
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise ValueError(
            f"Column {name!r} must hold single values (text, integers, booleans, floats, dates). "
            f"Received: {dtype}"
        )
    if dtype.is_float():
        column = column.fill_nan(None)
        whole = (column == column.floor()) & (column.abs() < 2.0**63)
        if whole.all():
            return column.cast(pl.Int64).cast(pl.String)
        text = column.cast(pl.String)
        integers = column.filter(whole.fill_null(False)).cast(pl.Int64).cast(pl.String)
        return text.scatter(whole.fill_null(False).arg_true(), integers)
    if dtype != pl.String:
        return column.cast(pl.String)
    empty = column == ""
    return column.set(empty, None) if empty.any() else column


def plain(texts):
    """Returns texts (a polars series) with "14.0" as "14" and "True" as "true"."""
    texts = texts.str.replace(r"^(-?[0-9]+)\.0+$", "${1}")
    return texts.replace({"True": "true", "False": "false"})


def plain_value(value):
    """The token of one Python value (a `fill`)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def numbers(column, name, row):
    """Returns the values of a polars series as float64, NaN where they are missing.

    Args:
        column: polars series of numbers, booleans, or text that spells numbers.
        name: what errors call the column.
        row: function from a position in the series to the row number that errors give.

    Raises:
        ValueError: text that is no number, or an infinite value, with its first row.
    """
    import polars as pl

    dtype = column.dtype
    if dtype == pl.String:
        text = column.str.strip_chars()
        text = text.set(text == "", None)
        values = text.cast(pl.Float64, strict=False)
        wrong = (values.is_null() & text.is_not_null()).arg_true()
        if len(wrong):
            raise ValueError(
                f"Column {name!r} must hold numbers. "
                f"Received: {text[wrong[0]]!r} at row {row(wrong[0])} (text in {len(wrong)} rows)"
            )
    elif dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        values = column.cast(pl.Float64)
    else:
        raise ValueError(f"Column {name!r} must hold numbers. Received: {dtype}")
    values = values.fill_null(float("nan")).to_numpy()
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise ValueError(
            f"Column {name!r} must be finite. Received: {values[infinite[0]]} at row "
            f"{row(infinite[0])} (infinite in {len(infinite)} rows)"
        )
    return values


def labels(column, name, row):
    """Returns labels as `(n, 1)` float32. Args as for `numbers`.

    Raises:
        ValueError: a label other than 0 or 1 (or none at all): how many, and the first row.
    """
    found = numbers(column, name, row)
    wrong = np.flatnonzero((found != 0) & (found != 1))
    if len(wrong):
        value = "no value" if np.isnan(found[wrong[0]]) else f"{found[wrong[0]]:.15g}"
        raise ValueError(
            f"The label {name!r} must be 0 or 1. Received: {len(wrong)} of {len(found)} rows with "
            f"another value, the first {value} at row {row(wrong[0])}"
        )
    return found.astype("float32")[:, None]


def texts_of(feature, column, name, row, fill):
    """Returns the tokens of a raw column of a `Categorical`, after `buckets="log2"` and `fill`."""
    import polars as pl

    if feature.buckets == "log2":
        x = numbers(column, name, row)
        if fill and feature.fill is not None:
            x = np.where(np.isnan(x), float(feature.fill), x)
        # github.com/reczoo/FuxiCTR fuxictr/datasets/criteo.py: the square of the natural logarithm
        bucket = np.where(x > 2, np.floor(np.log(np.maximum(x, 1)) ** 2), np.trunc(x))
        return pl.Series(bucket, nan_to_null=True).cast(pl.Int64).cast(pl.String)
    texts = tokens(column, name)
    if fill and feature.fill is not None:
        texts = texts.fill_null(plain_value(feature.fill))
    return texts


def hashed(texts):
    """Returns a stable 64-bit hash (uint64) of every text; 0 where it is null.

    `pandas.util.hash_array` is used because its values are fixed across versions and machines.
    """
    import pandas as pd
    import polars as pl

    distinct = texts.drop_nulls().unique()
    hashes = pd.util.hash_array(
        plain(distinct).to_numpy().astype(object), encoding="utf8", categorize=False
    )
    at = texts.cast(pl.Enum(distinct), strict=False).to_physical().cast(pl.Int64)
    return np.append(hashes, np.uint64(0))[at.fill_null(len(distinct)).to_numpy()]
