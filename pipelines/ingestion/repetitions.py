"""Comparison of the fields of an ingestion with each other and with those of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import zarr

from pear.datasets.repetition import NO_DIGEST, FieldRegister, Place, digest, is_formula
from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside
from pear.store import schema
from pear.times import to_iso
from pear.typing import Float32
from pear.variables import BY_NAME, wind_partner
from pipelines.ingestion.executor import Block, FinishedBlock, StoreContents
from pipelines.ingestion.plan import Plan
from pipelines.ingestion.report import Refusal
from pipelines.ingestion.task import TaskResult
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.staging import staged_array

_HINT: Final = (
    "no weather repeats itself in every bit, so one of the two is labelled wrongly: omit the wrong "
    "one; an idealised state says so by the attribute idealised = 'true' of its file"
)
_VARY: Final = ", while other times differ"
_COMPARED_BYTES: Final = 128_000_000  # of fields of the store before a block: a second of reading
_LEAST_COMPARED: Final = 2


def register_stored(
    writer: AnalysisWriter, store: StoreContents, blocks: Iterable[Block]
) -> FieldRegister:
    """Return a register with the fields of the store beside which blocks are written.

    Parameters
    ----------
    writer : AnalysisWriter
        Writer of the store.
    store : StoreContents
        The store before the ingestion.
    blocks : iterable of Block
        What will be written.

    Returns
    -------
    FieldRegister
        Of each block the time before it, or its first time if the store has it already, with all
        variables; and of what it writes the times around it, two on each side and as many more as
        :data:`_COMPARED_BYTES` allow.
    """
    register, n_present = FieldRegister(), store.times.size
    blocks = list(blocks)
    written = {(at, name) for b in blocks for name in b.wanted for at in range(b.start, b.stop)}
    wanted: set[tuple[int, str]] = set()
    for block in blocks:
        nearest = block.start if block.start < n_present else block.start - 1
        wanted |= {(nearest, name) for name in writer.stored.names}
    n_bytes = {
        name: 4 * cells_of_nside(writer.nside) * len(store.columns(name))
        for name in writer.stored.names
    }
    room = _COMPARED_BYTES
    for distance in range(1, n_present + 1):
        around = {
            (at, name)
            for block in blocks
            for at in (block.start - distance, block.stop - 1 + distance)
            for name in block.wanted
            if 0 <= at < n_present
        } - wanted
        room -= sum(n_bytes[name] for _, name in around)
        if distance > _LEAST_COMPARED and room < 0:
            break
        wanted |= around
    group: zarr.Group | None = None
    for position, name in sorted(wanted - written):
        columns = store.columns(name)
        if not 0 <= position < n_present or not store.complete[position, columns].any():
            continue
        group = schema.open_group(writer.path) if group is None else group
        values = np.asarray(schema.get_array(group, name)[position])
        for row, column in enumerate(columns):
            if store.complete[position, column]:
                field = values[row] if values.ndim == 2 else values
                level = store.levels[row] if values.ndim == 2 else None
                register.add(digest(field, name), Place(name, level, store.times[position]))
    return register


def refuse_repetitions(
    register: FieldRegister,
    finished: FinishedBlock,
    plan: Plan,
    levels: tuple[int, ...],
    writer: AnalysisWriter,
    *,
    skip: bool,
) -> list[str]:
    """Refuse fields of a block that are equal bit for bit to others.

    Parameters
    ----------
    register : FieldRegister
        Fields so far; receives those of the block.
    finished : FinishedBlock
        The block before its commit.
    plan : Plan
        Names the sources of its fields.
    levels : tuple of int
        Pressure levels of the store in hPa.
    writer : AnalysisWriter
        Has staged the block.
    skip : bool
        Blank such fields in what is staged and mark them as refused; otherwise the first is an
        error.

    Returns
    -------
    list of str
        With ``skip``: fields of earlier blocks that turn out to be copies of another time.

    Raises
    ------
    InputError
        If there is one, and they are not to be skipped.
    """
    for result in finished.results:
        for _, place, number in _places(finished.block, result, levels):
            register.add(number, place)
    late = [
        f"{place} is equal bit for bit to {other}{_VARY}" for place, other in register.pop_late()
    ]
    if late and not skip:
        raise InputError(late[0], hint=_HINT)
    for result in finished.results:
        for (offset, row), place, number in _places(finished.block, result, levels):
            other = register.find_equal(number, place)
            if other is None:
                continue
            reason = f"equal bit for bit to {other}"
            if _may_be_formula(place, other) and is_formula(
                _staged(writer, finished.block, place.name, offset, row)
            ):
                if place.time == other.time or not register.keep_same(place, other):
                    continue
                reason += _VARY
            source, name = _source_of(plan, place)
            if not skip:
                raise InputError(f"{source}: {name} ({place}) is {reason}", field=name, hint=_HINT)
            result.refused.append(
                Refusal(source, place.name, place.level, to_iso(place.time), reason)
            )
            result.stored[offset, row] = False
            _blank(writer, finished.block, result, offset, row)
    return late


def _may_be_formula(place: Place, other: Place) -> bool:
    """Return whether formulas make such fields equal: one at two times, or u and v of a wind."""
    is_wind = wind_partner(place.name) == other.name and place[1:] == other[1:]
    return is_wind or place[:2] == other[:2]


def _places(
    block: Block, result: TaskResult, levels: tuple[int, ...]
) -> Iterator[tuple[tuple[int, int], Place, int]]:
    """Yield (time, level) position, place and digest of the fields that were written."""
    is_upper = BY_NAME[result.variable].kind == "upper"
    if result.digests is None:
        return
    for offset, row in np.argwhere(result.stored & (result.digests != NO_DIGEST)):
        level, number = levels[row] if is_upper else None, int(result.digests[offset, row])
        yield (int(offset), int(row)), Place(result.variable, level, block.times[offset]), number


def _source_of(plan: Plan, place: Place) -> tuple[str, str]:
    """Return the source of a field, and its name there."""
    for one in plan.sources[place.name]:
        variable = one.variable
        at = np.flatnonzero(variable.times == place.time)
        rows = [row for row in range(variable.rows) if variable.level(row) == place.level]
        if at.size and rows and variable.present[at[0], rows[0]]:
            return variable.source, variable.name
    return "the sources", place.name


def _staged(writer: AnalysisWriter, block: Block, name: str, offset: int, row: int) -> Float32:
    """Return a field (cell,) of a block as it is staged."""
    array = staged_array(writer.path, writer.staging, name, block.start, block.stop)
    position = block.start + offset
    place = (position, row) if array.ndim == 3 else (position,)
    return np.asarray(array[place], dtype=np.float32)


def _blank(writer: AnalysisWriter, block: Block, result: TaskResult, offset: int, row: int) -> None:
    names = [f"{schema.overview_name(nside)}/{result.variable}" for nside in writer.overviews]
    for name in (result.variable, *names):
        array = staged_array(writer.path, writer.staging, name, block.start, block.stop)
        position = block.start + offset
        if array.ndim == 3:
            array[position, row] = np.nan
        else:
            array[position] = np.nan
