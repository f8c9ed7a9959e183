"""Raw values as tokens (text, null = missing) or as numbers (float64, NaN = missing).

A token is the text of a value, and the same value has one text wherever it comes from: pandas turns
integers with a gap into floats and writes them as `14.0`, so 14, 14.0 and "14.0" are all "14";
booleans are "true" and "false". The empty text is a missing value, as it is in a CSV file.
"""

import re

import numpy as np

from keras_ctr.features.coding import coded

WHOLE = r"(-?[0-9]+)\.0+"  # what pandas makes of an integer beside a gap
TRUTH = {"True": "true", "False": "false"}
LARGEST = 2**63  # of whole numbers


def tokens(column, name):
    """Returns the text of every value of a polars series; null where it is missing.

    Text columns are returned as they are: `plain` rewrites their rare "14.0" and "True", and is
    applied to distinct values only, not to rows.

    Raises:
        ValueError: values that have no text (lists, structs, bytes).
    """
    import polars as pl

    dtype = column.dtype
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Duration):
        raise ValueError(
            f"Column {name!r} must hold single values (text, integers, booleans, floats, dates). "
            f"Received: {kind_of(column)}"
        )
    if dtype.is_float():
        column = column.fill_nan(None)
        infinite = column.is_infinite()
        if infinite.any():
            raise ValueError(
                f"Column {name!r} must be finite, or hold text. Received: infinite numbers in "
                f"{infinite.sum()} rows"
            )
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


def kind_of(column):
    """What a polars series holds, and for kinds that people meet, what to do about it."""
    import polars as pl

    if column.dtype == pl.Binary:
        return "bytes: decode them to text, or leave the column out"
    if column.dtype == pl.Duration:
        return "durations: give them as numbers, such as seconds"
    if column.dtype == pl.Object:
        first = column.filter(column.is_not_null())
        return f"Python objects, such as a {type(first[0]).__name__}" if len(first) else "objects"
    return str(column.dtype)


def plain(texts):
    """Returns texts (a polars series) with "14.0" as "14" and "True" as "true"."""
    odd = texts.str.contains(".0", literal=True) | (texts == "True") | (texts == "False")
    odd = odd.arg_true()  # they alone may change
    if not len(odd):
        return texts
    written = texts.gather(odd).str.replace(f"^{WHOLE}$", "${1}").replace(TRUTH)
    return texts.clone().scatter(odd, written)


def plain_text(text):
    """As `plain`, of one text."""
    match = re.fullmatch(WHOLE, text)
    return match[1] if match else TRUTH.get(text, text)


def token(value):
    """Returns the text of one plain Python value as `tokens` does, `None` where it is missing.

    Raises:
        TypeError: a value of another type, or a number that not all write alike.
    """
    kind = type(value)
    if value is None or kind is str:
        return value or None
    if kind is bool:
        return plain_value(value)
    if kind is int and -LARGEST < value < LARGEST:
        return str(value)
    if kind is float:
        if value != value:
            return None
        if value.is_integer() and abs(value) < LARGEST or 1e-3 <= abs(value) < 1e15:
            return plain_value(value)
    raise TypeError(f"{kind.__name__} is no plain value")


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
        column: polars series of numbers, booleans, durations (as seconds), or text that spells
            numbers.
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
        values = spelled(text)
        wrong = (values.is_null() & text.is_not_null()).arg_true()
        if len(wrong):
            raise ValueError(
                f"Column {name!r} must hold numbers. "
                f"Received: {text[wrong[0]]!r} at row {row(wrong[0])} (text in {len(wrong)} rows)"
            )
    elif dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        values = column.cast(pl.Float64)
    elif dtype == pl.Duration:
        values = column.dt.total_microseconds().cast(pl.Float64) * 1e-6
    else:
        raise ValueError(f"Column {name!r} must hold numbers. Received: {kind_of(column)}")
    values = values.fill_null(float("nan")).to_numpy()
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise ValueError(
            f"Column {name!r} must be finite. Received: {values[infinite[0]]} at row "
            f"{row(infinite[0])} (infinite in {len(infinite)} rows)"
        )
    return values


def spelled(text):
    """Returns a text series as float64: numbers, "true" and "false" in any case; else null."""
    import polars as pl

    values = text.cast(pl.Float64, strict=False)
    other = values.is_null() & text.is_not_null()
    if other.any():
        truth = text.str.to_lowercase().replace_strict(
            {"true": 1.0, "false": 0.0}, default=None, return_dtype=pl.Float64
        )
        values = values.zip_with(~other, truth)
    return values


