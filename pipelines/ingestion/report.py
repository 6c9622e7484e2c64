"""What an ingestion did, field by field where it matters: for people as a table, else as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

_MOST_LISTED = 200


@dataclass
class SourceReport:
    """What became of one file.

    Attributes
    ----------
    status
        ``read``, ``skipped`` (nothing in it for PEAR or all of it stored already) or ``refused``.
    reason
        Why it was skipped or refused.
    fields
        Names in the file of what was used.
    origin, simulated
        Who made the data, in the source's words, and whether it says that they are simulated.
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


@dataclass(frozen=True)
class Refusal:
    """One field that was not stored, and why."""

    source: str
    variable: str
    level: int | None
    time: str
    reason: str


@dataclass
class IngestReport:
    """What one ingestion read, converted, skipped and refused.

    Attributes
    ----------
    times_added, times_filled, times_present
        New times; old times that got fields they lacked; times stored completely before.
    static
        Static fields that the store keeps since now.
    gaps
        Times that lack between two others, if the axis has a regular step.
    duplicates
        Fields that came from several sources; the first was taken.
    refused
        Fields that were not stored; each is marked in the store's completeness.
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
        """Note fields that were not stored."""
        self.refused_count += len(refusals)
        self.refused.extend(refusals[: max(0, _MOST_LISTED - len(self.refused))])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @property
    def summary(self) -> str:
        """One line."""
        used = sum(source.status == "read" for source in self.sources)
        return (
            f"{used} of {len(self.sources)} sources read, {self.times_added} times added, "
            f"{self.times_filled} filled, {self.times_present} there before, "
            f"{self.fields_written} fields written, {self.refused_count} refused, "
            f"{self.seconds:.1f} s"
        )
