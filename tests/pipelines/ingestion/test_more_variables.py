"""Variables beside the nine: asked for, of one's own, summed over hours, and with gaps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import ScanOptions
from pear.errors import InputError
from pear.store.reader import open_store, stored_layout
from pear.variables import BY_NAME
from pear.variables.own import load_variables
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.storage.check import check_store
from tests.fixtures.ingestion import H6, LAT, LON, NSIDE, T0, temperature
from tests.fixtures.own_variables import forgetting, write


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with forgetting():
        yield


def with_field(data: xr.Dataset, name: str, values: np.ndarray, **attributes: object) -> xr.Dataset:
    """Return the data with one more field, which turns by a column from time to time."""
    hours = (data["time"].values - T0) // H6
    fields = np.stack([np.roll(values, int(hour), axis=1) for hour in hours]).astype("f4")
    dims = ("time", "latitude", "longitude")
    return data.assign({name: (dims, fields, attributes)})


def smooth(low: float, high: float) -> np.ndarray:
    la, lo = np.meshgrid(np.deg2rad(LAT), np.deg2rad(LON), indexing="ij")
    wave = 0.5 + 0.45 * np.cos(la) * np.sin(lo) + 0.05 * np.sin(la)
    return np.asarray(low + (high - low) * wave)


def options(*also: str) -> IngestOptions:
    return IngestOptions(nside=NSIDE, scan=ScanOptions(also=also))


def test_known_variables_are_taken_when_asked_for(tmp_path: Path) -> None:
    data = with_field(temperature(2), "sp", smooth(60_000, 103_000), units="Pa")
    report = ingest([data], tmp_path / "a.zarr", options=options())
    assert report.sources[0].ignored == {"sp": "surface_pressure is not asked for"}
    ingest([data], tmp_path / "b.zarr", options=options("surface_pressure"))
    store = open_store(tmp_path / "b.zarr")
    assert store["surface_pressure"].attrs["standard_name"] == "surface_air_pressure"
    assert 60_000 < float(store["surface_pressure"].min()) < 75_000


def test_a_store_grows_by_a_variable_and_goes_on_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    ingest([temperature(2)], path, options=options())
    later = with_field(temperature(2, start=2), "sp", smooth(60_000, 103_000), units="hPa")
    later["sp"] = (later["sp"] / 100).assign_attrs(units="hPa")
    ingest([later], path, options=options("surface_pressure"))
    again = with_field(temperature(1, start=4), "sp", smooth(60_000, 103_000), units="Pa")
    ingest([again], path, options=options())
    store = open_store(path)
    held = np.isfinite(store["surface_pressure"].values).all(axis=1)
    assert held.tolist() == [False, False, True, True, True]
    flags = store["complete"].values[
        :, store["complete"].attrs["channels"].index("surface_pressure")
    ]
    assert flags.tolist() == [0, 0, 1, 1, 1]
    assert not check_store(path).findings


def test_a_store_opens_without_the_users_file(tmp_path: Path) -> None:
    with forgetting():
        load_variables(write(tmp_path))
        skin = smooth(220, 310) - 273.15
        data = with_field(temperature(1), "tskin", skin, units="degC", long_name="Skin temperature")
        ingest([data], tmp_path / "a.zarr", options=options())
    assert "skin_temperature" not in BY_NAME
    assert stored_layout(tmp_path / "a.zarr")[1].surface == ("skin_temperature",)
    assert 220 < float(open_store(tmp_path / "a.zarr")["skin_temperature"].min()) < 230


def test_rain_is_summed_over_the_hours_of_its_variable(tmp_path: Path) -> None:
    rain = np.clip(smooth(-0.01, 0.02), 0, None)  # dry on a third of the globe
    six = with_field(temperature(1), "total_precipitation_6hr", 1000 * rain, units="mm")
    ingest([six], tmp_path / "a.zarr", options=options("total_precipitation_6hr"))
    stored = open_store(tmp_path / "a.zarr")["total_precipitation_6hr"]
    assert float(stored.max()) == pytest.approx(0.0185, abs=0.001)
    assert stored.attrs["units"] == "m"
    hourly = with_field(temperature(1), "tp", rain, units="m", long_name="Total precipitation")
    report = ingest([hourly], tmp_path / "b.zarr", options=options("total_precipitation_6hr"))
    assert "a period that is not stated" in report.sources[0].ignored["tp"]
    stated = with_field(temperature(1), "tp", rain, units="m", long_name="Precipitation in 1 h")
    report = ingest([stated], tmp_path / "c.zarr", options=options("total_precipitation_6hr"))
    assert "summed over 1 h, of which no 6 h without a gap" in report.sources[0].ignored["tp"]


def test_land_takes_the_sea_surface_temperature_of_the_nearest_coast(tmp_path: Path) -> None:
    sst = smooth(272, 303)
    land = np.zeros(sst.shape, dtype=bool)
    land[10:25, 10:30] = True
    data = with_field(temperature(1), "sst", np.where(land, np.nan, sst), units="K")
    ingest([data], tmp_path / "a.zarr", options=options("sea_surface_temperature"))
    stored = open_store(tmp_path / "a.zarr")["sea_surface_temperature"].values
    assert np.isfinite(stored).all()
    assert stored.min() >= sst[~land].min() - 1e-3
    empty = with_field(temperature(1), "sst", np.where(sst > 280, np.nan, sst) * np.nan, units="K")
    with pytest.raises(InputError, match="missing"):
        ingest([empty], tmp_path / "b.zarr", options=options("sea_surface_temperature"))