def labels(column, name, row):
    """Returns labels as `(n, 1)` float32: 0 and 1, or false and true. Args as for `numbers`.

    Raises:
        ValueError: another label (or none at all): how many, the first row, and what to write.
    """
    import polars as pl

    if column.dtype == pl.String or column.dtype.is_numeric() or column.dtype == pl.Boolean:
        is_text = column.dtype == pl.String
        found = spelled(column.str.strip_chars()) if is_text else column.cast(pl.Float64)
    elif column.dtype in (pl.Categorical, pl.Enum):
        return labels(column.cast(pl.String), name, row)
    else:
        raise ValueError(f"The label {name!r} must be 0 or 1. Received: {kind_of(column)}")
    found = found.fill_null(float("nan")).to_numpy()
    wrong = np.flatnonzero((found != 0) & (found != 1))
    if len(wrong):
        text = column.cast(pl.String).str.strip_chars()
        missing = (text.is_null() | (text == "") | (text == "NaN")).to_numpy()
        first = found[wrong[0]]
        value = f"{first:.15g}" if np.isfinite(first) else repr(text[int(wrong[0])])
        value = "no value" if missing[wrong[0]] else value
        raise ValueError(
            f"The label {name!r} must be 0 or 1. Received: {len(wrong)} of {len(found)} rows with "
            f"another value, the first {value} at row {row(wrong[0])}. "
            + _advice(text.filter(~missing), name, missing[wrong].all())
        )
    return found.astype("float32")[:, None]


CLICKED = ("yes", "y", "t", "click", "clicked", "positive", "pos", "+1")  # of two values, the 1


def _advice(texts, name, only_missing):
    """What to write so that a column is a label."""
    if only_missing:
        return f"Leave out the rows without a label: df.dropna(subset=[{name!r}])."
    values = sorted(plain(texts.unique()).unique().to_list(), key=_by_size)
    if len(values) == 2:
        one = next((v for v in values if v.lower() in CLICKED), values[1])
        one = one if _is_number(one) else repr(one)
        return f"Write, for instance: df[{name!r}] = (df[{name!r}] == {one}).astype(int)."
    return f"Write, for instance: df[{name!r}] = (df[{name!r}] > 0).astype(int), as it is meant."


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _by_size(text):
    return (0, float(text), "") if _is_number(text) else (1, 0.0, text)


def texts_of(feature, column, name, row, fill):
    """Returns the tokens of a raw column of a `Categorical`, after `buckets="log2"` and `fill`."""
    import polars as pl

    if feature.buckets == "log2":
        x = numbers(column, name, row)
        if fill and feature.fill is not None:
            x = np.where(np.isnan(x), float(feature.fill), x)
        return pl.Series(log2_bucket(x), nan_to_null=True).cast(pl.Int64).cast(pl.String)
    texts = tokens(column, name)
    if fill and feature.fill is not None:
        texts = texts.fill_null(plain_value(feature.fill))
    return texts


def log2_bucket(x):
    """Returns the buckets of `buckets="log2"`, float64, NaN where a number is missing."""
    # github.com/reczoo/FuxiCTR fuxictr/datasets/criteo.py: the square of the natural logarithm
    return np.where(x > 2, np.floor(np.log(np.maximum(x, 1)) ** 2), np.trunc(x))


def sample_weights(column, name, row):
    """Returns sample weights as `(n,)` float32, finite and >= 0. Args as for `numbers`.

    Raises:
        ValueError: a weight that is missing or negative, or too large for float32: how many, and
            the first row.
    """
    found = numbers(column, name, row)
    with np.errstate(over="ignore"):
        found = found.astype("float32")
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if len(wrong):
        first = found[wrong[0]]
        raise ValueError(
            f"The weight {name!r} must be a finite number >= 0. Received: {len(wrong)} of "
            f"{len(found)} rows with another, the first "
            f"{'no value' if np.isnan(first) else f'{first:g}'} at row {row(wrong[0])}"
        )
    return found


def pandas_hash(texts):
    """Returns a 64-bit hash of every text of a list, fixed across versions and machines."""
    import pandas as pd

    return pd.util.hash_array(np.array(texts, object), encoding="utf8", categorize=False)


def hashed(texts, function=pandas_hash):
    """Returns a stable hash (uint64) of every text of a polars series; 0 where it is null.

    Args:
        texts: polars series.
        function: from a list of texts to their hashes.
    """
    found = coded(texts)
    there = found.values.is_not_null().to_numpy()
    hashes = np.zeros(len(found.values), "uint64")
    hashes[there] = function(plain(found.values.drop_nulls()).to_list())
    return hashes[found.codes]
