"""The nested HEALPix grid: the only module that knows cell order.

HEALPix (Górski et al., ApJ 622, 759, 2005) cuts the sphere into 12 base pixels of equal area and
each of them into nside × nside cells. In the *nested* order cell f·nside² + k is cell k of base
pixel f, and the even and odd bits of k are its coordinates x (towards north-east) and y (towards
north-west). In the *ring* order cells run along circles of latitude from the north pole to the
south pole, each circle eastwards. PEAR keeps every field in nested order.

This is also the only module that imports healpy (GPL-2.0-only).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import healpy
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BASE_PIXELS: Final = 12
_CACHED_GRIDS: Final = 6


def check_nside(nside: int) -> int:
    """Return ``nside`` if it is a power of two, the only sizes that have a nested order.

    Raises
    ------
    ValueError
        If it is not.
    """
    if nside < 1 or nside & (nside - 1):
        raise ValueError(f"nside {nside} is no power of two; nested grids need 1, 2, 4, 8, …")
    return nside


def nside_from_cells(cells: int) -> int:
    """Return nside of a full grid of ``cells`` = 12 nside² cells, nside a power of two.

    Raises
    ------
    ValueError
        If no such grid exists.
    """
    nside = math.isqrt(max(cells, 0) // BASE_PIXELS)
    if cells <= 0 or BASE_PIXELS * nside * nside != cells or nside & (nside - 1):
        raise ValueError(
            f"{cells} cells are no full HEALPix grid; 12·4^k are, such as 3072 or 49152"
        )
    return nside


def cells_of_nside(nside: int) -> int:
    """Return the number of cells of the full grid, 12 nside²."""
    return BASE_PIXELS * check_nside(nside) ** 2


@lru_cache(maxsize=_CACHED_GRIDS)
def centres(nside: int) -> tuple[Floats, Floats]:
    """Latitudes and longitudes of the cell centres, each (cell,), nested, read-only.

    Returns
    -------
    (latitude, longitude)
        Degrees north in (-90, 90) and degrees east in [0, 360).
    """
    cells = np.arange(cells_of_nside(nside))
    longitude, latitude = healpy.pix2ang(nside, cells, nest=True, lonlat=True)
    return _frozen(latitude), _frozen(np.mod(longitude, 360.0))


def cell_of(latitude: Any, longitude: Any, nside: int) -> Integers:
    """Nested cell that holds each point; the shape is that of the broadcast arguments.

    Parameters
    ----------
    latitude, longitude
        Degrees north in [-90, 90]; degrees east, any finite number (periodic).

    Raises
    ------
    ValueError
        If a latitude lies outside [-90, 90] or a coordinate is not finite.
    """
    latitude, longitude = _points(latitude, longitude)
    cells = healpy.ang2pix(check_nside(nside), longitude, latitude, nest=True, lonlat=True)
    return np.asarray(cells, dtype=np.int64)


def interpolation_weights(latitude: Any, longitude: Any, nside: int) -> tuple[Integers, Floats]:
    """Four nested cells round each point and their bilinear weights, which sum to 1.

    Parameters
    ----------
    latitude, longitude
        (point,), degrees north and degrees east.

    Returns
    -------
    (index, weight)
        Each (4, point): value = Σ weight · field[index].

    Raises
    ------
    ValueError
        If a latitude lies outside [-90, 90] or a coordinate is not finite.
    """
    latitude, longitude = _points(latitude, longitude)
    index, weight = healpy.get_interp_weights(
        check_nside(nside), longitude, latitude, nest=True, lonlat=True
    )
    return np.asarray(index, dtype=np.int64), np.asarray(weight, dtype=np.float64)


def neighbours(nside: int) -> Integers:
    """Neighbours of every cell, (cell, 8) in the order SW, W, NW, N, NE, E, SE, S.

    -1 stands where a cell has no such neighbour (at the 8 corners where three base pixels meet).
    """
    cells = np.arange(cells_of_nside(nside))
    return np.ascontiguousarray(healpy.get_all_neighbours(nside, cells, nest=True).T, np.int64)


@lru_cache(maxsize=_CACHED_GRIDS)
def ring_of_nest(nside: int) -> Integers:
    """Ring index of every nested cell, (cell,), read-only: ``x_nest = x_ring[ring_of_nest]``."""
    return _frozen(healpy.nest2ring(nside, np.arange(cells_of_nside(nside))).astype(np.int64))


@lru_cache(maxsize=_CACHED_GRIDS)
def nest_of_ring(nside: int) -> Integers:
    """Nested index of every ring cell, (cell,), read-only: ``x_ring = x_nest[nest_of_ring]``."""
    return _frozen(healpy.ring2nest(nside, np.arange(cells_of_nside(nside))).astype(np.int64))


def ring_starts(nside: int) -> Integers:
    """First ring index of each of the 4 nside - 1 circles and, last, the number of cells."""
    circles = 4 * check_nside(nside) - 1
    index = np.arange(1, circles + 1)
    length = 4 * np.minimum(np.minimum(index, 4 * nside - index), nside)
    return np.concatenate([[0], np.cumsum(length)]).astype(np.int64)


def xy_of_nest(nside: int) -> tuple[Integers, Integers, Integers]:
    """Coordinates (x, y, face) of every nested cell, each (cell,)."""
    k = np.arange(check_nside(nside) ** 2)
    x, y = _even_bits(k), _even_bits(k >> 1)
    face = np.repeat(np.arange(BASE_PIXELS), nside * nside)
    return np.tile(x, BASE_PIXELS), np.tile(y, BASE_PIXELS), face


def nest_of_xy(x: Any, y: Any, face: Any, nside: int) -> Integers:
    """Nested cell at coordinates x, y of a base pixel; shapes broadcast.

    Raises
    ------
    ValueError
        If a coordinate lies outside the base pixel or the base pixel outside 0…11.
    """
    x, y, face = (np.asarray(item, dtype=np.int64) for item in (x, y, face))
    size = check_nside(nside)
    for name, value, limit in (("x", x, size), ("y", y, size), ("face", face, BASE_PIXELS)):
        if value.size and (value.min() < 0 or value.max() >= limit):
            raise ValueError(f"{name} must lie in 0…{limit - 1}, got {value.min()}…{value.max()}")
    return np.asarray(face * size * size + _spread_bits(x) + 2 * _spread_bits(y), dtype=np.int64)


def coarsen(values: npt.NDArray[Any], nside_out: int) -> npt.NDArray[Any]:
    """Mean over the cells inside each coarser cell: (…, cell) to (…, 12 nside_out²).

    Cells have equal area, so this is the exact conservative mean.

    Raises
    ------
    ValueError
        If ``nside_out`` is finer than the values.
    """
    nside, cells = nside_from_cells(values.shape[-1]), cells_of_nside(nside_out)
    if nside_out > nside:
        raise ValueError(f"cannot coarsen nside {nside} to the finer {nside_out}; use refine")
    if nside_out == nside:
        return values
    blocks = values.reshape(*values.shape[:-1], cells, -1)
    return np.asarray(blocks.mean(axis=-1, dtype=np.float64).astype(values.dtype, copy=False))


def refine(values: npt.NDArray[Any], nside_out: int) -> npt.NDArray[Any]:
    """Repeat each value on the finer cells inside it: (…, cell) to (…, 12 nside_out²).

    Raises
    ------
    ValueError
        If ``nside_out`` is coarser than the values.
    """
    nside = nside_from_cells(values.shape[-1])
    if check_nside(nside_out) < nside:
        raise ValueError(f"cannot refine nside {nside} to the coarser {nside_out}; use coarsen")
    return np.repeat(values, (nside_out // nside) ** 2, axis=-1)


def angular_power(values: npt.NDArray[Any], lmax: int | None = None) -> Floats:
    """Angular power spectrum C_l of fields: (…, cell) to (…, lmax + 1), units squared.

    C_l = Σ_m |a_lm|² / (2l + 1), a_lm the spherical-harmonic coefficients (healpy's anafast with
    three Jacobi iterations). ``lmax`` is 2 nside if not given, beyond which coefficients of a
    HEALPix grid are not reliable.

    Raises
    ------
    ValueError
        If a value is not finite or ``lmax`` exceeds 3 nside - 1.
    """
    nside = nside_from_cells(values.shape[-1])
    lmax = 2 * nside if lmax is None else lmax
    if not 0 <= lmax <= 3 * nside - 1:
        raise ValueError(f"lmax must lie in 0…{3 * nside - 1} at nside {nside}, got {lmax}")
    if not np.isfinite(values).all():
        raise ValueError("angular_power needs finite values everywhere")
    ring = np.asarray(values, dtype=np.float64).reshape(-1, values.shape[-1])[
        :, nest_of_ring(nside)
    ]
    power = np.stack([healpy.anafast(field, lmax=lmax, iter=3) for field in ring])
    return power.reshape(*values.shape[:-1], lmax + 1)


def gaussian_fields(
    power: npt.ArrayLike, nside: int, count: int, random: np.random.Generator
) -> Floats:
    """Draw isotropic Gaussian fields of a given angular power: (count, cell), nested.

    a_lm are independent, complex with variance C_l (real for m = 0), and synthesised exactly
    (healpy's alm2map). The variance at a point is Σ (2l + 1) C_l / 4π.

    Parameters
    ----------
    power
        (lmax + 1,) C_l, units squared, not negative; lmax at most 3 nside - 1.
    random
        Draws in a fixed order, so that a seed gives the same fields.

    Raises
    ------
    ValueError
        If the power is negative, not finite, or goes beyond what the grid can hold.
    """
    spectrum = np.asarray(power, dtype=np.float64)
    lmax = spectrum.size - 1
    if not 0 <= lmax <= 3 * check_nside(nside) - 1:
        raise ValueError(f"lmax must lie in 0…{3 * nside - 1} at nside {nside}, got {lmax}")
    if not np.isfinite(spectrum).all() or (spectrum < 0).any():
        raise ValueError("angular power must be finite and not negative")
    degree, order = healpy.Alm.getlm(lmax)
    amplitude = np.sqrt(spectrum[degree])
    fields = np.empty((count, cells_of_nside(nside)))
    for row in fields:
        real, imaginary = random.standard_normal((2, degree.size))
        alm = np.where(order == 0, real, (real + 1j * imaginary) / np.sqrt(2)) * amplitude
        row[:] = healpy.alm2map(alm, nside, lmax=lmax)[ring_of_nest(nside)]
    return fields


def _points(latitude: Any, longitude: Any) -> tuple[Floats, Floats]:
    latitude, longitude = np.broadcast_arrays(
        np.asarray(latitude, dtype=np.float64), np.asarray(longitude, dtype=np.float64)
    )
    if not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
        raise ValueError("latitude and longitude must be finite")
    if latitude.size and np.abs(latitude).max() > 90.0:
        worst = latitude.flat[np.abs(latitude).argmax()]
        raise ValueError(f"latitude must lie in [-90, 90] degrees, got {worst:g}")
    return latitude, np.mod(longitude, 360.0)


def _even_bits(k: Integers) -> Integers:
    """Gather the bits at even places of each number."""
    out = np.zeros_like(k)
    for bit in range(31):
        out |= ((k >> (2 * bit)) & 1) << bit
    return out


def _spread_bits(x: Integers) -> Integers:
    """Put the bits of each number at even places: the inverse of :func:`_even_bits`."""
    out = np.zeros_like(x)
    for bit in range(31):
        out |= ((x >> bit) & 1) << (2 * bit)
    return out


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the array read-only, so that a cached table cannot be changed by its users."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
