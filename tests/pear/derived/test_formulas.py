"""Formulas of moist air against published tables."""

from __future__ import annotations

import numpy as np
import pytest

from pear.datasets.units import specific_humidity
from pear.derived import formulas

# Saturation vapour pressure over water in hPa (Smithsonian Meteorological Tables, 6th ed., no. 94)
# and over ice (no. 96), by °C.
WATER = {0.0: 6.1078, 10.0: 12.272, 20.0: 23.373, 30.0: 42.430, 40.0: 73.777}
ICE = {-30.0: 0.3798, -40.0: 0.1283, -50.0: 0.03935}


@pytest.mark.parametrize(("celsius", "expected"), [*WATER.items(), *ICE.items()])
def test_saturation_is_that_of_the_tables(celsius: float, expected: float) -> None:
    found = formulas.saturation_pressure(celsius + 273.15) / 100.0
    assert found == pytest.approx(expected, rel=0.006)


def test_saturation_is_bolton_s_above_freezing() -> None:
    celsius = np.linspace(0.0, 35.0, 36)
    bolton = 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))  # Bolton 1980, equation 10
    np.testing.assert_allclose(formulas.saturation_pressure(celsius + 273.15), bolton, rtol=0.003)


def test_dew_point_is_the_inverse_of_saturation_over_water() -> None:
    celsius = np.array([-20.0, 0.0, 15.0, 30.0])
    # Bolton 1980, equation 11, from the vapour pressure of 850 hPa
    e = 6.112 * np.exp(17.67 * celsius / (celsius + 243.5))
    q = 0.62198 * e / (850.0 - (1 - 0.62198) * e)
    np.testing.assert_allclose(formulas.dewpoint(q, 85_000.0) - 273.15, celsius, atol=0.15)
    assert np.isfinite(formulas.dewpoint(np.array([-1e-5, 0.0]), 85_000.0)).all()


def test_relative_humidity_is_the_inverse_of_the_one_of_ingestion() -> None:
    t, r = np.array([230.0, 260.0, 300.0]), np.array([30.0, 60.0, 101.0])
    q = specific_humidity(r, t, 500)
    np.testing.assert_allclose(formulas.relative_humidity(q, t, 50_000.0), r, rtol=1e-5)


def test_humidity_of_a_dew_point_is_that_of_the_psychrometric_table() -> None:
    # 20 °C and a dew point of 10 °C: 12.272 / 23.373 by the Smithsonian table
    found = formulas.relative_humidity_of_dewpoint(283.15, 293.15)
    assert found == pytest.approx(100 * 12.272 / 23.373, abs=0.1)
    assert formulas.relative_humidity_of_dewpoint(280.0, 280.0) == 100.0


def test_potential_temperature_of_the_standard_atmosphere() -> None:
    # US Standard Atmosphere 1976: 500 hPa at 252.0 K (5574 m); theta = 252.0 * 2^(2/7)
    assert formulas.potential_temperature(252.0, 50_000.0) == pytest.approx(307.2, abs=0.1)
    assert formulas.potential_temperature(280.0, 100_000.0) == 280.0


@pytest.mark.parametrize(
    ("u", "v", "direction"),
    [(0, -5, 0.0), (-5, 0, 90.0), (0, 5, 180.0), (5, 0, 270.0), (-1, -1, 45.0), (1e-20, -1, 0.0)],
)
def test_wind_blows_from(u: float, v: float, direction: float) -> None:
    found = float(formulas.wind_direction(u, v))
    assert found == pytest.approx(direction, abs=1e-9)
    assert 0.0 <= found < 360.0
