"""Comparison of the fields of an ingestion with each other and with those of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import zarr

from pear.datasets.orientation import sketch
from pear.datasets.plausibility import neighbour_correlation
from pear.datasets.repetition import (
    LEAST_PARTS,
    NO_DIGEST,
    FieldRegister,
    Place,
    digest,
    is_formula,
    is_rough,
    part_digests,
    unordered_digest,
)
from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside
from pear.store import schema
from pear.times import to_iso
from pear.typing import Complex64, Float32, Times
from pear.variables import BY_NAME, wind_partner
from pipelines.ingestion.executor import Block, FinishedBlock, StoreContents
from pipelines.ingestion.plan import Plan
from pipelines.ingestion.report import Refusal
from pipelines.ingestion.task import Fingerprints, TaskResult
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.staging import staged_array

_HINT: Final = (
    "no weather repeats itself in every bit, so one of the two is labelled wrongly: omit the wrong "
    "one; an idealised state says so by the attribute idealised = 'true' of its file"
)
_VARY: Final = ", while other times differ"
_NOISE: Final = 0.2  # correlation of neighbouring points; real fields have more than 0.59
_WEATHER: Final = 0.5
_IS_NOISE: Final = "is noise, or its points are in a wrong order: neighbouring ones are"
_NOISE_HINT: Final = "correct the file, or omit the field"
_COMPARED_BYTES: Final = 128_000_000  # of fields of the store before a block: a second of reading
_LEAST_COMPARED: Final = 2


@dataclass
class Registers:
    """What new fields are compared with.

    Attributes
    ----------
    equal : FieldRegister
        Fields bit for bit.
    unordered : FieldRegister
        Their values on the grid of their source, in any order.
    parts : FieldRegister
        Parts of the globe, bit for bit.
    sketches : dict
        Long waves by variable and level, and by time; of a day before what is written next.
    smoothest : tuple of (float, Place), optional
        Highest correlation of neighbouring points, and the field that has it.
    noise : list of Place
        Stored fields without such a correlation, as long as no other field had one.
    """

    equal: FieldRegister = field(default_factory=FieldRegister)
    unordered: FieldRegister = field(default_factory=FieldRegister)
    parts: FieldRegister = field(default_factory=FieldRegister)
    sketches: dict[tuple[str, int | None], dict[np.datetime64, Complex64]] = field(
        default_factory=dict
    )
    smoothest: tuple[float, Place] | None = None
    noise: list[Place] = field(default_factory=list)

    def take_smoothest(self, correlation: float, place: Place) -> None:
        """Remember a field if its neighbouring points have the highest correlation so far."""
        if correlation > (0.0 if self.smoothest is None else self.smoothest[0]):
            self.smoothest = correlation, place


class StagedBlock(NamedTuple):
    """A finished block before its commit, and what its faulty fields are refused with.

    Attributes
    ----------
    finished : FinishedBlock
        The block.
    plan : Plan
        Names the sources of its fields.
    levels : tuple of int
        Pressure levels of the store in hPa.
    writer : AnalysisWriter
        Has staged the block.
    skip : bool
        Blank faulty fields in what is staged and mark them as refused; otherwise the first is an
        error.
    """

    finished: FinishedBlock
    plan: Plan
    levels: tuple[int, ...]
    writer: AnalysisWriter
    skip: bool

    def fields(self) -> Iterator[StagedField]:
        """Yield the fields that were written, but for those of idealised sources."""
        block = self.finished.block
        for result in self.finished.results:
            prints = result.prints
            if prints is None:
                continue
            is_upper = BY_NAME[result.variable].kind == "upper"
            for offset, row in np.argwhere(result.stored & (prints.equal != NO_DIGEST)).tolist():
                level = self.levels[row] if is_upper else None
                place = Place(result.variable, level, block.times[offset])
                yield StagedField(result, (offset, row), place, prints)

    def cells(self, one: StagedField) -> Float32:
        """Return a field (cell,) as it is staged."""
        block, (offset, row) = self.finished.block, one.at
        array = staged_array(
            self.writer.path, self.writer.staging, one.place.name, block.start, block.stop
        )
        position = block.start + offset
        place = (position, row) if array.ndim == 3 else (position,)
        return np.asarray(array[place], dtype=np.float32)

    def refuse(self, one: StagedField, reason: str, hint: str) -> None:
        """Refuse a field: raise InputError, or with ``skip`` blank it and list it as refused."""
        source, name = _source_of(self.plan, one.place)
        if not self.skip:
            raise InputError(f"{source}: {name} ({one.place}) {reason}", field=name, hint=hint)
        result, place, block = one.result, one.place, self.finished.block
        result.refused.append(Refusal(source, place.name, place.level, to_iso(place.time), reason))
        result.stored[one.at] = False
        overviews = [schema.overview_name(nside) for nside in self.writer.overviews]
        for name in (place.name, *(f"{group}/{place.name}" for group in overviews)):
            array = staged_array(
                self.writer.path, self.writer.staging, name, block.start, block.stop
            )
            position = block.start + one.at[0]
            array[(position, one.at[1]) if array.ndim == 3 else position] = np.nan


class StagedField(NamedTuple):
    """One field of a finished block: the result it belongs to, (time, level) there, and place."""

    result: TaskResult
    at: tuple[int, int]
    place: Place
    prints: Fingerprints


def register_stored(
    writer: AnalysisWriter, store: StoreContents, blocks: Iterable[Block]
) -> Registers:
    """Return registers with the fields of the store beside which blocks are written.

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
    Registers
        Of each block the time before it, or its first time if the store has it already, with all
        variables; if it fills or replaces fields, all others of its times and of those beside it;
        and of what it writes the times around it, two on each side and as many more as
        :data:`_COMPARED_BYTES` allow.
    """
    registers, n_present = Registers(), store.times.size
    blocks = list(blocks)
    written = {
        (block.start + offset, name, column)
        for block in blocks
        for name, mask in block.wanted.items()
        for offset, column in np.argwhere(mask).tolist()
    }
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
        if distance == 1:  # beside fields that are filled or replaced: all others of these times
            around |= {
                (at, name)
                for block in blocks
                if block.start < n_present
                for at in range(max(0, block.start - 1), min(block.stop + 1, n_present))
                for name in writer.stored.names
            } - wanted
        room -= sum(n_bytes[name] for _, name in around)
        if distance > _LEAST_COMPARED and room < 0:
            break
        wanted |= around
    group: zarr.Group | None = None
    for position, name in sorted(wanted):
        columns = store.columns(name)
        if not 0 <= position < n_present or not store.complete[position, columns].any():
            continue
        group = schema.open_group(writer.path) if group is None else group
        values = np.asarray(schema.get_array(group, name)[position])
        for row, column in enumerate(columns):
            if store.complete[position, column] and (position, name, row) not in written:
                field = values[row] if values.ndim == 2 else values
                level = store.levels[row] if values.ndim == 2 else None
                place = Place(name, level, store.times[position])
                registers.equal.add(digest(field, name), place)
                for number in part_digests(field, name).tolist():
                    registers.parts.add(number, place)
                registers.sketches.setdefault(place[:2], {})[place.time] = sketch(field)
                registers.take_smoothest(neighbour_correlation(field, name, level), place)
    return registers


def register_sources(
    register: FieldRegister, plan: Plan, store: StoreContents, blocks: Iterable[Block]
) -> None:
    """Register the values in any order of fields of the sources that the store has already.

    An earlier ingestion of the same sources may have refused a field, which is tried again: what it
    was compared with is read again, so that the answer is the same.

    Parameters
    ----------
    register : FieldRegister
        Receives digests of up to :data:`_COMPARED_BYTES` of fields, those of the times to be
        filled first; none if times are only added.
    plan : Plan
        The sources.
    store : StoreContents
        The store before the ingestion.
    blocks : iterable of Block
        What will be written.
    """
    blocks = [block for block in blocks if block.start < store.times.size]
    if not blocks:
        return
    filled: Times = np.concatenate(
        [b.times[np.any([m.any(axis=1) for m in b.wanted.values()], axis=0)] for b in blocks]
    )
    wanted = {
        (name, block.times[at], row)
        for block in blocks
        for name, mask in block.wanted.items()
        for at, row in np.argwhere(mask).tolist()
    }
    held = [
        (variable.times[position] not in filled, name, source, position, row)
        for name, many in plan.sources.items()
        for source in many
        if not (variable := source.variable).idealised
        for position in np.flatnonzero(np.isin(variable.times, store.times)).tolist()
        for row in np.flatnonzero(variable.present[position]).tolist()
    ]
    room = _COMPARED_BYTES
    for _, name, source, position, row in sorted(held, key=lambda one: one[0]):
        variable, level = source.variable, source.variable.level(row)
        time = variable.times[position]
        at = 0 if level is None else store.levels.index(level) if level in store.levels else -1
        if at < 0 or (name, time, at) in wanted:
            continue
        room -= 4 * variable.grid.size
        if room < 0:
            return
        with suppress(InputError):  # it was refused before, and is not in the store
            values = source.convert(source.read(position, row), level)
            register.add(unordered_digest(values), Place(name, level, time))


def refuse_repetitions(register: FieldRegister, staged: StagedBlock) -> list[str]:
    """Refuse fields of a block that are equal bit for bit to others.

    Parameters
    ----------
    register : FieldRegister
        Fields so far; receives those of the block.
    staged : StagedBlock
        The block before its commit.

    Returns
    -------
    list of str
        Of a block whose faulty fields are skipped: fields of earlier blocks that turn out to be
        copies of another time.

    Raises
    ------
    InputError
        If there is one, and they are not to be skipped.
    """
    for one in staged.fields():
        register.add(int(one.prints.equal[one.at]), one.place)
    late = [
        f"{place} is equal bit for bit to {other}{_VARY}" for place, other in register.pop_late()
    ]
    if late and not staged.skip:
        raise InputError(late[0], hint=_HINT)
    for one in staged.fields():
        place = one.place
        other = register.find_equal(int(one.prints.equal[one.at]), place)
        if other is None:
            continue
        reason = f"is equal bit for bit to {other}"
        if _may_be_formula(place, other) and is_formula(staged.cells(one)):
            if place.time == other.time or not register.keep_same(place, other):
                continue
            reason += _VARY
        staged.refuse(one, reason, _HINT)
    return late


def refuse_copies(registers: Registers, staged: StagedBlock) -> None:
    """Refuse fields of a block that are copies of others in part, or in another order.

    They were flipped, shifted or turned under a wrong label, or a file was filled with what was
    there before. Formulas may be symmetric and equal in part.

    An :class:`~pear.errors.InputError` is raised if there is one, and they are not to be skipped.

    Parameters
    ----------
    registers : Registers
        Fields so far; receives those of the block.
    staged : StagedBlock
        The block before its commit, without fields that are equal to others.
    """
    for one in staged.fields():
        reason = ""
        other = registers.unordered.find_equal(int(one.prints.unordered[one.at]), one.place)
        if other is not None:
            reason = f"has the values of {other} in another order: flipped, shifted or turned"
        else:
            found = [
                registers.parts.find_equal(number, one.place)
                for number in one.prints.parts[one.at].tolist()
            ]
            copied = [each for each in found if each is not None]
            other = max(copied, key=copied.count, default=None)
            if other is not None and copied.count(other) >= LEAST_PARTS:
                reason = f"is equal bit for bit to {other} over a large part of the globe"
        if reason and is_rough(staged.cells(one)):
            staged.refuse(one, reason, _HINT)


def refuse_noise(registers: Registers, staged: StagedBlock) -> list[str]:
    """Refuse fields whose neighbouring points are not correlated, where those of others are.

    Parameters
    ----------
    registers : Registers
        The smoothest field so far; receives that of the block.
    staged : StagedBlock
        The block before its commit.

    Returns
    -------
    list of str
        Of a block whose faulty fields are skipped: such fields of earlier blocks.

    Raises
    ------
    InputError
        If there is one, and they are not to be skipped.
    """
    fields = [(float(one.prints.correlations[one.at]), one) for one in staged.fields()]
    for found, one in fields:
        registers.take_smoothest(found, one.place)
    rough = [(found, one) for found, one in fields if found < _NOISE]
    if registers.smoothest is None or registers.smoothest[0] < _WEATHER:
        registers.noise += [one.place for _, one in rough]  # all made: nothing says otherwise
        return []
    usual, smooth = registers.smoothest
    late = [
        f"{place} {_IS_NOISE} not correlated, those of {smooth} by {usual:.2f}"
        for place in registers.noise
    ]
    registers.noise = []
    if late and not staged.skip:
        raise InputError(late[0], hint=_NOISE_HINT)
    for found, one in rough:
        reason = f"{_IS_NOISE} correlated by {found:.2f}, those of {smooth} by {usual:.2f}"
        staged.refuse(one, reason, _NOISE_HINT)
    return late


def _may_be_formula(place: Place, other: Place) -> bool:
    """Return whether formulas make such fields equal: one at two times, or u and v of a wind."""
    is_wind = wind_partner(place.name) == other.name and place[1:] == other[1:]
    return is_wind or place[:2] == other[:2]


def _source_of(plan: Plan, place: Place) -> tuple[str, str]:
    """Return the source of a field, and its name there."""
    for one in plan.sources[place.name]:
        variable = one.variable
        at = np.flatnonzero(variable.times == place.time)
        rows = [row for row in range(variable.rows) if variable.level(row) == place.level]
        if at.size and rows and variable.present[at[0], rows[0]]:
            return variable.source, variable.name
    return "the sources", place.name
