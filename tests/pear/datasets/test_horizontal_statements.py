"""What files say of latitudes and longitudes beside their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.datasets.horizontal import find_grid
from pear.errors import InputError

LAT, LON = np.linspace(90.0, -90.0, 19), np.arange(0.0, 360.0, 10.0)
Change = Callable[[xr.Dataset], xr.Dataset]


def data() -> xr.Dataset:
    coords = {
        "latitude": ("latitude", LAT, {"units": "degrees_north"}),
        "longitude": ("longitude", LON, {"units": "degrees_east"}),
    }
    return xr.Dataset({"t2m": (("latitude", "longitude"), np.zeros((19, 36)))}, coords)


def mapped(text: str = "crs", **attributes: Any) -> Change:
    kind = {"grid_mapping_name": "latitude_longitude", **attributes}

    def change(given: xr.Dataset) -> xr.Dataset:
        given["t2m"].attrs["grid_mapping"] = text
        return given.assign(crs=((), 0, kind))

    return change


def bounded(axis: str, edges: Any, name: str = "edges") -> Change:
    def change(given: xr.Dataset) -> xr.Dataset:
        given[axis].attrs["bounds"] = name
        return given.assign({name: ((axis, "nv"), np.stack(edges, axis=1))})

    return change


def said(axis: str, **attributes: Any) -> Change:
    def change(given: xr.Dataset) -> xr.Dataset:
        given[axis].attrs.update(attributes)
        return given

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (mapped(longitude_of_prime_meridian=180.0), "longitude_of_prime_meridian 180.0"),
        (mapped(longitude_of_prime_meridian=2.337, prime_meridian_name="Paris"), "2.337, Paris"),
        (
            mapped("crs: latitude longitude", longitude_of_prime_meridian=-180.0),
            "longitude_of_prime_meridian -180.0",
        ),
        (bounded("latitude", (-LAT - 5, -LAT + 5)), "latitude 90 .* bounds -95 to -85"),
        (bounded("longitude", (LON + 170, LON + 180)), "longitude 0 .* bounds 170 to 180"),
        (said("latitude", positive="south"), "says positive 'south'"),
        (said("latitude", long_name="latitude, positive southwards"), "counts towards north"),
        (said("longitude", long_name="longitude west of Greenwich"), "counts towards east"),
        (said("longitude", comment="degrees_west"), "counts towards east"),
        (said("latitude", actual_range=[-60.0, 60.0]), "from -90 to 90, but .* -60 to 60"),
        (said("longitude", actual_range=[0.0, 180.0]), "from 0 to 350, but .* 0 to 180"),
    ],
)
def test_what_contradicts_the_axes_is_refused(change: Change, message: str) -> None:
    given = change(data())
    with pytest.raises(InputError, match=message):
        find_grid(given, given["t2m"], "a.nc")


@pytest.mark.parametrize(
    "change",
    [
        mapped(longitude_of_prime_meridian=0.0, prime_meridian_name="Greenwich"),
        mapped(longitude_of_prime_meridian=360.0),
        bounded("latitude", (np.clip(LAT + 5, -90, 90), np.clip(LAT - 5, -90, 90))),
        bounded("longitude", ((LON - 5) % 360, (LON + 5) % 360)),
        bounded("longitude", (LON, LON), "longitude_bnds"),
        said("latitude", long_name="latitude (south is negative)", actual_range=[90.0, -90.0]),
        said("longitude", long_name="longitude, from west to east, west negative"),
        said("longitude", actual_range=[-180.0, 170.0]),
    ],
)
def test_what_agrees_is_read(change: Change) -> None:
    given = change(data())
    assert find_grid(given, given["t2m"], "a.nc").dims == ("latitude", "longitude")
