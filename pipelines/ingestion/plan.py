"""Plan of an ingestion: which source fills which field of the store at which time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pear.datasets.base import SourceVariable, member_key
from pear.datasets.fields import FieldSource, require_partner
from pear.datasets.sums import Gap, add_up
from pear.datasets.units import RELATIVE_HUMIDITY
from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Times
from pear.variables import BY_NAME, Layout, wind_pair
from pipelines.ingestion.options import IngestOptions, OnError
from pipelines.ingestion.report import IngestReport, Refusal

_HUMIDITY = "specific_humidity"


@dataclass(frozen=True)
class Plan:
    """Everything that the sources can give to a store.

    Attributes
    ----------
    layout : Layout
        Variables and levels.
    times : (time,) array
        Valid times, increasing.
    sources : dict
        Sources of each variable, in the order given by the user.
    """

    layout: Layout
    times: Times
    sources: dict[str, list[FieldSource]] = field(default_factory=dict)

    def offered(self, name: str, times: Times, levels: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return which fields of a variable the sources have.

        Parameters
        ----------
        name : str
            Canonical name of the variable.
        times : (time,) array
            Increasing times, which include those of the plan.
        levels : sequence of int
            Pressure levels in hPa; ignored for a surface variable.

        Returns
        -------
        (time, level) array of bool
            One column for a surface variable.
        """
        columns: dict[int | None, int] = {None: 0}
        if BY_NAME[name].kind == "upper":
            columns = {level: column for column, level in enumerate(levels)}
        out = np.zeros((times.size, len(columns)), dtype=bool)
        chosen = np.isin(times, self.times)
        for source in self.sources.get(name, []):
            variable = source.variable
            known = np.isin(variable.times, times)
            at = np.searchsorted(times, variable.times[known])
            for row in range(variable.rows):
                column = columns.get(variable.level(row))
                if column is not None:
                    out[at, column] |= variable.present[known, row]
        return out & chosen[:, None]

    def preliminary(self, times: Times) -> npt.NDArray[np.bool_]:
        """Return at which times, (time,), the sources have preliminary data of any field."""
        out = np.zeros(times.size, dtype=bool)
        for many in self.sources.values():
            for source in many:
                variable = source.variable
                marked = variable.times[variable.is_preliminary & variable.present.any(axis=1)]
                out |= np.isin(times, marked)
        return out

    def leads(self, times: Times) -> npt.NDArray[np.int64]:
        """Return the longest lead time in seconds of any field, (time,); 0 for analyses."""
        out, is_known = np.zeros(times.size, dtype=np.int64), np.zeros(times.size, dtype=bool)
        variables = [source.variable for many in self.sources.values() for source in many]
        for variable in sorted(variables, key=lambda one: bool(one.origins)):
            known = variable.present.any(axis=1) & np.isin(variable.times, times)
            at = np.searchsorted(times, variable.times[known])
            if variable.leads is not None:
                # A sum comes from a forecast that began with its hours: that alone does not make
                # the state at their end a forecast. Those that are added up come from any hours of
                # short forecasts, as in reanalyses: the other fields of a time decide.
                leads = variable.leads[known] - 3600 * _hours_of(variable)
                decides = ~is_known[at] if variable.origins else np.ones(at.size, dtype=bool)
                np.maximum.at(out, at, np.where(decides, leads, 0))
            is_known[at] |= not variable.origins
        return out


def _hours_of(variable: SourceVariable) -> int:
    """Return the hours over which a field is summed; 0 for an instant."""
    row = BY_NAME.get(variable.quantity.name)
    return 0 if row is None else row.accumulated_hours or 0


