"""Files that say one thing twice and differently, or are wrapped: refused or read right."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pipelines.ingestion.ingest import ingest
from tests.fixtures.ingestion import NSIDE, check_store, temperature

Change = Callable[[xr.Dataset], xr.Dataset]


def with_repeated_column(data: xr.Dataset, offset: float) -> xr.Dataset:
    again = data.isel(longitude=[0]) + offset
    return xr.concat([data, again.assign_coords(longitude=[360.0])], "longitude")


def with_repeated_time(data: xr.Dataset, offset: float) -> xr.Dataset:
    return xr.concat([data, data.isel(time=[1]) + offset], "time")


def in_fahrenheit(data: xr.Dataset) -> xr.Dataset:
    data["t"] = ((data["t"] - 273.15) * 9 / 5 + 32).assign_attrs(units="degF")
    return data


def said(**attributes: str) -> Change:
    return lambda data: data.assign(t=data["t"].assign_attrs(attributes))


def wind(data: xr.Dataset) -> xr.Dataset:
    attributes = {"units": "m s-1", "long_name": "westward wind"}
    return data.assign(u=(data["t"] - 260).assign_attrs(attributes)).drop_vars("t")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: with_repeated_column(data, 0.0),
        lambda data: with_repeated_time(data, 0.0),
        in_fahrenheit,
        said(cell_methods="area: mean"),
        said(cell_methods="lat: lon: mean"),
        lambda data: data.assign_attrs(mip_era="CMIP6", frequency="6hrPt"),
        lambda data: said(cell_methods="area: mean time: point")(data).assign_attrs(
            mip_era="CMIP6", frequency="6hr"
        ),
    ],
)
def test_what_agrees_is_read(change: Change, tmp_path: Path) -> None:
    ingest([change(temperature())], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: with_repeated_column(data, 2.5),
            r"at 360 degrees east is that at 0 degrees, but differs from it by up to 2\.5",
        ),
        (
            lambda data: with_repeated_time(data, 0.5),
            "2001-01-01T06:00:00Z twice, at positions 1 and 4 of its times, with different",
        ),
        (said(cell_methods="longitude: mean"), "mean over longitude"),
        (said(cell_methods="lat: mean"), "mean over lat"),
        (
            lambda data: data.assign_attrs(mip_era="CMIP6", frequency="day"),
            "mean over a period \\(frequency 'day'\\)",
        ),
        (wind, "long_name 'westward wind'"),
    ],
)
def test_what_contradicts_itself_is_refused(change: Change, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        ingest([change(temperature())], tmp_path / "s.zarr", NSIDE)
    assert not list(tmp_path.iterdir())


def gzipped(path: Path) -> Path:
    packed = path.with_suffix(".nc.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def tarred(path: Path) -> Path:
    archive = path.with_suffix(".tar")
    with tarfile.open(archive, "w") as file:
        file.add(path, path.name)
    return archive


def in_a_group(path: Path) -> Path:
    with xr.open_dataset(path) as data:
        data.load()
    data.to_netcdf(path, group="forecast")
    return path


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (gzipped, "is compressed by gzip; uncompress it first"),
        (tarred, "is a tar archive; extract its files"),
        (in_a_group, "has no variables but groups: forecast; write one"),
    ],
)
def test_wrapped_files_are_named(
    wrap: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.nc"
    temperature().to_netcdf(path)
    with pytest.raises(InputError, match=message):
        ingest([wrap(path)], tmp_path / "s.zarr", NSIDE)
    assert not (tmp_path / "s.zarr").exists()


def test_a_time_that_is_missing_is_said_to_be_missing(tmp_path: Path) -> None:
    data = temperature()
    hours = np.array([0, 6, np.iinfo(np.int64).min, 18])
    data["time"] = ("time", hours, {"units": "hours since 2001-01-01"})
    data.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="has values that are not a time"):
        ingest([tmp_path / "a.nc"], tmp_path / "s.zarr", NSIDE)
