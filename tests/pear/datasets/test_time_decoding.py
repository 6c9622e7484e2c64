"""Times of files, exact to the second from any encoding, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pear.datasets.time_decoding import decode_duration, decode_times
from pear.errors import InputError


def axis(values: object, units: str = "", dtype: str = "f8", calendar: str = "") -> xr.DataArray:
    attrs = {"units": units} if units else {}
    if calendar:
        attrs["calendar"] = calendar
    return xr.DataArray(np.asarray(values, dtype=dtype), dims="time", name="time", attrs=attrs)


HOURS = np.arange(24)
DAYS_SINCE_2000 = 8720 + HOURS / 24  # from 2023-11-16


@pytest.mark.parametrize(
    "coordinate",
    [
        axis(738841 + HOURS / 24, "days since 1-1-1 00:00:0.0"),
        axis(DAYS_SINCE_2000, "days since 2000-01-01"),
        axis(DAYS_SINCE_2000, "days since 2000-01-01", "f4"),
        axis(DAYS_SINCE_2000.round(4), "days since 2000-01-01"),
        axis(DAYS_SINCE_2000.round(3), "days since 2000-01-01"),
        axis(DAYS_SINCE_2000.astype("f4"), "days since 2000-01-01", "f8"),
        axis(DAYS_SINCE_2000 * 24 - 3.7e-9, "hours since 2000-01-01"),
        axis(DAYS_SINCE_2000 * 1440 + 1e-3, "minutes since 2000-01-01"),
        axis(DAYS_SINCE_2000 * 86400, "seconds since 2000-01-01", "i8"),
        axis(DAYS_SINCE_2000 * 864e11, "nanoseconds since 2000-01-01", "i8"),
        axis(DAYS_SINCE_2000 * 864e11, "ns since 2000-01-01", "f8"),
        axis(DAYS_SINCE_2000 / 7, "weeks since 2000-01-01T00:00:00Z"),
        axis(DAYS_SINCE_2000 * 24 + 1, "Hours Since 20000101 00:00 +0100"),
        axis(DAYS_SINCE_2000 * 24, "h since 1999-12-31 24:00:00", calendar="Gregorian "),
        axis(np.datetime64("2023-11-16T00:00") + HOURS * np.timedelta64(1, "h"), "", "M8[ns]"),
        axis(
            np.datetime64("2023-11-16") + (HOURS * 3600 * 10**9 - 14).astype("m8[ns]"), "", "M8[ns]"
        ),
        axis([f"2023-11-16T{hour:02d}:00:00Z" for hour in HOURS], "", "U20"),
        axis([f"2023-11-16_{hour:02d}:00:00".encode() for hour in HOURS], "", "S19"),
    ],
    ids=lambda one: f"{one.dtype}-{one.attrs.get('units', '')}",
)
def test_hours_of_a_day_in_any_encoding(coordinate: xr.DataArray) -> None:
    want = np.datetime64("2023-11-16T00", "s") + HOURS * np.timedelta64(1, "h")
    np.testing.assert_array_equal(decode_times(coordinate, "a.nc: t2m").times, want)


def test_what_was_rounded_is_noted() -> None:
    days = axis(DAYS_SINCE_2000, "days since 2000-01-01", "f4")
    assert "rounded to the whole hour (by up to 28 s)" in decode_times(days, "a.nc").note
    assert not decode_times(axis(DAYS_SINCE_2000, "days since 2000-01-01"), "a.nc").note


def test_dates_that_were_decoded_from_32_bits() -> None:
    days = axis(DAYS_SINCE_2000, "days since 2000-01-01", "f4")
    decoded = xr.decode_cf(xr.Dataset({"time": days}))["time"]
    assert decode_times(decoded, "a.nc").times[1] == np.datetime64("2023-11-16T01:00:00")


def test_seconds_are_kept() -> None:
    times = decode_times(axis([3605.0, 7217.0], "seconds since 2020-01-01"), "a.nc").times
    assert [str(time)[11:] for time in times] == ["01:00:05", "02:00:17"]
    times = decode_times(axis([0.5], "minutes since 2020-01-01"), "a.nc").times
    assert str(times[0]) == "2020-01-01T00:00:30"


@pytest.mark.parametrize(
    ("units", "days", "date"),
    [
        ("days since 0001-01-01", 577737, "1582-10-15"),
        ("days since 1582-10-04", 1, "1582-10-15"),
        ("days since 1500-02-29", 1, "1500-03-11"),
        ("days since 1900-02-28", 1, "1900-03-01"),
        ("days since 2000-02-28", 1, "2000-02-29"),
    ],
)
def test_the_mixed_calendar(units: str, days: int, date: str) -> None:
    cftime = pytest.importorskip("cftime")
    if date >= "1582":
        assert str(cftime.num2date(days, units, "standard"))[:10] == date
    (found,) = decode_times(axis([days], units, "i4"), "a.nc").times
    assert str(found)[:10] == date


@pytest.mark.parametrize(
    ("coordinate", "words"),
    [
        (axis([20200101.25], "day as %Y%m%d.%f"), "'day as %Y%m%d.%f' (20200101.25)"),
        (axis([0, 6]), "a number without units"),
        (axis([1], "months since 2020-01-01"), "'months' is not a unit of fixed length"),
        (axis([1], "hours since analysis"), "'analysis' is not a date"),
        (axis([1], "hours since 2020-01-01 00:00:00 CET"), "'CET' is not an offset from UTC"),
        (axis([1], "hours since 2020-01-01 00:00:00 Europe/Rome"), "'Europe/Rome'"),
        (axis([1], "hours since 2020-02-30"), "no such date"),
        (axis([1], "hours since 2020-01-01 25:00"), "no such time"),
        (axis([1], "hours since 01-01-1900"), "is not a date"),
        (axis([1], "hours since 90-01-01"), "two digits"),
        (axis([1], "days since 0000-01-01"), "does not have a year 0"),
        (axis([1], "hours since 2020-01-01", calendar="360_day"), "calendar '360_day'"),
        (axis([1], "hours since 2020-01-01", calendar="none"), "calendar 'none'"),
        (axis([1e30], "hours since 2020-01-01"), "beyond the year 9999"),
        (axis([738841 + 1 / 24], "days since 1-1-1", "f4"), "too coarse for a minute"),
        (axis([8720 + 1 / 40], "days since 2000-01-01", "f4"), "too coarse for a minute"),
        (axis([0.04, 0.08], "days since 2000-01-01"), "too coarse for a minute"),
        (axis(["yesterday"], "", "U20"), "not a date of ISO 8601 ('yesterday')"),
        (axis(["2020-01-01T00:00 CET"], "", "U20"), "'CET' is not an offset"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_not_a_time_is_quoted(coordinate: xr.DataArray, words: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_times(coordinate, "a.nc: t2m")
    assert words in str(caught.value)
    assert str(caught.value).startswith("a.nc: t2m: its time")
    assert caught.value.hint or "no such" in words or "9999" in words


def test_missing_times_stay_missing() -> None:
    assert np.isnat(decode_times(axis([0, np.nan], "hours since 2020-01-01"), "a").times[1])


def lead(value: object, units: str | None, dtype: str = "f8") -> xr.DataArray:
    attrs = {} if units is None else {"units": units}
    return xr.DataArray(np.asarray(value, dtype=dtype), name="lead_time", attrs=attrs)


@pytest.mark.parametrize(
    "coordinate",
    [
        *(lead(24, unit, "i4") for unit in ("hour", "hours", "h", "H", "hr", "hrs")),
        *(lead(1440, unit) for unit in ("min", "minutes", "MIN")),
        *(lead(86400, unit, "i8") for unit in ("s", "sec", "seconds")),
        *(lead(1, unit, "i1") for unit in ("D", "d", "day", "days")),
        *(lead(864e5, unit) for unit in ("ms", "milliseconds", "msec")),
        *(lead(864e8, unit, "i8") for unit in ("us", "\u00b5s", "\u03bcs", "microseconds")),
        *(lead(864e11, unit, "i8") for unit in ("ns", "nanoseconds")),
        lead(np.timedelta64(24, "h"), None, "m8[ns]"),
        lead(24.0000001, "hours", "f4"),
    ],
    ids=lambda one: str(one.attrs.get("units")),
)
def test_one_day_in_any_unit(coordinate: xr.DataArray) -> None:
    assert decode_duration(coordinate, "a.nc") == np.timedelta64(86400, "s")


@pytest.mark.parametrize(
    ("value", "units", "dtype"),
    [
        (1, "months", "f8"),
        (1, "m", "f8"),
        (24, "steps", "f8"),
        (24, "hours since 2020-01-01", "f8"),
        (24, None, "f8"),
        (24, "1", "f8"),
        (np.nan, "hours", "f8"),
        (np.timedelta64("NaT", "ns"), None, "m8[ns]"),
        ("24h", None, "U3"),
        (864e11, "hours", "f8"),
    ],
)
def test_other_leads_are_refused_by_name(value: object, units: str | None, dtype: str) -> None:
    with pytest.raises(InputError, match="lead_time"):
        decode_duration(lead(value, units, dtype), "a.nc")


def test_zero_needs_no_unit() -> None:
    assert decode_duration(lead(0, None), "a.nc") == np.timedelta64(0, "s")
