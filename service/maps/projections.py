"""Map projections, and for each the index image: which cells make which pixel.

A map is one product of a field with a fixed table: pixel = Σ weight · field[cell], four cells a
pixel (bilinear on the sphere). The tables depend on projection, width and nside alone and are
kept, with a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cartopy.crs as ccrs
import numpy as np
import numpy.typing as npt

from pear.errors import InputError, did_you_mean
from pear.resources.natural_earth import Resolution, coastline
from pear.sphere.healpix import interpolation_weights

PROJECTIONS: Final = (
    "robinson",
    "orthographic",
    "plate_carree",
    "north_polar",
    "south_polar",
)
_POLAR_EDGE_DEGREES: Final = 30.0
"""Latitude at the rim of the polar stereographic maps."""
_PLATE: Final = ccrs.PlateCarree()


@dataclass(frozen=True)
class View:
    """A projection and its centre.

    Attributes
    ----------
    name
        One of :data:`PROJECTIONS`.
    longitude, latitude
        Centre in degrees; only the orthographic projection uses the latitude.
    """

    name: str = "robinson"
    longitude: float = 0.0
    latitude: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in PROJECTIONS:
            raise InputError(
                f"unknown projection {self.name!r}",
                field="projection",
                hint=did_you_mean(self.name, PROJECTIONS),
            )


@dataclass(frozen=True)
class IndexImage:
    """Table that turns a field into an image, top row first.

    Attributes
    ----------
    shape
        (rows, columns).
    pixels
        (point,) flat indices of the pixels that lie on the map.
    index, weight
        (4, point): pixel = Σ weight · field[index].
    extent
        (left, right, bottom, top) in projection units, metres or degrees.
    """

    shape: tuple[int, int]
    pixels: npt.NDArray[np.int64]
    index: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    extent: tuple[float, float, float, float]

    def image(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the field (cell,) as an image (rows, columns), NaN off the map."""
        out = np.full(self.shape[0] * self.shape[1], np.nan, dtype=np.float32)
        field = values.astype(np.float32, copy=False)
        out[self.pixels] = np.einsum("kp,kp->p", self.weight, field[self.index])
        return out.reshape(self.shape)


@lru_cache(maxsize=32)
def projection(view: View) -> Any:
    """Return the cartopy projection of a view, on a sphere."""
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
def boundary(view: View) -> npt.NDArray[np.float64]:
    """Outline of the map, (point, 2) in projection units."""
    if view.name.endswith("polar"):
        return _circle(_polar_radius(view))
    edge = np.asarray(projection(view).boundary.coords)[:, :2]
    if view.name == "orthographic":
        return _circle(float(np.abs(edge).max()))
    return edge


def _circle(radius: float) -> npt.NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 361)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


@lru_cache(maxsize=8)
def index_image(view: View, width: int, nside: int) -> IndexImage:
    """Return the index image of a view at ``width`` pixels; the height follows from the shape."""
    outline = boundary(view)
    (left, bottom), (right, top) = outline.min(axis=0), outline.max(axis=0)
    height = max(1, round(width * (top - bottom) / (right - left)))
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = top - (np.arange(height) + 0.5) * (top - bottom) / height
    grid_x, grid_y = np.meshgrid(x, y)
    lon, lat, inside = locate(view, grid_x.ravel(), grid_y.ravel())
    pixels = np.flatnonzero(inside)
    index, weight = interpolation_weights(lat[pixels], lon[pixels], nside)
    return IndexImage(
        (height, width),
        pixels,
        index.astype(np.int32),
        weight.astype(np.float32),
        (float(left), float(right), float(bottom), float(top)),
    )


def locate(
    view: View, x: npt.NDArray[Any], y: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Longitude and latitude of points (point,) in projection units, and which lie on the map."""
    points = _PLATE.transform_points(projection(view), x, y)
    lon, lat = points[..., 0], points[..., 1]
    inside = np.isfinite(lon) & np.isfinite(lat) & _inside(view, x, y)
    return np.where(inside, lon, 0.0), np.where(inside, lat, 0.0), inside


def project(
    view: View, lon: npt.NDArray[Any], lat: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Projection units of points (point,) in degrees; not finite off the map."""
    points = projection(view).transform_points(_PLATE, lon, lat)
    return points[..., 0], points[..., 1]


@lru_cache(maxsize=16)
def outlines(view: View, resolution: Resolution) -> list[npt.NDArray[np.float64]]:
    """Coastlines in projection units, cut where they leave the map or jump over its edge."""
    edge = boundary(view)
    jump = 0.3 * float(np.ptp(edge[:, 0]))
    parts: list[npt.NDArray[np.float64]] = []
    for line in coastline(resolution):
        xy = projection(view).transform_points(_PLATE, line[:, 0], line[:, 1])[:, :2]
        shown = np.isfinite(xy).all(axis=1)
        if view.name.endswith("polar"):
            shown &= np.hypot(xy[:, 0], xy[:, 1]) <= _polar_radius(view)
        joined = shown[1:] & shown[:-1] & (np.abs(np.diff(xy[:, 0])) < jump)
        pieces = np.split(xy, np.flatnonzero(~joined) + 1)
        parts += [piece for piece in pieces if len(piece) > 1]
    return parts


def _inside(view: View, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether points lie within the outline; the inverse of Robinson also answers outside."""
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
