"""The work of one worker: read, check, convert, regrid and write one variable over a few times."""

from __future__ import annotations

import time as clock
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pear.calendar import Times, iso
from pear.errors import InputError
from pear.sphere.grid import cells_of_nside, coarsen
from pear.sphere.regrid import LatLonGrid, apply, bilinear_to_healpix, conservative_to_healpix
from pear.variables import BY_NAME
from pipelines import contract
from pipelines.plan import OnError, Supply
from pipelines.report import Refusal
from pipelines.sources.base import Fields, Slab
from pipelines.sources.humidity import specific_humidity
from pipelines.sources.quantities import RELATIVE_HUMIDITY, check_values
from pipelines.staging import staged_array

_WINDS: Final = ("10m_u_component_of_wind", "10m_v_component_of_wind",
                 "u_component_of_wind", "v_component_of_wind")  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One variable over the times of one file of the store; it pickles.

    Attributes
    ----------
    root, staging
        Folder of the store, and of what is written to it and not shown yet.
    start, times
        Position of the first time, and the times.
    fresh
        Whether none of these times is in the store yet.
    levels
        hPa in the order of the store; empty for a surface variable.
    coarser
        Resolutions at which means are stored as well.
    wanted
        (time, level) fields to store.
    """

    root: Path
    staging: Path
    variable: str
    levels: tuple[int, ...]
    nside: int
    coarser: tuple[int, ...]
    method: str
    start: int
    times: Times
    fresh: bool
    wanted: npt.NDArray[np.bool_]
    supplies: tuple[Supply, ...]
    on_error: OnError


@dataclass(frozen=True)
class Done:
    """What came of a job: (time, level) fields stored, what was refused, seconds spent."""

    variable: str
    stored: npt.NDArray[np.bool_]
    refused: list[Refusal]
    reading: float
    seconds: float


def weights(grid: LatLonGrid, nside: int, method: str, variable: str) -> Any:
    """Regridding weights for a variable; winds differ from scalars only beyond the last ring."""
    if method == "conservative":
        return conservative_to_healpix(grid, nside)
    no_pole = max(90.0 + grid.lat.min(), 90.0 - grid.lat.max()) > 1e-6
    return bilinear_to_healpix(grid, nside, bool(variable in _WINDS and no_pole))


def run(job: Job) -> Done:
    """Do one job: memory for one file of the store and a few source fields.

    Raises
    ------
    InputError
        With ``on_error="stop"``, at the first field that is missing, damaged or out of range.
    """
    began = clock.perf_counter()
    upper = bool(job.levels)
    stop = job.start + job.times.size
    array = staged_array(job.root, job.staging, job.variable, job.start, stop)
    where = slice(job.start, stop)
    shape = (job.times.size, max(len(job.levels), 1), cells_of_nside(job.nside))
    if job.fresh:
        out = np.full(shape, np.nan, dtype=np.float32)
    else:
        out = np.asarray(array[where]).reshape(shape)
    state = _Work(job, out)
    for supply in job.supplies:
        for position in range(supply.slab.times.size):
            state.one_time(supply, position)
    if state.stored.any():
        values = out if upper else out[:, 0]
        array[where] = values
        for nside in job.coarser:
            name = f"{contract.coarser_name(nside)}/{job.variable}"
            means = staged_array(job.root, job.staging, name, job.start, stop)
            means[where] = coarsen(values, nside)
    return Done(
        job.variable, state.stored, state.refused, state.reading, clock.perf_counter() - began
    )


class _Work:
    """The state of one job."""

    def __init__(self, job: Job, out: Fields) -> None:
        self.job, self.out = job, out
        self.stored = np.zeros(out.shape[:2], dtype=bool)
        self.refused: list[Refusal] = []
        self.reading = 0.0
        self._temperature: OrderedDict[tuple[int, int], Fields] = OrderedDict()

    def one_time(self, supply: Supply, position: int) -> None:
        """Read, check, regrid the wanted fields of one supply at one of its times."""
        job, slab = self.job, supply.slab
        time = slab.times[position]
        at = int(np.searchsorted(job.times, time))
        rows = [
            row for row in range(slab.rows)
            if slab.present[position, row] and job.wanted[at, self._column(slab, row)]
        ]  # fmt: skip
        if not rows:
            return
        good, values = self._read(supply, position, rows)
        if good:
            matrix = weights(slab.grid, job.nside, job.method, job.variable)
            columns = [self._column(slab, row) for row in good]
            self.out[at, columns] = apply(matrix, values)
            self.stored[at, columns] = True

    def _column(self, slab: Slab, row: int) -> int:
        return self.job.levels.index(slab.levels[row]) if slab.levels else 0

    def _read(self, supply: Supply, position: int, rows: list[int]) -> tuple[list[int], Fields]:
        """Rows that passed the checks and their values; the others are refused."""
        began = clock.perf_counter()
        slab = supply.slab
        try:
            values = slab.read(position, rows)
        except InputError as error:
            if len(rows) > 1:  # one damaged field must not cost its neighbours
                parts = [self._read(supply, position, [row]) for row in rows]
                good = [row for part, _ in parts for row in part]
                return good, np.concatenate([part for _, part in parts])
            self._refuse(slab, position, rows[0], error.message)
            return [], np.zeros((0, slab.grid.size), dtype=np.float32)
        finally:
            self.reading += clock.perf_counter() - began
        good = []
        for index, row in enumerate(rows):
            level = slab.levels[row] if slab.levels else None
            fault = check_values(values[index], slab.quantity, level, slab.conversion)
            if fault is None and slab.quantity.name == RELATIVE_HUMIDITY:
                fault = self._moisten(supply, position, row, values[index])
            if fault is None:
                good.append(row)
            else:
                self._refuse(slab, position, row, fault[0])
        return good, values[[rows.index(row) for row in good]]

    def _moisten(
        self, supply: Supply, position: int, row: int, values: Fields
    ) -> tuple[str, int] | None:
        """Turn relative into specific humidity in place."""
        slab = supply.slab
        level, time = slab.levels[row], slab.times[position]
        for helper in supply.temperature:
            at = np.flatnonzero(helper.times == time)
            if at.size and level in helper.levels:
                column = helper.levels.index(level)
                if not helper.present[at[0], column]:
                    continue
                warm = helper.read(int(at[0]), [column])[0]
                fault = check_values(warm, helper.quantity, level, helper.conversion)
                if fault is not None:
                    return f"the temperature beside it: {fault[0]}", fault[1]
                values[:] = specific_humidity(values, warm, level, slab.centre)
                low, high = BY_NAME["specific_humidity"].valid_range
                if not (low <= values.min() and values.max() <= high):
                    return f"specific humidity up to {values.max():.3g} kg kg-1", 0
                return None
        return "there is no temperature at this level and time to make specific humidity", 0

    def _refuse(self, slab: Slab, position: int, row: int, reason: str) -> None:
        level = slab.levels[row] if slab.levels else None
        time = iso(slab.times[position])
        at = "" if level is None else f" at {level} hPa"
        if self.job.on_error == "stop":
            raise InputError(
                f"{slab.source}: {slab.name}{at} at {time}: {reason}", field=slab.name,
                hint="leave such fields out and marked as missing with --on-error skip",
            )  # fmt: skip
        self.refused.append(Refusal(slab.source, self.job.variable, level, time, reason))
