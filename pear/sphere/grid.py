"""The nested HEALPix grid: the only module that knows cell order, and the only one that
imports healpy (GPL-2.0-only)."""

from __future__ import annotations

import math


def nside_from_cells(cells: int) -> int:
    """Return nside of a full grid of ``cells`` = 12 nside² cells, nside a power of two.

    Raises
    ------
    ValueError
        If no such grid exists.
    """
    nside = math.isqrt(max(cells, 0) // 12)
    if cells <= 0 or 12 * nside * nside != cells or nside & (nside - 1):
        raise ValueError(
            f"{cells} cells are no full HEALPix grid; 12·4^k are, such as 3072 or 49152"
        )
    return nside
