"""Pressure levels as files of different origin describe them."""

from __future__ import annotations

import xarray as xr

from pear.datasets.base import Scan
from pear.datasets.levels import find_levels
from pear.datasets.units import Quantity


def test_levels_of_nomads_in_millibar_are_called_altitude() -> None:
    level = xr.DataArray(
        [850.0, 500.0], dims="lev", attrs={"units": "millibar", "long_name": "altitude"}
    )
    array = xr.DataArray([1.0, 2.0], {"lev": level})
    assert find_levels(array, Quantity("temperature"), Scan("a", "x")).hpa == (850, 500)
