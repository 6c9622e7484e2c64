"""Grids on which sources have their fields: latitude and longitude, or HEALPix of any resolution.

What is asked of a grid, whichever it is, is asked here: the area and the frame of each point. The
weights from a grid to HEALPix cells are in :mod:`pear.sphere.regrid` and
:mod:`pear.sphere.between_cells`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pear.sphere import healpix
from pear.sphere.latlon import LatLonGrid
from pear.sphere.vectors import Frames, cell_frames, grid_frames
from pear.typing import Float64

_POLE: Final = 90 - 1e-6
_FINEST: Final = 2**15
"""A single field at this nside has 13 billion cells; a larger number is a damaged attribute."""


@dataclass(frozen=True)
class HealpixGrid:
    """All cells of a HEALPix grid, nested where nside is a power of two and in ring order else.

    Parameters
    ----------
    nside
        Cells along one side of a base pixel.

    Raises
    ------
    ValueError
        If it is not in 1…32768.

    Examples
    --------
    >>> from pear.sphere.source_grids import HealpixGrid
    >>> str(HealpixGrid(64)), HealpixGrid(48).order, HealpixGrid(48).size
    ('HEALPix, nside 64, 49152 cells', 'ring', 27648)
    """

    nside: int

    def __post_init__(self) -> None:
        if not 1 <= self.nside <= _FINEST:
            raise ValueError(f"nside {self.nside} is not in 1…{_FINEST}")

    @property
    def order(self) -> str:
        """Order of the cells: ``nested``, or ``ring`` where there is no nested order."""
        return "ring" if self.nside & (self.nside - 1) else "nested"

    @property
    def size(self) -> int:
        """Number of cells."""
        return healpix.BASE_PIXELS * self.nside**2

    def centres(self) -> tuple[Float64, Float64]:
        """Return latitudes and longitudes of the centres in degrees, (cell,) each."""
        if self.order == "nested":
            return healpix.centres(self.nside)
        return healpix.ring_centres(self.nside)

    def __str__(self) -> str:
        return f"HEALPix, nside {self.nside}, {self.size} cells"


SourceGrid: TypeAlias = LatLonGrid | HealpixGrid
"""A grid that covers the globe and from which fields can be regridded."""


@lru_cache(maxsize=2)
def frames_of(grid: SourceGrid) -> Frames:
    """Return the directions east and north at the points of a grid.

    Returns
    -------
    Frames
        (point,), cached.

    Examples
    --------
    >>> from pear.sphere.source_grids import frames_of
    >>> frames_of(HealpixGrid(3)).sin_lat.shape
    (108,)
    """
    if isinstance(grid, LatLonGrid):
        return grid_frames(grid)
    return cell_frames(grid.nside) if grid.order == "nested" else Frames.at(*grid.centres())


def area_shares(grid: SourceGrid) -> Float64:
    """Return the share of the globe of each point, (point,); none for the poles themselves.

    Returns
    -------
    ndarray
        (point,), which sums to 1.

    Examples
    --------
    >>> from pear.sphere.source_grids import area_shares
    >>> bool((area_shares(HealpixGrid(1)) == 1 / 12).all())
    True
    """
    if isinstance(grid, HealpixGrid):
        return np.full(grid.size, 1.0 / grid.size)
    rows = np.clip(np.cos(np.deg2rad(grid.lat)), 1e-9, None)
    areas = np.repeat(rows, grid.lon.size)
    return np.asarray(areas / areas.sum())


def on_poles(grid: SourceGrid) -> npt.NDArray[np.bool_]:
    """Return which points lie on a pole, where a row of a grid is one place many times.

    Returns
    -------
    ndarray
        (point,), bool.

    Examples
    --------
    >>> from pear.sphere.latlon import global_grid
    >>> from pear.sphere.source_grids import on_poles
    >>> int(on_poles(global_grid(19, 36)).sum()), bool(on_poles(HealpixGrid(4)).any())
    (72, False)
    """
    if isinstance(grid, HealpixGrid):
        return np.zeros(grid.size, dtype=bool)
    return np.repeat(np.abs(grid.lat) > _POLE, grid.lon.size)
