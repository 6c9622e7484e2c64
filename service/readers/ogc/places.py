"""Places that a query names: well-known text, circles and boxes, and the cells that lie in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import shapely

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.sphere.vectors import Frames, cell_frames
from pear.typing import Float64, Int64
from service.readers.export import Box, parse_box
from service.readers.points import parse_decimal, parse_numbers

MOST_VERTICES: Final = 500
"""Vertices of a geometry."""
EARTH_RADIUS_KM: Final = 6371.229
"""Radius of ECMWF's models, the sphere of ERA5."""
WITHIN_UNITS: Final = {"km": 1.0, "m": 0.001, "mi": 1.609344, "nmi": 1.852}
WithinUnits = Literal["km", "m", "mi", "nmi"]
_STEPS: Final = (10.0, 6.0, 5.0, 3.0, 2.5, 2.0, 1.5, 1.0, 0.75, 0.5, 0.25)
"""Spacings of the grids of cubes, degrees; all divide 180."""
_TEXT: Final = re.compile(
    r"\s*(MULTIPOINT|POINT|LINESTRING|MULTILINESTRING|POLYGON|MULTIPOLYGON)\s*(Z|M|ZM)?\s*\(",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Line:
    """A path.

    Attributes
    ----------
    latitude, longitude
        Vertices (place,), degrees.
    times
        When each is passed, (place,), UTC; None for a path without times.
    """

    latitude: Float64
    longitude: Float64
    times: np.typing.NDArray[np.datetime64] | None


def _geometry(text: str, *kinds: str) -> shapely.Geometry:
    """Return the geometry of a well-known text, which must be one of these kinds."""
    found = _TEXT.match(text)
    if found is None or found[1].upper() not in kinds:
        raise InputError(
            f"coords must be {' or '.join(kinds)} in well-known text",
            field="coords",
            hint=_EXAMPLES[kinds[0]],
        )
    try:
        geometry = shapely.from_wkt(text)
    except (shapely.errors.ShapelyError, ValueError) as error:
        raise InputError(
            "coords is not well-known text", field="coords", hint=_EXAMPLES[kinds[0]]
        ) from error
    count = int(shapely.get_num_coordinates(geometry))
    if not 0 < count <= MOST_VERTICES:
        raise InputError(
            f"coords has {count} vertices, and may have 1 to {MOST_VERTICES}",
            field="coords",
            hint=_EXAMPLES[kinds[0]],
        )
    lon, lat = shapely.get_coordinates(geometry).T
    if not (np.abs(lat) <= 90).all() or not (np.abs(lon) <= 360).all():
        raise InputError(
            "coords leaves the sphere: longitude within ±360, latitude within ±90",
            field="coords",
            hint="longitude goes first, as in POINT(18.1 59.3)",
        )
    return geometry


_EXAMPLES: Final = {
    "POINT": "POINT(18.1 59.3): longitude first",
    "LINESTRING": "LINESTRING(18.1 59.3,10.7 59.9), or LINESTRINGM with seconds since 1970 as M",
    "POLYGON": "POLYGON((5 55,25 55,25 65,5 65,5 55))",
}


def parse_points(text: str, most: int) -> tuple[Float64, Float64]:
    """Parse ``POINT`` or ``MULTIPOINT``.

    Parameters
    ----------
    text
        Well-known text, longitude first.
    most
        Largest number of points.

    Returns
    -------
    latitude, longitude : ndarray
        (point,), degrees.

    Raises
    ------
    InputError
        If it is another geometry, has too many points, heights, or leaves the sphere.
    """
    geometry = _geometry(text, "POINT", "MULTIPOINT")
    if shapely.has_z(geometry) or shapely.has_m(geometry):
        raise InputError("the points of coords have a height", field="coords", hint="use z=500")
    lon, lat = shapely.get_coordinates(geometry).T
    if lon.size > most:
        raise InputError(
            f"coords has {lon.size} points, and may have {most}",
            field="coords",
            hint="ask in several requests",
        )
    return lat.copy(), lon.copy()


def parse_line(text: str) -> Line:
    """Parse ``LINESTRING``, or ``LINESTRINGM`` with seconds since 1970 at each vertex.

    Returns
    -------
    Line
        Its vertices.

    Raises
    ------
    InputError
        If it is another geometry, or its vertices have heights.
    """
    geometry = _geometry(text, "LINESTRING")
    if shapely.has_z(geometry):
        raise InputError("the vertices of coords have a height", field="coords", hint="use z=500")
    lon, lat = shapely.get_coordinates(geometry).T
    if not shapely.has_m(geometry):
        return Line(lat.copy(), lon.copy(), None)
    seconds = shapely.get_coordinates(geometry, include_m=True)[:, 2]
    if not np.isfinite(seconds).all() or not (np.abs(seconds) < 1e11).all():
        raise InputError(
            "M of coords must be a time", field="coords", hint="give seconds since 1970-01-01"
        )
    if (seconds % 3600).any():
        raise InputError(
            "the times of coords must be whole hours", field="coords", hint="round M to 3600 s"
        )
    return Line(lat.copy(), lon.copy(), seconds.astype(np.int64).astype("datetime64[s]"))


def cells_in_area(text: str, nside: int) -> Int64:
    """Return the cells whose centres lie in a ``POLYGON`` or ``MULTIPOLYGON``, or on its edge.

    Edges are straight in longitude and latitude. An area across the date line has longitudes that
    go on beyond 180, or below -180.

    Returns
    -------
    ndarray
        Nested cells (place,), ascending.

    Raises
    ------
    InputError
        If it is another geometry, its edges cross, or no centre lies in it.
    """
    area = _geometry(text, "POLYGON", "MULTIPOLYGON")
    if not shapely.is_valid(area):
        reason = shapely.is_valid_reason(area).partition("[")[0].lower()
        raise InputError(f"coords is not a simple area: {reason}", field="coords")
    shapely.prepare(area)
    latitude, longitude = centres(nside)
    west, south, east, north = shapely.bounds(area)
    inside = np.zeros(latitude.size, dtype=bool)
    for shift in (-360.0, 0.0):
        x = longitude + shift
        near = (x >= west) & (x <= east) & (latitude >= south) & (latitude <= north)
        inside[near] |= shapely.intersects_xy(area, x[near], latitude[near])
    return _some(np.flatnonzero(inside), "coords")


def cells_in_circle(text: str, within: str, units: WithinUnits, nside: int) -> Int64:
    """Return the cells whose centres lie within a distance of a ``POINT``, along great circles.

    Parameters
    ----------
    text
        Well-known text of the point.
    within, units
        The distance, a decimal number, and its unit.
    nside
        Resolution.

    Returns
    -------
    ndarray
        Nested cells (place,), ascending.

    Raises
    ------
    InputError
        If the point or the distance cannot be read, or no centre lies so near.
    """
    latitude, longitude = parse_points(text, 1)
    try:
        radius = parse_decimal(within) * WITHIN_UNITS[units]
    except ValueError as error:
        raise InputError("within must be a decimal number", field="within") from error
    half = np.pi * EARTH_RADIUS_KM
    if not 0 < radius <= half:
        raise InputError(
            f"within must be above 0 and at most {half / WITHIN_UNITS[units]:.0f} {units}",
            field="within",
        )
    place = Frames.at(latitude, longitude).positions()[:, 0]
    cosine = np.clip(place @ cell_frames(nside).positions(), -1.0, 1.0)
    return _some(np.flatnonzero(np.arccos(cosine) <= radius / EARTH_RADIUS_KM), "within")


def _some(cells: Int64, field: str) -> Int64:
    if cells.size == 0:
        raise InputError(
            "no centre of a cell lies there",
            field=field,
            hint="ask for a larger area, or for a position, which has the value of its cell",
        )
    return cells


@dataclass(frozen=True)
class Grid:
    """Axes of a regular grid: latitude (row,) and longitude (column,), degrees, ascending."""

    latitude: Float64
    longitude: Float64

    def points(self) -> tuple[Float64, Float64]:
        """Return latitude and longitude of the points, (row x column,)."""
        lat, lon = np.meshgrid(self.latitude, self.longitude, indexing="ij")
        return lat.ravel(), lon.ravel()


def parse_cube(text: str, nside: int) -> tuple[Grid, tuple[float, float] | None]:
    """Parse ``west,south,east,north``, or the same with two pressures, as the box of a cube.

    Parameters
    ----------
    text
        Four numbers, or six with the lower and the upper end of the levels, hPa, after the
        south-western and the north-eastern corner.
    nside
        Resolution of the run; the grid is the coarsest usual one that is finer than its cells.

    Returns
    -------
    Grid, tuple or None
        The multiples of its step in the box, and the two pressures, the smaller first.

    Raises
    ------
    InputError
        If it is not a box, or no point of the grid lies in it.
    """
    numbers = text.split(",")
    between: tuple[float, float] | None = None
    if len(numbers) == 6:
        low, high = parse_numbers(f"{numbers[2]},{numbers[5]}", "bbox", 2).tolist()
        between = min(low, high), max(low, high)
        numbers = [*numbers[:2], *numbers[3:5]]
    box = parse_box(",".join(numbers))
    if box is None:
        raise InputError("bbox is missing", field="bbox")
    return _grid(box, step_of(nside)), between


def step_of(nside: int) -> float:
    """Return the spacing of the grids of cubes in degrees, at most the width of a cell."""
    width = np.degrees(np.sqrt(4 * np.pi / (12 * nside**2)))
    return next((step for step in _STEPS if step <= width), _STEPS[-1])


def _grid(box: Box, step: float) -> Grid:
    east = box.east if box.east > box.west else box.east + 360.0
    axes = []
    for low, high in ((box.south, box.north), (box.west, east)):
        first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
        axes.append(step * np.arange(first, last + 1))
    latitude, longitude = axes
    longitude = longitude[: round(360 / step)]  # the last meridian of a whole circle is the first
    if not latitude.size or not longitude.size:
        raise InputError(
            f"bbox contains no point of the grid of {step:g} degrees",
            field="bbox",
            hint="ask for a larger box, or for a position",
        )
    return Grid(latitude, longitude)
