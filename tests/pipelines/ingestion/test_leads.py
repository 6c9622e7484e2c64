"""Lead times in every place where a file may state them, and ranges that a time axis declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.reader import read_lead_times
from pipelines.ingestion.ingest import ingest
from tests.fixtures.ingestion import H6, NSIDE, T0, check_store, temperature

VALID = {"standard_name": "time"}
REFERENCE = T0 - H6


def valid(**coordinates: Any) -> xr.Dataset:
    """Return fields whose times say that they are valid, with further coordinates."""
    data = temperature()
    data["time"].attrs.update(VALID)
    return data.assign_coords(coordinates)


def said(where: str, **attributes: object) -> xr.Dataset:
    data = valid()
    (data if where == "file" else data["t"]).attrs.update(attributes)
    return data


def hours(store: Path) -> list[float]:
    return (read_lead_times(store) / 3600).tolist()


@pytest.mark.parametrize("name", ["step", "lead_time", "forecast_period"])
@pytest.mark.parametrize("units", [None, "steps"])
def test_a_lead_without_a_unit_beside_valid_times(
    name: str, units: str | None, tmp_path: Path
) -> None:
    lead = xr.DataArray(6, attrs={"units": units} if units else {})
    has = "units 'steps', not a length of time" if units else "no units"
    with pytest.raises(InputError, match=f"its {name} of 6 has {has}; set its units"):
        ingest([valid(**{name: lead})], tmp_path / "s.zarr", NSIDE)
    assert not list(tmp_path.iterdir())


def test_a_lead_without_a_unit_that_other_times_tell(tmp_path: Path) -> None:
    data = valid(forecast_reference_time=REFERENCE, step=("time", [6, 12, 18, 24]))
    ingest([data], tmp_path / "s.zarr", NSIDE)
    assert hours(tmp_path / "s.zarr") == [6, 12, 18, 24]
    wrong = valid(forecast_reference_time=REFERENCE, step=("time", [6, 12, 18, 25]))
    with pytest.raises(InputError, match="its step of 6, 12, 18, … has no units"):
        ingest([wrong], tmp_path / "w.zarr", NSIDE)


@pytest.mark.parametrize(
    ("where", "attributes", "lead"),
    [
        ("variable", {"GRIB_dataType": "fc", "GRIB_step": 12}, 12),
        ("variable", {"GRIB_dataType": "fc", "GRIB_stepRange": "12"}, 12),
        ("variable", {"GRIB_dataType": "fc", "GRIB_endStep": 90, "GRIB_stepUnits": "m"}, 1.5),
        ("variable", {"GRIB_forecastTime": 2, "GRIB_indicatorOfUnitOfTimeRange": 11}, 12),
        ("file", {"type": "fc", "step": 24}, 24),
        ("file", {"type": "fc", "step": "24"}, 24),
        ("file", {"type": "an", "step": 0.25}, 0),
        ("file", {"step": 5.0}, 0),
        ("variable", {"GRIB_dataType": "an", "GRIB_step": 0}, 0),
    ],
)
def test_leads_in_attributes(
    where: str, attributes: dict[str, object], lead: float, tmp_path: Path
) -> None:
    ingest([said(where, **attributes)], tmp_path / "s.zarr", NSIDE)
    assert hours(tmp_path / "s.zarr") == [lead] * 4
    check_store(tmp_path / "s.zarr")
    plain = temperature()
    (plain if where == "file" else plain["t"]).attrs.update(attributes)
    if lead:  # nothing says whether the lead is part of the times
        with pytest.raises(InputError, match="do not say whether it is part of them"):
            ingest([plain], tmp_path / "p.zarr", NSIDE)


def test_a_lead_in_attributes_against_a_coordinate(tmp_path: Path) -> None:
    data = valid(step=xr.DataArray(6, attrs={"units": "hours"}))
    data["t"].attrs["GRIB_step"] = 12
    with pytest.raises(InputError, match=r"its attribute GRIB_step is 12, but .* 6 h after"):
        ingest([data], tmp_path / "s.zarr", NSIDE)


def test_a_forecast_of_an_unknown_lead_is_said(tmp_path: Path) -> None:
    report = ingest([said("variable", GRIB_dataType="fc")], tmp_path / "s.zarr", NSIDE)
    assert "a forecast (GRIB_dataType fc) that does not say its lead" in report.sources[0].notes[0]


def test_a_time_before_its_reference_time_is_an_analysis(tmp_path: Path) -> None:
    data = valid(forecast_period=xr.DataArray(-6, attrs={"units": "hours"}))
    report = ingest([data], tmp_path / "s.zarr", NSIDE)
    note = "t: leads of -6 h, of times before the reference time: stored as analyses"
    assert report.sources[0].notes == [note]
    assert hours(tmp_path / "s.zarr") == [0] * 4


RANGES = [
    ({"valid_max": 12}, "values from 0 to 18, but its valid_max is 12 in 'hours since 2001"),
    ({"valid_min": 6.0}, "values from 0 to 18, but its valid_min is 6"),
    ({"valid_range": [0, 12]}, "values from 0 to 18, but its valid_range is 0 to 12"),
    ({"Valid_Range": "0, 12"}, "values from 0 to 18, but its Valid_Range is 0 to 12"),
    ({"actual_range": [0, 12]}, "values from 0 to 18, but its actual_range is 0 to 12"),
]


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize(("stated", "message"), RANGES)
def test_times_beyond_their_own_range(
    stated: dict[str, object], message: str, decoded: bool, tmp_path: Path
) -> None:
    data = temperature()
    units = {"units": "hours since 2001-01-01", "calendar": "standard"}
    data["time"] = ("time", np.arange(4.0) * 6, units | stated)
    data = xr.decode_cf(data) if decoded else data
    with pytest.raises(InputError, match=message):
        ingest([data], tmp_path / "s.zarr", NSIDE)
    wide = {key: [-1e15, 1e15] if "ange" in key else -1e15 for key in stated if "max" not in key}
    data["time"].attrs.update(wide or {"valid_max": 18})
    ingest([data], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


@pytest.mark.parametrize(
    ("axis", "stated", "message"),
    [
        ("latitude", {"valid_range": [-60.0, 60.0]}, "-90 to 90, but its valid_range is -60 to 60"),
        ("longitude", {"valid_range": [0.0, 180.0]}, "0 to 355, but its valid_range is 0 to 180"),
        ("level", {"valid_max": 700}, "values from 500 to 850, but its valid_max is 700"),
    ],
)
def test_other_axes_beyond_their_own_range(
    axis: str, stated: dict[str, object], message: str, tmp_path: Path
) -> None:
    data = temperature()
    data[axis].attrs.update(stated)
    with pytest.raises(InputError, match=message):
        ingest([data], tmp_path / "s.zarr", NSIDE)
    full = {"latitude": [-90, 90], "longitude": [-180, 180], "level": [1, 1000]}[axis]
    data[axis].attrs.update(valid_range=full, valid_max=1e15)
    ingest([data], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


def test_the_times_of_cfgrib(tmp_path: Path) -> None:
    """Its ``time`` has the standard name of a valid time, and its long name says initial."""
    first = {"standard_name": "time", "long_name": "initial time of forecast"}
    data = temperature().rename(time="valid")
    data = data.swap_dims(valid="step").assign_coords(
        time=xr.DataArray(T0 - H6, attrs=first),
        step=("step", (np.arange(4) + 1) * H6, {"standard_name": "forecast_period"}),
        valid_time=("step", T0 + np.arange(4) * H6, VALID | {"long_name": "time"}),
    )
    ingest([data.drop_vars("valid")], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    assert hours(tmp_path / "s.zarr") == [6, 12, 18, 24]
    alone = data.drop_vars(["valid", "valid_time"])
    ingest([alone], tmp_path / "a.zarr", NSIDE)
    check_store(tmp_path / "a.zarr")
