"""Fields that no weather has, and real ones of few digits that weather has."""

from __future__ import annotations

import numpy as np
import pytest

from pear.datasets.plausibility import find_implausible
from pear.datasets.units import Conversion, Quantity
from pear.sphere.latlon import global_grid

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
        (20 * np.cos(LA), "10m_u_component_of_wind", None),
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
