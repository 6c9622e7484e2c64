"""From what the sources hold to what will be stored: which slab fills which field at which time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pear.datasets.base import SourceVariable
from pear.datasets.units import RELATIVE_HUMIDITY
from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Times
from pear.variables import BY_NAME, Layout
from pipelines.ingestion.report import IngestReport

OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class FieldSource:
    """One slab that gives fields of a variable.

    Attributes
    ----------
    slab
        The fields, or the relative humidity they are made from.
    temperature
        Slabs that hold the temperature on the same grid, for relative humidity.
    """

    slab: SourceVariable
    temperature: tuple[SourceVariable, ...] = ()

    def during(self, times: Times) -> FieldSource | None:
        """Return the supply of these times alone, or None if it has none of them."""
        at = np.flatnonzero(np.isin(self.slab.times, times))
        if at.size == 0:
            return None
        helpers = []
        for helper in self.temperature:
            also = np.flatnonzero(np.isin(helper.times, times))
            if also.size:
                helpers.append(helper.take(also.tolist()))
        return FieldSource(self.slab.take(at.tolist()), tuple(helpers))


@dataclass
class Plan:
    """What will be stored.

    Attributes
    ----------
    layout
        Variables and levels that the sources give.
    times
        All times they give, increasing.
    supplies
        By variable, in the order of the sources.
    """

    layout: Layout
    times: Times
    supplies: dict[str, list[FieldSource]] = field(default_factory=dict)

    def offered(self, times: Times, name: str, levels: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Whether a source gives each field: (time, level), one column for a surface variable."""
        upper = BY_NAME[name].kind == "upper"
        out = np.zeros((times.size, len(levels) if upper else 1), dtype=bool)
        for supply in self.supplies.get(name, []):
            slab = supply.slab
            at = np.searchsorted(times, slab.times)
            known = at < times.size
            known[known] = times[at[known]] == slab.times[known]
            for row in range(slab.rows):
                if upper and slab.levels[row] not in levels:
                    continue
                column = list(levels).index(slab.levels[row]) if upper else 0
                here = known & slab.present[:, row]
                out[at[here], column] = True
        return out


def make_plan(
    slabs: Sequence[SourceVariable], levels: Sequence[int], on_error: OnError, report: IngestReport
) -> Plan:
    """Choose the slabs that fill each variable.

    Relative humidity fills specific humidity where no file gives the latter.

    Raises
    ------
    InputError
        If nothing is left, if relative humidity has no temperature beside it, or, with
        ``on_error="stop"``, if two sources give one field.
    """
    kept = [slab for one in slabs if (slab := one.keep_levels(levels)) is not None]
    by_name: dict[str, list[SourceVariable]] = {}
    for slab in kept:
        by_name.setdefault(slab.quantity.name, []).append(slab)
    supplies = {
        name: [FieldSource(slab) for slab in by_name[name]] for name in BY_NAME if name in by_name
    }
    relative = by_name.get(RELATIVE_HUMIDITY, [])
    if relative and "specific_humidity" not in supplies:
        made = _humidity(relative, by_name.get("temperature", []), on_error, report)
        if made:
            supplies["specific_humidity"] = made
    if not supplies:
        raise InputError(
            "nothing to ingest: " + _why_nothing(report, bool(slabs), levels), field="source"
        )
    supplies = {name: _once(name, supplies[name], on_error, report) for name in supplies}
    times = np.unique(np.concatenate([s.slab.times for many in supplies.values() for s in many]))
    found = {level for many in supplies.values() for s in many for level in s.slab.levels}
    upper = tuple(n for n in Layout.default().upper if n in supplies)
    layout = Layout(
        tuple(n for n in Layout.default().surface if n in supplies),
        upper,
        tuple(level for level in levels if level in found) if upper else (),
    )
    return Plan(layout, times, supplies)


def _why_nothing(report: IngestReport, any_slab: bool, levels: Sequence[int]) -> str:
    if any_slab:
        return f"no source has any of the levels {', '.join(map(str, levels))} hPa"
    for source in report.sources:
        if source.ignored:
            said = "; ".join(f"{name}: {why}" for name, why in list(source.ignored.items())[:3])
            return f"{source.source} holds no variable of PEAR ({said})"
        if source.reason:
            return source.reason
        if source.fields:
            return f"{source.source} holds no weather, only {', '.join(source.fields)}"
    return "no source holds a variable of PEAR"


