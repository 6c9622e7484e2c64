"""Task of one worker: read, check, convert, regrid and write a variable at a few times."""

from __future__ import annotations

import time as clock
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.datasets.base import Fields
from pear.datasets.fields import FieldSource, RawField, regrid_field
from pear.datasets.orientation import SHAPE, sketch
from pear.datasets.plausibility import neighbour_correlation
from pear.datasets.repetition import NO_DIGEST, PARTS, digest, part_digests, unordered_digest
from pear.errors import InputError
from pear.prefetch import prefetch
from pear.sphere.healpix import cells_of_nside, coarsen
from pear.store import schema
from pear.times import to_iso
from pear.typing import Complex64, Float32, Float64, Times, UInt64
from pipelines.ingestion.options import Method, OnError
from pipelines.ingestion.report import Refusal
from pipelines.storage.staging import staged_array

_PREFETCHED_FIELDS: Final = 2


@dataclass(frozen=True)
class StoreTarget:
    """Where and how the tasks of an ingestion write; it can be pickled.

    Attributes
    ----------
    root, staging : Path
        Folder of the store, and folder of the data that are not committed yet.
    nside : int
        HEALPix resolution.
    overviews : tuple of int
        Resolutions at which means are stored as well.
    method : {"bilinear", "conservative"}
        Regridding method.
    on_error : {"raise", "skip"}
        What to do with a faulty field.
    prefetch : bool
        Whether to read in a second thread, if there is a core for it.
    """

    root: Path
    staging: Path
    nside: int
    overviews: tuple[int, ...] = ()
    method: Method = "bilinear"
    on_error: OnError = "raise"
    prefetch: bool = False


@dataclass(frozen=True)
class Task:
    """One variable at the times of one block; it can be pickled.

    Attributes
    ----------
    target : StoreTarget
        Where and how to write.
    variable : str
        Canonical name.
    levels : tuple of int
        Pressure levels in hPa, in the order of the store; empty for a surface variable.
    start : int
        Position of the first time in the store.
    times : (time,) array
        Valid times.
    is_new : bool
        True if the store has none of these times.
    wanted : (time, level) array of bool
        Fields to write.
    sources : tuple of FieldSource
        Sources of the fields.
    """

    target: StoreTarget
    variable: str
    levels: tuple[int, ...]
    start: int
    times: Times
    is_new: bool
    wanted: npt.NDArray[np.bool_]
    sources: tuple[FieldSource, ...]


@dataclass
class Fingerprints:
    """What tells whether fields are copies of others, without the fields.

    Attributes
    ----------
    equal : (time, level) array of uint64
        Of :func:`pear.datasets.repetition.digest`.
    unordered : (time, level) array of uint64
        Of :func:`pear.datasets.repetition.unordered_digest`, on the grid of the source.
    parts : (time, level, part) array of uint64
        Of :func:`pear.datasets.repetition.part_digests`.
    sketches : (time, level, latitude, wave) array
        Of :func:`pear.datasets.orientation.sketch`.
    correlations : (time, level) array
        Of :func:`pear.datasets.plausibility.neighbour_correlation`, on the grid of the source.
    """

    equal: UInt64
    unordered: UInt64
    parts: UInt64
    sketches: Complex64
    correlations: Float64

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Fingerprints:
        """Return those of no field, of a shape (time, level)."""
        return cls(
            np.full(shape, NO_DIGEST, dtype=np.uint64),
            np.full(shape, NO_DIGEST, dtype=np.uint64),
            np.full((*shape, PARTS), NO_DIGEST, dtype=np.uint64),
            np.zeros((*shape, *SHAPE), dtype=np.complex64),
            np.full(shape, np.nan),
        )

    def take(
        self,
        index: tuple[int, int],
        channel: tuple[str, int | None],
        values: Float32,
        cells: Float32,
    ) -> None:
        """Take those of a field of a variable and level, on the points of its source and cells."""
        name, level = channel
        self.equal[index] = digest(cells, name)
        self.unordered[index] = unordered_digest(values)
        self.parts[index] = part_digests(cells, name)
        self.sketches[index] = sketch(cells)
        self.correlations[index] = neighbour_correlation(values, name, level)


@dataclass
class TaskResult:
    """Result of a task.

    Attributes
    ----------
    variable : str
        Canonical name.
    stored : (time, level) array of bool
        Fields that were written.
    refused : list of Refusal
        Fields that were not, with the reasons.
    reading_seconds : float
        Time spent reading.
    prints : Fingerprints, optional
        Of the fields that were written, but for those of idealised sources.
    """

    variable: str
    stored: npt.NDArray[np.bool_]
    refused: list[Refusal] = field(default_factory=list)
    reading_seconds: float = 0.0
    prints: Fingerprints | None = None


