"""Ingestion: files of any origin into one trustworthy nested HEALPix store, restartable by time.

Scan (what is there), plan (what fills which field), then one job per variable and file of the
store, by dask; each finished block of times is committed before it is counted.
"""

from __future__ import annotations

import shutil
import tempfile
import time as clock
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from pear import __version__
from pear.calendar import Times, iso
from pear.errors import InputError
from pear.sphere.grid import cells_of_nside
from pear.variables import BY_NAME, LEVELS
from pipelines import contract, jobs
from pipelines.analysis_store import AnalysisWriter
from pipelines.files import require_space
from pipelines.jobs import Done, Job
from pipelines.plan import Block, OnError, Plan, blocks, make_plan
from pipelines.report import IngestReport, SourceReport
from pipelines.sources import Scan, ScanOptions, Slab, scan_source
from pipelines.store import describe_times

Source = str | Path | xr.Dataset
Method = Literal["bilinear", "conservative"]


class Tick(Protocol):
    """Called as work is done: fields finished, and what was done last."""

    def __call__(self, advance: float = 1, note: str = "") -> None: ...


class ClientFor(Protocol):
    """Told how many fields there are to do; returns a dask client, or None for this process."""

    def __call__(self, total: int) -> Any: ...


class Announce(Protocol):
    """Told how many fields there are to do, once that is known; returns the tick."""

    def __call__(self, total: int) -> Tick: ...


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
    reserve_bytes: int = 1_000_000_000
    scan: ScanOptions = field(default_factory=ScanOptions)
    attributes: dict[str, Any] = field(default_factory=dict)


def ingest(
    sources: Sequence[Source],
    store: Path | str,
    nside: int | None = None,
    *,
    settings: Settings | None = None,
    client_for: ClientFor | None = None,
    announce: Announce | None = None,
    tick: Tick | None = None,
) -> IngestReport:
    """Bring files into an analysis store; what is there already is not done again.

    Parameters
    ----------
    sources
        Files (NetCDF, GRIB, zip), Zarr folders or addresses, or datasets.
    store
        Path of the store; made if it does not exist, and seen only once its first times are whole.
    nside
        Resolution; shorthand for ``settings.nside``.
    client_for
        Given the number of fields to do, returns a dask client whose workers see the files and
        the store, or None to work in this process.
    announce
        Told the number of fields; the tick it returns is called as they are finished.
    tick
        Called as fields are finished, where their number need not be known before.

    Raises
    ------
    InputError
        If a source cannot be used (``on_error="stop"``), nothing is left to ingest, or the store
        does not fit. Times committed before the fault stay; nothing else has changed.
    OSError
        If the disk is too full.
    """
    settings = settings or Settings()
    if nside is not None:
        settings = _with_nside(settings, nside)
    began = clock.perf_counter()
    path = Path(store).absolute()
    if not sources:
        raise InputError("no source to ingest", field="source", hint="name files to ingest")
    report = IngestReport(str(path), settings.nside, settings.method)
    with _Unpacked(path) as folder:
        slabs = _scan_all(sources, settings, folder, report)
        plan = make_plan(slabs, settings.levels, settings.on_error, report)
        _keep_times(plan, settings)
        told = announce or (lambda _: tick or _silent)
        _Ingestion(plan, path, settings, report, client_for, told).run()
    report.seconds = clock.perf_counter() - began
    return report


def _with_nside(settings: Settings, nside: int) -> Settings:
    try:
        cells_of_nside(nside)
    except ValueError as error:
        raise InputError(str(error), field="--nside") from error
    return replace(settings, nside=nside)


