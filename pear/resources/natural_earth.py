"""Make the package data of :mod:`pear.resources.natural_earth` from the npm package world-atlas.

::

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m pear.resources.natural_earth package
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import shapely
from shapely import affinity
from shapely.geometry import box

from pear.errors import InputError, did_you_mean

SOURCE = "Natural Earth 4.1, public domain, by way of world-atlas 2.0.2 (ISC, Mike Bostock)"


_WORLD = box(-180.0, -90.0, 180.0, 90.0)


def decode_topology(topology: dict[str, Any]) -> Iterator[list[Points]]:
    """Yield each polygon of the object ``land`` as its closed rings, shell first.

    TopoJSON: arcs are delta-coded integers; index ``~i`` is arc i backwards; the last point of
    an arc is the first of the next.
    """
    scale, translate = (np.asarray(topology["transform"][key]) for key in ("scale", "translate"))
    arcs = [np.cumsum(np.asarray(arc), axis=0) * scale + translate for arc in topology["arcs"]]

    def ring(indices: list[int]) -> Points:
        parts = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
        return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])

    for geometry in topology["objects"]["land"]["geometries"]:
        polygons = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        for polygon in polygons:
            rings = [ring(indices) for indices in polygon]
            # A ring within 1° of a pole is the trace of the pole itself: a point, no coast.
            yield [each for each in rings if np.abs(each[:, 1]).max() < 89.0]


def unwrap(ring: Points) -> Points:
    """Return the ring with longitudes that never jump: continuous, possibly beyond ±180°."""
    lon = np.unwrap(ring[:, 0], period=360.0)
    return np.stack([lon, ring[:, 1]], axis=1)


def close_at_pole(ring: Points) -> Points:
    """Close an unwrapped ring that runs once around a pole along that pole; leave others."""
    if abs(ring[-1, 0] - ring[0, 0]) < 180.0:
        return ring
    pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
    ends = [[ring[-1, 0], pole], [ring[0, 0], pole]]
    return np.concatenate([ring, ends, ring[:1]])


def cut(geometry: Any) -> Iterator[Any]:
    """Yield the parts of an unwrapped geometry, each moved into [-180°, 180°]."""
    west, _, east, _ = geometry.bounds
    first, last = int(np.floor((west + 180.0) / 360.0)), int(np.floor((east + 180.0) / 360.0))
    for turn in range(first, last + 1):
        part = affinity.translate(geometry, xoff=-360.0 * turn).intersection(_WORLD)
        yield from getattr(part, "geoms", [part])


def polygons_and_lines(topology: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the land's polygons and its coastlines, both cut at ±180°."""
    polygons: list[Any] = []
    lines: list[Any] = []
    for rings in decode_topology(topology):
        unwrapped = [unwrap(ring) for ring in rings]
        shell, *holes = (close_at_pole(ring) for ring in unwrapped)
        whole = shapely.make_valid(shapely.Polygon(shell, holes))
        polygons += [part for part in cut(whole) if part.geom_type == "Polygon" and part.area > 0]
        for ring in unwrapped:
            parts = cut(shapely.LineString(ring))
            lines += [part for part in parts if part.geom_type == "LineString" and _is_coast(part)]
    return polygons, lines


def _is_coast(line: Any) -> bool:
    lon = np.abs(shapely.get_coordinates(line)[:, 0])
    return bool(line.length > 0 and not np.all(lon > 180.0 - 1e-9))


def _pack(parts: Iterable[Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    arrays = [
        np.rint(shapely.get_coordinates(part) / DEGREES_PER_UNIT).astype(np.int16) for part in parts
    ]
    starts = np.cumsum([0, *(len(array) for array in arrays)])[:-1].astype(np.int32)
    points = np.concatenate(arrays)
    return np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int16)), starts


def build(world_atlas: Path, resolution: Resolution) -> Path:
    """Write the package data of one resolution from ``land-RESOLUTION.json``; return its path."""
    topology = json.loads((world_atlas / f"land-{resolution}.json").read_text())
    polygons, lines = polygons_and_lines(topology)
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.interiors)]
    shells = [
        first for polygon in polygons for first in (True, *(False for _ in polygon.interiors))
    ]
    ring_points, ring_starts = _pack(rings)
    line_points, line_starts = _pack(lines)
    target = path(resolution)
    np.savez_compressed(
        target,
        ring_points=ring_points,
        ring_starts=ring_starts,
        line_points=line_points,
        line_starts=line_starts,
        ring_is_shell=np.array(shells),
        source=np.array(SOURCE),
    )
    return target


def main() -> None:
    """Build every resolution."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world_atlas", type=Path, help="folder with land-110m.json, land-50m.json")
    folder = parser.parse_args().world_atlas
    for resolution in RESOLUTIONS:
        build(folder, resolution)


if __name__ == "__main__":
    main()


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
