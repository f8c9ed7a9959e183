"""Moments as seconds, and their parts: hour, weekday, days since, cycles."""

import numpy as np

from keras_ctr.features.columns import CYCLES, FIRST_TOKEN, NAMES_OF_TIME, PADDING, UNITS
from keras_ctr.features.tokens import kind_of, numbers, spelled

DAY = 86400.0
# What ISO 8601 text looks like: a date, or a date and a time of day, whose zone is dropped.
ISO = r"^[+-]?\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s*(Z|[+-]\d{2}(:?\d{2})?)?)?$"
_ZONE = r"\s*(Z|[+-]\d{2}(:?\d{2})?)$"
_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")


def stamps(column, name, row=lambda at: at, unit="s"):
    """Returns moments as seconds since 1970 on their own clock, float64 `(n,)`, NaN where missing.

    Args:
        column: polars series of datetimes, dates, times of day (of 1970-01-01), ISO 8601 text, or
            numbers (as such, or spelled) in `unit`.
        name: what errors call the column.
        row: function from a position in the series to the row number that errors give.
        unit: of numbers, one of `UNITS`.

    Raises:
        ValueError: another type, or text that is no moment, with its first row.
    """
    import polars as pl

    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        wall = column.dt.replace_time_zone(None) if dtype.time_zone else column
        return _float(wall.dt.epoch("us")) * 1e-6
    if dtype == pl.Date:
        return _float(column.cast(pl.Int32)) * DAY
    if dtype == pl.Time:
        return _float(column.cast(pl.Int64)) * 1e-9
    if dtype in (pl.Categorical, pl.Enum):
        return stamps(column.cast(pl.String), name, row, unit)
    if dtype == pl.String:
        return _of_text(column, name, row, unit)
    if dtype.is_numeric() or dtype == pl.Null:
        return numbers(column, name, row) * UNITS[unit]
    raise ValueError(
        f"Column {name!r} must hold moments: datetimes, dates, ISO 8601 text, or numbers. "
        f"Received: {kind_of(column)}"
    )


def _of_text(column, name, row, unit):
    import polars as pl

    text = column.str.strip_chars()
    text = text.set(text == "", None)
    counted = spelled(text)
    clock = text.str.replace("T", " ", literal=True).str.replace(",", ".", literal=True)
    clock = pl.select(
        pl.when(clock.str.len_chars() > 10).then(clock.str.replace(_ZONE, "")).otherwise(clock)
    ).to_series()
    found = clock.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    for form in _FORMATS:
        parsed = clock.str.to_datetime(form, strict=False, time_unit="us")
        found = found.zip_with(found.is_not_null(), parsed)
    seconds = found.dt.epoch("us").cast(pl.Float64) * 1e-6
    seconds = seconds.zip_with(seconds.is_not_null(), counted * UNITS[unit])
    wrong = (seconds.is_null() & text.is_not_null()).arg_true()
    if len(wrong):
        raise ValueError(
            f"Column {name!r} must hold moments such as '2026-11-27 14:30:00'. Received: "
            f"{text[wrong[0]]!r} at row {row(wrong[0])} (in {len(wrong)} rows)"
        )
    return _float(seconds)


def _float(series):
    import polars as pl

    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def parts(feature, seconds, first, last):
    """Returns `{name of a derived column: values (n,)}` of a `Time`.

    Names are ids from 2 on, 0 where the moment is missing; quantities are float64, NaN there.

    Args:
        feature: the `Time`.
        seconds: float64 `(n,)`, see `stamps`.
        first, last: the moments between which `"days"` is held.
    """
    missing = np.isnan(seconds)
    whole = np.where(missing, 0, np.floor(seconds)).astype("int64")
    dates = whole.astype("datetime64[s]").astype("datetime64[D]")
    found = {}
    for part in feature.parts:
        name = f"{feature.name}.{part}"
        if part == "days":
            found[name] = np.clip(seconds, first, last) / DAY
        elif part in CYCLES:
            # The week of 1970 began on Monday three days before its first of January, a Thursday.
            shift = 3 * DAY if part == "week_cycle" else 0.0
            angle = 2 * np.pi * (seconds + shift) / CYCLES[part]
            found |= {f"{name}.sin": np.sin(angle), f"{name}.cos": np.cos(angle)}
        else:
            value = _name_of(part, whole, dates)
            assert value.max(initial=0) < NAMES_OF_TIME[part]
            found[name] = np.where(missing, PADDING, value + FIRST_TOKEN)
    return found


def _name_of(part, whole, dates):
    if part == "hour":
        return whole // 3600 % 24
    if part == "weekday":
        return (dates.astype("int64") + 3) % 7  # 1970-01-01 was a Thursday
    months = dates.astype("datetime64[M]")
    if part == "month":
        return months.astype("int64") % 12 + 1
    return (dates - months.astype("datetime64[D]")).astype("int64") + 1  # of the month
