"""Points, and the parameters that name them."""

from __future__ import annotations

import numpy as np
import pytest

from pear.derived.formulas import relative_humidity
from pear.errors import InputError
from pear.sphere.healpix import cell_of, centres
from pipelines.storage.data_folder import DataFolder
from service.http.caching import RunCache
from service.readers.forecasts import ForecastReader
from service.readers.points import (
    locate,
    parse_decimal,
    parse_numbers,
    read_series,
    select_series,
)

NSIDE = 8


@pytest.fixture
def reader(data: DataFolder) -> ForecastReader:
    return ForecastReader(data.forecast, RunCache(), 10**7)


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1.0), (" -2.5 ", -2.5), ("+.5", 0.5), ("3.", 3.0), ("1e-3", 0.001)]
)
def test_decimal_numbers(text: str, value: float) -> None:
    assert parse_decimal(text) == value


@pytest.mark.parametrize("text", ["", "x", "1_0", "١٢", "0x10", "nan", "inf", "1e4000", "1,2"])
def test_what_is_not_a_decimal_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a decimal number"):
        parse_decimal(text)


@pytest.mark.parametrize("text", ["", "1,,2", "1,x", "1e999", "1;2"])
def test_lists_of_numbers_are_strict(text: str) -> None:
    with pytest.raises(InputError, match="latitude must be") as caught:
        parse_numbers(text, "latitude", 9)
    assert caught.value.field == "latitude"


def test_lists_of_numbers_have_a_limit() -> None:
    np.testing.assert_array_equal(parse_numbers("1, 2,-3", "levels", 3), [1, 2, -3])
    with pytest.raises(InputError, match="levels has 4 values, and may have 3"):
        parse_numbers("1,2,3,4", "levels", 3)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_the_centre_of_a_cell_has_the_value_of_the_cell(interpolation: str) -> None:
    lat, lon = (axis[::7] for axis in centres(NSIDE))
    points = locate(lat, lon, NSIDE, interpolation)
    np.testing.assert_array_equal(points.cell, cell_of(lat, lon, NSIDE))
    fields = np.random.default_rng(0).normal(size=(3, 12 * NSIDE**2))
    np.testing.assert_allclose(points.read(fields), fields[:, points.cell], atol=1e-9)
    np.testing.assert_allclose(points.weight.sum(axis=0), 1.0)


@pytest.mark.parametrize(
    ("latitude", "longitude", "field"),
    [([91], [0], "latitude"), ([0], [361], "longitude"), ([0, 1], [0], "longitude")],
)
def test_points_outside_the_sphere(
    latitude: list[float], longitude: list[float], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        locate(np.array(latitude, float), np.array(longitude, float), NSIDE, "nearest")
    assert caught.value.field == field


def test_selected_series(reader: ForecastReader, run_id: str) -> None:
    store = reader.store(run_id)
    assert select_series(store, "z500,t2m,z500", None) == [
        ("geopotential", 500),
        ("2m_temperature", None),
    ]
    assert select_series(store, "wind_speed", "850,500") == [
        ("wind_speed", 850),
        ("wind_speed", 500),
    ]
    surface = select_series(store, None, None)
    assert surface
    assert all(level is None for _, level in surface)
    both = select_series(store, None, "850")
    assert both[: len(surface)] == surface
    assert {level for _, level in both[len(surface) :]} == {850}
    every = select_series(store, "temperature", None)
    assert [level for _, level in every] == sorted(store.levels, reverse=True)
    with pytest.raises(InputError, match="not available at 3 hPa"):
        select_series(store, "temperature", "3")


def test_wind_blows_from_its_direction(reader: ForecastReader, run_id: str) -> None:
    store = reader.store(run_id)
    points = locate(np.array([10.0]), np.array([20.0]), NSIDE, "nearest")
    pairs = [(name, 850) for name in ("wind_speed", "wind_direction", "u_component_of_wind")]
    speed, direction, u = read_series(reader, store, points, pairs)
    assert (speed.units, direction.units) == ("m s-1", "degree")
    blows_to = np.radians(direction.values + 180)
    np.testing.assert_allclose(speed.values * np.sin(blows_to), u.values, atol=1e-4)


def test_derived_series_are_those_of_the_values_at_the_point(
    reader: ForecastReader, run_id: str
) -> None:
    store = reader.store(run_id)
    points = locate(np.array([48.2]), np.array([16.4]), NSIDE, "bilinear")
    pairs = select_series(store, "r850,pt850,t850,q850,vo850,thickness_1000_500", None)
    assert pairs[-1] == ("thickness_1000_500", None)
    r, theta, t, q, vo, thickness = read_series(reader, store, points, pairs)
    np.testing.assert_allclose(r.values, relative_humidity(q.values, t.values, 85_000.0))
    np.testing.assert_allclose(theta.values, t.values * (1000 / 850) ** (2 / 7))
    assert (vo.units, thickness.units) == ("s-1", "m")
    assert vo.values.shape == t.values.shape
