"""Winds as vectors: any rotation of the sphere, from cells to points and to other cells."""

from __future__ import annotations

import numpy as np
import pytest

from pear.sphere.healpix import centres, coarsen
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.sphere.regrid import (
    apply,
    apply_wind,
    healpix_to_latlon_bilinear,
    healpix_to_latlon_conservative,
)
from pear.sphere.vectors import (
    Frames,
    carry,
    cell_frames,
    coarsen_wind,
    grid_frames,
    keep_speed,
    wind_weights,
)
from tests.fixtures.winds import AXES, SPEED, largest_error, rotation

GRIDS = {
    "poles": global_grid(121, 240),
    "no poles, from the south": LatLonGrid(np.linspace(-89.25, 89.25, 120), np.arange(240) * 1.5),
    "closed": LatLonGrid(np.linspace(90, -90, 91), np.linspace(-180, 180, 181)),
    "round the pole": LatLonGrid(np.linspace(90, 89, 11), np.arange(36) * 10.0),
}


def test_components_and_vectors_are_inverse() -> None:
    rng = np.random.default_rng(0)
    frames = Frames.at(rng.uniform(-90, 90, 50), rng.uniform(-400, 400, 50))
    u, v = rng.normal(size=(2, 3, 50))
    xyz = frames.to_cartesian(u, v)
    np.testing.assert_allclose((xyz**2).sum(axis=0), u**2 + v**2)
    np.testing.assert_allclose(frames.from_cartesian(xyz), (u, v), atol=1e-12)
    np.testing.assert_allclose((xyz * frames.positions()[:, None]).sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize(("nside", "bound"), [(8, 6e-3), (16, 1.4e-3), (64, 1e-4)])
def test_any_rotation_to_points(nside: int, bound: float, grid: LatLonGrid) -> None:
    weights = healpix_to_latlon_bilinear(nside, grid, vector=True)
    assert np.allclose(weights.sum(axis=1), 1.0)
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    for axis in AXES:
        u, v = rotation(axis, *centres(nside))
        found = apply_wind(weights, u, v, cell_frames(nside), grid_frames(grid))
        assert largest_error(found, rotation(axis, lat.ravel(), lon.ravel())) < bound


def test_components_by_themselves_fail_across_the_pole() -> None:
    """What the vectors are for: the pole row of a flow across the pole is calm without them."""
    grid = GRIDS["poles"]
    u, v = rotation((1.0, 0.0, 0.0), *centres(64))
    weights = healpix_to_latlon_bilinear(64, grid)
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    truth = rotation((1.0, 0.0, 0.0), lat.ravel(), lon.ravel())
    assert largest_error((apply(weights, u), apply(weights, v)), truth) > 0.99


def test_the_pole_has_one_wind() -> None:
    rng = np.random.default_rng(1)
    u, v = rng.normal(size=(2, 12 * 16**2))
    grid = global_grid(37, 72)
    frames = grid_frames(grid)
    for weights in (
        healpix_to_latlon_bilinear(16, grid, vector=True),
        healpix_to_latlon_conservative(16, grid, vector=True),
    ):
        east, north = apply_wind(weights, u, v, cell_frames(16), frames)
        xyz = frames.to_cartesian(east, north).reshape(3, *grid.shape)
        assert np.ptp(xyz[:, [0, -1]], axis=-1).max() < 1e-6
        assert np.hypot(east, north).max() > 0.1


def test_area_means_of_winds_converge() -> None:
    axis = AXES[3]
    errors = []
    for nside in (32, 64, 128):
        grid = global_grid(91, 180)
        weights = healpix_to_latlon_conservative(nside, grid, vector=True)
        u, v = rotation(axis, *centres(nside))
        found = apply_wind(weights, u, v, cell_frames(nside), grid_frames(grid))
        lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
        errors.append(largest_error(found, rotation(axis, lat.ravel(), lon.ravel())))
    assert errors[0] < 0.03
    assert errors[2] < errors[0] / 3


@pytest.mark.parametrize("axis", AXES)
def test_means_over_coarser_cells(axis: tuple[float, float, float]) -> None:
    u, v = rotation(axis, *centres(64))
    truth = rotation(axis, *centres(16))
    assert largest_error(coarsen_wind(u, v, 16), truth) < 9e-3
    assert coarsen_wind(u, v, 64)[0] is u
    if axis == (1.0, 0.0, 0.0):  # the components by themselves
        assert largest_error((coarsen(u, 16), coarsen(v, 16)), truth) > 0.05


def test_weights_of_winds_are_exact_for_what_is_linear() -> None:
    rng = np.random.default_rng(2)
    lat = np.concatenate([np.degrees(np.arcsin(rng.uniform(-1, 1, 500))), [90, -90, 0, 88, 89.9]])
    lon = rng.uniform(0, 360, lat.size)
    for nside in (1, 2, 16):
        index, weight = wind_weights(lat, lon, nside)
        np.testing.assert_allclose(weight.sum(axis=0), 1.0)
        assert weight.min() > -0.3
        place = Frames.at(lat, lon)
        middle = (weight * cell_frames(nside).take(index).positions()).sum(axis=1)
        np.testing.assert_allclose(place.from_cartesian(middle), 0, atol=1e-9)


def test_single_wind_keeps_its_speed() -> None:
    one, there = Frames.at(89.0, 40.0), Frames.at(90.0, 300.0)
    before = np.array(3.0), np.array(-4.0)
    wind = keep_speed(carry(*before, one, there, lambda xyz: xyz), before)
    assert np.hypot(*wind) == pytest.approx(5.0)
    assert np.hypot(*keep_speed((np.zeros(1), np.zeros(1)), (np.zeros(1), np.zeros(1)))) == 0
    assert np.hypot(*rotation((1.0, 0.0, 0.0), 90.0, 12.0)) == pytest.approx(SPEED)


def test_components_of_different_shape_are_refused() -> None:
    grid = global_grid(19, 36)
    weights = healpix_to_latlon_bilinear(4, grid, vector=True)
    with pytest.raises(ValueError, match=r"u has shape \(192,\), v \(2, 192\)"):
        apply_wind(weights, np.zeros(192), np.zeros((2, 192)), cell_frames(4), grid_frames(grid))