def make_plan(
    variables: Sequence[SourceVariable],
    options: IngestOptions,
    report: IngestReport,
    held_times: Times | None = None,
) -> Plan:
    """Choose the sources of each stored variable.

    Specific humidity is computed from relative humidity if no source has it. Fields that are summed
    over a part of the hours of their variable are added up at the times that other fields or the
    store have; where there are none, at multiples of those hours from 00 UTC.

    Parameters
    ----------
    variables : sequence of SourceVariable
        Contents of all sources, in the order given by the user.
    options : IngestOptions
        Levels and times to keep, and what to do with faults.
    report : IngestReport
        Receives conversions and duplicates.
    held_times : (time,) array, optional
        Times of the store; default: there is none yet.

    Returns
    -------
    Plan
        At least one variable at one time.

    Raises
    ------
    InputError
        If nothing is left to ingest, or with ``on_error="raise"`` if relative humidity comes
        without temperature, two sources have the same field, or a sum lacks a part in between.
    """
    by_name: dict[str, list[SourceVariable]] = {}
    for variable in variables:
        kept = variable.select_levels(options.levels)
        if kept is not None:
            by_name.setdefault(kept.quantity.name, []).append(kept)
        else:
            found = ", ".join(map(str, variable.levels))
            report.set_aside(variable.source, variable.name, f"not at a level wanted: {found} hPa")
    _add_up_parts(by_name, options, report, held_times)
    sources = {name: [FieldSource(v) for v in by_name[name]] for name in BY_NAME if name in by_name}
    if _HUMIDITY not in sources and RELATIVE_HUMIDITY in by_name:
        humidity = _humidity_sources(by_name, options.on_error, report)
        if humidity:
            sources[_HUMIDITY] = humidity
    if not sources:
        held = sorted({level for variable in variables for level in variable.levels})
        why = _explain_nothing(report, options.levels if variables else None, held)
        raise InputError(f"nothing to ingest: {why}", field="source")
    sources = {
        name: _without_duplicates(name, many, options.on_error, report)
        for name, many in sources.items()
    }
    sources = _with_partners(sources, options, report)
    everything = [source.variable for many in sources.values() for source in many]
    require_one_member(everything)
    offered = [variable.times[variable.present.any(axis=1)] for variable in everything]
    times = _select_times(np.unique(np.concatenate(offered)), options)
    present = {level for variable in everything for level in variable.levels}
    layout = Layout(
        tuple(name for name in BY_NAME if name in sources and BY_NAME[name].kind == "surface"),
        tuple(name for name in BY_NAME if name in sources and BY_NAME[name].kind == "upper"),
        tuple(level for level in options.levels if level in present),
    )
    return Plan(layout, times, sources)


def require_one_member(variables: Sequence[SourceVariable]) -> str:
    """Refuse sources of which two say that they are of different members of an ensemble.

    Parameters
    ----------
    variables : sequence of SourceVariable
        What is to be stored as one series.

    Returns
    -------
    str
        The member; empty if no source says of which one it is.

    Raises
    ------
    InputError
        If there are two.
    """
    named = [one for one in variables if one.member]
    for one in named:
        if member_key(one.member) != member_key(named[0].member):
            raise InputError(
                f"{named[0].source} is of ensemble member {named[0].member}, and {one.source} of "
                f"{one.member}",
                field="--member",
                hint="give the files of one member, and write each into a store of its own",
            )
    return named[0].member if named else ""


def _add_up_parts(
    by_name: dict[str, list[SourceVariable]],
    options: IngestOptions,
    report: IngestReport,
    held_times: Times | None,
) -> None:
    """Replace fields that are summed over a part of the hours of their variable by whole sums."""
    instants = [one for many in by_name.values() for one in many if not _hours_of(one)]
    axes = [one.times[one.present.any(axis=1)] for one in instants]
    axes += [] if held_times is None else [held_times]
    others = np.unique(np.concatenate(axes)) if axes else np.zeros(0, dtype="datetime64[s]")
    for name in list(by_name):
        parts = [one for one in by_name[name] if one.summed_hours is not None]
        if not parts:
            continue
        whole = [one for one in by_name[name] if one.summed_hours is None]
        wanted = others if others.size else _whole_periods(parts)
        wanted = wanted[_is_selected(wanted, options)]
        for one in whole:
            wanted = wanted[~np.isin(wanted, one.times[one.present.all(axis=1)])]
        by_name[name] = whole + _sums(name, parts, wanted, options, report)
        if not by_name[name]:
            del by_name[name]
            for one in parts:
                why = (
                    f"summed over {one.summed_hours} h, of which no {_hours_of(one)} h without a "
                    "gap end at a time of the other fields"
                )
                report.set_aside(one.source, one.name, why)


