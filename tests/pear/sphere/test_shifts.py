"""Shifts are permutations with the geometry and the symmetry they promise."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pear.sphere.healpix import centres, neighbours, xy_of_nest
from pear.sphere.shifts import (
    SHIFTS,
    nest_grid,
    nest_roll,
    ring_roll,
    ring_rotation,
    shift_tokens,
)
from pear.sphere.symmetry import C4H, R, permutation
from pear.sphere.windows import TokenGrid, shifted_windows

RINGS = ("ring_rotation", "ring_roll")


@pytest.mark.parametrize("nside", [4, 8, 16])
def test_ring_roll_is_a_roll_in_ring_order(nside: int) -> None:
    gather, _ = ring_roll(nside, 64)
    x = np.random.default_rng(0).standard_normal(12 * nside**2)
    ring = x[healpy.ring2nest(nside, np.arange(x.size))]
    want = np.roll(ring, -4)[healpy.nest2ring(nside, np.arange(x.size))]
    np.testing.assert_array_equal(x[gather], want)


@given(st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from(C4H))
def test_ring_rotation_commutes_with_the_group(nside: int, element: object) -> None:
    gather, labels = ring_rotation(nside, min(64, nside**2))
    moved = permutation(element, nside)  # type: ignore[arg-type]
    np.testing.assert_array_equal(gather[moved], moved[gather])
    assert not labels.any()


@pytest.mark.parametrize("nside", [8, 16])
def test_ring_roll_does_not_commute_with_the_rotation(nside: int) -> None:
    gather, _ = ring_roll(nside, 64)
    moved = permutation(R, nside)
    assert (gather[moved] != moved[gather]).any()


def test_ring_rotation_is_the_half_window_shift_inside_a_base_pixel() -> None:
    """Eastwards by half a diagonal is half a window along x and back along y."""
    gather, _ = ring_rotation(32, 64)
    x, y, face = xy_of_nest(32)
    equatorial = face // 4 == 1
    same = equatorial & (face[gather] == face)
    assert same.sum() > 0.7 * equatorial.sum()
    np.testing.assert_array_equal((x[gather] - x)[same], 4)
    np.testing.assert_array_equal((y[gather] - y)[same], -4)


def test_ring_rotation_windows_are_compact_and_mix_four_old_ones() -> None:
    plain, rotated, rolled = (SHIFTS[name](16, 64)[0] for name in ("none", *RINGS))
    assert _width(rotated) < 1.05 * _width(plain)
    assert _width(rolled) > 120
    old = np.array([len(set(w // 64)) for w in rotated.reshape(-1, 64)])
    assert old.max() == 4
    assert (old == 4).mean() > 0.9


def _width(tokens: np.ndarray) -> float:
    """Largest angle between two tokens of one window at nside 16, degrees."""
    lat, lon = (np.radians(c[tokens]) for c in centres(16))
    v = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    windows = v.reshape(-1, 64, 3)
    cosine = np.einsum("wai,wbi->wab", windows, windows)
    return float(np.degrees(np.arccos(np.clip(cosine.min(), -1, 1))))


@pytest.mark.parametrize("pixels", [1, 4, 8])
def test_a_part_of_the_sphere_takes_the_tokens_that_were_lost(pixels: int) -> None:
    whole, _ = ring_roll(8, 16)
    gather, labels = shift_tokens("ring_roll", 8, 16, pixels)
    tokens = pixels * 8**2
    np.testing.assert_array_equal(np.sort(gather), np.arange(tokens))
    outside = whole[:tokens] >= tokens
    assert outside.any()
    assert (labels[outside] == labels.max()).all()
    assert (labels[~outside] < labels.max()).all()
    np.testing.assert_array_equal(gather[~outside], whole[:tokens][~outside])
    grid = TokenGrid(8, 1, 16, window_depth=1, base_pixels=pixels)
    table = shifted_windows(grid, "ring_roll", depth_shift=False)
    np.testing.assert_array_equal(np.sort(table.gather), np.arange(tokens))


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("base_pixels", [12, 8, 1])
def test_shifts_lose_no_token(name: str, base_pixels: int) -> None:
    gather, labels = shift_tokens(name, 8, 16, base_pixels)  # type: ignore[arg-type]
    tokens = base_pixels * 8**2
    assert np.array_equal(np.sort(gather), np.arange(tokens))
    assert labels.shape == (tokens,)


def test_nest_grid_shifts_northward_by_half_a_window() -> None:
    gather, labels = nest_grid(16, 64)
    # Half the side of a window, 4 tokens, along both axes are 8 neighbours to the north (healpy's
    # order of neighbours is SW, W, NW, N, NE, E, SE, S), wherever there is a north.
    north = np.arange(gather.size)
    for _ in range(4):
        north = np.where(north >= 0, neighbours(16)[north, 3], -1)
    inside = (labels == 0) & (north >= 0)
    assert inside.mean() > 0.6
    # Across edges between base pixels of different rows "north" still means both axes.
    assert (gather[inside] == north[inside]).mean() > 0.999
    latitude, _ = centres(16)
    assert (latitude[gather] > latitude)[labels == 0].all()
    # Tokens without a source lie at the edges of the northern and equatorial base pixels.
    assert set(np.flatnonzero(labels) // 16**2) == set(range(8))


def test_nest_roll_masks_what_wraps_around_the_end() -> None:
    gather, labels = nest_roll(4, 16)
    assert np.array_equal(gather[:4], [8, 9, 10, 11])
    assert np.array_equal(np.flatnonzero(labels), np.arange(184, 192))


def test_an_unknown_shift_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown shift 'spiral'; known: none, ring_roll"):
        shift_tokens("spiral", 4, 4)  # type: ignore[arg-type]
