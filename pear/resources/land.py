"""The land fraction that the simulated atmosphere stands on, from Natural Earth's polygons.

The package ships the derived one-degree array; :func:`main` makes it again::

    npm pack world-atlas@2 && tar xzf world-atlas-2.0.2.tgz
    python -m pear.resources.land package/land-50m.json

Natural Earth is in the public domain; world-atlas (ISC) carries it as TopoJSON.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pear.errors import InputError

FILE = "land_fraction.npz"
Floats = npt.NDArray[np.float64]


def load() -> tuple[Floats, Floats, Floats]:
    """Return the shipped land fraction.

    Returns
    -------
    (lat, lon, fraction)
        Centres of one-degree boxes: (180,) degrees north ascending, (360,) degrees east in
        [0, 360), and the fraction of each box that is land, (180, 360), in [0, 1].
    """
    with (resources.files(__package__) / FILE).open("rb") as stream, np.load(stream) as data:
        fraction = data["fraction"].astype(np.float64) / 255.0
    lat, lon = _centres(*fraction.shape)
    return lat, lon, fraction


def _centres(rows: int, columns: int) -> tuple[Floats, Floats]:
    return (
        -90.0 + (np.arange(rows) + 0.5) * 180.0 / rows,
        (np.arange(columns) + 0.5) * 360.0 / columns,
    )


def polygons(topology: dict[str, Any], name: str = "land") -> list[list[Floats]]:
    """Decode one object of a quantised TopoJSON document.

    Returns
    -------
    list of list of ndarray
        Polygons as rings (point, 2) of longitude and latitude in degrees, the outer ring first.

    Raises
    ------
    InputError
        If the document holds no such object.
    """
    if topology.get("type") != "Topology" or name not in topology.get("objects", {}):
        raise InputError(
            f"no TopoJSON with an object {name!r}", field="source", hint="use land-50m.json"
        )
    scale, shift = (np.array(topology["transform"][key]) for key in ("scale", "translate"))
    arcs = [np.cumsum(np.array(arc), axis=0) * scale + shift for arc in topology["arcs"]]

    def ring(indices: list[int]) -> Floats:
        # A negative index ~i is arc i walked backwards (TopoJSON specification, 2.1.4).
        parts = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
        return _unwrapped(np.concatenate([parts[0]] + [part[1:] for part in parts[1:]]))

    found: list[list[Floats]] = []
    thing = topology["objects"][name]
    for geometry in thing.get("geometries", [thing]):
        shapes = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        found += [[ring(indices) for indices in shape] for shape in shapes]
    return found


def _unwrapped(ring: Floats) -> Floats:
    """Make the longitudes of a ring continuous and its middle lie in [0, 360).

    A ring that goes round the globe is closed over its pole.

    Rings that cross the antimeridian jump by 360 degrees in the source: taken as they stand they
    would lay a band of land across all longitudes.
    """
    turns = -360.0 * np.cumsum(np.round(np.diff(ring[:, 0], prepend=ring[0, 0]) / 360.0))
    lon = ring[:, 0] + turns
    middle = 0.5 * (lon.min() + lon.max())
    ring = np.stack([lon - 360.0 * np.floor(middle / 360.0), ring[:, 1]], axis=-1)
    if abs(ring[-1, 0] - ring[0, 0]) < 180.0:
        return ring
    pole = 90.0 if ring[:, 1].mean() > 0.0 else -90.0
    return np.concatenate([ring, [[ring[-1, 0], pole], [ring[0, 0], pole]]])


def rasterise(
    shapes: list[list[Floats]], rows: int = 180, columns: int = 360, samples: int = 4
) -> Floats:
    """Fraction of each latitude-longitude box inside the polygons, by ``samples``² points a box.

    Returns
    -------
    ndarray
        (rows, columns), latitude ascending from -90, longitude from 0, in [0, 1].
    """
    import shapely

    lat, lon = _centres(rows * samples, columns * samples)
    mesh_lon, mesh_lat = np.meshgrid(lon, lat)
    inside = np.zeros(mesh_lat.shape, dtype=bool)
    for rings in shapes:
        shape = shapely.Polygon(rings[0], rings[1:])
        west, south, most_east, north = shape.bounds
        shapely.prepare(shape)
        for turn in (-360.0, 0.0, 360.0):
            east = mesh_lon + turn
            near = (east >= west) & (east <= most_east) & (mesh_lat >= south) & (mesh_lat <= north)
            inside[near] |= shapely.contains_xy(shape, east[near], mesh_lat[near])
    boxes = inside.reshape(rows, samples, columns, samples)
    return np.asarray(boxes.mean(axis=(1, 3)))


def main(arguments: list[str] | None = None) -> None:
    """Make the shipped array from a TopoJSON file of land polygons."""
    paths = sys.argv[1:] if arguments is None else arguments
    if len(paths) not in (1, 2):
        raise InputError("give the TopoJSON file of land polygons", field="source")
    shapes = polygons(json.loads(Path(paths[0]).read_text()))
    target = Path(paths[1]) if len(paths) == 2 else Path(__file__).with_name(FILE)
    np.savez_compressed(target, fraction=np.round(rasterise(shapes) * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
