"""Attributes that cfgrib writes, against the axes of a file; layers; mixed versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import Scan, SkippedVariableError
from pear.datasets.horizontal import find_grid
from pear.datasets.levels import find_levels
from pear.datasets.units import Quantity
from pear.datasets.xarray import InMemory, scan_dataset
from pear.errors import InputError

LAT, LON = np.linspace(90.0, -90.0, 19), np.arange(36) * 10.0
WRITTEN = {  # by cfgrib, for these axes
    "GRIB_gridType": "regular_ll",
    "GRIB_Nx": 36,
    "GRIB_Ny": 19,
    "GRIB_numberOfPoints": 684,
    "GRIB_iScansNegatively": 0,
    "GRIB_jScansPositively": 0,
    "GRIB_iDirectionIncrementInDegrees": 10.0,
    "GRIB_jDirectionIncrementInDegrees": 10.0,
    "GRIB_latitudeOfFirstGridPointInDegrees": 90.0,
    "GRIB_latitudeOfLastGridPointInDegrees": -90.0,
    "GRIB_longitudeOfFirstGridPointInDegrees": 0.0,
    "GRIB_longitudeOfLastGridPointInDegrees": 350.0,
}


def dataset(lat: np.ndarray = LAT, lon: np.ndarray = LON, **attributes: Any) -> xr.Dataset:
    values = np.random.default_rng(1).normal(280, 5, (1, lat.size, lon.size)).astype("f4")
    axes = ("time", "latitude", "longitude")
    field = (axes, values, {"units": "K", **WRITTEN, **attributes})
    coords = {"time": np.array(["2020-01-01"], "M8[ns]"), "latitude": lat, "longitude": lon}
    return xr.Dataset({"t2m": field}, coords)


@pytest.mark.parametrize(
    "data",
    [
        dataset(),
        dataset(GRIB_iDirectionIncrementInDegrees=65.535),
        dataset(GRIB_longitudeOfLastGridPointInDegrees=-10.001),
        dataset(GRIB_jDirectionIncrementInDegrees=np.nan, GRIB_Ny="many"),
        dataset(
            LAT[::-1],
            GRIB_jScansPositively=1,
            GRIB_latitudeOfFirstGridPointInDegrees=-90.0,
            GRIB_latitudeOfLastGridPointInDegrees=90.0,
        ),
        # Sorted, or begun at the date line, after cfgrib: xarray moves the values along.
        dataset().sortby("latitude"),
        dataset().roll(longitude=18, roll_coords=True),
        dataset().assign_coords(longitude=(LON + 180) % 360 - 180).sortby("longitude"),
    ],
)
def test_what_agrees_is_read(data: xr.Dataset) -> None:
    assert find_grid(data, data["t2m"], "a.nc").grid.size == 684


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset(GRIB_gridType="reduced_gg"), "GRIB_gridType says 'reduced_gg', but its axes are"),
        (dataset(GRIB_Nx=72), "GRIB_Nx says 72, but its longitude has 36 values"),
        (dataset(GRIB_Ny=37), "GRIB_Ny says 37, but its latitude has 19 values"),
        (dataset(GRIB_numberOfPoints=600), "GRIB_numberOfPoints says 600, but its axes mean 684"),
        (dataset(lon=LON + 5), "longitudeOfFirst.* says 0, but its longitude runs from 5 to 355"),
        (
            dataset(GRIB_iDirectionIncrementInDegrees=5.0),
            "GRIB_iDirectionIncrementInDegrees says 5, but its longitude has steps of 10",
        ),
        (
            dataset(GRIB_latitudeOfLastGridPointInDegrees=-80.0),
            "GRIB_latitudeOfLastGridPointInDegrees says -80, but its latitude runs from 90 to -90",
        ),
    ],
)
def test_another_grid_than_the_axes(data: xr.Dataset, message: str) -> None:
    with pytest.raises(InputError, match=f"^a.nc: t2m: .*{message}.*; correct the axis"):
        find_grid(data, data["t2m"], "a.nc")


def layers(**attributes: str) -> xr.Dataset:
    plev = ("plev", [50_000.0, 85_000.0], {"units": "Pa", "bounds": "plev_bnds"})
    edges = ("plev", "bnds"), np.array([[40_000.0, 60_000.0], [80_000.0, 90_000.0]])
    return xr.Dataset({"t": ("plev", [1.0, 2.0], attributes)}, {"plev": plev, "plev_bnds": edges})


def test_levels_that_are_layers() -> None:
    data, quantity, scan = layers(), Quantity("temperature"), Scan("a.nc", "NetCDF")
    with pytest.raises(SkippedVariableError, match="over layers: plev_bnds is up to 20000 Pa wide"):
        find_levels(data["t"], quantity, scan, data)
    said = layers(cell_methods="time: point plev: point")
    assert find_levels(said["t"], quantity, scan, said).hpa == (500, 850)
    points = data.assign_coords(plev_bnds=data["plev_bnds"] * 0 + data["plev"])
    assert find_levels(points["t"], quantity, scan, points).hpa == (500, 850)


@pytest.mark.parametrize("gone", ["whole", "part"])
def test_a_field_of_two_versions(gone: str) -> None:
    one = dataset()[["t2m"]]
    data = xr.concat([one, one + 5.0], "expver").assign_coords(expver=[1, 5])
    data["t2m"].attrs["units"] = "K"
    data["t2m"][0, 0, (slice(None) if gone == "whole" else slice(3))] = np.nan
    data["t2m"][1, 0, (slice(0) if gone == "whole" else slice(3, None))] = np.nan
    (found,) = scan_dataset(InMemory(data), "a.nc", "NetCDF").variables
    if gone == "whole":
        np.testing.assert_allclose(found.read(0, 0).reshape(19, 36), one["t2m"][0] + 5.0)
    else:
        with pytest.raises(InputError, match="576 values of the final version and 108 of another"):
            found.read(0, 0)
