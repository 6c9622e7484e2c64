"""Coastlines, borders of countries and land fraction of Natural Earth.

The packaged files are built from the npm package world-atlas, which carries Natural Earth (public
domain) as TopoJSON::

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m pear.resources.natural_earth package
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.resources import path
from pear.typing import Float64

if TYPE_CHECKING:
    from shapely import LineString, Polygon
    from shapely.geometry.base import BaseGeometry

Resolution = Literal["110m", "50m"]
SOURCE: Final = "Natural Earth 4.1, public domain, by way of world-atlas 2.0.2 (ISC, Mike Bostock)"
_BORDER_TOLERANCE: Final = 0.02
DEGREES_PER_UNIT: Final = 180.0 / 32_760.0
"""Value of one unit of the stored int16 coordinates; ±180° is exact."""


@cache
def coastline(resolution: Resolution = "110m") -> list[Float64]:
    """Return the coastlines as lines that never cross ±180°.

    Another resolution than these is an InputError.

    Parameters
    ----------
    resolution
        Scale of the map, 1:110 million or 1:50 million.

    Returns
    -------
    list of numpy.ndarray
        (point, 2), longitude in [-180, 180] and latitude, degrees.

    Examples
    --------
    >>> len(coastline("110m"))
    128
    """
    return _read("natural_earth", resolution)


@cache
def borders(resolution: Resolution = "110m") -> list[Float64]:
    """Return the borders between countries as Natural Earth draws them, by who governs.

    Another resolution than these is an InputError.

    Parameters
    ----------
    resolution
        Scale of the map, 1:110 million or 1:50 million, the latter simplified to .02°.

    Returns
    -------
    list of numpy.ndarray
        (point, 2), longitude in [-180, 180] and latitude, degrees; without coasts.

    Examples
    --------
    >>> len(borders("110m"))
    326
    """
    return _read("borders", resolution)


def _read(name: str, resolution: Resolution) -> list[Float64]:
    if resolution not in get_args(Resolution):
        raise InputError(
            f"no lines at {resolution!r}",
            field="resolution",
            hint=did_you_mean(str(resolution), get_args(Resolution)),
        )
    with np.load(path(f"{name}_{resolution}.npz"), allow_pickle=False) as data:
        # Stored as differences, which compress well; int16 sums wrap around to the right value.
        points = np.cumsum(data["line_points"], axis=0, dtype=np.int16)
        return np.split(points * DEGREES_PER_UNIT, data["line_starts"][1:])


@cache
def land_fraction() -> tuple[Float64, Float64, Float64]:
    """Return the fraction of land in boxes of one degree.

    Returns
    -------
    latitude, longitude : numpy.ndarray
        (180,) degrees north, ascending, and (360,) degrees east in [0, 360), of the box centres.
    fraction : numpy.ndarray
        (180, 360), in [0, 1].

    Examples
    --------
    >>> latitude, longitude, fraction = land_fraction()
    >>> float(fraction[latitude == 23.5, longitude == 10.5].item())  # the Sahara
    1.0
    """
    with np.load(path("land_fraction.npz")) as data:
        fraction = data["fraction"].astype(np.float64) / 255.0
    return np.arange(180.0) - 89.5, np.arange(360.0) + 0.5, fraction


def decode_topology(topology: dict[str, Any]) -> Iterator[list[Float64]]:
    """Decode the land polygons of a quantised TopoJSON document.

    Arcs are delta-coded integers; index ``~i`` is arc i backwards; the last point of an arc is the
    first of the next (TopoJSON specification, 2.1.4).

    Parameters
    ----------
    topology
        Document with an object ``land``.

    Yields
    ------
    list of numpy.ndarray
        Closed rings (point, 2) of one polygon, longitude and latitude in degrees, shell first.

    Raises
    ------
    InputError
        If the document has no such object.

    Examples
    --------
    >>> from pear.resources.natural_earth import decode_topology
    >>> topology = {
    ...     "type": "Topology",
    ...     "transform": {"scale": [1.0, 1.0], "translate": [10.0, 20.0]},
    ...     "arcs": [[[0, 0], [2, 0], [0, 2], [-2, -2]]],
    ...     "objects": {"land": {"type": "Polygon", "arcs": [[0]]}},
    ... }
    >>> [[ring.tolist() for ring in polygon] for polygon in decode_topology(topology)]
    [[[[10.0, 20.0], [12.0, 20.0], [12.0, 22.0], [10.0, 20.0]]]]
    """
    if topology.get("type") != "Topology" or "land" not in topology.get("objects", {}):
        raise InputError("not a TopoJSON document with land", field="source", hint="land-50m.json")
    arcs = _arcs(topology)

    def ring(indices: list[int]) -> Float64:
        parts = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
        return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])

    land = topology["objects"]["land"]
    for geometry in land.get("geometries", [land]):
        polygons = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        for polygon in polygons:
            rings = [ring(indices) for indices in polygon]
            # A ring within 1° of a pole is the pole itself, drawn as a line.
            yield [each for each in rings if np.abs(each[:, 1]).max() < 89.0]


def _arcs(topology: dict[str, Any]) -> list[Float64]:
    """Return the lines that a document is made of, degrees."""
    scale, translate = (np.asarray(topology["transform"][key]) for key in ("scale", "translate"))
    return [np.cumsum(np.asarray(arc), axis=0) * scale + translate for arc in topology["arcs"]]


def decode_borders(topology: dict[str, Any]) -> list[Float64]:
    """Return the lines that two or more countries of a TopoJSON document share.

    Parameters
    ----------
    topology
        Document with an object ``countries``.

    Returns
    -------
    list of numpy.ndarray
        (point, 2), longitude and latitude in degrees.

    Raises
    ------
    InputError
        If the document has no such object.

    Examples
    --------
    >>> from pear.resources.natural_earth import decode_borders
    >>> left, right = ({"type": "Polygon", "arcs": [arcs]} for arcs in ([0, 1], [-1, 2]))
    >>> topology = {
    ...     "type": "Topology",
    ...     "transform": {"scale": [1.0, 1.0], "translate": [0.0, 0.0]},
    ...     "arcs": [[[0, 0], [0, 9]], [[0, 9], [-5, 0], [5, -9]], [[0, 0], [5, 0], [-5, 9]]],
    ...     "objects": {"countries": {"type": "GeometryCollection", "geometries": [left, right]}},
    ... }
    >>> [line.tolist() for line in decode_borders(topology)]
    [[[0.0, 0.0], [0.0, 9.0]]]
    """
    if topology.get("type") != "Topology" or "countries" not in topology.get("objects", {}):
        raise InputError(
            "not a TopoJSON document with countries", field="source", hint="countries-50m.json"
        )
    owners: Counter[int] = Counter()
    for country in topology["objects"]["countries"]["geometries"]:
        polygons = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        owners.update(
            {arc if arc >= 0 else ~arc for rings in polygons for ring in rings for arc in ring}
        )
    arcs = _arcs(topology)
    return [arcs[arc] for arc in sorted(owners) if owners[arc] > 1]


def unwrap(ring: Float64) -> Float64:
    """Return the ring with continuous longitudes, possibly beyond ±180°.

    Returns
    -------
    numpy.ndarray
        (point, 2).

    Examples
    --------
    >>> from pear.resources.natural_earth import unwrap
    >>> unwrap(np.array([[170.0, 0.0], [-170.0, 0.0]]))
    array([[170.,   0.],
           [190.,   0.]])
    """
    return np.stack([np.unwrap(ring[:, 0], period=360.0), ring[:, 1]], axis=1)


def close_at_pole(ring: Float64) -> Float64:
    """Close an unwrapped ring that runs once around a pole along that pole; leave others.

    Returns
    -------
    numpy.ndarray
        (point, 2), degrees.

    Examples
    --------
    >>> from pear.resources.natural_earth import close_at_pole
    >>> ring = np.array([[-180.0, -70.0], [0.0, -70.0], [180.0, -70.0]])
    >>> close_at_pole(ring)[3:]
    array([[ 180.,  -90.],
           [-180.,  -90.],
           [-180.,  -70.]])
    """
    if abs(ring[-1, 0] - ring[0, 0]) < 180.0:
        return ring
    pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
    ends = [[ring[-1, 0], pole], [ring[0, 0], pole]]
    return np.concatenate([ring, ends, ring[:1]])


def cut(geometry: BaseGeometry) -> Iterator[BaseGeometry]:
    """Yield the parts of an unwrapped geometry, each moved into [-180°, 180°].

    Yields
    ------
    shapely.Geometry
        Within ±180°.

    Examples
    --------
    >>> from pear.resources.natural_earth import cut
    >>> import shapely
    >>> [part.bounds for part in cut(shapely.box(170.0, 0.0, 190.0, 10.0))]
    [(170.0, 0.0, 180.0, 10.0), (-180.0, 0.0, -170.0, 10.0)]
    """
    from shapely import affinity, box

    world = box(-180.0, -90.0, 180.0, 90.0)
    west, _, east, _ = geometry.bounds
    first, last = int(np.floor((west + 180.0) / 360.0)), int(np.floor((east + 180.0) / 360.0))
    for turn in range(first, last + 1):
        part = affinity.translate(geometry, xoff=-360.0 * turn).intersection(world)
        yield from getattr(part, "geoms", [part])


def polygons_and_lines(topology: dict[str, Any]) -> tuple[list[Polygon], list[LineString]]:
    """Return the land's polygons and its coastlines, both cut at ±180°.

    Returns
    -------
    polygons, lines : list
        Within ±180°, degrees.

    Examples
    --------
    >>> from pear.resources.natural_earth import polygons_and_lines
    >>> topology = {
    ...     "type": "Topology",
    ...     "transform": {"scale": [1.0, 1.0], "translate": [170.0, 20.0]},
    ...     "arcs": [[[0, 0], [20, 0], [0, 10], [-20, 0], [0, -10]]],
    ...     "objects": {"land": {"type": "Polygon", "arcs": [[0]]}},
    ... }
    >>> polygons, lines = polygons_and_lines(topology)
    >>> sorted(polygon.bounds for polygon in polygons)
    [(-180.0, 20.0, -170.0, 30.0), (170.0, 20.0, 180.0, 30.0)]
    """
    import shapely

    polygons: list[Polygon] = []
    lines: list[LineString] = []
    for rings in decode_topology(topology):
        unwrapped = [unwrap(ring) for ring in rings]
        shell, *holes = (close_at_pole(ring) for ring in unwrapped)
        land = shapely.make_valid(shapely.Polygon(shell, [_beside(hole, shell) for hole in holes]))
        polygons += [part for part in cut(land) if isinstance(part, shapely.Polygon)]
        for ring in unwrapped:
            parts = [part for part in cut(shapely.LineString(ring)) if part.length > 0]
            lines += [part for part in parts if isinstance(part, shapely.LineString)]
    return polygons, [line for line in lines if not _is_seam(line)]


def _beside(hole: Float64, shell: Float64) -> Float64:
    """Move a hole by whole turns to where its shell was unwrapped to."""
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2.0
    turns = np.round((middle - hole[:, 0].mean()) / 360.0)
    return np.stack([hole[:, 0] + 360.0 * turns, hole[:, 1]], axis=1)


def _is_seam(line: LineString) -> bool:
    """Return whether a line only follows ±180°, where the source cuts its polygons."""
    return bool((np.abs(np.asarray(line.coords)[:, 0]) > 180.0 - 1e-9).all())


def rasterise(polygons: list[Polygon], samples: int = 4) -> Float64:
    """Return the fraction of each one-degree box inside polygons.

    Parameters
    ----------
    polygons
        Polygons within [-180°, 180°].
    samples
        Points per box along each axis.

    Returns
    -------
    numpy.ndarray
        (180, 360), latitude ascending from -90°, longitude from 0°, in [0, 1].

    Examples
    --------
    >>> from pear.resources.natural_earth import rasterise
    >>> import shapely
    >>> fraction = rasterise([shapely.box(0.0, 0.0, 10.0, 10.0)])
    >>> fraction.shape, fraction[90:100, :10].min(), fraction.sum()
    ((180, 360), np.float64(1.0), np.float64(100.0))
    """
    import shapely

    latitude = (np.arange(180 * samples) + 0.5) / samples - 90.0
    longitude = (np.arange(360 * samples) + 0.5) / samples - 180.0
    inside = np.zeros((latitude.size, longitude.size), dtype=bool)
    for polygon in polygons:
        west, south, east, north = polygon.bounds
        rows = slice(*np.searchsorted(latitude, (south, north)))
        columns = slice(*np.searchsorted(longitude, (west, east)))
        shapely.prepare(polygon)
        points = np.meshgrid(longitude[columns], latitude[rows])
        inside[rows, columns] |= shapely.contains_xy(polygon, *points)
    boxes = inside.reshape(180, samples, 360, samples).mean(axis=(1, 3))
    return np.roll(boxes, 180, axis=1)


def build(world_atlas: Path, target: Path) -> None:
    """Build the packaged files.

    Parameters
    ----------
    world_atlas
        Folder with land-110m.json, land-50m.json, countries-110m.json and countries-50m.json.
    target
        Folder to write to.
    """
    from shapely import LineString

    for resolution in get_args(Resolution):
        topology = json.loads((world_atlas / f"land-{resolution}.json").read_text())
        polygons, lines = polygons_and_lines(topology)
        _write(target / f"natural_earth_{resolution}.npz", lines)
        countries = json.loads((world_atlas / f"countries-{resolution}.json").read_text())
        tolerance = _BORDER_TOLERANCE if resolution == "50m" else 0.0
        _write(
            target / f"borders_{resolution}.npz",
            [LineString(line).simplify(tolerance) for line in decode_borders(countries)],
        )
        if resolution == "50m":
            fraction = np.round(rasterise(polygons) * 255).astype(np.uint8)
            np.savez_compressed(target / "land_fraction.npz", fraction=fraction)


def _write(target: Path, lines: Sequence[BaseGeometry]) -> None:
    parts = [np.rint(np.asarray(line.coords) / DEGREES_PER_UNIT) for line in lines]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])]).astype(np.int32)
    points = np.concatenate(parts).astype(np.int16)
    steps = np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int16))
    np.savez_compressed(target, line_points=steps, line_starts=starts, source=np.array(SOURCE))


def main() -> None:
    """Build the packaged files from the command line."""
    parser = argparse.ArgumentParser(description="Build coastlines, borders and land fraction.")
    parser.add_argument("world_atlas", type=Path, help="folder with land-*.json, countries-*.json")
    build(parser.parse_args().world_atlas, Path(__file__).parent)


if __name__ == "__main__":
    main()