@dataclass(frozen=True)
class DecodedField:
    """One field as read from its source.

    Attributes
    ----------
    source : FieldSource
        Where it comes from.
    time : numpy.datetime64
        Valid time.
    level : int or None
        Pressure level in hPa.
    index : tuple of int
        (time, level) position within the task.
    raw : RawField or InputError
        The field as read, or why it could not be read.
    seconds : float
        Time spent reading.
    """

    source: FieldSource
    time: np.datetime64
    level: int | None
    index: tuple[int, int]
    raw: RawField | InputError
    seconds: float

    @property
    def partner(self) -> Fields | None:
        """The other component of a wind that is regridded as a vector."""
        if self.source.partner is None or isinstance(self.raw, InputError):
            return None
        return self.raw[1]

    def convert(self) -> Fields:
        """Return the field in canonical units, (point,); raise InputError if it is faulty."""
        if isinstance(self.raw, InputError):
            raise self.raw
        return self.source.convert(self.raw, self.level)


def run_task(task: Task) -> TaskResult:
    """Compute and write the fields of a task, in memory for one file and a few source fields.

    With ``on_error="raise"`` the first field that is missing, damaged or out of range raises
    InputError.

    Parameters
    ----------
    task : Task
        What to write.

    Returns
    -------
    TaskResult
        What was written. It is committed by the caller.
    """
    target = task.target
    where = slice(task.start, task.start + task.times.size)
    array = staged_array(target.root, target.staging, task.variable, where.start, where.stop)
    shape = (*task.wanted.shape, cells_of_nside(target.nside))
    if task.is_new:
        out = np.full(shape, np.nan, dtype=np.float32)
    else:
        out = np.asarray(array[where]).reshape(shape)
    result = compute_fields(task, out)
    if result.stored.any():
        values = out if task.levels else out[:, 0]
        array[where] = values
        for nside in target.overviews:
            name = f"{schema.overview_name(nside)}/{task.variable}"
            means = staged_array(target.root, target.staging, name, where.start, where.stop)
            means[where] = coarsen(values, nside)
    return result


def compute_fields(task: Task, out: Float32) -> TaskResult:
    """Compute the fields of a task without writing them.

    Parameters
    ----------
    task : Task
        What to compute. With ``on_error="raise"`` its first faulty field raises InputError.
    out : (time, level, cell) array
        Receives the fields.

    Returns
    -------
    TaskResult
        Which fields were computed and which refused.
    """
    target = task.target
    shape = task.wanted.shape
    prints = Fingerprints.empty(shape)
    result = TaskResult(task.variable, np.zeros(shape, dtype=bool), prints=prints)
    decoded = _read_fields(task)
    with closing(prefetch(decoded, _PREFETCHED_FIELDS) if target.prefetch else decoded) as fields:
        for one in fields:
            result.reading_seconds += one.seconds
            try:
                values = one.convert()
            except InputError as fault:
                result.refused.append(_refuse(task, one, fault.message))
                continue
            grid = one.source.variable.grid
            field = values, one.partner
            out[one.index] = regrid_field(field, grid, target.nside, target.method, task.variable)
            result.stored[one.index] = True
            if not one.source.variable.idealised:
                prints.take(one.index, (task.variable, one.level), values, out[one.index])
    return result


def check_fields(task: Task) -> None:
    """Read, convert and check the fields of a task, and do nothing with them.

    The first field that is missing, damaged or out of range raises InputError.

    Parameters
    ----------
    task : Task
        What to check.
    """
    for one in _read_fields(task):
        try:
            one.convert()
        except InputError as fault:
            _refuse(task, one, fault.message)


def _read_fields(task: Task) -> Generator[DecodedField]:
    """Read every wanted field, source by source in order of time."""
    for source in task.sources:
        variable = source.variable
        for position, time in enumerate(variable.times):
            at = int(np.searchsorted(task.times, time))
            for row in range(variable.rows):
                level = variable.level(row)
                index = at, 0 if level is None else task.levels.index(level)
                if not (variable.present[position, row] and task.wanted[index]):
                    continue
                began = clock.perf_counter()
                try:
                    raw: RawField | InputError = source.read(position, row)
                except InputError as error:
                    raw = error
                seconds = clock.perf_counter() - began
                yield DecodedField(source, time, level, index, raw, seconds)


def _refuse(task: Task, one: DecodedField, reason: str) -> Refusal:
    variable, time = one.source.variable, to_iso(one.time)
    if task.target.on_error == "raise":
        at = "" if one.level is None else f" at {one.level} hPa"
        raise InputError(
            f"{variable.source}: {variable.name}{at} at {time}: {reason}",
            field=variable.name,
            hint="omit such fields and mark them as missing with --on-error skip",
        )
    return Refusal(variable.source, task.variable, one.level, time, reason)
