"""Map projections, and the index images that turn a field into an image.

Each pixel is a weighted sum of four cells (bilinear on the sphere). Cells and weights depend on
projection, width and nside only and are cached.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Literal

import cartopy.crs as ccrs
import numpy as np
import numpy.typing as npt

from pear.errors import InputError, did_you_mean
from pear.resources.natural_earth import Resolution, coastline
from pear.sphere.healpix import interpolation_weights, nside_from_cells
from pear.sphere.vectors import Frames, carry, cell_frames
from pear.typing import Array, Bool, Float32, Float64
from pear.variables import variable, wind_pair

PROJECTIONS: Final = (
    "robinson",
    "orthographic",
    "plate_carree",
    "north_polar",
    "south_polar",
)
_POLAR_EDGE_DEGREES: Final = 30.0
"""Latitude at the edge of the polar stereographic maps."""
_BLOCK_PIXELS: Final = 200_000
"""Pixels located at once, in float64; a map of 2000 by 2000 pixels needs 0.6 GB at once."""
_PLATE: Final = ccrs.PlateCarree()
_SMALLEST_BOX: Final = 2.0
_MOST_OBLONG: Final = 4.0
"""Height of a map of a box over its width, or width over height, at most."""


@dataclass(frozen=True)
class View:
    """A projection and its centre.

    Attributes
    ----------
    name
        One of :data:`PROJECTIONS`.
    longitude, latitude
        Centre in degrees; only the orthographic projection uses the latitude.
    box
        Part of the map: west, south, east, north in degrees, eastward from west; None for all of
        it. The map is the rectangle around the box in the projection.

    Raises
    ------
    InputError
        If the projection is unknown, or the box is not one.

    Examples
    --------
    >>> from pear.plotting import View
    >>> View("orthographic", longitude=10.0, latitude=55.0).latitude
    55.0
    """

    name: str = "robinson"
    longitude: float = 0.0
    latitude: float = 0.0
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.box is not None:
            _check_box(self.box)
        if self.name not in PROJECTIONS:
            raise InputError(
                f"unknown projection {self.name!r}",
                field="projection",
                hint=did_you_mean(self.name, PROJECTIONS),
            )


@dataclass(frozen=True)
class IndexImage:
    """Cells and weights that turn a field into an image, top row first.

    Attributes
    ----------
    shape
        Rows and columns.
    pixels
        Flat indices (point,) of the pixels on the map.
    index, weight
        Cells and weights (4, point): pixel = Σ weight · field[index].
    extent
        Left, right, bottom and top edge in projection units, metres or degrees.
    longitude, latitude
        Degrees (point,), where the pixels are.

    Examples
    --------
    >>> from pear.plotting.projections import IndexImage
    >>> table = index_image(View(), width=40, nside=4)
    >>> image = table.image(np.ones(192))
    >>> image.shape == table.shape, bool(np.allclose(image[~np.isnan(image)], 1.0))
    (True, True)
    """

    shape: tuple[int, int]
    pixels: npt.NDArray[np.int32]
    index: npt.NDArray[np.int32]
    weight: Float32
    extent: tuple[float, float, float, float]
    longitude: Float32
    latitude: Float32

    def image(self, values: Array) -> Float32:
        """Return a field (cell,) as an image (row, column), NaN outside the map."""
        out = np.full(self.shape[0] * self.shape[1], np.nan, dtype=np.float32)
        field = values.astype(np.float32, copy=False)
        total = np.zeros(self.pixels.size, dtype=np.float32)
        for cells, weight in zip(self.index, self.weight, strict=True):
            total += weight * field[cells]  # a quarter of the memory of all four at once
        out[self.pixels] = total
        return out.reshape(self.shape)

    def of_variable(self, values: Array, name: str, partner: Array | None) -> Float32:
        """Return a variable as an image.

        Parameters
        ----------
        values
            (cell,).
        name
            Canonical name or alias.
        partner
            (cell,), the other component of a wind; None for a scalar.

        Returns
        -------
        ndarray
            (row, column), NaN outside the map.
        """
        pair = wind_pair(variable(name).name)
        if pair is None or partner is None:
            return self.image(values)
        if variable(name).name == pair[0]:
            return self.wind_component(values, partner, 0)
        return self.wind_component(partner, values, 1)

    def wind_component(self, u: Array, v: Array, which: Literal[0, 1]) -> Float32:
        """Return one component of a wind as an image, the wind interpolated as a vector.

        Parameters
        ----------
        u, v
            (cell,), eastward and northward.
        which
            0 for the eastward component, 1 for the northward one.

        Returns
        -------
        ndarray
            (row, column), NaN outside the map.
        """
        cells = cell_frames(nside_from_cells(u.size))
        out = np.full(self.shape[0] * self.shape[1], np.nan, dtype=np.float32)
        for start in range(0, self.pixels.size, _BLOCK_PIXELS):
            part = slice(start, start + _BLOCK_PIXELS)
            here = Frames.at(self.latitude[part], self.longitude[part])
            out[self.pixels[part]] = carry(u, v, cells, here, partial(self._sum, part))[which]
        return out.reshape(self.shape)

    def _sum(self, part: slice, xyz: Float64) -> Float64:
        """Return fields (3, cell) at some of the pixels."""
        pairs = zip(self.index[:, part], self.weight[:, part], strict=True)
        return np.asarray(sum(weight * xyz[:, cells] for cells, weight in pairs))

    @property
    def nbytes(self) -> int:
        """Memory of the tables, bytes."""
        return self.pixels.nbytes + self.index.nbytes + self.weight.nbytes + 8 * self.pixels.size


class _Tables:
    """Index images that were used last, within a bound of memory; one is made at a time."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[View, int, int], IndexImage] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, view: View, width: int, nside: int) -> IndexImage:
        key = (view, width, nside)
        with self._lock:
            table = self._kept.pop(key, None)
            if table is None:
                table = _index_image(view, width, nside)
            if table.nbytes <= self.max_bytes:
                self._kept[key] = table
            while sum(kept.nbytes for kept in self._kept.values()) > self.max_bytes:
                self._kept.popitem(last=False)
        return table


