"""Fields that no weather has, and real ones of few digits that weather has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

import pear
from pear.datasets.plausibility import find_implausible
from pear.datasets.units import Conversion, Quantity, check_values, units_of
from pear.sphere.latlon import global_grid
from pear.sphere.source_grids import HealpixGrid
from pear.variables import VARIABLES, rms_range

GRID = global_grid(37, 72)
LAT, LON = (axis.reshape(-1) for axis in np.meshgrid(GRID.lat, GRID.lon, indexing="ij"))
LA, LO = np.deg2rad(LAT), np.deg2rad(LON)
T = 250 + 40 * np.cos(LA) ** 2 + 5 * np.sin(LA) + 3 * np.cos(LA) * np.cos(LO - 0.7)
U = 8 * np.cos(LA) * np.sin(2 * LO)


def fault(values: np.ndarray, name: str = "2m_temperature", level: int | None = None) -> str | None:
    quantity = Quantity(name)
    how = Conversion(1.0, 0.0, quantity.units, quantity.units)
    return find_implausible(values.astype(np.float32), GRID, quantity, level, how)


@pytest.mark.parametrize(
    ("values", "name", "level"),
    [
        (T, "2m_temperature", None),
        (T.round(), "2m_temperature", None),
        ((T / 10).round() * 10, "2m_temperature", None),  # as few as seven values
        (np.where(np.abs(LAT) == 90, 271.3, T), "2m_temperature", None),
        (np.where(LAT == 90, 271.3, T), "2m_temperature", None),
        (U, "10m_u_component_of_wind", None),
        (U.round(2), "10m_u_component_of_wind", None),
        (12 * np.cos(LA), "10m_u_component_of_wind", None),
        (np.clip(U, 0, None) * 1e-7, "specific_humidity", 50),
        (np.where(U < 7.9, 0, 1), "relative_humidity", 50),
        (np.clip(20 * U, 0, 100), "relative_humidity", 850),
        (np.where((LAT == 30) & (LON == 30), 310, T), "2m_temperature", None),
    ],
)
def test_weather(values: np.ndarray, name: str, level: int | None) -> None:
    assert fault(values, name, level) is None


@pytest.mark.parametrize("value", [209.466, 270.0])
@pytest.mark.parametrize(
    "where",
    [
        np.full(LAT.shape, True),
        LAT < 30,  # cut short
        LAT < -60,
        (LON < 90) & (np.abs(LAT) < 45),  # one tile
    ],
)
def test_parts_that_were_not_written(value: float, where: np.ndarray) -> None:
    text = fault(np.where(where, value, T))
    assert text is not None
    assert f"{value:g}" in text or "one value everywhere" in text


def test_humidity_that_was_not_written() -> None:
    q = 0.01 * np.cos(LA) ** 2 * (1.2 + np.cos(LO)) + 1e-4
    assert fault(q, "specific_humidity", 850) is None
    assert "one value (0)" in str(fault(np.where(LAT < 0, 0, q), "specific_humidity", 850))
    assert "one value everywhere (0)" in str(fault(q * 0, "specific_humidity", 50))


@pytest.mark.parametrize("number", [-99.0, -99.9, 99.0])
def test_a_number_for_missing_values(number: float) -> None:
    hole = U.copy()
    hole[1000:1003] = number
    text = fault(hole, "10m_u_component_of_wind")
    assert text == f"the value {number:g} at 3 points, far from all others, stands for missing ones"


def test_numbers_are_quoted_as_the_file_has_them() -> None:
    how = Conversion(1.0, 273.15, "degC", "K")
    values = np.where(LAT > 60, 174.15, T).astype(np.float32)
    text = find_implausible(values, GRID, Quantity("2m_temperature"), None, how)
    assert "-99" in str(text)


def test_the_floor_of_a_model_s_humidity_is_weather() -> None:
    q = 0.01 * np.cos(LA) ** 2 * (1.2 + np.cos(LO)) + 1e-4
    assert fault(np.where(LAT < -45, 1e-7, q), "specific_humidity", 700) is None
    assert "one value (0.001)" in str(fault(np.where(LAT < -45, 1e-3, q), "specific_humidity", 700))


def test_a_row_on_a_pole_is_one_point() -> None:
    assert fault(np.where(LAT > 89.9, T.max() + 2 * np.ptp(T), T)) is None
    lone = np.where(LAT > 79, T.max() + 2 * np.ptp(T), T)
    assert "far from all others" in str(fault(lone))


@cache
def sample() -> dict[tuple[str, int | None], np.ndarray]:
    """Return one state of the embedded atmosphere, by variable and level."""
    state = pear.sample_analysis(nside=8).isel(time=0).load()
    return {
        (str(name), level): (array if level is None else array.sel(level=level)).values
        for name, array in state.data_vars.items()
        for level in ([None] if "level" not in array.dims else array.level.values.tolist())
    }


def wrong_labels(name: str) -> Iterator[tuple[str, str, Conversion, Conversion]]:
    """Yield pairs of units of a variable: the true one and the one that a file says."""
    quantity = Quantity(name)
    distinct = {pair: unit for unit, pair in reversed(units_of(quantity).items())}
    for (factor, offset), true in distinct.items():
        for (other, shift), said in distinct.items():
            if true != said:
                right = Conversion(factor, offset, true, quantity.units)
                yield true, said, right, Conversion(other, shift, said, quantity.units)


def passes(values: np.ndarray, name: str, level: int | None, how: Conversion) -> bool:
    field, quantity = values.astype(np.float32), Quantity(name)
    grid = HealpixGrid(8) if field.size == 768 else GRID
    fault = check_values(field, quantity, level, how)
    return (fault or find_implausible(field, grid, quantity, level, how)) is None


def mislabelled(values: np.ndarray, true: Conversion, said: Conversion) -> np.ndarray:
    """Return what becomes of values in one unit that the file says are in another."""
    stored = (values.astype(np.float64) - true.offset) / true.factor
    return np.asarray(stored * said.factor + said.offset)


def test_each_wrong_label_of_a_unit_is_found() -> None:
    missed = {
        (name, level, true, said)
        for (name, level), values in sample().items()
        for true, said, right, wrong in wrong_labels(name)
        if passes(mislabelled(values, right, wrong), name, level, wrong)
    }
    knots = {one for one in missed if "kt" in one[2:]}  # half of a metre per second: any wind's
    aloft = {one for one in missed if one[0] == "specific_humidity" and (one[1] or 0) < 300}
    aloft |= {one for one in missed if one[0] == "temperature" and {"f", "c"} == set(one[2:])}
    feet = {one for one in missed if one[:2] == ("geopotential", 1000) and "ft" in one[2:]}
    weak = {one for one in missed if one[0] == "v_component_of_wind" and "km/h" in one[2:]}
    rest = missed - knots - aloft - feet - weak
    assert not rest, sorted(map(str, rest))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("2m_dewpoint_temperature", T - 5),
        ("total_precipitation_6hr", np.clip(U - 5, 0, None) * 2.5e-3),
        ("total_cloud_cover", np.clip(0.6 + U / 16, 0, 1)),
        ("100m_u_component_of_wind", 1.7 * U),
        ("sea_surface_temperature", np.clip(T, 272, 302)),
        ("sea_ice_cover", np.clip((np.abs(LAT) - 65) / 5, 0, 1)),
    ],
)
def test_wrong_labels_of_further_variables(name: str, values: np.ndarray) -> None:
    right = Conversion(1.0, 0.0, Quantity(name).units, Quantity(name).units)
    assert passes(values, name, None, right)
    missed = {
        (true, said)
        for true, said, right, wrong in wrong_labels(name)
        if passes(mislabelled(values, right, wrong), name, None, wrong)
    }
    unlike = {one for one in missed if not {"kt", "m s-1"} >= set(one)}
    assert unlike <= {("m s-1", "kt"), ("km/h", "kt"), ("kt", "km/h")}


def test_the_ground_in_metres_that_says_otherwise() -> None:
    ground = 9.80665 * np.clip(2e3 * np.cos(LA) * np.sin(2 * LO), 0, None)
    how = Conversion(1.0, 0.0, "m2 s-2", "m2 s-2")
    for factor, right in ((1.0, True), (1 / 9.80665, False)):
        values = (ground * factor).astype(np.float32)
        found = find_implausible(values, GRID, Quantity("geopotential_at_surface"), None, how)
        assert (found is None) == right


def test_weather_is_within_the_bounds_of_the_table() -> None:
    for (name, level), values in sample().items():
        bounds = rms_range(name, level)
        if bounds is not None:
            found = np.sqrt(np.mean(values.astype(np.float64) ** 2))
            assert 1.03 * bounds[0] < found < bounds[1] / 1.03, (name, level, found, bounds)


def test_all_variables_have_bounds() -> None:
    upper = [row.name for row in VARIABLES if row.kind == "upper" and not row.rms_range_at]
    surface = [row.name for row in VARIABLES if row.kind == "surface" and not row.rms_range]
    assert (upper, surface) == ([], [])


def test_humidity_in_another_unit_than_its_label() -> None:
    q = 0.01 * np.cos(LA) ** 2 * (1.2 + np.cos(LO)) + 1e-4
    how = Conversion(1e-3, 0.0, "g/kg", "kg kg-1")
    values = (q * 1e-3).astype(np.float32)
    text = find_implausible(values, GRID, Quantity("specific_humidity"), 850, how)
    assert text is not None
    assert "fits units of 'kg kg-1': is the attribute units='g/kg' wrong?" in text


def test_levels_in_the_wrong_order() -> None:
    how, kelvin = Conversion(1.0, 0.0, "K", "K"), sample()
    assert passes(kelvin["temperature", 500], "temperature", 500, how)
    assert not passes(kelvin["temperature", 850], "temperature", 500, how)
    assert not passes(kelvin["temperature", 50], "temperature", 1000, how)
