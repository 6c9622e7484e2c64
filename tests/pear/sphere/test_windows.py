"""Windows and shifts: permutations, their geometry, their masks, and how they meet the group."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pear.sphere.healpix import xy_of_nest
from pear.sphere.shifts import SHIFTS, ring_roll
from pear.sphere.symmetry import C4, C4H, R
from pear.sphere.windows import TokenGrid, shifted_windows

GRIDS = st.builds(
    TokenGrid,
    nside=st.sampled_from([1, 2, 4, 8, 16]),
    depths=st.sampled_from([2, 4, 8]),
    window=st.sampled_from([4, 16, 64]),
)


@given(GRIDS, st.sampled_from(tuple(SHIFTS)), st.booleans())
def test_tables_are_permutations(grid: TokenGrid, shift: str, depth_shift: bool) -> None:
    table = shifted_windows(grid, shift, depth_shift=depth_shift)  # type: ignore[arg-type]
    every = np.arange(grid.windows * grid.slots)
    np.testing.assert_array_equal(np.sort(table.gather), every)
    np.testing.assert_array_equal(table.gather[table.scatter], every)
    assert table.labels.shape[1] == grid.slots
    assert table.labels.max(axis=1, initial=1).min(initial=1) >= 1, "a mask that masks nothing"


@given(GRIDS)
def test_order_is_depth_major_in_consecutive_tokens(grid: TokenGrid) -> None:
    slots = grid.order().reshape(grid.windows, grid.window_depth, grid.window_cells)
    depth, token = np.divmod(slots, grid.tokens)
    assert (np.diff(token, axis=2) == 1).all()
    assert (token[..., 0] % grid.window_cells == 0).all()
    assert (np.diff(depth, axis=1) == 1).all()
    np.testing.assert_array_equal(np.sort(slots.ravel()), np.arange(grid.depths * grid.tokens))


@given(GRIDS)
def test_windows_stay_inside_a_base_pixel(grid: TokenGrid) -> None:
    token = grid.order().reshape(grid.windows, -1) % grid.tokens
    face = token // grid.nside**2
    assert (face == face[:, :1]).all()
    assert grid.window_cells == min(grid.window, grid.nside**2)


def test_published_mask_label_by_label() -> None:
    """The labels of the published code, counted as pear-architecture describes them."""
    grid = TokenGrid(8, 8)
    count = grid.tokens
    labels = np.zeros((8, count), dtype=int)
    running = 0
    for pair in range(4):
        for start, stop in ((0, count - 64), (count - 64, count - 4), (count - 4, count)):
            labels[2 * pair : 2 * pair + 2, start:stop] = running
            running += 1
    labels[6] += 12
    labels[7] += 24
    nested = labels[:, healpy.nest2ring(8, np.arange(count))]
    windows = nested.reshape(4, 2, -1, 64).transpose(0, 2, 1, 3).reshape(-1, 128)
    want = windows[:, :, None] != windows[:, None, :]

    table = shifted_windows(grid, "ring_roll")
    ours = np.zeros_like(want)
    masked = len(table.labels)
    ours[len(ours) - masked :] = table.labels[:, :, None] != table.labels[:, None, :]
    # Undo the order of the windows: the window that holds the shifted slot s is s // 128.
    nest_of_shifted = _windows_of(table.gather, grid)
    np.testing.assert_array_equal(ours[nest_of_shifted], want)


def _windows_of(gather: np.ndarray, grid: TokenGrid) -> np.ndarray:
    """Position in the table of every shifted window in its natural order."""
    roll, _ = ring_roll(grid.nside, grid.window_cells)
    depth, token = np.divmod(grid.order(), grid.tokens)
    natural = ((depth + 1) % grid.depths) * grid.tokens + roll[token]
    first_of_natural = natural.reshape(grid.windows, -1)[:, 0]
    source = grid.order()[gather].reshape(grid.windows, -1)[:, 0]
    return np.array([int(np.flatnonzero(source == first)[0]) for first in first_of_natural])


@given(GRIDS, st.sampled_from(["none", "ring_rotation"]), st.sampled_from(C4H))
def test_shifted_windows_move_as_wholes(grid: TokenGrid, shift: str, element: object) -> None:
    """The group takes every shifted window to a shifted window, slots to slots by σ or not."""
    gather = shifted_windows(grid, shift).gather  # type: ignore[arg-type]
    moved = grid.moved(element)[gather]  # type: ignore[arg-type]
    position = np.argsort(gather)[moved].reshape(grid.windows, grid.slots)
    window, slot = np.divmod(position, grid.slots)
    assert (window == window[:, :1]).all()
    want = grid.mirrored_slots() if element.mirror else np.arange(grid.slots)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(slot, np.broadcast_to(want, slot.shape))


@pytest.mark.parametrize("element", C4)
def test_moved_keeps_depths(element: object) -> None:
    grid = TokenGrid(4, 4)
    depth = grid.order() // grid.tokens
    np.testing.assert_array_equal(depth[grid.moved(element)], depth)  # type: ignore[arg-type]


def test_joined_windows_hold_a_row_of_base_pixels() -> None:
    grid = TokenGrid(4, 8, joined=True)
    assert grid.window_cells == 64
    assert grid.windows == 12
    with pytest.raises(ValueError, match="four base pixels"):
        grid.mirrored_slots()
    with pytest.raises(ValueError, match="four base pixels"):
        grid.slot_positions()


def test_slot_positions_are_the_nested_coordinates() -> None:
    grid = TokenGrid(8, 4)
    depth, x, y = grid.slot_positions().T
    np.testing.assert_array_equal(depth, np.repeat([0, 1], 64))
    np.testing.assert_array_equal(x, np.tile(xy_of_nest(8)[0][:64], 2))
    np.testing.assert_array_equal(y, np.tile(xy_of_nest(8)[1][:64], 2))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"nside": 6, "depths": 2}, "power of two"),
        ({"nside": 8, "depths": 3}, "windows of 2 depths"),
        ({"nside": 8, "depths": 2, "window": 32}, "power of 4"),
        ({"nside": 8, "depths": 2, "base_pixels": 13}, "base_pixels"),
        ({"nside": 8, "depths": 2, "base_pixels": 6, "joined": True}, "4 base pixels"),
    ],
)
def test_grids_that_cannot_be(settings: dict[str, int], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        TokenGrid(**settings)  # type: ignore[arg-type]


def test_merging_a_single_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 tokens in each base pixel"):
        TokenGrid(1, 2).coarser()
    with pytest.raises(ValueError, match="unknown shift"):
        shifted_windows(TokenGrid(4, 2), "spiral")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="all 12 base pixels"):
        TokenGrid(4, 2, base_pixels=8).moved(R)