def _whole_periods(parts: Sequence[SourceVariable]) -> Times:
    """Return the times of parts of sums at which whole periods end, counted from 00 UTC."""
    seconds = np.unique(np.concatenate([one.times for one in parts])).astype("datetime64[s]")
    whole: Times = seconds[seconds.astype(np.int64) % (3600 * _hours_of(parts[0])) == 0]
    return whole


def _sums(
    name: str,
    parts: Sequence[SourceVariable],
    wanted: Times,
    options: IngestOptions,
    report: IngestReport,
) -> list[SourceVariable]:
    """Add up the parts of sums that end at some times, those on each grid by themselves."""
    whole = []
    for group in _same_grid(name, list(parts), options.on_error, report):
        summed, gaps = add_up(group, wanted)
        _report_gaps(name, group, gaps, options.on_error, report)
        if summed is None:
            continue
        whole.append(summed)
        wanted = wanted[~np.isin(wanted, summed.times)]
        hours = group[0].summed_hours or 1
        text = f"{summed.name}: {_hours_of(summed) // hours} fields of {hours} h added up"
        for one in group:
            report.note_conversion(one.source, text)
    return whole


def _same_grid(
    name: str, parts: list[SourceVariable], on_error: OnError, report: IngestReport
) -> list[list[SourceVariable]]:
    """Return the parts of sums by grid and hours; each field from the first source that has it."""
    groups: dict[tuple[object, int | None, bool], list[SourceVariable]] = {}
    fields = _without_duplicates(name, [FieldSource(one) for one in parts], on_error, report)
    for one in (each.variable for each in fields):
        groups.setdefault((one.grid, one.summed_hours, one.idealised), []).append(one)
    return list(groups.values())


def _report_gaps(
    name: str,
    parts: list[SourceVariable],
    gaps: list[Gap],
    on_error: OnError,
    report: IngestReport,
) -> None:
    """Refuse sums that lack parts in between; note those that begin before the sources do."""
    source, hours = parts[0].source, parts[0].summed_hours or 1
    for gap in gaps:
        text = f"{name} at {to_iso(gap.time)} cannot be added up from {hours} h: {gap}"
        if not gap.is_within:
            continue
        if on_error == "raise":
            raise InputError(
                f"{source}: {text}",
                field=name,
                hint="add what is missing, or leave this sum out with --on-error skip",
            )
        report.refuse([Refusal(source, name, None, to_iso(gap.time), f"{gap}")])
    outside = [gap for gap in gaps if not gap.is_within]
    if outside:
        more = f", and {len(outside) - 1} others" if len(outside) > 1 else ""
        report.note(source, f"{name} at {to_iso(outside[0].time)} is left out: {outside[0]}{more}")


def _explain_nothing(
    report: IngestReport, levels: Sequence[int] | None, found: Sequence[int]
) -> str:
    if levels is not None:
        wanted, listed = (", ".join(map(str, many)) for many in (levels, found))
        return f"no source has any of the levels {wanted} hPa; the levels found: {listed} hPa"
    for source in report.sources:
        if source.ignored:
            return f"{source.source} has no variable of PEAR ({source.ignored_summary})"
        if source.reason:
            return source.reason
        if source.fields:
            return f"{source.source} has only static fields ({', '.join(source.fields)})"
    return "the sources have no variable of PEAR"


def _humidity_sources(
    by_name: dict[str, list[SourceVariable]], on_error: OnError, report: IngestReport
) -> list[FieldSource]:
    """Pair each relative humidity with the temperature on its grid."""
    out = []
    for relative in by_name[RELATIVE_HUMIDITY]:
        warmth = [t for t in by_name.get("temperature", []) if t.grid == relative.grid]
        if warmth:
            out.append(FieldSource(relative, tuple(warmth)))
            report.note_conversion(
                relative.source, f"{relative.name}: relative to specific humidity"
            )
            continue
        why = f"{relative.name}: relative humidity without temperature on the same grid"
        if on_error == "raise":
            raise InputError(
                f"{relative.source}: {why}", field=relative.name, hint="ingest both together"
            )
        report.note(relative.source, why)
    return out


