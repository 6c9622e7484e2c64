"""Fields that are equal bit for bit to another variable, level or time."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pear
from pear.datasets.repetition import NO_DIGEST, FieldRegister, Place, digest
from pear.errors import InputError
from pear.sphere.latlon import global_grid

NOON, EVENING = np.array(["2001-01-01T12", "2001-01-01T18"], "datetime64[s]")
FIELD = np.linspace(250, 300, 48, dtype=np.float32)


def found(first: Place, second: Place) -> Place | None:
    register = FieldRegister()
    assert register.find_equal(digest(FIELD, first.name), first) is None
    return register.find_equal(digest(FIELD, second.name), second)


@pytest.mark.parametrize(
    "other",
    [
        Place("temperature", 850, NOON),
        Place("temperature", 850, EVENING),
        Place("2m_temperature", None, NOON),
    ],
)
def test_another_level_time_or_variable(other: Place) -> None:
    first = Place("temperature", 500, NOON)
    assert found(first, other) == first
    assert found(first, first) is None


@pytest.mark.parametrize("name", ["sea_surface_temperature", "sea_ice_cover"])
def test_the_sea_may_stay_as_it_is(name: str) -> None:
    assert found(Place(name, None, NOON), Place(name, None, EVENING)) is None
    other = Place("2m_temperature", None, EVENING)
    assert found(Place(name, None, NOON), other) == Place(name, None, NOON)


@pytest.mark.parametrize("name", ["temperature", "total_precipitation_6hr", "total_cloud_cover"])
def test_another_time_of_weather(name: str) -> None:
    assert found(Place(name, None, NOON), Place(name, None, EVENING)) == Place(name, None, NOON)


def test_the_components_of_a_wind() -> None:
    u = Place("u_component_of_wind", 500, NOON)
    assert found(u, Place("v_component_of_wind", 500, NOON)) == u
    assert found(u, Place("v_component_of_wind", 850, EVENING)) == u


def test_one_value_everywhere_says_nothing() -> None:
    assert digest(np.zeros(48, dtype=np.float32), "total_precipitation_6hr") == NO_DIGEST


def test_dry_air_says_nothing() -> None:
    dry = np.where(np.arange(48) < 45, 0, 1e-6).astype(np.float32)
    assert digest(dry, "specific_humidity") == NO_DIGEST
    assert digest(dry, "temperature") != NO_DIGEST
    assert digest(FIELD, "specific_humidity") != NO_DIGEST


def test_the_register_forgets_the_oldest() -> None:
    register = FieldRegister(limit=1)
    places = [Place("temperature", level, NOON) for level in (500, 700)]
    for number, place in enumerate(places, start=1):
        assert register.find_equal(number, place) is None
    assert register.find_equal(1, places[1]) is None
    assert register.find_equal(2, places[0]) is None


def two_times(**attributes: str) -> xr.Dataset:
    grid = global_grid(19, 36)
    rows, columns = np.meshgrid(np.radians(grid.lat), np.radians(grid.lon), indexing="ij")
    field = (280 + 20 * np.cos(rows) * np.cos(columns)).astype("f4")
    coords = {"time": [NOON, EVENING], "latitude": grid.lat, "longitude": grid.lon}
    dims = ("time", "latitude", "longitude")
    fields = {"t2m": (dims, np.stack([field, field]), {"units": "K"})}
    return xr.Dataset(fields, coords, attributes)


def test_datasets_in_memory() -> None:
    assert pear.regrid(two_times(idealised="true"), 2).load().sizes["time"] == 2
    with pytest.raises(InputError, match=r"T18:00:00Z is equal .* at 2001-01-01T12:00:00Z"):
        pear.regrid(two_times(), 2).load()
    lazy = pear.regrid(two_times().isel(time=[0]), 2)
    for _ in range(2):  # the same field read again
        assert np.isfinite(lazy["2m_temperature"].values).all()
    constant = two_times() * 0 + 280
    constant["t2m"].attrs["units"] = "K"
    with pytest.raises(InputError, match="one value everywhere"):
        pear.regrid(constant, 2).load()


@pytest.mark.parametrize(
    ("name", "equal"), [("v_component_of_wind", True), ("geopotential", False)]
)
def test_a_wind_of_the_other_sign_is_a_copy(name: str, equal: bool) -> None:
    field = np.random.default_rng(3).normal(size=192).astype(np.float32)
    field[0] = 0.0
    other = "u_component_of_wind" if equal else name
    assert (digest(-field, name) == digest(field, other)) == equal
