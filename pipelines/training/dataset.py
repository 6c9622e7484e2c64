"""What a training reads from a store: states, from memory or streamed, and static fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.resources import land
from pear.sphere.healpix import cells_of_nside, centres, coarsen, nside_from_cells
from pear.store import static_fields as stored_static_fields
from pear.store.reader import open_store
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import Layout
from pipelines.simulation import parameters

Array = npt.NDArray[np.float32]
MEMORY: Final = 4_000_000_000
"""Bytes below which a period is held in memory; larger ones are streamed from the store."""


@dataclass
class StoreSource:
    """States of an analysis store as a training reads them.

    Attributes
    ----------
    layout, nside
        Channels and resolution of the states that are given; a finer store is averaged.
    times
        (time,) valid times of the period.
    """

    layout: Layout
    nside: int
    times: Times
    _dataset: xr.Dataset
    _name: str
    _held: tuple[Array, Array] | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the store."""
        return {str(name): value for name, value in self._dataset.attrs.items()}

    @property
    def bytes(self) -> int:
        """Size of the whole period in memory."""
        return 4 * self.times.size * len(self.layout.channels) * cells_of_nside(self.nside)

    def read(self, indices: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Return states (index, surface, cell) and (index, upper, level, cell).

        Raises
        ------
        InputError
            If a value is missing, naming the variable and the time.
        """
        if self._held is not None:
            return self._held[0][indices], self._held[1][indices]
        # Neighbouring states share chunks: each time is read once, then laid out as asked.
        wanted, back = np.unique(indices, return_inverse=True)
        part = self._dataset.isel(time=wanted)
        surface = [self._field(part[name]) for name in self.layout.surface]
        upper = [self._field(part[name], leveled=True) for name in self.layout.upper]
        cells = cells_of_nside(self.nside)
        shape = (wanted.size, 0, cells)
        return (
            (np.stack(surface, axis=1) if surface else np.zeros(shape, "f4"))[back],
            (np.stack(upper, axis=1) if upper else np.zeros((*shape[:2], 0, cells), "f4"))[back],
        )

    def hold(self, tick: ProgressCallback | None = None, block: int = 64) -> StoreSource:
        """Read the whole period into memory, block by block."""
        cells, layout = cells_of_nside(self.nside), self.layout
        count = self.times.size
        surface = np.empty((count, len(layout.surface), cells), np.float32)
        upper = np.empty((count, len(layout.upper), len(layout.levels), cells), np.float32)
        for first in range(0, count, block):
            indices = np.arange(first, min(first + block, count))
            surface[indices], upper[indices] = self.read(indices)
            if tick is not None:
                tick(indices.size, to_iso(self.times[indices[-1]]))
        self._held = (surface, upper)
        return self

    def _field(self, array: xr.DataArray, leveled: bool = False) -> Array:
        values = array.load()
        if leveled:
            values = values.sel(level=list(self.layout.levels))
        fields = coarsen(values.values, self.nside)
        if not np.isfinite(fields).all():
            lost = np.flatnonzero(~np.isfinite(fields).reshape(fields.shape[0], -1).all(axis=1))[0]
            raise InputError(
                f"{self._name}: {array.name} has missing values at "
                f"{to_iso(array['time'].values[lost])}",
                field="store",
                hint="train on a period without gaps; `pear inspect` shows what is complete",
            )
        return np.asarray(fields, dtype=np.float32)


def open_source(
    store: Path | str,
    period: tuple[str, str] | None = None,
    layout: Layout | None = None,
    nside: int | None = None,
) -> StoreSource:
    """Open the states of a period, lazily.

    Parameters
    ----------
    store
        Analysis store.
    period
        First and last valid time, both included; None means all.
    layout
        Channels wanted.
    nside
        Resolution wanted, not finer than the store's; None means the store's.

    Raises
    ------
    InputError
        If the store is no analysis, is coarser than asked for, or lacks a channel or the period.
    """
    layout = layout or Layout.default()
    dataset = open_store(store)
    if "prediction_timedelta" in dataset.dims:
        raise InputError(f"{store} holds forecasts, not analyses", field="store")
    missing = [name for name in layout.names if name not in dataset.data_vars]
    if missing:
        raise InputError(f"{store} lacks {', '.join(missing)}", field="store")
    if layout.upper and (lost := set(layout.levels) - {int(v) for v in dataset["level"].values}):
        raise InputError(f"{store} lacks the levels {sorted(lost)} hPa", field="store")
    held = nside_from_cells(dataset.sizes["cell"])
    if nside is not None and nside > held:
        raise InputError(f"{store} has nside {held}, coarser than {nside}", field="nside")
    if period is not None:
        times = as_utc(dataset["time"].values)
        first, last = (np.datetime64(end, "s") for end in period)
        dataset = dataset.isel(time=(times >= first) & (times <= last))
    if dataset.sizes["time"] == 0:
        raise InputError(f"{store} holds nothing in {period}", field="period")
    return StoreSource(layout, nside or held, as_utc(dataset["time"].values), dataset, str(store))


def static_fields(nside: int, store: Path | None = None) -> dict[str, npt.NDArray[np.float64]]:
    """What the atmosphere stands on, for a model's static forcing.

    Parameters
    ----------
    nside
        Resolution wanted.
    store
        Analysis store whose own fields count, where it keeps them.

    Returns
    -------
    dict
        ``orography`` in metres, without a store's the idealised mountains of the embedded
        atmosphere, which stand where Earth's great ranges do; ``land_fraction`` in [0, 1], without
        a store's from Natural Earth. Both are (cell,), means over each cell.
    """
    kept = stored_static_fields.stored(Path(store), nside) if store is not None else {}
    return {**_embedded(nside), **kept}


def _embedded(nside: int) -> dict[str, npt.NDArray[np.float64]]:
    finer = max(nside, 64)
    lat, lon = centres(finer)
    rows, columns, fraction = land.load()
    row = np.clip(np.searchsorted(rows, lat - 0.5), 0, rows.size - 1)
    column = np.searchsorted(columns, (lon - 0.5) % 360.0) % columns.size
    return {
        "orography": np.asarray(coarsen(parameters.mountains(lon, lat), nside)),
        "land_fraction": np.asarray(coarsen(fraction[row, column], nside)),
    }
