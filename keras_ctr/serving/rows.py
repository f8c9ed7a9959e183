"""Raw rows as the tensors that an exported model takes. Knows no Keras."""

import datetime

import numpy as np

from keras_ctr.features.columns import UNITS
from keras_ctr.features.frames import as_polars
from keras_ctr.features.times import stamps
from keras_ctr.features.tokens import token, tokens


def feeds(columns, rows, context=None):
    """Returns `{column: array}` for a session of ONNX Runtime.

    Args:
        columns: the `inputs` of a card: dicts with `name`, `dtype`, `width`, and where they have
            one the `separator` of lists and the `unit` of moments.
        rows: a dict (one row), a list of dicts, a dict of columns, or a data frame.
        context: optional dict of the values that all rows have in common, which these then need not
            hold.

    Returns:
        Arrays `(N, width)`: text (object), missing values and empty lists as `""`, or float64 with
        NaN for missing values. Packed arrays are as they are, int32 and float32.

    Raises:
        ValueError: a column that is missing, or in both; values of the wrong kind, with the first
            row.
    """
    if context:
        shared = [column for column in columns if column["name"] in context]
        found = feeds([column for column in columns if column not in shared], rows)
        given = rows[0] if isinstance(rows, list) else rows
        twice = [column["name"] for column in shared if column["name"] in given]
        if twice:
            raise ValueError(f"Columns of the context must not be in the rows: {', '.join(twice)}")
        count = len(next(iter(found.values()))) if found else len(rows)
        once = feeds(shared, [context])
        found |= {name: np.repeat(array, count, axis=0) for name, array in once.items()}
        return {column["name"]: found[column["name"]] for column in columns}
    if isinstance(rows, dict) and not all(_is_column(value) for value in rows.values()):
        rows = [rows]
    if isinstance(rows, list):
        taken = _of_rows(columns, rows)
    else:
        frame = as_polars(rows)
        _require([column["name"] for column in columns], frame.columns)
        taken = {column["name"]: frame[column["name"]].to_list() for column in columns}
    return {column["name"]: _array(column, taken[column["name"]]) for column in columns}


def _is_column(value):
    return isinstance(value, list | tuple | np.ndarray) or hasattr(value, "to_list")


def _of_rows(columns, rows):
    for at, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"Row {at} must be a dict of columns. Received: {type(row).__name__}")
        _require([column["name"] for column in columns], row, f" at row {at}")
    return {column["name"]: [row[column["name"]] for row in rows] for column in columns}


def _require(names, given, where=""):
    missing = [name for name in names if name not in given]
    if missing:
        raise ValueError(
            f"Every column of the model must be there. Received none called {', '.join(missing)}"
            f"{where} (columns: {', '.join(map(str, given))})"
        )


def _array(column, values):
    if column["dtype"] in ("int32", "float32"):  # packed
        return _packed(column, values)
    convert = _text if column["dtype"] == "string" else _numbers
    found = []
    for at, value in enumerate(values):
        try:
            found.append(convert(column, value))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Column {column['name']!r} must hold {column['holds']}. "
                f"Received: {_short(value)} at row {at}"
            ) from error
    dtype = object if column["dtype"] == "string" else "float64"
    return np.array(found, dtype).reshape(len(values), column["width"])


def _packed(column, values):
    array = np.asarray(values)
    whole = column["dtype"] != "int32" or array.dtype.kind in "iu"
    if not whole or array.shape != (len(values), column["width"]):
        raise ValueError(
            f"Column {column['name']!r} must hold {column['holds']}, {column['width']} in a row. "
            f"Received: {array.dtype} of shape {array.shape}"
        )
    return array.astype(column["dtype"])


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _text(column, value):
    if "separator" in column and not isinstance(value, str) and _is_column(value):
        parts = [_token(each) for each in value]
        if any(column["separator"] in part for part in parts):
            raise ValueError("a value holds the separator")
        return column["separator"].join(parts)
    return _token(value)


def _token(value):
    """The text of one value, as the encoder has it; empty where it is missing."""
    import polars as pl

    if isinstance(value, str) and not is_utf8(value):
        raise ValueError("half of a surrogate pair")
    if isinstance(value, np.generic):
        value = value.item()
    try:
        return token(value) or ""
    except TypeError:
        if _is_column(value) or isinstance(value, dict | bytes):
            raise
    return "" if value != value else tokens(pl.Series([value]), "")[0]


def is_utf8(text):
    """Whether text can be written as UTF-8: half of a surrogate pair, as JSON can hold, cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _numbers(column, value):
    if column["width"] > 1 or "separator" in column:
        if value is None:
            return [float("nan")] * column["width"]
        value = value.split(column["separator"]) if isinstance(value, str) else value
        if len(value) != column["width"]:
            raise ValueError("another width")
        return [_number(each) for each in value]
    if "unit" in column:
        return _moment(column["unit"], value)
    return _number(value)


def _number(value):
    if isinstance(value, str):
        value = value.strip()
        value = {"true": 1.0, "false": 0.0, "": "nan"}.get(value.lower(), value)
        found = float(value)
    elif isinstance(value, datetime.timedelta):
        found = value.total_seconds()
    else:
        found = float("nan") if value is None else float(value)
    if np.isinf(found):
        raise ValueError("infinite")
    return found


def _moment(unit, value):
    """Moments as numbers in `unit`."""
    import polars as pl

    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return _number(value)
    series = pl.Series([value]) if value is not None else pl.Series([None], dtype=pl.String)
    return float(stamps(series, "", unit=unit)[0]) / UNITS[unit]