_TABLES: Final = _Tables(64 * 1024**2)


def keep_tables(max_bytes: int) -> None:
    """Set the memory that this process keeps index images in.

    Parameters
    ----------
    max_bytes
        Upper bound of their summed size (default: 64 MiB); larger ones are not kept.

    Examples
    --------
    >>> from pear.plotting.projections import keep_tables
    >>> keep_tables(64 * 1024**2)
    """
    _TABLES.max_bytes = max_bytes


def _check_box(box: tuple[float, float, float, float]) -> None:
    west, south, east, north = box
    if not -90.0 <= south < north <= 90.0 or not all(map(np.isfinite, box)):
        raise InputError(
            f"the box from {south:g} to {north:g} degrees north is not one",
            field="bbox",
            hint="use west,south,east,north in degrees, with south below north",
        )
    if north - south < _SMALLEST_BOX or 0 <= east - west < _SMALLEST_BOX:
        raise InputError(
            f"the box is smaller than {_SMALLEST_BOX:g} degrees",
            field="bbox",
            hint="use a larger one",
        )


@lru_cache(maxsize=32)
def extent(view: View) -> tuple[float, float, float, float]:
    """Return the left, right, bottom and top edge of a map.

    Returns
    -------
    tuple of float
        In projection units: metres, or degrees of the plate carrée.

    Raises
    ------
    InputError
        If the box of the view is not on the map, or far from square.

    Examples
    --------
    >>> from pear.plotting.projections import extent
    >>> extent(View("plate_carree", longitude=15.0, box=(-10.0, 35.0, 40.0, 70.0)))
    (-25.0, 25.0, 35.0, 70.0)
    """
    if view.box is None:
        edge = boundary(view)
        (left, bottom), (right, top) = edge.min(axis=0), edge.max(axis=0)
        return float(left), float(right), float(bottom), float(top)
    west, south, east, north = view.box
    east += 360.0 if east <= west else 0.0
    grid = np.meshgrid(np.linspace(west, east, 61), np.linspace(south, north, 61))
    x, y = project(view, *(axis.ravel() for axis in grid))
    if view.name in ("plate_carree", "robinson"):  # the seam is opposite to the centre
        beyond = np.abs(grid[0].ravel() - view.longitude)
        shown = (np.minimum(beyond, np.abs(beyond - 360.0)) <= 180.0 + 1e-9) & np.isfinite(x)
    else:
        shown = np.isfinite(x) & np.isfinite(y)
    if view.name.endswith("polar"):
        shown &= np.hypot(x, y) <= 1.0001 * _polar_radius(view)
    if np.count_nonzero(shown) < 9:
        raise InputError(
            f"the box is not on the {view.name} map", field="bbox", hint="use another projection"
        )
    found = tuple(
        round(float(edge), 6)
        for edge in (x[shown].min(), x[shown].max(), y[shown].min(), y[shown].max())
    )
    left, right, bottom, top = found
    ratio = (top - bottom) / max(right - left, 1e-9)
    if not 1 / _MOST_OBLONG <= ratio <= _MOST_OBLONG:
        raise InputError(
            f"the map of the box would be {ratio:.2g} times as high as wide",
            field="bbox",
            hint=f"keep it within 1:{_MOST_OBLONG:g} and {_MOST_OBLONG:g}:1",
        )
    return left, right, bottom, top


