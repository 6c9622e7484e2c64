"""Fields at other resolutions, and packed into 16 bits."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.sphere.healpix import centres, coarsen, interpolation_weights, nside_from_cells
from pear.sphere.vectors import carry, cell_frames, coarsen_wind, wind_weights
from pear.typing import Float32, Float64

DISPLAY_NSIDE: Final = 64
"""Resolution up to which coarser forecasts are interpolated on request, for smooth maps."""


def resample(field: Float32, nside: int | None) -> Float32:
    """Return a field (cell,) on a coarser grid, or on a finer one for display.

    Coarser cells are means of theirs. Finer ones lie on the bilinear surface through the cell
    centres and add no information.

    Returns
    -------
    ndarray
        Float32 (cell,) at ``nside``; the field itself if that is None.
    """
    own = nside_from_cells(field.shape[-1])
    nside = _check_resolution(own, nside)
    if nside == own:
        return field
    if nside < own:
        return np.asarray(coarsen(field, nside), dtype=np.float32)
    index, weight = _refinement(own, nside)
    return np.asarray(np.einsum("kc,kc->c", weight, field[index]), dtype=np.float32)


def resample_wind(u: Float32, v: Float32, nside: int | None) -> tuple[Float32, Float32]:
    """Return both components (cell,) of a wind as :func:`resample`, but as one vector.

    Returns
    -------
    ndarray, ndarray
        Float32 (cell,) each, eastward and northward.
    """
    own = nside_from_cells(u.shape[-1])
    nside = _check_resolution(own, nside)
    if nside <= own:
        return coarsen_wind(u, v, nside)
    index, weight = _wind_refinement(own, nside)

    def interpolate(xyz: Float64) -> Float64:
        return np.asarray(np.einsum("kc,dkc->dc", weight, xyz[:, index]))

    east, north = carry(u, v, cell_frames(own), cell_frames(nside), interpolate)
    return east.astype(np.float32), north.astype(np.float32)


def _check_resolution(own: int, nside: int | None) -> int:
    finest = max(own, DISPLAY_NSIDE)
    if nside is None:
        return own
    if nside < 1 or nside & (nside - 1) or nside > finest:
        raise InputError(
            f"nside {nside} is not available",
            field="nside",
            hint=f"use a power of two up to {finest}",
        )
    return nside


@lru_cache(maxsize=4)
def _refinement(nside: int, finer: int) -> tuple[npt.NDArray[np.int32], Float32]:
    """Return bilinear cells and weights (4, finer cell) at the centres of finer cells."""
    index, weight = interpolation_weights(*centres(finer), nside)
    return index.astype(np.int32), weight.astype(np.float32)


@lru_cache(maxsize=4)
def _wind_refinement(nside: int, finer: int) -> tuple[npt.NDArray[np.int32], Float32]:
    """Return the same for winds."""
    index, weight = wind_weights(*centres(finer), nside)
    return index.astype(np.int32), weight.astype(np.float32)


def pack_u16(field: Float32) -> tuple[npt.NDArray[np.uint16], float, float]:
    """Pack a field into 16 bits: value = offset + scale · packed; 65535 is missing.

    Returns
    -------
    tuple
        Packed values, scale and offset. The largest error is half of the scale.
    """
    finite = np.isfinite(field)
    low, high = (
        (float(field[finite].min()), float(field[finite].max())) if finite.any() else (0.0, 0.0)
    )
    scale = (high - low) / 65_534.0 or 1.0
    packed = np.full(field.shape, 65_535, dtype=np.uint16)
    packed[finite] = np.rint((field[finite].astype(np.float64) - low) / scale).astype(np.uint16)
    return packed, scale, low
