"""Report of an ingestion: what was read, converted, skipped, refused and written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from pear.datasets.base import Scan
from pear.times import to_iso

_LISTED_REFUSALS: Final = 200


@dataclass
class SourceReport:
    """Report on one source.

    Attributes
    ----------
    source, kind : str
        File or address, and format.
    status : str
        ``read``, ``skipped`` (nothing in it for PEAR) or ``refused``.
    reason : str
        Why it was skipped or refused.
    grid : str
        Grid of its fields.
    times : int
        Number of valid times.
    first, last : str
        First and last valid time, ISO 8601.
    fields : list of str
        Names in the file of what was used.
    ignored : dict
        Names that were not used, with the reasons.
    converted, notes : list of str
        Conversions of units, and other remarks.
    origin : str
        Institution and title stated by the source.
    simulated : bool
        Whether the source states that its data are simulated.
    """

    source: str
    kind: str = ""
    status: str = "read"
    reason: str = ""
    grid: str = ""
    times: int = 0
    first: str = ""
    last: str = ""
    fields: list[str] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    converted: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    origin: str = ""
    simulated: bool = False

    @classmethod
    def from_scan(cls, scan: Scan) -> SourceReport:
        """Return the report on a scanned source."""
        out = cls(
            scan.source,
            scan.kind,
            fields=[one.name for one in scan.static_fields] + [v.name for v in scan.variables],
            ignored=dict(scan.skipped),
            converted=[f"{v.name}: {v.conversion}" for v in scan.variables if v.conversion.changes],
            notes=[*scan.notes, *map(str, scan.faults)],
            origin=scan.origin,
            simulated=scan.simulated,
        )
        if scan.variables:
            times = np.unique(np.concatenate([variable.times for variable in scan.variables]))
            out.times, out.first, out.last = times.size, to_iso(times[0]), to_iso(times[-1])
            out.grid = str(scan.variables[0].grid)
        elif scan.faults:
            out.status, out.reason = "refused", str(scan.faults[0])
        elif not scan.static_fields:
            out.status, out.reason = "skipped", "no variable of PEAR"
        return out

    @property
    def ignored_summary(self) -> str:
        """The first ignored names, with the reasons."""
        return "; ".join(f"{name}: {why}" for name, why in list(self.ignored.items())[:3])


@dataclass(frozen=True)
class Refusal:
    """A field that was not stored, and why."""

    source: str
    variable: str
    level: int | None
    time: str
    reason: str


@dataclass
class IngestReport:
    """Report of an ingestion.

    Attributes
    ----------
    store, nside, method
        The store, its resolution, and the regridding method.
    variables, levels
        Contents of the store after the ingestion.
    sources : list of SourceReport
        One report for each source or member of an archive.
    times_added, times_filled, times_present : int
        New times; times of the store that got fields they lacked; times that were complete.
    times_replaced, times_preliminary : int
        Times of the store that were replaced; times of it that are preliminary now.
    kept : list of str
        Times that were to be replaced and were not, with the reasons.
    left_out : list of str
        New times that were not added because all their fields are refused; at most 200.
    times_left_out : int
        Number of all such times.
    fields_written, fields_missing : int
        Fields written now; fields that the store still lacks.
    static : list of str
        Static fields written now.
    gaps : list of dict
        Missing times between two others, if the axis has a regular step.
    duplicates : list of str
        Fields that came from several sources; the first was taken.
    refused : list of Refusal
        Fields that were not stored and are marked as missing; at most 200.
    refused_count : int
        Number of all such fields.
    seconds, reading_seconds : float
        Duration of the ingestion, and time spent reading in all workers together.
    """

    store: str
    nside: int
    method: str = "bilinear"
    variables: list[str] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    sources: list[SourceReport] = field(default_factory=list)
    times_added: int = 0
    times_filled: int = 0
    times_present: int = 0
    times_replaced: int = 0
    times_preliminary: int = 0
    kept: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    times_left_out: int = 0
    fields_written: int = 0
    fields_missing: int = 0
    static: list[str] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    refused_count: int = 0
    seconds: float = 0.0
    reading_seconds: float = 0.0

    def refuse(self, refusals: list[Refusal]) -> None:
        """Add fields that were not stored."""
        self.refused_count += len(refusals)
        self.refused.extend(refusals[: max(0, _LISTED_REFUSALS - len(self.refused))])

    def leave_out(self, times: list[str]) -> None:
        """Take times of which all fields are refused off those that are added."""
        self.times_added -= len(times)
        self.times_left_out += len(times)
        self.left_out.extend(times[: max(0, _LISTED_REFUSALS - len(self.left_out))])

    def note(self, source: str, text: str) -> None:
        """Add a remark on a source, once."""
        for one in self.sources:
            if one.source == source and text not in one.notes:
                one.notes.append(text)

    def note_conversion(self, source: str, text: str) -> None:
        """Add a conversion of a source's fields, once."""
        for one in self.sources:
            if one.source == source and text not in one.converted:
                one.converted.append(text)

    def set_aside(self, source: str, name: str, why: str) -> None:
        """Move a name from what was read to what was not used."""
        for one in self.sources:
            if one.source == source and name in one.fields:
                one.fields.remove(name)
                one.ignored[name] = why

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @property
    def summary(self) -> str:
        """The report in one line."""
        read = sum(source.status == "read" for source in self.sources)
        return (
            f"{read} of {len(self.sources)} sources read, {self.times_added} times added, "
            f"{self.times_filled} filled, {self.times_present} already present, "
            + (f"{self.times_left_out} left out, " if self.times_left_out else "")
            + (f"{self.times_replaced} replaced, " if self.times_replaced else "")
            + (f"{self.times_preliminary} preliminary, " if self.times_preliminary else "")
            + f"{self.fields_written} fields written, {self.refused_count} refused, "
            f"{self.seconds:.1f} s"
        )