@lru_cache(maxsize=32)
def projection(view: View) -> ccrs.Projection:
    """Return the cartopy projection of a view, on a sphere.

    Returns
    -------
    cartopy.crs.Projection
        Cached.

    Examples
    --------
    >>> from pear.plotting.projections import projection
    >>> type(projection(View("north_polar"))).__name__
    'NorthPolarStereo'
    """
    match view.name:
        case "robinson":
            return ccrs.Robinson(central_longitude=view.longitude)
        case "orthographic":
            return ccrs.Orthographic(view.longitude, view.latitude)
        case "north_polar":
            return ccrs.NorthPolarStereo(central_longitude=view.longitude)
        case "south_polar":
            return ccrs.SouthPolarStereo(central_longitude=view.longitude)
        case _:
            return ccrs.PlateCarree(central_longitude=view.longitude)


@lru_cache(maxsize=32)
def boundary(view: View) -> Float64:
    """Return the outline of the map, (point, 2) in projection units.

    Returns
    -------
    numpy.ndarray
        Closed: the last point is the first.

    Examples
    --------
    >>> from pear.plotting.projections import boundary
    >>> edge = boundary(View("south_polar"))
    >>> edge.shape, bool(np.allclose(edge[0], edge[-1]))
    ((361, 2), True)
    """
    if view.name.endswith("polar"):
        return _circle(_polar_radius(view))
    edge = np.asarray(projection(view).boundary.coords)[:, :2]
    if view.name == "orthographic":
        return _circle(float(np.abs(edge).max()))
    return edge


def _circle(radius: float) -> Float64:
    angle = np.linspace(0, 2 * np.pi, 361)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def index_image(view: View, width: int, nside: int) -> IndexImage:
    """Return the index image of a view at a width in pixels.

    Returns
    -------
    IndexImage
        Kept in memory, see :func:`keep_tables`.

    Examples
    --------
    >>> from pear.plotting.projections import index_image
    >>> table = index_image(View("plate_carree"), width=40, nside=4)
    >>> table.shape, table.extent
    ((20, 40), (-180.0, 180.0, -90.0, 90.0))
    """
    return _TABLES.get(view, width, nside)


