"""Units and limits of what is shown."""

from __future__ import annotations

import numpy as np
import pytest

from pear.plotting.styles import limits_for, style_of


def test_limits_are_round_and_hold_the_bulk() -> None:
    wind = np.random.default_rng(1).normal(0, 13, 10_000)
    low, high = limits_for(style_of("u_component_of_wind"), wind)
    assert low == -high
    assert high == pytest.approx(40, abs=10)
    flat = limits_for(style_of("temperature"), np.full(100, -40.0))
    assert flat[0] <= -40 <= flat[1]
    assert flat[0] < flat[1]


def test_difference_drops_the_offset() -> None:
    style = style_of("t2m", "difference")
    np.testing.assert_allclose(style.shown(np.array([0.0, 2.0])), [0.0, 2.0])
    assert style.symmetric


def test_spread_starts_at_zero() -> None:
    style = style_of("msl", "spread")
    low, high = limits_for(style, style.shown(np.linspace(20.0, 300.0, 50)))
    assert low == 0
    assert high >= 2.9


def test_limits_hold_at_every_level_that_has_none_of_its_own() -> None:
    shown = np.linspace(80.0, 260.0, 50)
    assert limits_for(style_of("relative_humidity"), shown, 700) == (0, 100)
    assert limits_for(style_of("wind_speed"), shown, 250) == (0, 80)
    assert style_of("wind_direction").colours == "twilight"  # 0 and 360 are one direction
