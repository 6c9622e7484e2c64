"""The stencil of the cells: what the symmetries do to it, and its halos."""

from __future__ import annotations

import numpy as np
import pytest

from pear.sphere.healpix import neighbours
from pear.sphere.stencils import MIRRORED, OFFSETS, halo, stencil
from pear.sphere.symmetry import M, R, permutation
from pear.sphere.windows import TokenGrid


def moved(nside: int, source: np.ndarray) -> np.ndarray:
    """Return the stencil of the cell that each cell is moved to, in labels of the target."""
    goes_to = np.argsort(source)
    table = stencil(nside)
    return np.where(table < 0, -1, goes_to[table])[source]


@pytest.mark.parametrize("nside", [2, 4, 8, 16])
def test_symmetries_carry_stencils_to_stencils(nside: int) -> None:
    table = stencil(nside)
    np.testing.assert_array_equal(moved(nside, permutation(R, nside)), table)
    mirrored = moved(nside, permutation(M, nside))
    np.testing.assert_array_equal(mirrored[:, MIRRORED], table)
    assert (mirrored != table).any()


def test_mirrored_labels_are_the_mirrored_steps() -> None:
    for label, (x, y) in enumerate(OFFSETS):
        assert OFFSETS[MIRRORED[label]] == (-y, -x)


@pytest.mark.parametrize(
    "grid",
    [
        TokenGrid(nside=1, depths=1, window_depth=1),
        TokenGrid(nside=2, depths=1, window=4, window_depth=1),
        TokenGrid(nside=4, depths=4, window=4),
        TokenGrid(nside=8, depths=2, window=64, joined=True),
    ],
    ids=lambda grid: f"{grid.nside}x{grid.depths}",
)
def test_every_cell_sees_its_neighbours_in_the_halos(grid: TokenGrid) -> None:
    """Three cells see a value of the halo, by other labels: they must mean the same cell."""
    source, target = halo(grid)
    side = grid.nside + 2
    slots = np.arange(grid.tokens * grid.depths)
    faces = source.reshape(grid.depths * 12, side, side)
    face, rest = np.divmod(target, grid.nside**2)
    y, x = np.divmod(rest, grid.nside)
    depth, token = np.divmod(grid.order(), grid.tokens)
    seen = np.stack([faces[face, y + 1 + dy, x + 1 + dx] for dx, dy in OFFSETS], 1)
    np.testing.assert_array_equal(seen[:, 0], slots)
    found = np.where(seen < 0, -1, grid.order()[seen] - (depth * grid.tokens)[:, None])
    np.testing.assert_array_equal(found[:, 1:], neighbours(grid.nside)[token])


def test_part_of_a_sphere_is_refused() -> None:
    with pytest.raises(ValueError, match="12 base pixels, got 8"):
        halo(TokenGrid(nside=4, depths=2, base_pixels=8))