class _Unpacked:
    """A hidden folder beside the store for members of archives, gone when the work is done."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def __enter__(self) -> Path:
        self.store.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(
            tempfile.mkdtemp(prefix=f".{self.store.name}.unzip-", dir=self.store.parent)
        )
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _scan_all(
    sources: Sequence[Source], settings: Settings, folder: Path, report: IngestReport
) -> list[Slab]:
    slabs: list[Slab] = []
    for source in sources:
        name = "dataset in memory" if isinstance(source, xr.Dataset) else str(source)
        try:
            for scan in scan_source(source, settings.scan, folder):
                if settings.on_error == "stop":
                    _stop_at_faults(scan)
                report.sources.append(_source_report(scan))
                slabs.extend(scan.slabs)
        except InputError as error:
            if settings.on_error == "stop":
                raise
            report.sources.append(SourceReport(name, status="refused", reason=str(error)))
    return slabs


def _stop_at_faults(scan: Scan) -> None:
    if scan.faults:
        raise scan.faults[0]
    if not scan.slabs:
        said = "; ".join(f"{name}: {why}" for name, why in list(scan.skipped.items())[:3])
        raise InputError(
            f"{scan.source} holds no variable of PEAR ({said or 'nothing at all'})", field="source"
        )


def _source_report(scan: Scan) -> SourceReport:
    out = SourceReport(scan.source, scan.kind, ignored=dict(scan.skipped), notes=list(scan.notes))
    for slab in scan.slabs:
        out.fields.append(slab.name)
        if slab.conversion.changes:
            out.converted.append(f"{slab.name}: {slab.conversion}")
    if scan.slabs:
        times = np.unique(np.concatenate([slab.times for slab in scan.slabs]))
        out.times, out.first, out.last = times.size, iso(times[0]), iso(times[-1])
        out.grid = str(scan.slabs[0].grid)
    elif scan.faults:
        out.status, out.reason = "refused", str(scan.faults[0])
    else:
        out.status, out.reason = "skipped", "holds no variable of PEAR"
    out.notes += [str(fault) for fault in scan.faults]
    return out


def _keep_times(plan: Plan, settings: Settings) -> None:
    keep = np.ones(plan.times.size, dtype=bool)
    if settings.start is not None:
        keep &= plan.times >= settings.start
    if settings.end is not None:
        keep &= plan.times <= settings.end
    if settings.every_hours is not None:
        seconds = plan.times.astype(np.int64) % 86_400
        keep &= seconds % (settings.every_hours * 3600) == 0
    if not keep.any():
        raise InputError(
            f"the sources hold no time in the span asked for; theirs run from "
            f"{iso(plan.times[0])} to {iso(plan.times[-1])}", field="time",
        )  # fmt: skip
    plan.times = plan.times[keep]


class _Ingestion:
    """One run: what the store lacks of the plan, in blocks, each committed when it is whole."""

    def __init__(
        self, plan: Plan, path: Path, settings: Settings, report: IngestReport,
        client_for: ClientFor | None, announce: Announce,
    ) -> None:  # fmt: skip
        self.plan, self.path, self.settings, self.report = plan, path, settings, report
        self.client_for, self.announce = client_for, announce
        self.client: Any = None

    def run(self) -> None:
        """Do what is left to do."""
        settings, plan = self.settings, self.plan
        attributes = {
            "title": "Analyses on HEALPix, ingested by PEAR",
            "history": f"pear {__version__} ingest, {settings.method} regridding",
            **settings.attributes,
        }
        with AnalysisWriter(
            self.path, plan.layout, settings.nside, attributes=attributes,
            shard_times=settings.shard_times,
        ) as writer:  # fmt: skip
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
            self.tick: Tick = self.announce(total)
            self._work(writer, todo)
            self._finish(writer)

    def _to_do(self, writer: AnalysisWriter) -> bool:
        """Compare the plan with the store: the final time axis and the fields to write."""
        plan, known = self.plan, writer.times
        fresh = plan.times[~np.isin(plan.times, known)]
        early = fresh[fresh <= known[-1]] if known.size else fresh[:0]
        if early.size:
            self._refuse_early(early, known)
            fresh = fresh[fresh > known[-1]]
        self.axis: Times = np.concatenate([known, fresh]).astype("datetime64[s]")
        self.levels = contract.stored_levels(writer.stored)
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
            f"{early.size} times from {iso(early[0])} lie before or between those of {self.path}, "
            f"which end at {iso(known[-1])}"
        )
        if self.settings.on_error == "stop":
            raise InputError(
                text, field="time",
                hint="a store grows forwards; ingest everything into a new store",
            )  # fmt: skip
        self.report.sources.append(
            SourceReport(self.path.name, status="refused", reason=text, times=int(early.size))
        )

    def _work(self, writer: AnalysisWriter, todo: list[Block]) -> None:
        """Run the jobs; commit each block when its last job is done, in order of time."""
        # A new store takes its name with its first commit: no job may be under way then.
        heads, tail = [todo[:1], todo[1:]] if writer.root != writer.path else [[], todo]
        for part in (heads, tail):
            waiting = deque(part)
            pending: dict[int, int] = {}
            results = self._run(self._jobs(writer, part))
            for block in waiting:
                names = [name for name, mask in block.wanted.items() if mask.any()]
                pending[block.start] = len(names)
                self._commit(writer, block, [next(results) for _ in names])

    def _jobs(self, writer: AnalysisWriter, part: list[Block]) -> Iterator[Job]:
        old = writer.times.size if writer.root == writer.path else 0
        for block in part:
            for name, mask in block.wanted.items():
                if not mask.any():
                    continue
                wanted_times = block.times[mask.any(axis=1)]
                supplies = [s.during(wanted_times) for s in self.plan.supplies[name]]
                yield Job(
                    writer.root, writer.staging, name,
                    self.levels if BY_NAME[name].kind == "upper" else (),
                    self.settings.nside, self.settings.method, block.start, block.times,
                    block.start >= old, mask, tuple(s for s in supplies if s is not None),
                    self.settings.on_error,
                )  # fmt: skip

    def _run(self, todo: Iterable[Job]) -> Iterator[Done]:
        """Results in the order of the jobs; only a few are in flight, however many there are."""
        if self.client is None:
            for job in todo:
                yield _task(job).compute(scheduler="synchronous")
            return
        workers = max(sum(self.client.nthreads().values()), 1)
        flight: deque[Any] = deque()
        try:
            for job in todo:
                flight.append(self.client.compute(_task(job)))
                if len(flight) >= 3 * workers:
                    yield flight.popleft().result()
            while flight:
                yield flight.popleft().result()
        finally:
            self.client.cancel(list(flight))

    def _commit(self, writer: AnalysisWriter, block: Block, results: list[Done]) -> None:
        old = writer.times.size
        fresh = block.times[max(old - block.start, 0) :]
        if fresh.size:
            writer.stage(fresh)
        flags = np.zeros((block.stop, len(writer.channels)), dtype=np.uint8)
        flags[:old] = writer.complete[: block.stop]
        stop = block.stop
        if stop < old:
            flags = np.concatenate([flags, writer.complete[stop:]])
        for done in results:
            columns = self._columns(writer, done.variable)
            flags[block.start : stop, columns] |= done.stored.astype(np.uint8)
            self.report.refuse(done.refused)
            self.report.reading_seconds += done.reading
            self.report.fields_written += int(done.stored.sum())
        if writer.root != writer.path and not self.report.fields_written:
            first = self.report.refused[0]
            raise InputError(
                f"nothing to ingest: all fields of the first {block.times.size} times are refused "
                f"({first.variable} at {first.time}: {first.reason})", field="source",
            )  # fmt: skip
        writer.commit(flags[old:], flags[:old])
        self.tick(block.fields, iso(block.times[-1]))

    def _finish(self, writer: AnalysisWriter) -> None:
        report = self.report
        report.variables = list(writer.stored.names)
        report.levels = list(writer.stored.levels)
        report.gaps = describe_times(writer.times)["gaps"]
        columns = [column for name in writer.stored.names for column in self._columns(writer, name)]
        report.fields_missing = int((writer.complete[:, columns] == 0).sum())


@delayed(pure=False)  # type: ignore[untyped-decorator]
def _task(job: Job) -> Done:
    return jobs.run(job)


def _silent(advance: float = 1, note: str = "") -> None:
    """Tell nobody."""
