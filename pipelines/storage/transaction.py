"""Changes of an analysis store that appear together: staged fields and flags of new times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pear.store import schema
from pear.store.coarse import coarsen_field
from pear.typing import Int64, Times
from pear.variables import BY_NAME, Layout
from pipelines.storage import staging

Fields = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


class StagedStore(Protocol):
    """What a transaction needs of its writer; the attributes are those of the writer."""

    path: Path
    staging: Path
    stored: Layout
    times: Times
    complete: npt.NDArray[np.uint8]
    preliminary: Flags
    leads: Int64
    channels: tuple[str, ...]

    @property
    def added(self) -> tuple[str, ...]:
        """Paths of the staged new variables."""

    def columns(self, name: str) -> list[int]:
        """Return the positions of a variable on the channel axis."""

    def grids(self) -> list[tuple[str, int]]:
        """Return prefix and nside of the full resolution and of each overview."""


class Transaction:
    """Changes of an analysis store.

    See :meth:`pipelines.storage.analysis_writer.AnalysisWriter.transaction`.

    Parameters
    ----------
    writer
        Writer of the store.
    times
        (time,) new valid times.
    replaced
        Positions of the times that are replaced.

    Attributes
    ----------
    times, replaced
        As given.
    start, stop
        Positions of the new times in the store.
    complete
        (time, channel) completeness of the store after the commit.
    preliminary
        (time,) True where the data are preliminary after the commit.
    leads
        (time,) lead times of states that are forecasts after the commit, seconds; 0 of analyses.
    """

    def __init__(self, writer: StagedStore, times: Times, replaced: Sequence[int] = ()) -> None:
        self._writer, self.times, self.replaced = writer, times, list(replaced)
        self.start, self.stop = writer.times.size, writer.times.size + times.size
        empty = np.zeros((times.size, len(writer.channels)), dtype=np.uint8)
        self.complete = np.concatenate([writer.complete, empty])
        self.preliminary = np.concatenate([writer.preliminary, np.zeros(times.size, dtype=bool)])
        self.leads = np.concatenate([writer.leads, np.zeros(times.size, dtype=np.int64)])

    def write(self, name: str, values: Fields, levels: Sequence[int] | None = None) -> None:
        """Write a variable at the new times; fields with missing values are flagged missing.

        Parameters
        ----------
        name
            Canonical name.
        values
            (time, cell) or (time, level, cell), NaN where missing.
        levels
            Levels of the values, hPa; default: those of the store, from the top down.
        """
        writer, where = self._writer, slice(self.start, self.stop)
        if BY_NAME[name].kind == "upper":
            order = schema.level_order(writer.stored)
            rows = [order.index(level) for level in (order if levels is None else levels)]
            full = np.full((self.times.size, len(order), values.shape[-1]), np.nan, np.float32)
            full[:, rows] = values
            values = full
        for prefix, nside in writer.grids():
            array = staging.staged_array(
                writer.path, writer.staging, f"{prefix}{name}", self.start, self.stop
            )
            array[where] = coarsen_field(name, values, nside)
        self.mark(name, self.start, np.asarray(np.isfinite(values).all(axis=-1)))

    def mark(self, name: str, start: int, present: Flags) -> None:
        """Flag fields as complete that other processes have staged.

        Parameters
        ----------
        name
            Canonical name.
        start
            Position of the first time in the store; may be that of a time committed before.
        present
            (time,) or (time, level) True where a field was written.
        """
        flags = present.reshape(len(present), -1).astype(np.uint8)
        self.complete[start : start + len(present), self._writer.columns(name)] |= flags

    def restore(self, position: int) -> None:
        """Give a time that was to be replaced its old fields back.

        Parameters
        ----------
        position
            Position of the time in the store.
        """
        writer = self._writer
        group = schema.open_group(writer.path)
        where = slice(position, position + 1)
        for prefix, _ in writer.grids():
            for name in writer.stored.names:
                path = f"{prefix}{name}"
                if path not in writer.added:
                    array = staging.staged_array(
                        writer.path, writer.staging, path, position, self.stop
                    )
                    array[where] = schema.get_array(group, path)[where]
        self.complete[position] = writer.complete[position]
        self.preliminary[position] = writer.preliminary[position]
        self.leads[position] = writer.leads[position]
        self.replaced.remove(position)
