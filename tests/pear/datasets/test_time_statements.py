"""What files say of their times beside the axis of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import Scan
from pear.datasets.time_statements import compare_times, require_clock
from pear.datasets.valid_times import find_valid_times
from pear.errors import InputError

TIMES = np.array(["2020-01-01T00", "2020-01-01T06"], "datetime64[s]")
HOURS = {"units": "hours since 2020-01-01"}


def axis(**attributes: Any) -> xr.DataArray:
    return xr.DataArray([0.0, 6.0], dims="time", attrs=HOURS | attributes, name="time")


@pytest.mark.parametrize(
    "attributes",
    [
        {"time_zone": "America/New_York"},
        {"TimeZone": "+01:00"},
        {"long_name": "local time"},
        {"long_name": "GPS time"},
        {"comment": "seconds of TAI"},
        {"description": "Eastern Standard Time"},
        {"Calendar": "noleap"},
        {"CALENDAR": "360_day"},
        {"actual_range": [24.0, 30.0]},
    ],
    ids=str,
)
def test_another_clock_calendar_or_range_is_refused(attributes: dict[str, Any]) -> None:
    coordinate = axis(**attributes)
    array = xr.DataArray([1.0, 2.0], {"time": coordinate}, ["time"], "t2m")
    with pytest.raises(InputError, match=r"UTC|Gregorian|24 to 30") as caught:
        find_valid_times(array, Scan("a.nc", "NetCDF"))
    assert str(next(iter(attributes.values()))).strip("[").split(".")[0] in str(caught.value)


@pytest.mark.parametrize(
    "attributes",
    [
        {"time_zone": "UTC"},
        {"time_zone": "Z", "long_name": "time"},
        {"long_name": "Time (UTC), not local time"},
        {"Calendar": "Gregorian"},
        {"actual_range": [0.0, 6.0]},
    ],
    ids=str,
)
def test_the_clock_of_utc_is_read(attributes: dict[str, Any]) -> None:
    require_clock(axis(**attributes), "a.nc: t2m")
    array = xr.DataArray([1.0, 2.0], {"time": axis(**attributes)}, ["time"], "t2m")
    assert np.array_equal(find_valid_times(array, Scan("a.nc", "NetCDF"))[0], TIMES)


def leads_of(data: xr.Dataset, roles: set[str], leads: tuple[int, ...] = (0,)) -> tuple[int, ...]:
    found = (TIMES, "time", leads)
    return compare_times(data["t2m"], data, found, frozenset(roles), Scan("a.nc", "NetCDF"))


def data(coords: dict[str, Any] | None = None, **attributes: Any) -> xr.Dataset:
    times = {"time": TIMES.astype("datetime64[ns]")}
    array = xr.DataArray([1.0, 2.0], times | (coords or {}), ["time"], "t2m")
    return array.to_dataset().assign_attrs(attributes)


START: dict[str, Any] = {"forecast_reference_time": "2019-12-25T00:00:00Z"}


@pytest.mark.parametrize(
    ("given", "roles", "leads", "message"),
    [
        (data(**START, forecast_hour=168), {"valid"}, (0,), "forecast_hour is 168, .* 168, 174 h"),
        (data(**START), {"valid", "lead"}, (86_400,), "'2019-12-25T00:00:00Z', but .* 24 h after"),
        (data(init_time="2020-01-02"), {"time"}, (0,), "init_time is '2020-01-02', but its times"),
        (data(forecast_hour=6), {"time"}, (0,), "do not say whether it is part of them"),
        (data(time_coverage_end="1990-01-02T00:00:00.000Z"), {"time"}, (0,), "time_coverage_end"),
        (data(time_coverage_start="2020-01-01 03:00 UTC"), {"time"}, (0,), "time_coverage_start"),
        (data({"month": ("time", [7, 7])}), {"time"}, (0,), "its month is 7, but its times"),
        (data({"year": 1999}), {"time"}, (0,), "its year is 1999, but its times"),
    ],
)
def test_what_contradicts_the_times_is_refused(
    given: xr.Dataset, roles: set[str], leads: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        leads_of(given, roles, leads)


@pytest.mark.parametrize(
    ("given", "roles", "leads", "expected"),
    [
        (data(), {"time"}, (0,), (0,)),
        (data(**START), {"time"}, (0,), (168 * 3600, 174 * 3600)),
        (data(forecast_hour=24), {"valid"}, (0,), (86_400,)),
        (data(forecast_hour=24), {"valid", "lead"}, (86_400,), (86_400,)),
        (data(forecast_hour=0), {"time"}, (0,), (0,)),
        (
            data(time_coverage_start="2020-01-01", time_coverage_end="2020-01-01"),
            {"time"},
            *2 * [(0,)],
        ),
        (data(time_coverage_end="unknown"), {"time"}, (0,), (0,)),
        (data({"month": ("time", [1, 1]), "year": 2020}), {"time"}, (0,), (0,)),
        (data({"month": ("time", [12, 12])}), {"lead"}, (86_400,), (86_400,)),
    ],
)
def test_what_agrees_with_the_times_is_believed(
    given: xr.Dataset, roles: set[str], leads: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert leads_of(given, roles, leads) == expected
