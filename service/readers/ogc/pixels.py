"""Fields at pixels, by tables of cells and weights that are kept for the next field."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.sphere.healpix import cell_of
from pear.sphere.rasters import raster_weights, raster_wind_weights
from pear.sphere.vectors import Frames, cell_frames
from pear.typing import Float32, Float64
from pear.variables import wind_pair
from service.http.caching import CacheSection
from service.readers.forecasts import ForecastReader, ForecastStore, unreadable
from service.readers.ogc.selection import Layer
from service.readers.ogc.tile_grids import Raster
from service.readers.points import Interpolation, Points

_NOTHING: Final = np.zeros((0, 0))
_BLOCK: Final = 8_192
"""Pixels that are read together, so that what is between stays in a core's cache."""
_MOST_CELLS: Final = 200_000
"""Cells up to which it is quicker to turn all winds into vectors than those around each pixel."""


@dataclass(frozen=True, eq=False)
class PixelTable:
    """Cells and weights that turn a field into pixels.

    Attributes
    ----------
    latitude, longitude
        Degrees, (row,) and (column,).
    interpolation
        ``nearest`` or ``bilinear``.
    index, weight
        (k, pixel): value = Σ weight · field[index]; k is 1 for the nearest cell.
    frames
        Directions east and north, by row (row, 1) and column (1, column).
    """

    latitude: Float64
    longitude: Float64
    interpolation: Interpolation
    index: npt.NDArray[np.int32]
    weight: Float32
    frames: Frames

    @classmethod
    def make(
        cls, raster: Raster, nside: int, interpolation: Interpolation, *, of_wind: bool
    ) -> PixelTable:
        """Compute the table of a raster; winds have weights of their own."""
        lat, lon = raster.latitude, raster.longitude
        if interpolation == "nearest":
            index = cell_of(lat[:, None], lon[None], nside)[None]
            weight = np.ones(index.shape)
        else:
            index, weight = (raster_wind_weights if of_wind else raster_weights)(lat, lon, nside)
        cells = index.reshape(len(index), -1).astype(np.int32)
        weights = weight.reshape(cells.shape).astype(np.float32)
        frames = Frames.at(lat[:, None], lon[None])
        return cls(lat, lon, interpolation, cells, weights, frames)

    @property
    def nbytes(self) -> int:
        """Memory of the table, bytes."""
        return self.index.nbytes + self.weight.nbytes

    def read(self, field: Float32) -> Float64:
        """Return a field (cell,) at the pixels (pixel,)."""
        total = np.zeros(self.index.shape[1], dtype=np.float32)
        for cells, weight in zip(self.index, self.weight, strict=True):
            total += weight * field[cells]
        return total.astype(np.float64)

    def read_wind(self, u: Float32, v: Float32, nside: int) -> tuple[Float64, Float64]:
        """Return a wind (cell,) at the pixels (pixel,), interpolated as a vector."""
        if self.interpolation == "bilinear":
            return self._read_wind_smooth(u, v, nside)
        lat, lon = np.meshgrid(self.latitude, self.longitude, indexing="ij")
        cells = self.index.astype(np.int64)
        weights = self.weight.astype(np.float64)
        points = Points(
            lat.ravel(), lon.ravel(), self.interpolation, cells, _NOTHING, weights, cells[0]
        )
        east, north = points.read_wind(u[None], v[None], nside)
        return east[0], north[0]

    def _read_wind_smooth(self, u: Float32, v: Float32, nside: int) -> tuple[Float64, Float64]:
        """Return the same by the vectors of cells, block by block of rows."""
        used = None if u.size <= _MOST_CELLS else np.unique(self.index)
        index = self.index if used is None else np.searchsorted(used, self.index)
        frames = cell_frames(nside) if used is None else cell_frames(nside).take(used)
        xyz = frames.to_cartesian(*(part if used is None else part[used] for part in (u, v)))
        east, north = np.empty((2, self.index.shape[1]))
        columns = self.longitude.size
        rows = max(1, _BLOCK // columns)
        for start in range(0, self.latitude.size, rows):
            some = slice(start * columns, (start + rows) * columns)
            around = np.take(xyz, index[:, some], axis=1)
            part = np.einsum("kp,ckp->cp", self.weight[:, some], around)
            frame = Frames(
                self.frames.sin_lat[start : start + rows],
                self.frames.cos_lat[start : start + rows],
                self.frames.sin_lon,
                self.frames.cos_lon,
            )
            found = frame.from_cartesian(part.reshape(3, -1, columns))
            east[some], north[some] = (each.ravel() for each in found)
        return east, north


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
