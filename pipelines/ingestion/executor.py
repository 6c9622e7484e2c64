"""One run of an ingestion: what the store lacks of the plan, in blocks of whole times."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from dask.delayed import delayed

from pear.datasets.base import ScanOptions
from pear.errors import InputError
from pear.progress import ProgressCallback, ProgressFactory
from pear.sphere.healpix import cells_of_nside
from pear.store import schema
from pear.store.reader import describe_times
from pear.times import to_iso
from pear.typing import Times
from pear.variables import BY_NAME, LEVELS
from pipelines.ingestion import task
from pipelines.ingestion.plan import Block, OnError, Plan, blocks
from pipelines.ingestion.report import IngestReport, SourceReport
from pipelines.ingestion.task import Job, TaskResult
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.atomic import require_space

Method = Literal["bilinear", "conservative"]
_MOST_TOGETHER: Final = 8
"""Blocks of a commit: what a killed run may have to do again."""


class ClientFor(Protocol):
    """Told how many fields there are to do; returns a dask client, or None for this process."""

    def __call__(self, total: int) -> Any: ...


@dataclass(frozen=True)
class Settings:
    """Choices of an ingestion.

    Attributes
    ----------
    nside
        Resolution of the store.
    method
        ``bilinear`` (point values, as the published model was trained on) or ``conservative``.
    on_error
        ``stop`` at the first fault, or ``skip`` the faulty file or field and mark it missing.
    levels
        hPa to keep.
    start, end
        First and last valid time to keep, or None.
    every_hours
        Keep times whose hour of the day is a multiple of it, or None for all.
    shard_times
        Times per file of a new store; None for files of about 100 MB.
    coarser
        Resolutions at which a new store keeps means as well; None for a quarter of its own, if
        that is 8 or more.
    reserve_bytes
        Space that must stay free on the disk.
    scan
        Choices that sources may need.
    attributes
        Title, source, licence and others for the root of a new store.
    """

    nside: int = 64
    method: Method = "bilinear"
    on_error: OnError = "stop"
    levels: tuple[int, ...] = LEVELS
    start: np.datetime64 | None = None
    end: np.datetime64 | None = None
    every_hours: int | None = None
    shard_times: int | None = None
    coarser: tuple[int, ...] | None = None
    reserve_bytes: int = 1_000_000_000
    scan: ScanOptions = field(default_factory=ScanOptions)
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def coarser_or_default(self) -> tuple[int, ...]:
        """Resolutions of the coarser groups of a new store."""
        if self.coarser is not None:
            return self.coarser
        return schema.default_overviews(self.nside)


class Ingestion:
    """One run: what the store lacks of the plan, in blocks, each committed when it is whole."""

    def __init__(
        self,
        plan: Plan,
        path: Path,
        settings: Settings,
        report: IngestReport,
        client_for: ClientFor | None,
        announce: ProgressFactory,
    ) -> None:
        self.plan, self.path, self.settings, self.report = plan, path, settings, report
        self.client_for, self.announce = client_for, announce
        self.client: Any = None

    def run(self) -> None:
        """Do what is left to do."""
        settings, plan = self.settings, self.plan
        with AnalysisWriter(
            self.path,
            plan.layout,
            settings.nside,
            attributes=settings.attributes,
            shard_times=settings.shard_times,
            coarser=settings.coarser_or_default,
        ) as writer:
            self._require_same_world(writer)
            if not self._to_do(writer):
                self._finish(writer)
                return
            writer.add_variables()
            self.flags = writer.complete.copy()
            todo = list(blocks(self.axis, writer.times.size, self.wanted, writer.shard_times))
            total = sum(block.fields for block in todo)
            cells = cells_of_nside(settings.nside)
            require_space(self.path.parent, 4 * total * cells, settings.reserve_bytes)
            self.client = self.client_for(total) if self.client_for else None
            self.tick: ProgressCallback = self.announce(total)
            self._work(writer, todo)
            self._finish(writer)

    def _require_same_world(self, writer: AnalysisWriter) -> None:
        """Keep simulated and observed states apart."""
        if writer.root == writer.path:
            there = "simulated" in schema.open_group(writer.path).attrs
            if there != ("simulated" in self.settings.attributes):
                kinds = ("simulated", "not simulated")
                raise InputError(
                    f"{self.path} is {kinds[not there]}, the sources are {kinds[there]}",
                    field="store",
                    hint="ingest into another store",
                )

    def _to_do(self, writer: AnalysisWriter) -> bool:
        """Compare the plan with the store: the final time axis and the fields to write."""
        plan, known = self.plan, writer.times
        fresh = plan.times[~np.isin(plan.times, known)]
        early = fresh[fresh <= known[-1]] if known.size else fresh[:0]
        if early.size:
            self._refuse_early(early, known)
            fresh = fresh[fresh > known[-1]]
        self.axis: Times = np.concatenate([known, fresh]).astype("datetime64[s]")
        self.levels = schema.level_order(writer.stored)
        chosen = np.isin(self.axis, plan.times)
        self.wanted: dict[str, npt.NDArray[np.bool_]] = {}
        filled = np.zeros(self.axis.size, dtype=bool)
        for name in plan.supplies:
            offered = plan.offered(self.axis, name, self.levels) & chosen[:, None]
            have = np.zeros_like(offered)
            have[: known.size] = writer.complete[:, self._columns(writer, name)]
            self.wanted[name] = offered & ~have
            filled |= self.wanted[name].any(axis=1)
        self.report.times_added = int(fresh.size)
        self.report.times_filled = int(filled[: known.size].sum())
        present = np.isin(known, plan.times)
        self.report.times_present = int((present & ~filled[: known.size]).sum())
        return bool(fresh.size or filled.any())

    def _columns(self, writer: AnalysisWriter, name: str) -> list[int]:
        upper = BY_NAME[name].kind == "upper"
        return [writer.channel(name, lev) for lev in (self.levels if upper else (None,))]

    def _refuse_early(self, early: Times, known: Times) -> None:
        text = (
            f"{early.size} times from {to_iso(early[0])} lie before or between those of {self.path}"
            f", which end at {to_iso(known[-1])}"
        )
        if self.settings.on_error == "stop":
            raise InputError(
                text,
                field="time",
                hint="a store grows forwards; ingest everything into a new store",
            )
        self.report.sources.append(
            SourceReport(self.path.name, status="refused", reason=text, times=int(early.size))
        )

    def _work(self, writer: AnalysisWriter, todo: list[Block]) -> None:
        """Run the jobs; commit each block when its last job is done, in order of time."""
        # A new store takes its name with its first commit: no job may be under way then.
        heads, tail = [todo[:1], todo[1:]] if writer.root != writer.path else [[], todo]
        for part in (heads, tail):
            results = self._run(self._jobs(writer, part))
            whole: list[tuple[Block, list[TaskResult]]] = []
            for block in part:
                names = [name for name, mask in block.wanted.items() if mask.any()]
                found = [next(results) for _ in names]
                whole.append((block, [done for done, _ in found]))
                # A commit takes as long for many blocks as for one: workers that are faster than
                # commits would wait for them.
                more = bool(found) and found[-1][1]
                if not more or len(whole) >= _MOST_TOGETHER:
                    self._commit(writer, whole)
                    whole = []
            if whole:
                self._commit(writer, whole)

    def _jobs(self, writer: AnalysisWriter, part: list[Block]) -> Iterator[Job]:
        old = writer.times.size if writer.root == writer.path else 0
        for block in part:
            for name, mask in block.wanted.items():
                if not mask.any():
                    continue
                wanted_times = block.times[mask.any(axis=1)]
                supplies = [s.during(wanted_times) for s in self.plan.supplies[name]]
                yield Job(
                    writer.root,
                    writer.staging,
                    name,
                    self.levels if BY_NAME[name].kind == "upper" else (),
                    self.settings.nside,
                    tuple(writer.coarser),
                    self.settings.method,
                    block.start,
                    block.times,
                    block.start >= old,
                    mask,
                    tuple(s for s in supplies if s is not None),
                    self.settings.on_error,
                    read_ahead=self.client is None,  # workers of a cluster have a core each
                )

    def _run(self, todo: Iterable[Job]) -> Iterator[tuple[TaskResult, bool]]:
        """Results in the order of the jobs, and whether the next one is there already.

        Only a few are in flight, however many there are.
        """
        if self.client is None:
            for job in todo:
                yield _task(job).compute(scheduler="synchronous"), False
            return
        workers = max(sum(self.client.nthreads().values()), 1)
        flight: deque[Any] = deque()
        try:
            for job in todo:
                flight.append(self.client.compute(_task(job)))
                if len(flight) >= 3 * workers:
                    yield flight.popleft().result(), flight[0].done()
            while flight:
                yield flight.popleft().result(), bool(flight) and flight[0].done()
        finally:
            self.client.cancel(list(flight))

    def _commit(self, writer: AnalysisWriter, whole: list[tuple[Block, list[TaskResult]]]) -> None:
        """Show blocks that follow one another."""
        old, (block, _) = writer.times.size, whole[-1]
        flags = np.zeros((max(old, block.stop), len(writer.channels)), dtype=np.uint8)
        flags[:old] = writer.complete
        for block, results in whole:
            writer.stage(block.times[max(old - block.start, 0) :])
            for done in results:
                columns = self._columns(writer, done.variable)
                flags[block.start : block.stop, columns] |= done.stored.astype(np.uint8)
                self.report.refuse(done.refused)
                self.report.reading_seconds += done.reading
                self.report.fields_written += int(done.stored.sum())
        if writer.root != writer.path and not self.report.fields_written:
            first = self.report.refused[0]
            raise InputError(
                f"nothing to ingest: all fields of the first {block.times.size} times are refused "
                f"({first.variable} at {first.time}: {first.reason})",
                field="source",
            )
        writer.commit(flags[old:], flags[:old])
        self.tick(sum(block.fields for block, _ in whole), to_iso(block.times[-1]))

    def _finish(self, writer: AnalysisWriter) -> None:
        report = self.report
        report.variables = list(writer.stored.names)
        report.levels = list(writer.stored.levels)
        report.gaps = describe_times(writer.times)["gaps"]
        columns = [column for name in writer.stored.names for column in self._columns(writer, name)]
        report.fields_missing = int((writer.complete[:, columns] == 0).sum())


@delayed(pure=False)  # type: ignore[untyped-decorator]
def _task(job: Job) -> TaskResult:
    return task.run(job)
