"""Tile matrix sets: where the pixels of a tile lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import morecantile
import numpy as np

from pear.errors import InputError
from pear.typing import Float64

TileMatrixSet = Literal["WebMercatorQuad", "WorldCRS84Quad"]
SETS: Final[tuple[TileMatrixSet, ...]] = ("WebMercatorQuad", "WorldCRS84Quad")
SIZE: Final = 256
"""Pixels along an edge of a tile."""
DEEPEST: Final = 12
"""Largest zoom level; cells are far larger than its pixels, and finer ones show nothing more."""
MERCATOR_RADIUS: Final = 6_378_137.0
"""Radius of the sphere of EPSG:3857, m."""


@dataclass(frozen=True)
class Raster:
    """Pixels along meridians and parallels: latitude (row,) and longitude (column,), degrees."""

    latitude: Float64
    longitude: Float64

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.latitude.size, self.longitude.size


@lru_cache(maxsize=4)
def _matrices(name: TileMatrixSet) -> morecantile.TileMatrixSet:
    return morecantile.tms.get(name)


@lru_cache(maxsize=4)
def describe_set(name: TileMatrixSet) -> dict[str, Any]:
    """Return the definition of a tile matrix set as OGC 17-083r4 writes it, to the deepest level.

    Returns
    -------
    dict
        JSON values; do not change it.
    """
    document = _matrices(name).model_dump(exclude_none=True, mode="json")
    document["tileMatrices"] = document["tileMatrices"][: DEEPEST + 1]
    return dict(document)


def crs_of(name: TileMatrixSet) -> str:
    """Return the URI of the coordinate reference system of a tile matrix set."""
    return str(describe_set(name)["crs"])


def tile_raster(
    name: TileMatrixSet,
    zoom: int,
    row: int,
    column: int,
    fields: tuple[str, str] = ("tile_row", "tile_col"),
) -> Raster:
    """Return the centres of the pixels of a tile.

    Parameters
    ----------
    name
        Tile matrix set.
    zoom, row, column
        The tile; rows count from the north, columns from 180° W.
    fields
        Parameters of row and column, for messages.

    Returns
    -------
    Raster
        (:data:`SIZE`,) each.

    Raises
    ------
    InputError
        If there is no such tile.
    """
    matrices = _matrices(name)
    if not 0 <= zoom <= DEEPEST:
        raise InputError(f"zoom level {zoom} is outside 0 to {DEEPEST}", field="tile_matrix")
    matrix = matrices.matrix(zoom)
    for field, number, count in (
        (fields[0], row, matrix.matrixHeight),
        (fields[1], column, matrix.matrixWidth),
    ):
        if not 0 <= number < count:
            raise InputError(
                f"{field} {number} is outside 0 to {count - 1} at level {zoom}", field=field
            )
    bounds = matrices.xy_bounds(morecantile.Tile(column, row, zoom))
    part = (np.arange(SIZE) + 0.5) / SIZE
    x = bounds.left + part * (bounds.right - bounds.left)
    y = bounds.top - part * (bounds.top - bounds.bottom)
    if name == "WorldCRS84Quad":
        return Raster(y, x)
    return Raster(mercator_latitude(y), np.degrees(x / MERCATOR_RADIUS))


def mercator_latitude(y: Float64) -> Float64:
    """Return the latitude in degrees at northings of EPSG:3857, m."""
    return np.asarray(np.degrees(2.0 * np.arctan(np.exp(y / MERCATOR_RADIUS)) - np.pi / 2))
