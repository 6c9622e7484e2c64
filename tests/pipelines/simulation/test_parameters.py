"""Physical parameters of the simulated atmosphere."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.simulation import parameters


def test_season_is_warmest_in_july_and_southern_swing_is_damped() -> None:
    assert parameters.season(185.0) == pytest.approx(1.0)
    assert parameters.season(185.0 + 365.2425 / 2) == pytest.approx(-1.0)
    north, south = parameters.season_amplitude(np.array([50.0, -50.0]))
    assert south == pytest.approx(0.4 * north)


def test_rates_are_those_of_their_docstrings_and_the_deep_tropics_are_drier() -> None:
    sigma = np.array([0.05, 0.3, 0.7, 1.0])
    np.testing.assert_allclose(1.35 * parameters.drag_rate(sigma) * 86_400, [0.0, 0.0, 0.0, 1.0])
    equator = parameters.relaxation_rate(sigma, np.zeros(4)) * 86_400
    np.testing.assert_allclose(1 / equator, [40.0, 11.93, 11.93, 4.0], rtol=1e-3)
    pole = parameters.relaxation_rate(sigma, np.full(4, 90.0)) * 86_400
    np.testing.assert_allclose(1 / pole, 40.0)
    at = np.full(2, 0.87)
    wet = parameters.relative_humidity(at, np.array([0.0, 50.0]), np.zeros(2))
    assert wet[0] < 0.7 * wet[1]
    assert (
        parameters.relative_humidity(at, np.array([50.0, 50.0]), np.array([0.0, 1.0]))[1] < wet[1]
    )
