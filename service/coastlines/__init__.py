"""Natural Earth coastlines and land as package data: no map of PEAR ever needs the network.

Made by ``python -m service.coastlines.build`` from the npm package world-atlas 2.0.2 (ISC licence,
Mike Bostock), which redistributes Natural Earth 4.1 (naturalearthdata.com, public domain) as
TopoJSON. Scales 1:110 million and 1:50 million; rings and lines are cut at ±180° and Antarctica
is closed at the pole, so a plate carrée can draw them as they are. Coordinates are kept to
0.0055°, which is 600 m.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import shapely

from pear.errors import InputError, did_you_mean

Resolution = Literal["110m", "50m"]
Points = npt.NDArray[np.float64]

RESOLUTIONS: Final[tuple[Resolution, ...]] = ("110m", "50m")
DEGREES_PER_UNIT: Final = 180.0 / 32_760.0
"""What one unit of the stored int16 coordinates is worth; ±180° is exact."""


@cache
def coastline(resolution: Resolution = "110m") -> list[Points]:
    """Return the coastlines as lines that never cross ±180°.

    Returns
    -------
    list of (points, 2) float64
        Longitude in [-180, 180] and latitude, degrees.

    Raises
    ------
    InputError
        If the resolution is none of 110m and 50m.
    """
    data = _read(resolution)
    return _split(data["line_points"], data["line_starts"])


@cache
def land(resolution: Resolution = "110m") -> Any:
    """Return the land as a valid shapely MultiPolygon in degrees, within [-180, 180] × [-90, 90].

    Raises
    ------
    InputError
        If the resolution is none of 110m and 50m.
    """
    data = _read(resolution)
    rings = [shapely.LinearRing(ring) for ring in _split(data["ring_points"], data["ring_starts"])]
    polygons: list[Any] = []
    shells = np.flatnonzero(data["ring_is_shell"])
    for first, last in zip(shells, [*shells[1:], len(rings)], strict=True):
        polygons.append(shapely.Polygon(rings[first], rings[first + 1 : last]))
    # Rounding can pinch a thin spit to a line; only areas are land.
    parts = shapely.get_parts(shapely.make_valid(shapely.MultiPolygon(polygons)))
    flat = shapely.get_parts(parts[shapely.area(parts) > 0])
    return shapely.MultiPolygon(list(flat))


def path(resolution: Resolution) -> Path:
    """Where the package data of this resolution lies."""
    if resolution not in RESOLUTIONS:
        raise InputError(
            f"no coastlines at {resolution!r}",
            field="resolution",
            hint=did_you_mean(str(resolution), RESOLUTIONS),
        )
    return Path(__file__).parent / f"natural_earth_{resolution}.npz"


def _read(resolution: Resolution) -> dict[str, npt.NDArray[Any]]:
    with np.load(path(resolution), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _split(points: npt.NDArray[Any], starts: npt.NDArray[Any]) -> list[Points]:
    # Stored as differences, which compress well; int16 sums wrap round to the right value.
    degrees = np.cumsum(points, axis=0, dtype=np.int16).astype(np.float64) * DEGREES_PER_UNIT
    return list(np.split(degrees, starts[1:]))
