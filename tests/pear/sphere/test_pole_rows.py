"""Rows on a pole hold one wind, whatever a file wrote there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pear.sphere.latlon import LatLonGrid, global_grid
from pear.sphere.pole_rows import mend_pole_rows
from tests.fixtures.winds import AXES, SPEED, rotation

GRIDS = {
    "southwards": global_grid(73, 144),
    "northwards": LatLonGrid(np.linspace(-90, 90, 73), np.arange(144) * 2.5 - 180),
    "closed": LatLonGrid(np.linspace(90, -90, 73), np.linspace(0, 360, 145)),
}


def on(grid: LatLonGrid, axis: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    return rotation(axis, *np.meshgrid(grid.lat, grid.lon, indexing="ij"))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: np.zeros_like(row),
        lambda row: np.full_like(row, row[..., :1]),
        lambda row: np.full_like(row, row.mean(axis=-1, keepdims=True)),
        lambda row: row + 9.0,
        lambda row: np.roll(row, 36, axis=-1)[..., ::-1] ** 2,
    ],
)
def test_rows_that_hold_no_wind_are_replaced(
    grid: LatLonGrid,
    axis: tuple[float, float, float],
    spoil: Callable[[np.ndarray], np.ndarray],
) -> None:
    for truth in on(grid, axis):
        field = np.stack([truth, truth])
        field[1, [0, -1]] = spoil(field[1, [0, -1]])
        mended = mend_pole_rows(field.reshape(2, -1), grid).reshape(field.shape)
        np.testing.assert_allclose(mended, [truth, truth], atol=2e-4 * SPEED)


def test_rows_that_hold_one_wind_are_kept_with_the_noise_of_packing() -> None:
    grid = GRIDS["southwards"]
    u, _ = on(grid, AXES[3])
    packed = u + np.random.default_rng(0).uniform(-0.1, 0.1, u.shape)
    assert mend_pole_rows(packed.ravel(), grid) is not None
    np.testing.assert_array_equal(mend_pole_rows(packed.ravel(), grid), packed.ravel())


def test_grids_without_rows_on_the_poles_are_left_alone() -> None:
    grid = global_grid(72, 144, poles=False)
    u = np.random.default_rng(0).normal(size=grid.size)
    assert mend_pole_rows(u, grid) is u
