"""Regions as rows of weights: which cells count, and how much."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.errors import InputError, did_you_mean
from pear.metrics.statistics import Array

BANDS: Final[dict[str, tuple[float, float]]] = {
    "global": (-90.0, 90.0),
    "northern_extratropics": (20.0, 90.0),
    "tropics": (-20.0, 20.0),
    "southern_extratropics": (-90.0, -20.0),
}
"""Southern and northern bounds in degrees, as WeatherBench2 and the WMO draw them."""
SURFACES: Final = ("land", "sea")
_BAND = re.compile(r"band:(-?\d+(?:\.\d+)?):(-?\d+(?:\.\d+)?)")


def region_weights(
    names: Sequence[str],
    latitude: npt.ArrayLike,
    *,
    land_fraction: npt.ArrayLike | None = None,
    area: npt.ArrayLike | None = None,
    cells: Mapping[str, npt.ArrayLike] | None = None,
) -> Array:
    """Weights of every cell in every region.

    Parameters
    ----------
    names
        Names of :data:`BANDS`, ``land`` and ``sea``, ``band:SOUTH:NORTH`` in degrees such as
        ``band:-60:-30``, or keys of ``cells``.
    latitude
        (cell,) of the cell centres, degrees.
    land_fraction
        (cell,) in [0, 1]; a cell is land from one half up.
    area
        (cell,) any unit; equal if not given, as HEALPix cells are.
    cells
        Name → (cell,) True inside, for polygons and other sets of cells.

    Returns
    -------
    ndarray
        (region, cell), area inside the region and 0 outside. A cell belongs to a region if its
        centre does, bounds included.

    Raises
    ------
    InputError
        If a name is unknown, repeated, a region holds no cell, or land is asked for without a
        land fraction.
    """
    lat = np.asarray(latitude, dtype=np.float64)
    if len(set(names)) != len(names):
        raise InputError(f"regions repeat a name: {', '.join(names)}", field="regions")
    size = np.ones_like(lat) if area is None else np.asarray(area, dtype=np.float64)
    rows = [_inside(name, lat, land_fraction, cells or {}) for name in names]
    for name, row in zip(names, rows, strict=True):
        if not row.any():
            raise InputError(f"region {name} holds no cell of this grid", field="regions")
    return np.stack(rows) * size


def _inside(
    name: str,
    lat: Array,
    land_fraction: npt.ArrayLike | None,
    cells: Mapping[str, npt.ArrayLike],
) -> npt.NDArray[np.bool_]:
    if name in cells:
        return np.asarray(cells[name], dtype=bool)
    if name in SURFACES:
        if land_fraction is None:
            raise InputError(f"region {name} needs a land fraction", field="regions")
        land = np.asarray(land_fraction) >= 0.5
        return np.asarray(land if name == "land" else ~land)
    match = _BAND.fullmatch(name)
    if match is None and name not in BANDS:
        known = [*BANDS, *SURFACES, *cells, "band:-60:-30"]
        raise InputError(
            f"unknown region {name!r}", field="regions", hint=did_you_mean(name, known)
        )
    south, north = BANDS[name] if match is None else (float(match[1]), float(match[2]))
    if not -90 <= south < north <= 90:
        raise InputError(
            f"region {name!r} must run from south to north within ±90", field="regions"
        )
    return np.asarray((lat >= south) & (lat <= north))
