"""Ingestion of files of any origin into one nested HEALPix store.

The sources are scanned, a plan says which source fills which field, and one task for each variable
and file of the store computes what the store lacks. Each finished block of times is committed, so
an interrupted ingestion continues where it stopped.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time as clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np
import xarray as xr

from pear import __version__
from pear.datasets.base import Scan, member_key
from pear.datasets.static import StaticField, static_name
from pear.datasets.xarray import close_datasets
from pear.errors import InputError
from pear.progress import ProgressFactory, no_progress
from pear.sphere.healpix import cells_of_nside, check_nside
from pear.store import schema
from pear.store.reader import describe_times, read_completeness, stored_layout
from pear.times import to_iso
from pipelines.ingestion.block_writer import BlockWriter
from pipelines.ingestion.executor import StoreContents, Workload, diff
from pipelines.ingestion.options import IngestOptions, Method, method_of
from pipelines.ingestion.plan import Plan, make_plan, require_one_member
from pipelines.ingestion.readers import name_of, scan_source
from pipelines.ingestion.readers.remote import expand
from pipelines.ingestion.remote_files import FileCache
from pipelines.ingestion.repetitions import register_sources, register_stored
from pipelines.ingestion.report import IngestReport, Refusal, SourceReport
from pipelines.ingestion.static_fields import read_static_fields, write_static_fields
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.atomic import require_space, temporary_parents
from pipelines.storage.provenance import git_revision

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["IngestOptions", "Source", "ingest"]

Source = str | Path | xr.Dataset
_LISTED_ORIGINS: Final = 5


class ClientFor(Protocol):
    """Given the number of fields to write, returns a dask client, or None for this process."""

    def __call__(self, total: int) -> Client | None: ...


def ingest(
    sources: Sequence[Source],
    store: Path | str,
    nside: int | None = None,
    *,
    options: IngestOptions | None = None,
    client_for: ClientFor | None = None,
    progress: ProgressFactory | None = None,
    confirm: Callable[[], object] = lambda: None,
) -> IngestReport:
    """Ingest sources into an analysis store; what it has already is not written again.

    A fault of the sources (InputError) leaves everything as it was before. What was committed
    before an interrupt or a full disk (OSError) is kept.

    Parameters
    ----------
    sources : sequence
        Files (NetCDF, GRIB, zip, references), Zarr folders, their addresses, or datasets.
    store : path
        Path of the store. A new store appears when its first times are complete.
    nside : int, optional
        HEALPix resolution, short for ``IngestOptions(nside=...)``.
    options : IngestOptions, optional
        Regridding, selection and error handling.
    client_for : callable, optional
        Given the number of fields to write, returns a dask client whose workers see the files and
        the store, or None to work in this process.
    progress : callable, optional
        Given the number of fields to write, returns the callback for finished fields.
    confirm : callable, optional
        Called when fields are read and before they are committed; may raise InputError.

    Returns
    -------
    IngestReport
        What was read, written and refused.

    Raises
    ------
    InputError
        If a source cannot be used (with ``on_error="raise"``), if there is nothing to ingest, or
        if the store does not fit.
    """
    options = options or IngestOptions()
    if nside is not None:
        options = replace(options, nside=nside)
    try:
        check_nside(options.nside)
    except ValueError as error:
        raise InputError(str(error), field="--nside") from error
    began = clock.perf_counter()
    path = Path(store).absolute()
    if path.is_dir():  # what the store has goes on being ingested
        held = stored_layout(path)[1].names
        also = tuple(dict.fromkeys((*options.scan.also, *held)))
        options = replace(options, scan=replace(options.scan, also=also))
    if not sources:
        raise InputError("no sources to ingest", field="source", hint="name files to ingest")
    report = IngestReport(str(path), options.nside, options.method)
    with UnpackFolder(path) as unpacked, FileCache.from_environment() as files:
        try:
            wanted = replace(options.scan, nside=options.nside)
            scan = partial(scan_source, options=wanted, unpack_folder=unpacked.path, files=files)
            named = [one for source in sources for one in _expand(source)]
            scans = _scan_all(named, options, scan, report)
            variables = [variable for one in scans for variable in one.variables]
            static_fields = [each for one in scans for each in one.static_fields]
            checks = [confirm, *(one.require_unchanged for one in scans)]
            has_parts = any(one.summed_hours for one in variables)
            held_times = read_completeness(path)[0] if has_parts and path.is_dir() else None
            plan = make_plan(variables, options, report, held_times)
            attributes = _provenance(report, options.method) | _member(plan)
            attributes |= dict(options.attributes)
            options = replace(options, attributes=attributes)
            refuse = partial(_refuse_static, report) if options.on_error == "skip" else None
            static = read_static_fields(path, static_fields, options.nside, options.method, refuse)
            ingest_plan(plan, path, options, report, client_for, progress, checks)
            report.static = write_static_fields(path, static)
        finally:
            close_datasets()
    report.seconds = clock.perf_counter() - began
    return report


def _expand(source: Source) -> Sequence[Source]:
    return expand(source) if isinstance(source, str) else [source]


def _refuse_static(report: IngestReport, one: StaticField, fault: InputError) -> None:
    report.refuse([Refusal(one.source, one.name, None, "", fault.message)])
    report.set_aside(one.source, one.name, fault.message)


class UnpackFolder:
    """Hidden folder beside a store for members of archives; removed on exit.

    Its owner holds a lock on it, so that the folder of a killed process can be recognised and
    removed.

    Parameters
    ----------
    store : Path
        Path of the store.
    """

    def __init__(self, store: Path) -> None:
        self._parent, self._prefix = store.parent, f".{store.name}.unzip-"
        self._exit = ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        for old in self._parent.glob(f"{self._prefix}*"):
            with suppress(OSError), (old / "lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
        return self

    def path(self) -> Path:
        """Return the folder; it is created by the first call."""
        if self._folder is None:
            self._exit.enter_context(temporary_parents(self._parent))
            self._folder = Path(tempfile.mkdtemp(prefix=self._prefix, dir=self._parent))
            file = self._exit.enter_context((self._folder / "lock").open("a"))
            fcntl.flock(file, fcntl.LOCK_EX)
        return self._folder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._exit.close()


def _scan_all(
    sources: Sequence[Source],
    options: IngestOptions,
    scan_one: Callable[[Source], Iterator[Scan]],
    report: IngestReport,
) -> list[Scan]:
    """Return the contents of all sources; those that are refused are in the report."""
    found: list[Scan] = []
    for source in sources:
        name = name_of(source)
        try:
            scans = list(scan_one(source))
            if options.on_error == "raise":
                _require_usable(scans)
        except InputError as error:
            if options.on_error == "raise":
                raise
            report.sources.append(SourceReport(name, status="refused", reason=str(error)))
            continue
        for scan in scans:
            report.sources.append(SourceReport.from_scan(scan))
        found += scans
    return found


def _require_usable(scans: list[Scan]) -> None:
    """Refuse a source with a fault, or without anything for PEAR in all its members."""
    for scan in scans:
        if scan.faults:
            raise scan.faults[0]
    if not any(scan.variables or scan.static_fields for scan in scans):
        skipped = {name: why for scan in scans for name, why in scan.skipped.items()}
        details = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:3])
        source = scans[0].source if scans else "an archive without files"
        raise InputError(
            f"{source} has no variable of PEAR ({details or 'it is empty'})", field="source"
        )


def _member(plan: Plan) -> dict[str, str]:
    """Return the attribute of the ensemble member of a new store, if it is known."""
    variables = [source.variable for many in plan.sources.values() for source in many]
    member = require_one_member(variables)
    return {schema.MEMBER: member} if member else {}


def _provenance(report: IngestReport, method: Method) -> dict[str, str]:
    """Return title, source and history of a new store; refuse to mix simulated and observed."""
    used = [source for source in report.sources if source.status == "read"]
    kinds = {source.simulated: source.source for source in used}
    if len(kinds) > 1:
        raise InputError(
            f"{kinds[True]} is simulated and {kinds[False]} is not",
            field="source",
            hint="ingest them into separate stores",
        )
    simulated = True in kinds
    revision = git_revision()
    software = f"PEAR {__version__}" + (f" ({revision[:12]})" if revision else "")
    origins = sorted({source.origin for source in used if source.origin})
    if len(origins) > _LISTED_ORIGINS:
        origins = [*origins[:_LISTED_ORIGINS], f"and {len(origins) - _LISTED_ORIGINS} others"]
    cells = sorted({source.grid for source in used if source.grid.startswith("HEALPix")})
    how, regridded = f"{method} regridding", {schema.REGRIDDING: str(method)}
    if cells:  # which are averaged or interpolated, see pear.datasets.fields.regrid_field
        others = any(source.grid and source.grid not in cells for source in used)
        how = f"from {', '.join(cells)}" + (f"; else {how}" if others else "")
        regridded = regridded if others else {}
    attributes = {
        "title": f"{'Simulated states' if simulated else 'Analyses'} on HEALPix, ingested by PEAR",
        "source": " | ".join(origins) or "files without a statement of origin",
        "history": f"{software} ingest, {how}",
    }
    return attributes | regridded | ({"simulated": "true"} if simulated else {})


def ingest_plan(
    plan: Plan,
    path: Path,
    options: IngestOptions,
    report: IngestReport,
    client_for: ClientFor | None = None,
    progress: ProgressFactory | None = None,
    checks: Sequence[Callable[[], object]] = (),
) -> None:
    """Write what a store lacks of a plan, committing finished blocks.

    Parameters
    ----------
    plan : Plan
        What the sources can give.
    path : Path
        Path of the store.
    options : IngestOptions
        Resolution, regridding and error handling.
    report : IngestReport
        Receives what was written and refused.
    client_for, progress : callable, optional
        As in :func:`ingest`.
    checks : sequence of callable
        Called when fields are read and before they are committed; may raise InputError.

    Raises
    ------
    InputError
        If a source is faulty or the store does not fit; the store is then as it was before.
    """
    with AnalysisWriter(
        path,
        plan.layout,
        options.nside,
        attributes=options.attributes,
        shard_times=options.shard_times,
        overviews=options.overviews_or_default,
    ) as writer:
        _require_same_kind(writer, options)
        levels = schema.level_order(writer.stored)
        store = StoreContents(
            writer.times, writer.complete, writer.channels, levels, writer.preliminary
        )
        workload = diff(plan, store, options.replace)
        _report_workload(workload, path, options, report)
        if any(mask.any() for mask in workload.wanted.values()):
            blocks = workload.blocks(writer.shard_times)
            total = sum(block.n_fields for block in blocks)
            n_bytes = 4 * total * cells_of_nside(options.nside)
            require_space(path.parent, n_bytes, options.reserve_bytes)
            if len(blocks) > 1:
                writer.keep_snapshot()
            registers = register_stored(writer, store, blocks)
            register_sources(registers.unordered, plan, store, blocks)
            blockwise = BlockWriter(
                writer,
                plan,
                options,
                report,
                registers=registers,
                client=client_for(total) if client_for else None,
                advance=progress(total) if progress else no_progress,
                confirm=lambda: [check() for check in checks],
            )
            try:
                if options.on_error == "raise":
                    blockwise.check_samples(workload, store)
                blockwise.write(workload, store)
                _require_something(report)
            except InputError:
                writer.roll_back()
                raise
        _list_stored(plan, writer, store, report)
        report.variables, report.levels = list(writer.stored.names), list(writer.stored.levels)
        report.times_preliminary = int(writer.preliminary.sum())
        report.gaps = describe_times(writer.times)["gaps"]
        columns = [column for name in writer.stored.names for column in store.columns(name)]
        report.fields_missing = int((writer.complete[:, columns] == 0).sum())


def _list_stored(
    plan: Plan, writer: AnalysisWriter, store: StoreContents, report: IngestReport
) -> None:
    """List as read only what the store holds: from this ingestion, or from an earlier one."""
    planned: set[tuple[str, str]] = set()
    held: set[tuple[str, str]] = set()
    for name, many in plan.sources.items():
        columns = store.columns(name)
        for variable in (source.variable for source in many):
            origins = variable.origins or ((variable.source, variable.name),)
            planned.update(origins)
            rows = [store.levels.index(one) for one in variable.levels if one in store.levels]
            chosen = [columns[row] for row in rows] if variable.levels else columns
            times = np.isin(writer.times, variable.times)
            if writer.complete[times][:, chosen].any():
                held.update(origins)
    refused = {(one.source, one.variable) for one in report.refused}
    for source in report.sources:
        for name in [one for one in source.fields if static_name(one) != one]:
            key = source.source, name
            if key not in planned:
                report.set_aside(*key, "not needed beside the others")
            elif key not in held:
                is_refused = any(where == source.source for where, _ in refused)
                why = "all its fields are refused" if is_refused else "none of its times is kept"
                report.set_aside(*key, why)


def _require_same_kind(writer: AnalysisWriter, options: IngestOptions) -> None:
    """Refuse to mix simulated and observed states, members or methods in one store."""
    if not writer.times.size:
        return
    stored = schema.open_group(writer.path).attrs
    there = "simulated" in stored
    if there != ("simulated" in options.attributes):
        kinds = ("not simulated", "simulated")
        raise InputError(
            f"{writer.path} is {kinds[there]}, the sources are {kinds[not there]}",
            field="store",
            hint="ingest into another store",
        )
    kept, given = (str(each.get(schema.MEMBER, "")) for each in (stored, options.attributes))
    if kept and given and member_key(kept) != member_key(given):
        raise InputError(
            f"{writer.path} is of ensemble member {kept}, the sources are of {given}",
            field="--member",
            hint="ingest each member into a store of its own",
        )
    method, asked = method_of(stored), options.attributes.get(schema.REGRIDDING)
    if method and asked and method != asked:
        raise InputError(
            f"{writer.path} was made by {method} regridding, and --method is {asked}",
            field="--method",
            hint=f"give --method {method}, or ingest into another store",
        )


def _report_workload(
    workload: Workload, path: Path, options: IngestOptions, report: IngestReport
) -> None:
    """Report the numbers of times; refuse those before the end of the store."""
    report.times_added, report.times_filled = workload.n_added, workload.n_filled
    report.times_present = workload.n_complete
    _report_kept(workload, path, options, report)
    early = workload.too_early
    if not early.size:
        return
    text = (
        f"{early.size} times from {to_iso(early[0])} lie before or between those of {path}, "
        f"which end at {to_iso(workload.times[workload.n_present - 1])}"
    )
    if options.on_error == "raise":
        raise InputError(
            text,
            field="time",
            hint="times can only be appended; ingest everything into a new store",
        )
    report.sources.append(
        SourceReport(path.name, status="refused", reason=text, times=int(early.size))
    )


def _report_kept(
    workload: Workload, path: Path, options: IngestOptions, report: IngestReport
) -> None:
    """Say which times are not replaced because the sources lack a field of them."""
    if options.replace is not None:
        first, last = options.replace
        asked = workload.times[: workload.n_present]
        asked = asked[(asked >= first) & (asked <= last)]
        lacking = [time for time in workload.lacking if first <= time <= last]
        found = [t for t in workload.replaced if first <= workload.times[t] <= last]
        if not found and not lacking and options.on_error == "raise":
            raise InputError(
                f"{path} has {asked.size} times from {to_iso(first)} to {to_iso(last)}, of which "
                "the sources have none",
                field="--replace",
                hint="give the sources of times that are in the store",
            )
        if lacking and options.on_error == "raise":
            raise InputError(
                f"{to_iso(lacking[0])} cannot be replaced: the sources lack "
                f"{workload.lacking[lacking[0]]}, which {path} has at that time",
                field="--replace",
                hint="a time is replaced as a whole: give the sources of all its fields together",
            )
    for time, channel in workload.lacking.items():
        report.kept.append(
            f"{to_iso(time)} is not replaced: the sources lack {channel}; give the sources of all "
            "its fields together"
        )


def _require_something(report: IngestReport) -> None:
    """Refuse sources of which not a single field could be stored."""
    if report.fields_written or not report.refused:
        return
    first = report.refused[0]
    if report.kept:
        raise InputError(
            f"nothing is replaced: {report.kept[0]} ({first.reason})",
            field="--replace",
            hint="a time is replaced as a whole: correct that field, or leave the time out",
        )
    raise InputError(
        f"nothing to ingest: all fields are refused ({first.variable} at {first.time}: "
        f"{first.reason})",
        field="source",
    )
