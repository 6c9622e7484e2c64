"""Parallel transport of tangent vectors between neighbouring cells.

A wind is one complex number w = u + iv in its cell's frame of east and north. The frame is a
choice of gauge, and none is smooth everywhere on a sphere. The *link* g_pq, a complex number of
modulus 1, carries w from q to p along the great circle and keeps its angle to it. The product of
links around a face of the dual mesh, whose corners are cell centres, is the face's holonomy
e^{iA} with A its area; the areas sum to 4π, and (1/2π)Σ arg is 2, the Euler number of the sphere:
the lattice Chern number of the tangent bundle (Fukui, Hatsugai and Suzuki, J. Phys. Soc. Jpn. 74,
1674, 2005).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.sphere.healpix import centres, neighbours
from pear.sphere.vectors import Frames
from pear.typing import Array, Float64, Int64

Complex128 = npt.NDArray[np.complex128]
"""Links, winds and holonomies."""

_CACHED: Final = 6
_CORNERS: Final = ((4, 3, 2), (2, 1, 0), (0, 7, 6), (6, 5, 4))
"""Neighbours around the corners N, W, S, E of a cell, counter-clockwise from outside."""


def tangent_angle(frames: Frames, xyz: Array) -> Complex128:
    """Return the east and north components of Cartesian vectors as east + i·north.

    Parameters
    ----------
    frames
        Of the points.
    xyz
        (3, …, *points).

    Returns
    -------
    ndarray
        (…, *points), complex.
    """
    u, v = frames.from_cartesian(xyz)
    return np.asarray(u + 1j * v, dtype=np.complex128)


def links_between(target: Frames, source: Frames) -> Complex128:
    """Return the links g that carry winds from sources to targets: w_target = g · w_source.

    Parameters
    ----------
    target, source
        Frames of points whose shapes broadcast.

    Returns
    -------
    ndarray
        Complex, modulus 1.

    Raises
    ------
    ValueError
        If two points coincide or are antipodal: no single great circle joins them.
    """
    here, there = target.positions(), source.positions()
    cosine = (here * there).sum(axis=0)
    if (np.abs(cosine) > 1 - 1e-14).any():
        raise ValueError("points that coincide or are antipodal have no link")
    departing = tangent_angle(source, here - cosine * there)
    arriving = tangent_angle(target, -there + cosine * here)
    ratio = arriving / departing
    return np.asarray(ratio / np.abs(ratio), dtype=np.complex128)


@lru_cache(maxsize=_CACHED)
def links(nside: int) -> Complex128:
    """Return the link from each neighbour to each cell.

    Parameters
    ----------
    nside
        Resolution, a power of two.

    Returns
    -------
    ndarray
        (cell, 8) complex, read-only, neighbours as in :func:`pear.sphere.healpix.neighbours`;
        0 where a cell has no such neighbour.

    Examples
    --------
    >>> from pear.sphere.transport import links
    >>> found = links(4)
    >>> found.shape, int((found == 0).sum())
    ((192, 8), 24)
    """
    frames, around = _frames(nside), neighbours(nside)
    exists = around >= 0
    cell = np.broadcast_to(np.arange(len(around))[:, None], around.shape)[exists]
    table = np.zeros(around.shape, dtype=np.complex128)
    table[exists] = links_between(frames.take(cell), frames.take(around[exists]))
    table.flags.writeable = False
    return table


@lru_cache(maxsize=_CACHED)
def bearings(nside: int) -> Complex128:
    """Return the direction of each neighbour seen from each cell, east + i·north.

    Parameters
    ----------
    nside
        Resolution, a power of two.

    Returns
    -------
    ndarray
        (cell, 8) complex, read-only, modulus 1; 0 where a cell has no such neighbour.
    """
    frames, around = _frames(nside), neighbours(nside)
    here = frames.positions()
    there = here[:, np.maximum(around, 0)]
    cosine = (here[:, :, None] * there).sum(axis=0)
    seen = tangent_angle(
        frames.take(np.broadcast_to(np.arange(len(around))[:, None], around.shape)),
        there - cosine * here[:, :, None],
    )
    size = np.abs(seen)
    table = np.where(around >= 0, seen / np.where(size > 0, size, 1.0), 0.0)
    table.flags.writeable = False
    return np.asarray(table, dtype=np.complex128)


@lru_cache(maxsize=_CACHED)
def dual_faces(nside: int) -> Int64:
    """Return the faces of the dual mesh: the cells around each vertex of the grid.

    Parameters
    ----------
    nside
        Resolution, a power of two.

    Returns
    -------
    ndarray
        (12 nside² + 2, 4) read-only, cells counter-clockwise seen from outside; the last is -1
        in the 8 triangles.

    Examples
    --------
    >>> from pear.sphere.transport import dual_faces
    >>> faces = dual_faces(4)
    >>> len(faces), int((faces[:, 3] < 0).sum())
    (194, 8)
    """
    around = neighbours(nside)
    faces: dict[tuple[int, ...], tuple[int, ...]] = {}
    for cell, row in enumerate(around.tolist()):
        for corner in _CORNERS:
            face = [cell, *(row[k] for k in corner if row[k] >= 0)]
            if len(face) >= 3:
                faces.setdefault(tuple(sorted(face)), tuple(face + [-1] * (4 - len(face))))
    table = np.array(sorted(faces.values()), dtype=np.int64)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=_CACHED)
def ancestor_links(nside: int, coarse: int) -> Complex128:
    """Return the link to each cell from the centre of the coarse cell that contains it.

    Multiplied by its conjugate, the winds of all cells of a coarse cell are in one frame, carried
    along great circles from its centre, and smooth where the wind is, even at a pole. ``coarse=1``
    gives the frames of the base pixels.

    Parameters
    ----------
    nside
        Resolution of the cells, a power of two.
    coarse
        That of the coarse cells, a power of two of at most ``nside``.

    Returns
    -------
    ndarray
        (cell,) complex, read-only, modulus 1. Cells that a rotation by 90° about the axis moves
        onto each other have the same number.

    Raises
    ------
    ValueError
        If the coarse cells are finer than the cells.

    Examples
    --------
    >>> from pear.sphere.transport import ancestor_links
    >>> ancestor_links(4, 1).shape, ancestor_links(4, 4).real.min()
    ((192,), np.float64(1.0))
    """
    if coarse > nside:
        raise ValueError(f"cells of nside {nside} lie in no cell of nside {coarse}")
    quarter = 12 * nside**2 // 4
    if coarse == nside:
        table = np.ones(4 * quarter, dtype=np.complex128)
    else:
        cells, inside = np.arange(4 * quarter), (nside // coarse) ** 2
        # One base pixel of each row of four; the others have the same numbers.
        row = cells[cells // nside**2 % 4 == 0].reshape(3, 1, nside**2)
        found = links_between(_frames(nside).take(row), _frames(coarse).take(row // inside))
        table = np.repeat(found, 4, axis=1).reshape(-1)
    table.flags.writeable = False
    return table


def face_holonomies(nside: int) -> Complex128:
    """Return the product of links around each face, once around against the frames' choice.

    Returns
    -------
    ndarray
        (face,) complex, e^{iA} with A the face's area.
    """
    frames, faces = _frames(nside), dual_faces(nside)
    product = np.ones(len(faces), dtype=np.complex128)
    for place in range(4):
        start = faces[:, place]
        end = np.where(faces[:, (place + 1) % 4] < 0, faces[:, 0], faces[:, (place + 1) % 4])
        real = start >= 0
        product[real] *= links_between(frames.take(end[real]), frames.take(start[real]))
    return product


def face_areas(nside: int) -> Float64:
    """Return the area of each face, its sides great circles.

    Returns
    -------
    ndarray
        (face,), steradians; they sum to 4π.
    """
    xyz, faces = _frames(nside).positions().T, dual_faces(nside)
    a, b, c = (xyz[faces[:, place]] for place in range(3))
    area = _triangle(a, b, c)
    quad = faces[:, 3] >= 0
    area[quad] += _triangle(a[quad], c[quad], xyz[faces[quad, 3]])
    return area


def chern_number(nside: int) -> float:
    """Return (1/2π) Σ arg of the holonomies: the lattice Chern number of the tangent bundle.

    Returns
    -------
    float
        2, to rounding.

    Examples
    --------
    >>> from pear.sphere.transport import chern_number
    >>> round(chern_number(4), 12)
    2.0
    """
    return float(np.angle(face_holonomies(nside)).sum() / (2 * np.pi))


def _triangle(a: Float64, b: Float64, c: Float64) -> Float64:
    """Return areas of triangles of unit vectors (…, 3), positive counter-clockwise."""
    volume = (a * np.cross(b, c)).sum(-1)
    return np.asarray(2 * np.arctan2(volume, 1 + (a * b + b * c + c * a).sum(-1)))


@lru_cache(maxsize=_CACHED)
def _frames(nside: int) -> Frames:
    return Frames.at(*centres(nside))
