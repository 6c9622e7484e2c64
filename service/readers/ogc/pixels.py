"""Fields at pixels, by tables of cells and weights that are kept for the next field."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.sphere.healpix import cell_of, interpolation_weights
from pear.sphere.vectors import Frames, cell_frames, wind_weights
from pear.typing import Float32, Float64
from pear.variables import wind_pair
from service.http.caching import CacheSection
from service.readers.forecasts import ForecastReader, ForecastStore, unreadable
from service.readers.ogc.selection import Layer
from service.readers.ogc.tile_grids import Raster
from service.readers.points import Interpolation, Points

_NOTHING: Final = np.zeros((0, 0))
_MOST_CELLS: Final = 200_000
"""Cells up to which it is quicker to turn all winds into vectors than those around each pixel."""


@dataclass(frozen=True, eq=False)
class PixelTable:
    """Cells and weights that turn a field into pixels.

    Attributes
    ----------
    latitude, longitude
        Degrees (pixel,), row by row.
    interpolation
        ``nearest`` or ``bilinear``.
    index, weight
        (k, pixel): value = Σ weight · field[index]; k is 1 for the nearest cell.
    frames
        Directions east and north, by row (row, 1) and column (1, column).
    shape
        Rows and columns.
    """

    latitude: Float64
    longitude: Float64
    interpolation: Interpolation
    index: npt.NDArray[np.int32]
    weight: Float32
    frames: Frames
    shape: tuple[int, int]

    @classmethod
    def make(
        cls, raster: Raster, nside: int, interpolation: Interpolation, *, of_wind: bool
    ) -> PixelTable:
        """Compute the table of a raster; winds have weights of their own."""
        grid = np.meshgrid(raster.latitude, raster.longitude, indexing="ij")
        lat, lon = grid[0].ravel(), grid[1].ravel()
        if interpolation == "nearest":
            index, weight = cell_of(lat, lon, nside)[None], np.ones((1, lat.size))
        elif of_wind:
            index, weight = wind_weights(lat, lon, nside)
        else:
            index, weight = interpolation_weights(lat, lon, nside)
        frames = Frames.at(raster.latitude[:, None], raster.longitude[None])
        cells, weights = index.astype(np.int32), weight.astype(np.float32)
        return cls(lat, lon, interpolation, cells, weights, frames, raster.shape)

    @property
    def nbytes(self) -> int:
        """Memory of the table, bytes."""
        places = self.latitude.nbytes + self.longitude.nbytes
        return places + self.index.nbytes + self.weight.nbytes

    def read(self, field: Float32) -> Float64:
        """Return a field (cell,) at the pixels (pixel,)."""
        total = np.zeros(self.latitude.size, dtype=np.float32)
        for cells, weight in zip(self.index, self.weight, strict=True):
            total += weight * field[cells]
        return total.astype(np.float64)

    def read_wind(self, u: Float32, v: Float32, nside: int) -> tuple[Float64, Float64]:
        """Return a wind (cell,) at the pixels (pixel,), interpolated as a vector."""
        if self.interpolation == "bilinear" and u.size <= _MOST_CELLS:
            return self._read_wind_of_all(u, v, nside)
        points = Points(
            self.latitude,
            self.longitude,
            self.interpolation,
            self.index.astype(np.int64),
            _NOTHING,
            self.weight.astype(np.float64),
            self.index[0].astype(np.int64),
        )
        east, north = points.read_wind(u[None], v[None], nside)
        return east[0], north[0]

    def _read_wind_of_all(self, u: Float32, v: Float32, nside: int) -> tuple[Float64, Float64]:
        """Return the same by the vectors of all cells, where these are not many."""
        xyz = cell_frames(nside).to_cartesian(u, v)
        total = np.zeros((3, self.latitude.size))
        for cells, weight in zip(self.index, self.weight, strict=True):
            total += weight * xyz[:, cells]
        east, north = self.frames.from_cartesian(total.reshape(3, *self.shape))
        return east.ravel(), north.ravel()


class PixelTables:
    """Tables that were used last.

    Parameters
    ----------
    max_bytes
        Upper bound of their summed size.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: CacheSection[PixelTable] = CacheSection(max_bytes, lambda table: table.nbytes)

    def get(
        self,
        key: Hashable,
        raster: Raster,
        nside: int,
        interpolation: Interpolation,
        *,
        of_wind: bool,
    ) -> PixelTable:
        """Return the table of a raster, which the key names; computed if it is not kept."""
        whole = (key, nside, interpolation, of_wind)
        return self._kept.get_or_compute(
            "", whole, lambda: PixelTable.make(raster, nside, interpolation, of_wind=of_wind)
        )


def read_pixels(
    reader: ForecastReader,
    store: ForecastStore,
    layer: Layer,
    tables: PixelTables,
    raster: tuple[Hashable, Raster],
    interpolation: Interpolation,
) -> Float64:
    """Return a field at the pixels of a raster.

    Components of a wind, its speed and direction are those of one vector at each pixel; what is
    derived is derived from interpolated channels.

    Parameters
    ----------
    reader, store, layer
        The field.
    tables
        Keeps tables.
    raster
        The raster, and the key that names it.
    interpolation
        ``nearest`` or ``bilinear``.

    Returns
    -------
    ndarray
        (row, column), finite; a ProblemError 503 where the store is damaged.
    """
    winds: dict[str, tuple[Float64, Float64]] = {}

    def read(name: str, level: int | None) -> Float64:
        pair = wind_pair(name) if store.has_vectors else None
        table = tables.get(*raster, store.nside, interpolation, of_wind=pair is not None)
        if pair is None:
            return table.read(reader.field(store.run, name, level, layer.lead_hours))
        store.require_wind(name, pair)
        if pair[0] not in winds:
            u, v = (reader.field(store.run, part, level, layer.lead_hours) for part in pair)
            winds[pair[0]] = table.read_wind(u, v, store.nside)
        return winds[pair[0]][pair.index(name)]

    found = store.derived(layer.variable)
    if found is None or found.is_global:
        values = read(layer.variable, layer.level)
    else:
        parts = [read(name, level) for name, level in found.channels(layer.level)]
        values = found.of(parts, layer.level)
    _require_finite(values, layer, store)
    return values.reshape(raster[1].shape)


def _require_finite(values: Float64, layer: Layer, store: ForecastStore) -> None:
    if not np.isfinite(values).all():
        raise unreadable(f"{layer.variable} of {store.what}", "values are missing")
