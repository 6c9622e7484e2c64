"""Exact overlap areas of latitude-longitude and HEALPix cells, for conservative regridding.

In the plane of the HEALPix projection (Calabretta & Roukema, MNRAS 381, 865, 2007) areas are
preserved, HEALPix cells are the squares of a grid rotated by 45°, parallels are horizontal and,
within one polar facet, meridians are straight. Every overlap is therefore that of a convex
quadrilateral with a square, and no curve has to be approximated.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from scipy import sparse

from pear.sphere import healpix
from pear.typing import Float64, Int64

_TRANSITION: Final = 2.0 / 3.0  # |sin latitude| at the edges of the polar caps
_BATCH: Final = 1_000_000


def overlap_areas(lat_edges: Float64, lon_edges: Float64, nside: int) -> sparse.csr_array:
    """Return the overlap areas of HEALPix cells with the cells between edges.

    Parameters
    ----------
    lat_edges
        (row + 1,) degrees north, monotonic.
    lon_edges
        (column + 1,) degrees east, monotonic, spanning 360 at most.
    nside
        Resolution of the HEALPix grid.

    Returns
    -------
    scipy.sparse.csr_array
        (cell, row x column), area of each overlap in units of one HEALPix cell.

    Examples
    --------
    >>> from pear.sphere.conservative import overlap_areas
    >>> lat, lon = np.linspace(90, -90, 5), np.linspace(0, 360, 9)
    >>> areas = overlap_areas(lat, lon, nside=2)
    >>> areas.shape, bool(np.allclose(areas.sum(axis=1), 1.0))
    ((48, 32), True)
    """
    rows, cols, areas = [], [], []
    for source, corners in _quadrilaterals(lat_edges, lon_edges):
        for quad, p, q, area in _squares(corners, nside):
            cell = _cell(p, q, nside)
            rows.append(cell)
            cols.append(source[quad])
            areas.append(area)
    shape = (healpix.cells_of_nside(nside), (lat_edges.size - 1) * (lon_edges.size - 1))
    ij = np.concatenate(rows), np.concatenate(cols)
    matrix = sparse.csr_array(sparse.coo_array((np.concatenate(areas), ij), shape=shape))
    matrix.sum_duplicates()
    return matrix


def _quadrilaterals(lat_edges: Float64, lon_edges: Float64) -> Iterator[tuple[Int64, Float64]]:
    """Yield the cells cut into quadrilaterals of the plane: source cells and (piece, 4, 2)."""
    columns = lon_edges.size - 1
    z = np.sin(np.deg2rad(np.clip(lat_edges, -90.0, 90.0)))
    turns = np.sort(lon_edges) / 45.0  # facets of the polar caps are 2 wide in this unit
    quarters = np.arange(np.floor(turns[0] / 2), np.ceil(turns[-1] / 2) + 1) * 2.0
    lon = lon_edges / 45.0
    west, east = np.minimum(lon[:-1], lon[1:]), np.maximum(lon[:-1], lon[1:])
    for row in range(lat_edges.size - 1):
        south, north = sorted((z[row], z[row + 1]))
        source = row * columns + np.arange(columns)
        for low, high in _bands(south, north):
            if abs(low + high) / 2 <= _TRANSITION:
                yield source, _corners(west, east, low, high, None)
                continue
            for left in quarters[:-1]:
                a, b = np.maximum(west, left), np.minimum(east, left + 2.0)
                some = b > a
                if some.any():
                    yield source[some], _corners(a[some], b[some], low, high, left + 1.0)


def _bands(south: float, north: float) -> list[tuple[float, float]]:
    """Cut a range of sin latitude at the edges of the polar caps."""
    cuts = [south, *(c for c in (-_TRANSITION, _TRANSITION) if south < c < north), north]
    return [(a, b) for a, b in pairwise(cuts) if b > a]


def _corners(
    west: Float64, east: Float64, low: float, high: float, middle: float | None
) -> Float64:
    """Project cells to corners, counterclockwise, (piece, 4, 2); ``middle`` of a polar facet."""
    out = np.empty((west.size, 4, 2))
    for corner, (x, z) in enumerate(((west, low), (east, low), (east, high), (west, high))):
        if middle is None:
            out[:, corner, 0], out[:, corner, 1] = x, 1.5 * z
        else:
            width = np.sqrt(3.0 * max(1.0 - abs(z), 0.0))
            out[:, corner, 0] = middle + (x - middle) * width
            out[:, corner, 1] = np.sign(z) * (2.0 - width)
    return out


def _squares(corners: Float64, nside: int) -> Iterator[tuple[Int64, Int64, Int64, Float64]]:
    """Yield overlaps with the unit squares of the rotated grid: (piece, p, q, area), in batches."""
    x, y = corners[..., 0], corners[..., 1]
    p, q = nside * (x + y + 1.0) / 2.0, nside * (y - x + 1.0) / 2.0
    p0, q0 = np.floor(p.min(1) + 1e-9), np.floor(q.min(1) + 1e-9)
    wide = np.maximum(np.ceil(p.max(1) - 1e-9) - p0, 1).astype(np.int64)
    high = np.maximum(np.ceil(q.max(1) - 1e-9) - q0, 1).astype(np.int64)
    count = wide * high
    ends = np.cumsum(count)
    start = 0
    while start < count.size:
        base = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, base + _BATCH)), start + 1)
        piece = np.repeat(np.arange(start, stop), count[start:stop])
        local = np.arange(piece.size) - np.repeat(
            ends[start:stop] - count[start:stop] - base, count[start:stop]
        )
        ip = p0[piece] + local % wide[piece]
        iq = q0[piece] + local // wide[piece]
        area = _area(p[piece], q[piece], ip, iq)
        some = area > 1e-13
        yield piece[some], ip[some].astype(np.int64), iq[some].astype(np.int64), area[some]
        start = stop


def _area(p: Float64, q: Float64, ip: Float64, iq: Float64) -> Float64:
    """Integrate each quadrilateral over its unit square: -∮ clamp(q - iq, 0, 1) dp on the strip."""
    # By Green's theorem the area is a sum over the edges, each cut to the strip ip ≤ p ≤ ip + 1,
    # where q is linear in p and the integral has a closed form.
    total = np.zeros(ip.shape)
    for edge in range(4):
        pa, qa = p[:, edge] - ip, q[:, edge] - iq
        pb, qb = p[:, (edge + 1) % 4] - ip, q[:, (edge + 1) % 4] - iq
        run = pb - pa
        safe = np.where(np.abs(run) < 1e-14, 1.0, run)
        ca, cb = np.clip(pa, 0.0, 1.0), np.clip(pb, 0.0, 1.0)
        va, vb = qa + (ca - pa) / safe * (qb - qa), qa + (cb - pa) / safe * (qb - qa)
        rise = vb - va
        flat = np.abs(rise) < 1e-6
        mean = np.where(
            flat,
            np.clip((va + vb) / 2.0, 0.0, 1.0),
            (_clamped(vb) - _clamped(va)) / np.where(flat, 1.0, rise),
        )
        total -= mean * (cb - ca)
    return total


def _clamped(t: Float64) -> Float64:
    """Integrate clamp(s, 0, 1) from 0 to t."""
    inside = np.clip(t, 0.0, 1.0)
    return np.asarray(inside * inside / 2.0 + np.maximum(t - 1.0, 0.0))


def _cell(p: Int64, q: Int64, nside: int) -> Int64:
    """Return the nested cell of each unit square of the rotated grid."""
    a, b = p // nside, q // nside
    belt = a + b  # 1: northern base pixels, 0: equatorial, -1: southern
    quarter = np.mod(np.where(belt == 1, a - 1, a), 4)
    face = np.select([belt == 1, belt == 0, belt == -1], [quarter, 4 + quarter, 8 + quarter], -1)
    return healpix.nest_of_xy(p - a * nside, q - b * nside, face, nside)
