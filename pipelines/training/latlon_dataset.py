"""States on a regular latitude-longitude grid, from the same files as a HEALPix store.

They are kept as one float32 array, mapped into memory, with a note of its axes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pear.datasets.base import ScanOptions, SourceVariable
from pear.errors import InputError
from pear.progress import ProgressCallback, no_progress
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.sphere.regrid import apply, bilinear_between
from pear.times import as_utc, to_iso
from pear.typing import Bool, Float32, Int64, Times
from pear.variables import Layout, wind_pair
from pipelines.ingestion.readers import scan_source
from pipelines.storage.atomic import write_atomically

_NOTE: Final = "grid.json"
_STATES: Final = "states.npy"


@dataclass(frozen=True)
class LatLonStates:
    """States by index on a regular grid; a source of training samples.

    Attributes
    ----------
    layout, times
        Channels and valid times.
    grid
        Grid of the points.
    fields
        (time, channel, point), float32, channels as in ``layout.channels``.
    """

    layout: Layout
    times: Times
    grid: LatLonGrid
    fields: Float32

    def read(self, indices: Int64) -> tuple[Float32, Float32]:
        """Return states (index, surface, point) and (index, upper, level, point)."""
        rows = np.asarray(self.fields[indices])
        split, layout = len(self.layout.surface), self.layout
        shape = (len(rows), len(layout.upper), len(layout.levels), rows.shape[-1])
        return rows[:, :split], rows[:, split:].reshape(shape)

    def select(self, first: str, last: str) -> LatLonStates:
        """Select the states of a period.

        Parameters
        ----------
        first, last
            Valid times, both included.

        Returns
        -------
        LatLonStates
            At least one state.

        Raises
        ------
        InputError
            If there are no states in the period.
        """
        start, end = as_utc([first, last])
        at = np.flatnonzero((self.times >= start) & (self.times <= end))
        if at.size == 0:
            raise InputError(f"no states from {first} to {last}", field="period")
        part = slice(int(at[0]), int(at[-1]) + 1)
        return LatLonStates(self.layout, self.times[part], self.grid, self.fields[part])


def collect_states(
    sources: Sequence[str | Path],
    folder: Path,
    shape: tuple[int, int],
    layout: Layout,
    progress: ProgressCallback = no_progress,
) -> LatLonStates:
    """Regrid files bilinearly to one grid, or open the result if it is there already.

    Parameters
    ----------
    sources
        Files or addresses that :func:`pipelines.ingestion.readers.scan_source` reads.
    folder
        Folder of the result; made if missing.
    shape
        Rows and columns of the global grid.
    layout
        Channels.
    progress
        Called after each variable of each file.

    Returns
    -------
    LatLonStates
        The states, mapped into memory.

    Raises
    ------
    InputError
        If a channel is missing at a time, or the folder has another grid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _NOTE).exists():
        _write(sources, folder, global_grid(*shape), layout, progress)
    note = json.loads((folder / _NOTE).read_text())
    if (note["rows"], note["columns"]) != shape:
        raise InputError(
            f"{folder} has {note['rows']} x {note['columns']} points, not {shape[0]} x {shape[1]}",
            field="--output",
            hint="use another folder",
        )
    fields = np.load(folder / _STATES, mmap_mode="r")
    layout = Layout.from_dict(note["layout"])
    return LatLonStates(layout, as_utc(note["times"]), global_grid(*shape), fields)


def _write(
    sources: Sequence[str | Path],
    folder: Path,
    grid: LatLonGrid,
    layout: Layout,
    progress: ProgressCallback,
) -> None:
    """Write the array under a temporary name, then the note that makes it valid."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        variables = [
            variable
            for source in sources
            for scan in scan_source(source, ScanOptions(), lambda: Path(scratch))
            for variable in scan.variables
            if variable.quantity.name in layout.names
        ]
        if not variables:
            raise InputError("the sources have no variable of PEAR", field="source")
        times = np.unique(np.concatenate([variable.times for variable in variables]))
        shape = (times.size, len(layout.channels), grid.size)
        hidden = folder / f".{_STATES}"
        states = np.lib.format.open_memmap(hidden, mode="w+", dtype=np.float32, shape=shape)
        filled = np.zeros(shape[:2], dtype=bool)
        for variable in variables:
            _fill(variable, states, filled, times, grid, layout)
            progress(1, f"{variable.name} {to_iso(variable.times[-1])}")
        lost = np.argwhere(~filled)
        if lost.size:
            name, level = layout.channels[lost[0, 1]]
            raise InputError(
                f"the sources lack {name} {level or ''} at {to_iso(times[lost[0, 0]])}",
                field="source",
            )
        states.flush()
        hidden.replace(folder / _STATES)
    note = {
        "rows": grid.shape[0],
        "columns": grid.shape[1],
        "times": [str(time) for time in times],
        "layout": {"surface": layout.surface, "upper": layout.upper, "levels": layout.levels},
    }
    write_atomically(folder / _NOTE, json.dumps(note).encode())


def _fill(
    variable: SourceVariable,
    states: Float32,
    filled: Bool,
    times: Times,
    grid: LatLonGrid,
    layout: Layout,
) -> None:
    """Regrid one variable into its channels."""
    if not isinstance(variable.grid, LatLonGrid):
        raise InputError(
            f"{variable.source}: {variable.name} is on {variable.grid}, and these states are made "
            "from grids of latitude and longitude",
            field="source",
            hint="name files on such a grid",
        )
    wind = wind_pair(variable.quantity.name) is not None
    weights = bilinear_between(variable.grid, grid, vector=wind)
    rows = np.searchsorted(times, variable.times)
    for row in range(variable.rows):
        channel = (variable.quantity.name, variable.level(row))
        if channel in layout.channels:
            column = layout.channels.index(channel)
            for position, time in enumerate(rows):
                states[time, column] = apply(weights, variable.read(position, row))
                filled[time, column] = True
