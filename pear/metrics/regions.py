"""Regions as rows of cell weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.errors import InputError, did_you_mean
from pear.typing import Bool, Float64

BANDS: Final[dict[str, tuple[float, float]]] = {
    "global": (-90.0, 90.0),
    "northern_extratropics": (20.0, 90.0),
    "tropics": (-20.0, 20.0),
    "southern_extratropics": (-90.0, -20.0),
}
"""Southern and northern bounds in degrees, as defined by WeatherBench2 and the WMO."""
BOXES: Final[dict[str, tuple[float, float, float, float]]] = {
    "arctic": (60.0, 90.0, 0.0, 360.0),
    "antarctic": (-90.0, -60.0, 0.0, 360.0),
    "europe": (35.0, 75.0, -12.5, 42.5),
    "north_america": (25.0, 60.0, -120.0, -75.0),
    "north_atlantic": (25.0, 60.0, -70.0, -20.0),
    "north_pacific": (25.0, 60.0, 145.0, -130.0),
    "east_asia": (25.0, 60.0, 102.5, 150.0),
    "australia_new_zealand": (-45.0, -12.5, 120.0, 175.0),
}
"""South, north, west, east in degrees: the boxes of ECMWF's scorecards and WeatherBench2."""
SURFACES: Final = ("land", "sea")
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_BAND = re.compile(f"band:{_NUMBER}:{_NUMBER}")
_BOX = re.compile(f"box:{_NUMBER}:{_NUMBER}:{_NUMBER}:{_NUMBER}")
_POLYGON = re.compile(f"polygon((?::{_NUMBER}:{_NUMBER}){{3,}})")


def region_weights(
    names: Sequence[str],
    latitude: npt.ArrayLike,
    longitude: npt.ArrayLike | None = None,
    *,
    land_fraction: npt.ArrayLike | None = None,
    area: npt.ArrayLike | None = None,
    cells: Mapping[str, npt.ArrayLike] | None = None,
) -> Float64:
    """Return the weight of every cell in every region.

    Parameters
    ----------
    names
        Names of :data:`BANDS` and :data:`BOXES`, ``land`` and ``sea``, ``band:SOUTH:NORTH``,
        ``box:SOUTH:NORTH:WEST:EAST`` or ``polygon:LAT:LON:LAT:LON:LAT:LON…`` in degrees such as
        ``band:-60:-30``, or keys of ``cells``.
    latitude, longitude
        (cell,) of the cell centres, degrees; only boxes and polygons need longitudes. Boxes run
        eastward from west to east, across the date line where west > east; the sides of polygons
        are straight in latitude and longitude, as in GeoJSON.
    land_fraction
        (cell,) in [0, 1]; a cell is land from one half up.
    area
        (cell,) any unit; default: equal, as for HEALPix cells.
    cells
        Name → (cell,) True inside, for other sets of cells.

    Returns
    -------
    numpy.ndarray
        (region, cell), area inside the region and 0 outside. A cell belongs to a region if its
        centre does, bounds included.

    Raises
    ------
    InputError
        If a name is repeated or unknown, a region contains no cell, or its longitudes or the land
        fraction are missing.

    Examples
    --------
    >>> region_weights(["global", "tropics"], latitude=[-45.0, 0.0, 45.0])
    array([[1., 1., 1.],
           [0., 1., 0.]])
    """
    lat = np.asarray(latitude, dtype=np.float64)
    if len(set(names)) != len(names):
        raise InputError(f"regions repeat a name: {', '.join(names)}", field="regions")
    size = np.ones_like(lat) if area is None else np.asarray(area, dtype=np.float64)
    lon = None if longitude is None else np.asarray(longitude, dtype=np.float64)
    rows = [_inside(name, lat, lon, land_fraction, cells or {}) for name in names]
    for name, row in zip(names, rows, strict=True):
        if not row.any():
            raise InputError(f"region {name} contains no cell of this grid", field="regions")
    return np.stack(rows) * size


def _inside(
    name: str,
    lat: Float64,
    lon: Float64 | None,
    land_fraction: npt.ArrayLike | None,
    cells: Mapping[str, npt.ArrayLike],
) -> Bool:
    """Return which cells lie inside a region."""
    if name in cells:
        return np.asarray(cells[name], dtype=bool)
    if name in SURFACES:
        if land_fraction is None:
            raise InputError(f"region {name} needs a land fraction", field="regions")
        land = np.asarray(land_fraction) >= 0.5
        return np.asarray(land if name == "land" else ~land)
    if (corners := _POLYGON.fullmatch(name)) is not None:
        if lon is None:
            raise InputError(f"region {name} needs longitudes", field="regions")
        numbers = [float(number) for number in corners[1].split(":")[1:]]
        return _in_polygon(name, np.array(numbers[::2]), np.array(numbers[1::2]), lat, lon)
    south, north, west, east = _bounds(name, list(cells))
    if not -90 <= south < north <= 90:
        raise InputError(
            f"region {name!r} must run from south to north within ±90", field="regions"
        )
    inside = (lat >= south) & (lat <= north)
    if east - west == 360:
        return np.asarray(inside)
    if lon is None:
        raise InputError(f"region {name} needs longitudes", field="regions")
    return np.asarray(inside & ((lon - west) % 360 <= (east - west) % 360))


def _in_polygon(
    name: str, corner_lat: Float64, corner_lon: Float64, lat: Float64, lon: Float64
) -> Bool:
    """Return which points lie inside a polygon, by counting the sides south of each point."""
    # Each side takes the shorter way around; from the first corner on, longitudes do not jump.
    turns = (np.roll(corner_lon, -1) - corner_lon + 180) % 360 - 180
    if abs(turns.sum()) > 180:
        raise InputError(
            f"region {name} surrounds a pole", field="regions", hint="use band:SOUTH:NORTH"
        )
    start = corner_lon[0] + np.concatenate([[0.0], np.cumsum(turns)[:-1]])
    inside = np.zeros(lat.shape, dtype=bool)
    for west, turn, south, north in zip(
        start, turns, corner_lat, np.roll(corner_lat, -1), strict=True
    ):
        if turn:
            along = ((lon - west) % 360) / turn if turn > 0 else ((lon - west) % 360 - 360) / turn
            crossed = (along >= 0) & (along < 1) & (south + along * (north - south) < lat)
            inside ^= crossed
    return inside


def _bounds(name: str, others: list[str]) -> tuple[float, float, float, float]:
    """Return south, north, west and east of a band or box; bands span all longitudes."""
    if name in BANDS:
        return (*BANDS[name], 0.0, 360.0)
    if name in BOXES:
        return BOXES[name]
    if (band := _BAND.fullmatch(name)) is not None:
        return (float(band[1]), float(band[2]), 0.0, 360.0)
    if (box := _BOX.fullmatch(name)) is not None:
        return (float(box[1]), float(box[2]), float(box[3]), float(box[4]))
    known = [
        *BANDS,
        *BOXES,
        *SURFACES,
        *others,
        "band:-60:-30",
        "box:35:75:-12.5:42.5",
        "polygon:60:-10:60:30:35:10",
    ]
    raise InputError(f"unknown region {name!r}", field="regions", hint=did_you_mean(name, known))