def _humidity(
    relative: list[SourceVariable],
    temperature: list[SourceVariable],
    on_error: OnError,
    report: IngestReport,
) -> list[FieldSource]:
    made = []
    for slab in relative:
        helpers = tuple(t for t in temperature if t.grid == slab.grid)
        if helpers:
            made.append(FieldSource(slab, helpers))
            _note(report, slab, "converted", f"{slab.name}: relative to specific humidity")
        else:
            why = f"{slab.name}: relative humidity without temperature on the same grid"
            if on_error == "stop":
                raise InputError(
                    f"{slab.source}: {why}", field=slab.name, hint="ingest both together"
                )
            _note(report, slab, "notes", why)
    return made


def _note(report: IngestReport, slab: SourceVariable, where: str, text: str) -> None:
    for source in report.sources:
        if source.source == slab.source and text not in getattr(source, where):
            getattr(source, where).append(text)


def _once(
    name: str, supplies: list[FieldSource], on_error: OnError, report: IngestReport
) -> list[FieldSource]:
    """Let each field come from one source: the first that gives it."""
    if len(supplies) == 1:
        return supplies
    seen = np.zeros(0, dtype=np.int64)
    owner: list[tuple[npt.NDArray[np.int64], str]] = []
    out = []
    for supply in supplies:
        slab = supply.slab
        levels = np.array(slab.levels or (0,), dtype=np.int64)
        codes = slab.times.astype(np.int64)[:, None] * 2048 + levels
        twice = np.isin(codes, seen) & slab.present
        if twice.any():
            row = tuple(np.argwhere(twice)[0])
            first = next(who for known, who in owner if codes[row] in known)
            level = f" at {levels[row[1]]} hPa" if slab.levels else ""
            text = (
                f"{name}{level} at {to_iso(slab.times[row[0]])} comes twice, from {first} and "
                f"{slab.source} ({int(twice.sum())} fields)"
            )
            if on_error == "stop":
                raise InputError(
                    text, field=name, hint="leave one out, or take the first with --on-error skip"
                )
            report.duplicates.append(text)
            slab = _masked(slab, ~twice)
        owner.append((codes[slab.present], slab.source))
        seen = np.concatenate([seen, codes[slab.present]])
        out.append(FieldSource(slab, supply.temperature))
    return out


def _masked(slab: SourceVariable, mask: npt.NDArray[np.bool_]) -> SourceVariable:
    from dataclasses import replace

    return replace(slab, present=slab.present & mask)


@dataclass(frozen=True)
class Block:
    """A run of times within one file of the store: what is worked on and committed together.

    Attributes
    ----------
    start, stop
        Positions on the store's time axis.
    times
        (stop - start,) times.
    wanted
        By variable: (stop - start, level) fields to store.
    """

    start: int
    stop: int
    times: Times
    wanted: dict[str, npt.NDArray[np.bool_]]

    @property
    def fields(self) -> int:
        """Fields to store."""
        return int(sum(mask.sum() for mask in self.wanted.values()))


def blocks(
    axis: Times, old: int, wanted: dict[str, npt.NDArray[np.bool_]], shard_times: int
) -> Iterator[Block]:
    """Cut the work at the borders of the store's files; blocks with nothing to do are left out.

    Parameters
    ----------
    axis
        All times the store will have; the first ``old`` of them are there already.
    wanted
        By variable: (time, level) fields to store.
    """
    busy = np.zeros(axis.size, dtype=bool)
    busy[old:] = True
    for mask in wanted.values():
        busy |= mask.any(axis=1)
    for first in range(0, axis.size, shard_times):
        positions = first + np.flatnonzero(busy[first : first + shard_times])
        if positions.size:
            start, stop = int(positions[0]), int(positions[-1]) + 1
            masks = {name: mask[start:stop] for name, mask in wanted.items()}
            yield Block(start, stop, axis[start:stop], masks)
