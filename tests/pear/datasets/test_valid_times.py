"""Valid times: never counted twice, contradictions refused with both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import Scan
from pear.datasets.valid_times import find_valid_times, with_time_coordinates
from pear.errors import InputError

FIRST, DAY, H = np.datetime64("2020-01-01", "ns"), np.timedelta64(24, "h"), {"units": "hours"}
DAYS = FIRST + np.arange(2) * DAY
VALID, INITIAL = {"standard_name": "time"}, {"standard_name": "forecast_reference_time"}


def array(dims: dict[str, int], **coords: Any) -> xr.DataArray:
    data = xr.DataArray(np.zeros(tuple(dims.values())), dims=tuple(dims), name="t2m")
    return data.assign_coords(coords)


def days(*numbers: int) -> list[str]:
    return [f"2020-01-{number:02d}" for number in numbers]


RIGHT: dict[str, tuple[xr.DataArray, list[str], str | None, tuple[int, ...]]] = {
    "analyses": (array({"time": 2}, time=DAYS), days(1, 2), "time", (0,)),
    "valid by its standard name": (
        array({"time": 2}, time=("time", DAYS, VALID), forecast_period=((), 24, H)),
        days(1, 2),
        "time",
        (24,),
    ),
    "valid beside a reference time": (
        array({"time": 1}, time=DAYS[1:], forecast_reference_time=FIRST, step=((), 24, H)),
        days(2),
        "time",
        (24,),
    ),
    "valid beside a reference time, no lead": (
        array({"time": 2}, time=DAYS, reftime=FIRST),
        days(1, 2),
        "time",
        (0, 24),
    ),
    "a period along time": (
        array({"time": 2}, time=("time", DAYS, VALID), forecast_period=("time", [24, 48], H)),
        days(1, 2),
        "time",
        (24, 48),
    ),
    "initial by convention": (
        array({"time": 2}, time=DAYS, step=((), 24, H)),
        days(2, 3),
        "time",
        (24,),
    ),
    "initial by its standard name": (
        array(
            {"time": 2},
            time=("time", DAYS, INITIAL),
            step=((), 24, H),
            valid_time=("time", DAYS + DAY),
        ),
        days(2, 3),
        "time",
        (24,),
    ),
    "one start, many leads": (
        array({"time": 1, "step": 2}, time=DAYS[:1], step=("step", [24, 48], H)),
        days(2, 3),
        "step",
        (24, 48),
    ),
    "two dimensions, one lead": (
        array(
            {"number": 1, "forecast_reference_time": 2, "forecast_period": 1},
            forecast_reference_time=DAYS,
            forecast_period=("forecast_period", [24], H),
            valid_time=(("forecast_reference_time", "forecast_period"), (DAYS + DAY)[:, None]),
        ),
        days(2, 3),
        "forecast_reference_time",
        (24,),
    ),
    "a scalar": (array({}, time=FIRST), days(1), None, (0,)),
    "capitals": (array({"TIME": 2}, TIME=DAYS), days(1, 2), "TIME", (0,)),
    "an axis of dates": (array({"date": 2}, date=DAYS), days(1, 2), "date", (0,)),
    "an odd name with a standard name": (
        array({"t": 2}, t=("t", DAYS, VALID)),
        days(1, 2),
        "t",
        (0,),
    ),
    "the axis T": (array({"t": 2}, t=("t", DAYS, {"axis": "T"})), days(1, 2), "t", (0,)),
    "a date beside the axis": (
        array({"time": 2}, time=DAYS, date=("time", [20200101, 20200102])),
        days(1, 2),
        "time",
        (0,),
    ),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_valid_times(kind: str) -> None:
    data, times, dim, leads = RIGHT[kind]
    found, dimension, seconds = find_valid_times(data, Scan("a.nc", "NetCDF"))
    assert [str(time)[:10] for time in found] == times
    assert dimension == dim
    assert seconds == tuple(hours * 3600 for hours in leads)


WRONG: dict[str, tuple[xr.DataArray, tuple[str, ...]]] = {
    "valid against initial and lead": (
        array({"time": 1}, time=DAYS[:1], step=((), 24, H), valid_time=("time", DAYS[:1])),
        ("valid_time 2020-01-01T00:00:00Z", "time 2020-01-01T00:00:00Z plus step 24 h"),
    ),
    "a valid time left over": (
        array({"time": 2}, time=DAYS, valid_time=DAYS[1]),
        ("valid_time 2020-01-02T00:00:00Z is one for 2 times", "left over"),
    ),
    "valid before the start": (
        array({"time": 1}, time=DAYS[1:], valid_time=("time", DAYS[:1])),
        ("valid_time 2020-01-01T00:00:00Z is before time 2020-01-02T00:00:00Z",),
    ),
    "two valid times": (
        array({"time": 1}, time=("time", DAYS[:1], VALID), valid_time=("time", DAYS[1:])),
        ("two valid times that differ", "2020-01-01", "2020-01-02"),
    ),
    "two leads": (
        array({"time": 1}, time=DAYS[:1], step=((), 24, H), lead_time=((), 48, H)),
        ("two lead times that differ", "step 24 h", "lead_time 48 h"),
    ),
    "a lead along a time that does not say which": (
        array({"time": 2}, time=DAYS, step=("time", [24, 48], H)),
        ("does not say whether step 24 to 48 h is part of it",),
    ),
    "a period beside a time that does not say which": (
        array({"time": 1}, time=DAYS[:1], forecast_period=((), 24, H)),
        ("does not say whether forecast_period 24 h",),
    ),
    "a bare lead": (array({"time": 1}, time=DAYS[:1], step=24), ("its step of 24 has no units",)),
    "a start without lead": (
        array({"init_time": 2}, init_time=DAYS),
        ("has init_time, when forecasts start, but no lead time",),
    ),
    "starts by leads": (
        array({"time": 2, "step": 2}, time=DAYS, step=("step", [24, 48], H)),
        ("has 2 lead times at each init time (valid times by time 2 x step 2)",),
    ),
    "an unknown name": (array({"when": 2}, when=DAYS), ("when holds dates", "name it time")),
    "nothing": (array({"x": 2}), ("has no time (its dimensions: x)",)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_contradictions_quote_both_sides(kind: str) -> None:
    data, words = WRONG[kind]
    with pytest.raises(InputError) as caught:
        find_valid_times(data, Scan("a.nc", "NetCDF"))
    for word in words:
        assert word in str(caught.value)


def test_times_kept_as_plain_variables_count() -> None:
    data = xr.Dataset({"t2m": array({"time": 1}, time=DAYS[:1]), "step": ((), 24, H)})
    data["forecast_reference_time"] = FIRST - DAY
    with pytest.raises(InputError, match="plus step 48 h") as caught:
        find_valid_times(
            with_time_coordinates(data.assign(step=((), 48, H)))["t2m"], Scan("a.nc", "NetCDF")
        )
    assert "time 2020-01-01T00:00:00Z" in str(caught.value)
    times, _, leads = find_valid_times(with_time_coordinates(data)["t2m"], Scan("a.nc", "NetCDF"))
    assert (str(times[0])[:10], leads) == ("2020-01-01", (86400,))


def test_a_reference_time_without_lead_is_noted() -> None:
    scan = Scan("a.nc", "NetCDF")
    find_valid_times(array({"time": 1}, time=("time", DAYS[:1], INITIAL)), scan)
    assert scan.notes == ["t2m: time is a reference time without a lead: taken as analyses"]