def _with_partners(
    sources: dict[str, list[FieldSource]], options: IngestOptions, report: IngestReport
) -> dict[str, list[FieldSource]]:
    """Give the components of winds to each other where they are regridded as vectors."""
    out = {}
    for name, many in sources.items():
        if wind_pair(name) is None:
            out[name] = many
            continue
        try:
            out[name] = require_partner(sources, name, options.nside, options.method)
        except InputError as error:
            if options.on_error == "raise":
                raise
            report.note(many[0].variable.source, error.message)
    if not out:
        raise InputError("nothing to ingest: every wind lacks one component", field="source")
    return out


def _without_duplicates(
    name: str, sources: list[FieldSource], on_error: OnError, report: IngestReport
) -> list[FieldSource]:
    """Take each field from the first source that has it."""
    if len(sources) == 1:
        return sources
    sources = _final_first(sources)
    seen = np.zeros(0, dtype=np.int64)
    owners: list[tuple[npt.NDArray[np.int64], str]] = []
    out = []
    for source in sources:
        variable = source.variable
        levels, codes = variable.levels or (0,), _codes(variable)
        duplicate = np.isin(codes, seen) & variable.present
        if duplicate.any():
            time, row = np.argwhere(duplicate)[0]
            first = next(owner for known, owner in owners if codes[time, row] in known)
            level = f" at {levels[row]} hPa" if variable.levels else ""
            text = (
                f"{name}{level} at {to_iso(variable.times[time])} comes twice, from {first} and "
                f"{variable.source} ({int(duplicate.sum())} fields)"
            )
            if on_error == "raise":
                raise InputError(
                    text, field=name, hint="omit one, or keep the first with --on-error skip"
                )
            report.duplicates.append(text)
            variable = replace(variable, present=variable.present & ~duplicate)
        owners.append((codes[variable.present], variable.source))
        seen = np.concatenate([seen, codes[variable.present]])
        out.append(replace(source, variable=variable))
    return out


def _codes(variable: SourceVariable) -> npt.NDArray[np.int64]:
    """Return a number for each field, (time, row), equal for equal time and level."""
    levels = np.array(variable.levels or (0,), dtype=np.int64)
    codes: npt.NDArray[np.int64] = variable.times.astype(np.int64)[:, None] * 2048 + levels
    return codes


def _final_first(sources: list[FieldSource]) -> list[FieldSource]:
    """Drop preliminary fields of which another source has the final ones."""
    variables = [source.variable for source in sources]
    final = [_codes(v)[v.present & ~v.is_preliminary[:, None]] for v in variables]
    known = np.concatenate(final)
    out = []
    for source in sources:
        one = source.variable
        replaced = one.is_preliminary[:, None] & np.isin(_codes(one), known)
        out.append(replace(source, variable=replace(one, present=one.present & ~replaced)))
    return out


def _is_selected(times: Times, options: IngestOptions) -> npt.NDArray[np.bool_]:
    """Return which times are to be kept, (time,)."""
    keep = np.ones(times.size, dtype=bool)
    if options.start is not None:
        keep &= times >= options.start
    if options.end is not None:
        keep &= times <= options.end
    if options.every_hours is not None:
        seconds = times.astype("datetime64[s]").astype(np.int64)
        keep &= seconds % 86_400 % (options.every_hours * 3600) == 0
    return keep


def _select_times(times: Times, options: IngestOptions) -> Times:
    keep = _is_selected(times, options)
    if not keep.any():
        raise InputError(
            f"the sources have no time in the selected range; their times run from "
            f"{to_iso(times[0])} to {to_iso(times[-1])}",
            field="time",
        )
    return times[keep]
