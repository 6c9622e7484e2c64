"""Two more shifts of windows, those of HEAL-SWIN that follow the nested order.

Each gives (gather, labels) on the whole sphere, as the shifts of :mod:`pear.sphere.windows` do:
``shifted[token] = x[gather[token]]``, and tokens of a window see each other only if their labels
are equal (arXiv 2307.07313, section 3.3).
"""

from __future__ import annotations

import numpy as np

from pear.sphere.healpix import Integers, nest_of_xy, xy_of_nest
from pear.sphere.windows import TokenGrid, shift_size


def nest_roll(grid: TokenGrid) -> tuple[Integers, Integers]:
    """Roll the nested list by half a window; what comes round its end is masked.

    A shifted window is the second half of one window and the first half of the next, which lie
    side by side inside a base pixel and need not between base pixels.
    """
    count, half = 12 * grid.nside**2, grid.window_cells // 2
    token = np.arange(count)
    return (token + half) % count, (token >= count - half).astype(np.int64)


def nest_grid(grid: TokenGrid) -> tuple[Integers, Integers]:
    """Shift by half a window along both axes of the base pixels: towards the north.

    Token (x, y) of a base pixel reads (x + s, y + s), across the edge that of the base pixel to
    the north-east or north-west. All base pixels of the equator and the south have such a
    neighbour with the same axes; the four at the north pole meet each other turned by 90°. Tokens
    for which there is nothing to read there take those of the south pole's edge, which nothing
    reads any more, and are masked.
    """
    nside, size = grid.nside, shift_size(grid)
    x, y, face = xy_of_nest(nside)
    x, y = x + size, y + size
    east, west = x >= nside, y >= nside
    row, column = np.divmod(face, 4)
    # Base pixels of the equator lie 45° west of those of the caps with the same number.
    north_east = np.where(row == 1, column, 4 + (column + 1) % 4)
    north_west = np.where(row == 1, (column - 1) % 4, 4 + column)
    source = np.select([east & west, east, west], [column, north_east, north_west], face)
    # North of a southern base pixel's corner lies a northern one; of an equatorial one's, none.
    missing = ((row == 0) & (east | west)) | ((row == 1) & east & west)
    gather = nest_of_xy(x % nside, y % nside, source, nside)
    gather[missing] = np.setdiff1d(np.arange(gather.size), gather[~missing])
    return gather, missing.astype(np.int64)