def _index_image(view: View, width: int, nside: int) -> IndexImage:
    left, right, bottom, top = extent(view)
    height = max(1, round(width * (top - bottom) / (right - left)))
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = top - (np.arange(height) + 0.5) * (top - bottom) / height
    rows, count = max(1, _BLOCK_PIXELS // width), 0
    # As large as the map could be; pages that are never written take no memory.
    pixels = np.empty(width * height, dtype=np.int32)
    index = np.empty((4, width * height), dtype=np.int32)
    weight = np.empty((4, width * height), dtype=np.float32)
    places = np.empty((2, width * height), dtype=np.float32)
    for start in range(0, height, rows):
        grid_x, grid_y = np.meshgrid(x, y[start : start + rows])
        lon, lat, inside = locate(view, grid_x.ravel(), grid_y.ravel())
        found = np.flatnonzero(inside)
        part = slice(count, count + found.size)
        pixels[part] = found + start * width
        index[:, part], weight[:, part] = interpolation_weights(lat[found], lon[found], nside)
        places[:, part] = lon[found], lat[found]
        count += found.size
    return IndexImage(
        (height, width),
        pixels[:count],
        index[:, :count],
        weight[:, :count],
        (left, right, bottom, top),
        places[0, :count],
        places[1, :count],
    )


def locate(view: View, x: Array, y: Array) -> tuple[Float64, Float64, Bool]:
    """Return longitude and latitude of points in projection units, and which are on the map.

    Returns
    -------
    longitude, latitude : numpy.ndarray
        Degrees; 0 outside the map.
    inside : numpy.ndarray of bool
        Points on the map.

    Examples
    --------
    >>> from pear.plotting.projections import locate
    >>> lon, lat, inside = locate(View("plate_carree"), np.array([30.0]), np.array([60.0]))
    >>> lon, lat, inside
    (array([30.]), array([60.]), array([ True]))
    """
    points = _PLATE.transform_points(projection(view), x, y)
    lon, lat = points[..., 0], points[..., 1]
    inside = np.isfinite(lon) & np.isfinite(lat) & _inside(view, x, y)
    return np.where(inside, lon, 0.0), np.where(inside, lat, 0.0), inside


def project(view: View, lon: Array, lat: Array) -> tuple[Float64, Float64]:
    """Return points given in degrees in projection units; not finite outside the map.

    Returns
    -------
    x, y : numpy.ndarray
        Projection units.

    Examples
    --------
    >>> from pear.plotting.projections import project
    >>> view = View("orthographic")
    >>> lon, lat, _ = locate(view, *project(view, np.array([30.0]), np.array([60.0])))
    >>> lon.round(6), lat.round(6)
    (array([30.]), array([60.]))
    """
    points = projection(view).transform_points(_PLATE, lon, lat)
    return points[..., 0], points[..., 1]


@lru_cache(maxsize=16)
def outlines(view: View, resolution: Resolution) -> list[Float64]:
    """Return coastlines in projection units, cut where they leave the map or cross its edge.

    Returns
    -------
    list of numpy.ndarray
        (point, 2) each.

    Examples
    --------
    >>> from pear.plotting.projections import outlines
    >>> lines = outlines(View("plate_carree"), "110m")
    >>> len(lines), {line.shape[1] for line in lines}
    (128, {2})
    """
    edge = boundary(view)
    jump = 0.3 * float(np.ptp(edge[:, 0]))
    parts: list[Float64] = []
    for line in coastline(resolution):
        xy = projection(view).transform_points(_PLATE, line[:, 0], line[:, 1])[:, :2]
        shown = np.isfinite(xy).all(axis=1)
        if view.name.endswith("polar"):
            shown &= np.hypot(xy[:, 0], xy[:, 1]) <= _polar_radius(view)
        joined = shown[1:] & shown[:-1] & (np.abs(np.diff(xy[:, 0])) < jump)
        pieces = np.split(xy, np.flatnonzero(~joined) + 1)
        parts += [piece for piece in pieces if len(piece) > 1]
    return parts


def _inside(view: View, x: Array, y: Array) -> Bool:
    """Return which points are within the outline; inverse Robinson is defined outside too."""
    if view.name == "plate_carree":
        return np.ones(x.size, dtype=bool)
    if view.name == "robinson":
        outline = boundary(view)
        right = outline[outline[:, 0] >= 0]
        order = np.argsort(right[:, 1])
        half_width = np.interp(y.ravel(), right[order, 1], right[order, 0])
        return np.asarray(np.abs(x.ravel()) <= half_width)
    radius = np.abs(boundary(view)).max()
    return np.asarray(np.hypot(x.ravel(), y.ravel()) <= radius)


def _polar_radius(view: View) -> float:
    latitude = _POLAR_EDGE_DEGREES if view.name == "north_polar" else -_POLAR_EDGE_DEGREES
    edge = projection(view).transform_point(view.longitude, latitude, _PLATE)
    return float(np.hypot(*edge))
