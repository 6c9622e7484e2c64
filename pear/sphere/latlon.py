"""Regular latitude-longitude grids, in the order in which a file holds their points."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.typing import Float64

_MOST_TURNS: Final = 3  # of longitudes about the globe
_SPACING_TOLERANCE: Final = 2e-3  # Gaussian latitudes differ by more, float32 ones by less


@dataclass(frozen=True, eq=False)
class LatLonGrid:
    """A regular (equiangular) grid of points, in the order in which a file holds them.

    Parameters
    ----------
    lat
        (row,), degrees north, evenly spaced, ascending or descending.
    lon
        (column,), degrees east, evenly spaced, any start; a repeated 360° column is allowed.

    Raises
    ------
    ValueError
        If an axis is too short, not finite, out of range or not evenly spaced (Gaussian grids).

    Examples
    --------
    >>> grid = LatLonGrid(np.linspace(90, -90, 121), np.arange(240) * 1.5)
    >>> grid.shape, grid.is_global
    ((121, 240), True)
    """

    lat: Float64
    lon: Float64

    def __post_init__(self) -> None:
        lat, lon = _even("latitude", self.lat), _even("longitude", _unwrapped(self.lon))
        if np.abs(lat).max() > 90.0 + 1e-3:
            raise ValueError(f"latitude reaches {lat[np.abs(lat).argmax()]:g} degrees")
        if abs(lon[-1] - lon[0]) > 360.0 + 1e-2:
            raise ValueError(f"longitude spans {abs(lon[-1] - lon[0]):g} degrees, more than 360")
        object.__setattr__(self, "lat", _snap_poles(lat))
        object.__setattr__(self, "lon", _snap_circle(lon))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.lat.size, self.lon.size

    @property
    def size(self) -> int:
        """Number of points."""
        return self.lat.size * self.lon.size

    @property
    def lat_step(self) -> float:
        """Degrees from one row to the next, negative if rows run southward."""
        return float((self.lat[-1] - self.lat[0]) / (self.lat.size - 1))

    @property
    def lon_step(self) -> float:
        """Degrees from one column to the next."""
        return float((self.lon[-1] - self.lon[0]) / (self.lon.size - 1))

    @property
    def closed(self) -> bool:
        """True if the last column repeats the first, 360 degrees further east."""
        return bool(abs(abs(self.lon[-1] - self.lon[0]) - 360.0) < 0.05 * abs(self.lon_step))

    @property
    def columns(self) -> int:
        """Number of distinct columns."""
        return self.lon.size - int(self.closed)

    @property
    def is_global(self) -> bool:
        """True if the points span all longitudes and reach within one row of both poles."""
        step = abs(self.lat_step)
        round_circle = abs(self.columns * abs(self.lon_step) - 360.0) < 0.05 * abs(self.lon_step)
        gap = max(90.0 + self.lat.min(), 90.0 - self.lat.max())
        return bool(round_circle and gap <= 1.05 * step)

    @property
    def key(self) -> str:
        """Name of the grid in caches and reports: its shape and a hash of the coordinates."""
        digest = hashlib.sha256(np.round(np.concatenate([self.lat, self.lon]), 6).tobytes())
        return f"{self.lat.size}x{self.lon.size}-{digest.hexdigest()[:12]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LatLonGrid) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return (
            f"{self.lat.size} x {self.lon.size} points, {abs(self.lat_step):.4g} x "
            f"{abs(self.lon_step):.4g} degrees, latitude {self.lat[0]:g} to {self.lat[-1]:g}, "
            f"longitude {self.lon[0]:g} to {self.lon[-1]:g}"
        )

    def require_global(self) -> LatLonGrid:
        """Return the grid if it covers the sphere.

        Returns
        -------
        LatLonGrid
            The grid itself.

        Raises
        ------
        ValueError
            If it does not cover the sphere.
        """
        if not self.is_global:
            raise ValueError(f"the grid does not cover the globe: {self}")
        return self


def global_grid(rows: int, columns: int, *, poles: bool = True) -> LatLonGrid:
    """Build a regular global grid from north to south, longitude from 0.

    Parameters
    ----------
    rows, columns
        Number of latitudes and longitudes.
    poles
        Put the first and last row on the poles, as ERA5 does; otherwise half a row from them.

    Returns
    -------
    LatLonGrid
        The grid.

    Examples
    --------
    >>> from pear.sphere.latlon import global_grid
    >>> str(global_grid(121, 240))
    '121 x 240 points, 1.5 x 1.5 degrees, latitude 90 to -90, longitude 0 to 358.5'
    """
    half = 0.0 if poles else 90.0 / rows
    return LatLonGrid(
        np.linspace(90.0 - half, half - 90.0, rows), np.arange(columns) * 360 / columns
    )


def _even(name: str, axis: npt.ArrayLike) -> Float64:
    """Return the axis exactly evenly spaced if it is so up to rounding."""
    axis = np.atleast_1d(np.asarray(axis, dtype=np.float64))
    if axis.ndim != 1 or axis.size < 3:
        raise ValueError(f"{name} has shape {axis.shape}; a grid needs at least 3 points")
    if not np.isfinite(axis).all():
        raise ValueError(f"{name} has values that are not finite")
    limit = 90.0 + 1e-3 if name == "latitude" else _MOST_TURNS * 360.0
    if np.abs(axis).max() > limit:
        raise ValueError(f"{name} reaches {axis[np.abs(axis).argmax()]:g} degrees")
    even = np.linspace(axis[0], axis[-1], axis.size)
    step = (axis[-1] - axis[0]) / (axis.size - 1)
    worst = float(np.abs(np.diff(axis) - step).max())
    if step == 0 or worst > _SPACING_TOLERANCE * abs(step) + 2e-5 * (1 + np.abs(axis).max() / 90):
        _require_order(name, axis)
        raise ValueError(
            f"{name} is not evenly spaced (steps {np.diff(axis).min():.6g} to "
            f"{np.diff(axis).max():.6g} degrees): Gaussian and other grids are not supported"
        )
    return even


def _require_order(name: str, axis: Float64) -> None:
    """Refuse an axis that would be even if its values were in order."""
    steps, ordered = np.diff(axis), np.diff(np.sort(axis))
    is_even = ordered.min() > 0 and np.ptp(ordered) <= _SPACING_TOLERANCE * 10 * ordered.max()
    if is_even and not ((steps > 0).all() or (steps < 0).all()):
        at = int(np.flatnonzero(np.sign(steps) != np.sign(steps[0]))[0]) if steps[0] else 0
        shown = ", ".join(f"{one:g}" for one in axis[max(at - 1, 0) : at + 3])
        raise ValueError(
            f"{name} is not in order (… {shown} …): sort the fields by it, together with the axis"
        )


def _unwrapped(lon: npt.ArrayLike) -> Float64:
    """Remove a single jump by 360 degrees (45 … 315 0 … 40) from longitudes."""
    lon = np.atleast_1d(np.asarray(lon, dtype=np.float64))
    jumps = np.diff(lon)
    if lon.size > 2 and np.isfinite(lon).all() and (np.abs(jumps) > 180.0).sum() == 1:
        at = int(np.abs(jumps).argmax())
        lon = lon.copy()
        lon[at + 1 :] -= 360.0 * np.sign(jumps[at])
    return lon


def _snap_poles(lat: Float64) -> Float64:
    step = abs(lat[1] - lat[0])
    ends = [np.sign(x) * 90.0 if abs(abs(x) - 90.0) < 0.02 * step else x for x in (lat[0], lat[-1])]
    return np.linspace(ends[0], ends[1], lat.size)


def _snap_circle(lon: Float64) -> Float64:
    step = (lon[-1] - lon[0]) / (lon.size - 1)
    for columns in (lon.size, lon.size - 1):
        exact = np.sign(step) * 360.0 / columns
        if abs(columns * (step - exact)) < 0.02 * abs(step):
            return np.asarray(lon[0] + exact * np.arange(lon.size))
    return lon
