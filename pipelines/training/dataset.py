"""States of an analysis store for training, streamed or held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.progress import ProgressCallback, no_progress
from pear.sphere.healpix import cells_of_nside, nside_from_cells
from pear.store.analysis import open_overview, read_fields
from pear.times import as_utc, to_iso
from pear.training import ArraySource
from pear.typing import Float32, Int64, Times
from pear.variables import Layout

MEMORY_LIMIT: Final = 4_000_000_000
"""Bytes up to which a period is held in memory; longer ones are streamed from the store."""


@dataclass(frozen=True)
class StoreSource:
    """States of an analysis store, read on request.

    Attributes
    ----------
    layout, nside
        Channels and resolution of the states; a finer store is averaged.
    times
        (time,) valid times of the period.
    dataset
        The store, at the times of the period.
    name
        Name of the store, for messages.
    """

    layout: Layout
    nside: int
    times: Times
    dataset: xr.Dataset
    name: str

    @property
    def bytes(self) -> int:
        """Size of the whole period in memory."""
        return 4 * self.times.size * len(self.layout.channels) * cells_of_nside(self.nside)

    def read(self, indices: Int64) -> tuple[Float32, Float32]:
        """Return states (index, surface, cell) and (index, upper, level, cell)."""
        # Neighbouring states share chunks: each time is read once, then arranged as requested.
        wanted, back = np.unique(indices, return_inverse=True)
        surface, upper = read_fields(
            self.dataset, self.times[wanted], self.layout, self.nside, self.name
        )
        return surface[back], upper[back]

    def load(self, progress: ProgressCallback = no_progress, block: int = 64) -> ArraySource:
        """Read the whole period into memory.

        Parameters
        ----------
        progress
            Called after each block.
        block
            Number of times read at once.

        Returns
        -------
        ArraySource
            The same states.
        """
        cells, layout, count = cells_of_nside(self.nside), self.layout, self.times.size
        surface = np.empty((count, len(layout.surface), cells), np.float32)
        upper = np.empty((count, len(layout.upper), len(layout.levels), cells), np.float32)
        for first in range(0, count, block):
            indices = np.arange(first, min(first + block, count))
            surface[indices], upper[indices] = self.read(indices)
            progress(indices.size, to_iso(self.times[indices[-1]]))
        return ArraySource(layout, self.times, surface, upper)


def open_source(
    store: Path | str,
    period: tuple[str, str] | None = None,
    layout: Layout | None = None,
    nside: int | None = None,
) -> StoreSource:
    """Open the states of a period without reading them.

    Parameters
    ----------
    store
        Analysis store.
    period
        First and last valid time, both included; default: all.
    layout
        Channels; default: ``Layout.default()``.
    nside
        Resolution, not finer than the store's; default: that of the store.

    Returns
    -------
    StoreSource
        At least one state.

    Raises
    ------
    InputError
        If the store has no states in the period.
    """
    dataset = open_overview(store, nside)
    times = as_utc(dataset["time"].values)
    first, last = as_utc(period) if period is not None else (times[0], times[-1])
    dataset = dataset.isel(time=(times >= first) & (times <= last))
    times = as_utc(dataset["time"].values)
    if times.size == 0:
        raise InputError(
            f"{store} has no states from {to_iso(first)} to {to_iso(last)}", field="period"
        )
    nside = nside or nside_from_cells(dataset.sizes["cell"])
    return StoreSource(layout or Layout.default(), nside, times, dataset, str(store))
