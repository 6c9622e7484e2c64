"""Pressure levels as files of different origin describe them."""

from __future__ import annotations

from typing import Any

import pytest
import xarray as xr

from pear.datasets.base import Scan
from pear.datasets.levels import find_levels
from pear.datasets.units import Quantity
from pear.errors import InputError


def test_levels_of_nomads_in_millibar_are_called_altitude() -> None:
    level = xr.DataArray(
        [850.0, 500.0], dims="lev", attrs={"units": "millibar", "long_name": "altitude"}
    )
    array = xr.DataArray([1.0, 2.0], {"lev": level})
    assert find_levels(array, Quantity("temperature"), Scan("a", "x")).hpa == (850, 500)


T850 = Quantity("temperature", 850)


@pytest.mark.parametrize(
    "attributes",
    [
        {"long_name": "Temperature at 500 hPa"},
        {"level": "500 mb"},
        {"lev": 500},
        {"GRIB_level": 50_000.0},
        {"level_desc": "500 millibar"},
    ],
    ids=str,
)
def test_another_level_than_that_of_the_name_is_refused(attributes: dict[str, Any]) -> None:
    array = xr.DataArray(0.0, name="t850", attrs=attributes)
    with pytest.raises(InputError, match=f"850 hPa, but its {next(iter(attributes))} .*500 hPa"):
        find_levels(array, T850, Scan("a.nc", "NetCDF"))


@pytest.mark.parametrize(
    "attributes",
    [
        {"long_name": "Temperature at 850 hPa", "level": "850 mb", "lev": 850.0},
        {"level": "Pressure level", "long_name": "Temperature, thickness 1000 hPa to 500 hPa"},
        {"level": [500, 850], "comment": "interpolated from 500 hPa"},
    ],
    ids=str,
)
def test_attributes_that_agree_with_the_level_of_the_name(attributes: dict[str, Any]) -> None:
    array = xr.DataArray(0.0, name="t850", attrs=attributes)
    assert find_levels(array, T850, Scan("a.nc", "NetCDF")).hpa == (850,)


def test_levels_outside_of_their_actual_range_are_refused() -> None:
    attributes = {"units": "hPa", "actual_range": [1000.0, 700.0]}
    level = xr.DataArray([850.0, 500.0], dims="level", attrs=attributes)
    array = xr.DataArray([1.0, 2.0], {"level": level}, name="t")
    with pytest.raises(InputError, match="from 500 to 850, but its actual_range is 700 to 1000"):
        find_levels(array, Quantity("temperature"), Scan("a.nc", "NetCDF"))
