"""The 3×3 neighbourhood that all cells share, as index tables.

Cells have no group of translations. What they share is the stencil in nested orientation, the cell
and its up to eight neighbours. The rotation R carries stencils to stencils with the same labels,
the mirror M carries label k to μ(k), :data:`MIRRORED`.

A base pixel with one more row of cells on each side, its *halo*, is a plain square of
(nside + 2)² values. On it the stencil is an ordinary 3×3 correlation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from pear.sphere.healpix import BASE_PIXELS, neighbours, xy_of_nest
from pear.sphere.windows import TokenGrid
from pear.typing import Int64

OFFSETS: Final = ((0, 0), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Steps (x, y) inside a base pixel to self, SW, W, NW, N, NE, E, SE and S."""
MIRRORED: Final = (0, 3, 2, 1, 8, 7, 6, 5, 4)
"""μ: the label to which the mirror at the equator carries each label."""


def stencil(nside: int) -> Int64:
    """Return the stencil of every cell.

    Parameters
    ----------
    nside
        Resolution, a power of two.

    Returns
    -------
    numpy.ndarray
        (cell, 9): the cell itself, then its neighbours SW, W, NW, N, NE, E, SE, S; -1 where there
        is none, at the 8 corners of the grid where three base pixels meet.

    Examples
    --------
    >>> from pear.sphere.stencils import stencil
    >>> stencil(4).shape, stencil(4)[7, 0].item()
    ((192, 9), 7)
    """
    cells = np.arange(BASE_PIXELS * nside**2)
    return np.concatenate([cells[:, None], neighbours(nside)], axis=1)


def face_halos(nside: int) -> Int64:
    """Return the cells of each base pixel with one more row on each side.

    Parameters
    ----------
    nside
        Resolution, a power of two.

    Returns
    -------
    numpy.ndarray
        (base pixel, nside + 2, nside + 2), rows y and columns x; -1 where there is no such cell.

    Examples
    --------
    >>> from pear.sphere.stencils import face_halos
    >>> halos = face_halos(2)
    >>> halos.shape, halos[0, 1:3, 1:3].tolist()
    ((12, 4, 4), [[0, 1], [2, 3]])
    """
    x, y, face = xy_of_nest(nside)
    cells = np.full((BASE_PIXELS, nside + 2, nside + 2), -1, dtype=np.int64)
    for label, (dx, dy) in enumerate(OFFSETS):
        cells[face, y + 1 + dy, x + 1 + dx] = stencil(nside)[:, label]
    return cells


@lru_cache(maxsize=16)
def halo(grid: TokenGrid) -> tuple[Int64, Int64]:
    """Return where the base pixels with their halos are read from, and how to go back.

    Parameters
    ----------
    grid
        Tokens in window order, on the whole sphere.

    Returns
    -------
    source
        (depth·base pixel·(nside + 2)²,) slot of each value, rows y and columns x; -1 where there
        is no such cell.
    target
        (windows·slots,) for each slot its place in (depth, base pixel, y, x) without halos.

    Raises
    ------
    ValueError
        If the grid does not cover the whole sphere.
    """
    if grid.base_pixels != BASE_PIXELS:
        raise ValueError(f"stencils need all 12 base pixels, got {grid.base_pixels}")
    side, order = grid.nside, grid.order()
    x, y, face = xy_of_nest(side)
    cells = face_halos(side)
    slot = np.empty_like(order)
    slot[order] = np.arange(order.size)
    slots = slot.reshape(grid.depths, grid.tokens)[:, np.maximum(cells, 0)]
    source = np.where(cells < 0, -1, slots).reshape(-1)
    depth, token = np.divmod(order, grid.tokens)
    target = depth * grid.tokens + (face * side**2 + y * side + x)[token]
    source.flags.writeable = target.flags.writeable = False
    return source, target
