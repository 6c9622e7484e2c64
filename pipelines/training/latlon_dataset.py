"""States on a regular grid for the lat-lon peer: from the same files as the HEALPix store.

Kept as one array of float32 that is mapped into memory, with a note of what it holds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pear.datasets.base import ScanOptions, SourceVariable
from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.sphere.regrid import apply, bilinear_between
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import BY_NAME, Layout
from pipelines.ingestion.readers import scan_source
from pipelines.storage.atomic import write_atomically

Array = npt.NDArray[np.float32]
_NOTE = "grid.json"
_STATES = "states.npy"


@dataclass(frozen=True)
class LatLonStates:
    """States by index on a regular grid; a source for the training.

    Attributes
    ----------
    layout, times
        Channels and valid times.
    grid
        The points.
    fields
        (time, channel, point), float32, channels as in ``layout.channels``.
    """

    layout: Layout
    times: Times
    grid: LatLonGrid
    fields: Array

    def read(self, indices: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Return states (index, surface, point) and (index, upper, level, point)."""
        rows = np.asarray(self.fields[indices])
        split, layout = len(self.layout.surface), self.layout
        shape = (len(rows), len(layout.upper), len(layout.levels), rows.shape[-1])
        return rows[:, :split], rows[:, split:].reshape(shape)

    def during(self, first: str, last: str) -> LatLonStates:
        """Return the states of a period, both ends included.

        Raises
        ------
        InputError
            If there are none.
        """
        a, b = (np.datetime64(end, "s") for end in (first, last))
        at = np.flatnonzero((self.times >= a) & (self.times <= b))
        if at.size == 0:
            raise InputError(f"no states between {first} and {last}", field="period")
        part = slice(int(at[0]), int(at[-1]) + 1)
        return LatLonStates(self.layout, self.times[part], self.grid, self.fields[part])


def collect(
    sources: Sequence[str | Path],
    folder: Path,
    rows: int,
    columns: int,
    layout: Layout,
    tick: ProgressCallback | None = None,
) -> LatLonStates:
    """Bring files to one regular grid, bilinearly; what is there already is opened.

    Raises
    ------
    InputError
        If a channel is missing at a time, or the folder holds another grid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _NOTE).exists():
        _write(sources, folder, global_grid(rows, columns), layout, tick)
    note = json.loads((folder / _NOTE).read_text())
    if (note["rows"], note["columns"]) != (rows, columns):
        raise InputError(
            f"{folder} holds {note['rows']} x {note['columns']} points, not {rows} x {columns}",
            field="--out",
            hint="use another folder",
        )
    fields = np.load(folder / _STATES, mmap_mode="r")
    held = Layout.from_dict(note["layout"])
    return LatLonStates(held, as_utc(note["times"]), global_grid(rows, columns), fields)


def _write(
    sources: Sequence[str | Path],
    folder: Path,
    grid: LatLonGrid,
    layout: Layout,
    tick: ProgressCallback | None,
) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        variables = [
            variable
            for source in sources
            for scan in scan_source(source, ScanOptions(), lambda: Path(scratch))
            for variable in scan.variables
        ]
        if not variables:
            raise InputError("the sources hold no variable of PEAR", field="source")
        times = np.unique(np.concatenate([variable.times for variable in variables]))
        shape = (times.size, len(layout.channels), grid.size)
        hidden = folder / f".{_STATES}"
        states = np.lib.format.open_memmap(hidden, mode="w+", dtype=np.float32, shape=shape)
        filled = np.zeros(shape[:2], dtype=bool)
        for variable in variables:
            _fill(variable, states, filled, times, grid, layout)
            if tick is not None:
                tick(1, f"{variable.name} {to_iso(variable.times[-1])}")
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
        "times": [str(t) for t in times],
        "layout": {"surface": layout.surface, "upper": layout.upper, "levels": layout.levels},
    }
    write_atomically(folder / _NOTE, json.dumps(note).encode())


def _fill(
    variable: SourceVariable,
    states: Array,
    filled: npt.NDArray[np.bool_],
    times: Times,
    grid: LatLonGrid,
    layout: Layout,
) -> None:
    if variable.quantity.name not in layout.names:
        return
    wind = BY_NAME[variable.quantity.name].standard_name.endswith("ward_wind")
    weights = bilinear_between(variable.grid, grid, vector=wind)
    for row in range(variable.rows):
        level = variable.levels[row] if variable.levels else None
        if (variable.quantity.name, level) not in layout.channels:
            continue
        channel = layout.channels.index((variable.quantity.name, level))
        for position, time in enumerate(variable.times):
            at = int(np.searchsorted(times, time))
            states[at, channel] = apply(weights, variable.read(position, row))
            filled[at, channel] = True
