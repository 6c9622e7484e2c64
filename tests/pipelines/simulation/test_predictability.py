"""Growth of errors and the limit of predictability from sums with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.simulation import predictability
from pipelines.simulation.climate import Climate


def test_growth_and_the_end_of_use_are_read_off_the_sums() -> None:
    days = np.arange(25)
    distance = 0.5 * 2.0 ** (days / 2.5)
    correlation = 1.0 - 0.05 * days
    spread = np.full(25, 75.0**2)
    found = predictability.summarise(
        3.0 * np.stack([distance**2, correlation * spread, spread, spread]), 3
    )
    assert found["doubling_days_of_small_errors"] == pytest.approx(2.5)
    assert found["doubling_days_5_to_50_m"] == pytest.approx(2.5)
    assert found["useful_days"] == 8
    assert found["z500_distance_m"][5] == pytest.approx(distance[5], abs=0.01)
    flat = predictability.summarise(np.ones((4, 25)), 1)
    assert flat["doubling_days_of_small_errors"] is None
    assert flat["useful_days"] is None


def test_the_climatological_height_goes_from_month_to_month_and_south_first() -> None:
    climate = Climate(np.array([60.0, 0.0, -60.0]), np.array([0.0, 180.0]))
    climate.days[:2] = 10.0
    climate.sums["z500"] = np.zeros((12, 3, 2))
    climate.sums["z500"][0] = 10.0 * np.array([5000.0, 5800.0, 5200.0])[:, None]
    climate.sums["z500"][1] = climate.sums["z500"][0] + 1000.0
    january = predictability.climatological_height(climate, np.datetime64("2001-01-16"))
    np.testing.assert_allclose(january[:, 0], [5200.0, 5800.0, 5000.0])
    february = predictability.climatological_height(climate, np.datetime64("2001-01-31"))
    np.testing.assert_allclose(february - january, 50.0)
    alone = predictability.climatological_height(
        climate, np.datetime64("2001-02-28")
    )  # March was never simulated
    np.testing.assert_allclose(alone, january + 100.0)
