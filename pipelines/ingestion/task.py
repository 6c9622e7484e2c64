"""The work of one worker: read, check, convert, regrid and write one variable over a few times."""

from __future__ import annotations

import queue
import threading
import time as clock
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from pear.datasets.base import Fields
from pear.datasets.units import RELATIVE_HUMIDITY, check_values, specific_humidity
from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside, coarsen
from pear.sphere.latlon import LatLonGrid
from pear.sphere.regrid import apply, bilinear_to_healpix, conservative_to_healpix
from pear.store import schema
from pear.times import to_iso
from pear.typing import Times
from pear.variables import BY_NAME
from pipelines.ingestion.plan import FieldSource, OnError
from pipelines.ingestion.report import Refusal
from pipelines.storage.staging import staged_array

_AHEAD: Final = 2


_WINDS: Final = (
    "10m_u_component_of_wind",
    "10m_v_component_of_wind",
    "u_component_of_wind",
    "v_component_of_wind",
)


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
    read_ahead
        Whether to read in a thread of its own: where there is a core for it.
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
    supplies: tuple[FieldSource, ...]
    on_error: OnError
    read_ahead: bool


@dataclass
class TaskResult:
    """What came of a job: (time, level) fields stored, what was refused, seconds spent."""

    variable: str
    stored: npt.NDArray[np.bool_]
    refused: list[Refusal]
    reading: float = 0.0
    seconds: float = 0.0


def weights(grid: LatLonGrid, nside: int, method: str, variable: str) -> Any:
    """Regridding weights for a variable; winds differ from scalars only beyond the last ring."""
    if method == "conservative":
        return conservative_to_healpix(grid, nside)
    no_pole = max(90.0 + grid.lat.min(), 90.0 - grid.lat.max()) > 1e-6
    return bilinear_to_healpix(grid, nside, vector=bool(variable in _WINDS and no_pole))


def run(job: Job) -> TaskResult:
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
    done = TaskResult(job.variable, np.zeros(shape[:2], dtype=bool), [])
    read = _pieces(job)
    with closing(ahead(read, _AHEAD) if job.read_ahead else read) as pieces:
        for piece in pieces:
            done.reading += piece.seconds
            fault = piece.fault or _check(piece)
            if fault is not None:
                done.refused.append(_refuse(job, piece, fault))
                continue
            matrix = weights(piece.supply.slab.grid, job.nside, job.method, job.variable)
            out[piece.place] = apply(matrix, piece.values)
            done.stored[piece.place] = True
    if done.stored.any():
        values = out if upper else out[:, 0]
        array[where] = values
        for nside in job.coarser:
            name = f"{schema.overview_name(nside)}/{job.variable}"
            means = staged_array(job.root, job.staging, name, job.start, stop)
            means[where] = coarsen(values, nside)
    done.seconds = clock.perf_counter() - began
    return done


@dataclass(frozen=True)
class DecodedField:
    """One field as it was read, and where it goes.

    Attributes
    ----------
    place
        (time, level) within the job.
    values, temperature
        (point,); the temperature beside relative humidity.
    fault
        Why it could not be read, or None.
    seconds
        What reading it took.
    """

    supply: FieldSource
    position: int
    row: int
    place: tuple[int, int]
    values: Fields
    temperature: Fields | None
    fault: str | None
    seconds: float

    @property
    def level(self) -> int | None:
        """Pressure level in hPa, or None."""
        levels = self.supply.slab.levels
        return levels[self.row] if levels else None


def _pieces(job: Job) -> Generator[DecodedField, None, None]:
    """Read every wanted field, in order of time."""
    nothing = np.zeros(0, dtype=np.float32)
    for supply in job.supplies:
        slab = supply.slab
        for position in range(slab.times.size):
            at = int(np.searchsorted(job.times, slab.times[position]))
            for row in range(slab.rows):
                column = job.levels.index(slab.levels[row]) if slab.levels else 0
                if not (slab.present[position, row] and job.wanted[at, column]):
                    continue
                began = clock.perf_counter()
                values, warm, fault = nothing, None, None
                try:
                    values = slab.read(position, row)
                    if slab.quantity.name == RELATIVE_HUMIDITY:
                        warm = _temperature(supply, position, row)
                except InputError as error:
                    fault = error.message
                seconds = clock.perf_counter() - began
                yield DecodedField(
                    supply, position, row, (at, column), values, warm, fault, seconds
                )


def _temperature(supply: FieldSource, position: int, row: int) -> Fields:
    """Read the temperature at the time and level of a field of relative humidity."""
    level, time = supply.slab.levels[row], supply.slab.times[position]
    for helper in supply.temperature:
        at = np.flatnonzero(helper.times == time)
        if at.size and level in helper.levels:
            column = helper.levels.index(level)
            if helper.present[at[0], column]:
                values = helper.read(int(at[0]), column)
                fault = check_values(values, helper.quantity, level, helper.conversion)
                if fault is not None:
                    raise InputError(f"the temperature beside it: {fault}")
                return values
    raise InputError("there is no temperature at this level and time to make specific humidity")


def _check(piece: DecodedField) -> str | None:
    """Judge a field, and turn relative into specific humidity in place."""
    slab, values = piece.supply.slab, piece.values
    fault = check_values(values, slab.quantity, piece.level, slab.conversion)
    if fault is not None or piece.temperature is None or piece.level is None:
        return fault
    values[:] = specific_humidity(values, piece.temperature, piece.level, slab.centre)
    low, high = BY_NAME["specific_humidity"].valid_range
    if not (low <= values.min() and values.max() <= high):
        return f"specific humidity up to {values.max():.3g} kg kg-1"
    return None


def _refuse(job: Job, piece: DecodedField, reason: str) -> Refusal:
    slab, level = piece.supply.slab, piece.level
    time = to_iso(slab.times[piece.position])
    at = "" if level is None else f" at {level} hPa"
    if job.on_error == "stop":
        raise InputError(
            f"{slab.source}: {slab.name}{at} at {time}: {reason}",
            field=slab.name,
            hint="leave such fields out and marked as missing with --on-error skip",
        )
    return Refusal(slab.source, job.variable, level, time, reason)


Item = TypeVar("Item")


def ahead(items: Iterator[Item], size: int) -> Generator[Item, None, None]:
    """Make items in a thread of their own, up to ``size`` before they are asked for.

    One thread reads and another regrids, checks and writes; libraries that read files are never
    called by two threads at once.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(size)
    enough = threading.Event()

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                while not enough.is_set():
                    try:
                        ready.put((item, None), timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if enough.is_set():
                    return
        except BaseException as caught:  # it belongs to the thread that waits for the items
            error = caught
        while not enough.is_set():
            try:
                ready.put((None, error or StopIteration()), timeout=0.1)
                return
            except queue.Full:
                continue

    thread = threading.Thread(target=make, name="pear-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        enough.set()
        thread.join()
