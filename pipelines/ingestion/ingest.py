"""Ingestion: files of any origin into one trustworthy nested HEALPix store, restartable by time.

Scan (what is there), plan (what fills which field), then one job per variable and file of the
store, by dask; each finished block of times is committed before it is counted.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time as clock
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from pear import __version__
from pear.datasets.base import Scan, SourceVariable
from pear.datasets.static import Static
from pear.datasets.xarray import close_all
from pear.errors import InputError
from pear.progress import ProgressFactory, no_progress
from pear.sphere.healpix import cells_of_nside
from pear.times import to_iso
from pipelines.ingestion.executor import ClientFor, Ingestion, Settings
from pipelines.ingestion.plan import Plan, make_plan
from pipelines.ingestion.readers import scan_source
from pipelines.ingestion.report import IngestReport, SourceReport
from pipelines.ingestion.static_fields import keep
from pipelines.storage.atomic import temporary_parents
from pipelines.storage.provenance import git_revision

__all__ = ["Settings", "Source", "ingest"]

Source = str | Path | xr.Dataset
_MOST_ORIGINS: Final = 5


def ingest(
    sources: Sequence[Source],
    store: Path | str,
    nside: int | None = None,
    *,
    settings: Settings | None = None,
    client_for: ClientFor | None = None,
    announce: ProgressFactory | None = None,
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
    with Unpacked(path) as unpacked:
        slabs, statics = _scan_all(sources, settings, unpacked, report)
        plan = make_plan(slabs, settings.levels, settings.on_error, report)
        _keep_times(plan, settings)
        settings = replace(
            settings, attributes=_provenance(report, settings.method) | settings.attributes
        )
        told = announce or (lambda _: no_progress)
        try:
            Ingestion(plan, path, settings, report, client_for, told).run()
            report.static = keep(path, statics, settings.nside, settings.method)
        finally:
            close_all()
    report.seconds = clock.perf_counter() - began
    return report


def _with_nside(settings: Settings, nside: int) -> Settings:
    try:
        cells_of_nside(nside)
    except ValueError as error:
        raise InputError(str(error), field="--nside") from error
    return replace(settings, nside=nside)


class Unpacked:
    """A hidden folder beside the store for members of archives, gone when the work is done.

    Its owner holds a lock on it, so that another process can tell what a killed one left behind.
    """

    def __init__(self, store: Path) -> None:
        self.store, self._exit = store, ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Unpacked:
        prefix = f".{self.store.name}.unzip-"
        for old in self.store.parent.glob(f"{prefix}*"):
            with suppress(OSError), (old / "lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
        return self

    def folder(self) -> Path:
        """Return the folder; it is made when it is first asked for."""
        if self._folder is None:
            self._exit.enter_context(temporary_parents(self.store.parent))
            prefix = f".{self.store.name}.unzip-"
            self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self.store.parent))
            file = self._exit.enter_context((self._folder / "lock").open("a"))
            fcntl.flock(file, fcntl.LOCK_EX)
        return self._folder

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._exit.close()


def _scan_all(
    sources: Sequence[Source], settings: Settings, unpacked: Unpacked, report: IngestReport
) -> tuple[list[SourceVariable], list[Static]]:
    slabs: list[SourceVariable] = []
    statics: list[Static] = []
    for source in sources:
        name = "dataset in memory" if isinstance(source, xr.Dataset) else str(source)
        try:
            scans = list(scan_source(source, settings.scan, unpacked.folder))
            if settings.on_error == "stop":
                _stop_at_faults(scans)
        except InputError as error:
            if settings.on_error == "stop":
                raise
            report.sources.append(SourceReport(name, status="refused", reason=str(error)))
            continue
        for scan in scans:
            report.sources.append(_source_report(scan))
            slabs.extend(scan.slabs)
            statics.extend(scan.statics)
    return slabs, statics


def _stop_at_faults(scans: list[Scan]) -> None:
    """Refuse a source with a fault, or with nothing for PEAR in all its members."""
    for scan in scans:
        if scan.faults:
            raise scan.faults[0]
    if not any(scan.slabs or scan.statics for scan in scans):
        skipped = {name: why for scan in scans for name, why in scan.skipped.items()}
        said = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:3])
        source = scans[0].source if scans else "an archive without files"
        raise InputError(
            f"{source} holds no variable of PEAR ({said or 'nothing at all'})", field="source"
        )


def _source_report(scan: Scan) -> SourceReport:
    out = SourceReport(
        scan.source,
        scan.kind,
        ignored=dict(scan.skipped),
        notes=list(scan.notes),
        origin=scan.origin,
        simulated=scan.simulated,
    )
    out.fields += [one.name for one in scan.statics]
    for slab in scan.slabs:
        out.fields.append(slab.name)
        if slab.conversion.changes:
            out.converted.append(f"{slab.name}: {slab.conversion}")
    if scan.slabs:
        times = np.unique(np.concatenate([slab.times for slab in scan.slabs]))
        out.times, out.first, out.last = times.size, to_iso(times[0]), to_iso(times[-1])
        out.grid = str(scan.slabs[0].grid)
    elif scan.faults:
        out.status, out.reason = "refused", str(scan.faults[0])
    elif not scan.statics:
        out.status, out.reason = "skipped", "holds no variable of PEAR"
    out.notes += [str(fault) for fault in scan.faults]
    return out


def _provenance(report: IngestReport, method: str) -> dict[str, Any]:
    """Title, source and history of a new store.

    Raises
    ------
    InputError
        If simulated and observed data would come into one store.
    """
    used = [source for source in report.sources if source.status == "read"]
    simulated = {source.simulated for source in used}
    if len(simulated) > 1:
        one, other = (next(s.source for s in used if s.simulated is kind) for kind in (True, False))
        raise InputError(
            f"{one} is simulated and {other} is not",
            field="source",
            hint="ingest them into stores of their own",
        )
    made_up = simulated == {True}
    revision = git_revision()
    by = f"PEAR {__version__}" + (f" ({revision[:12]})" if revision else "")
    origins = sorted({source.origin for source in used if source.origin})
    if len(origins) > _MOST_ORIGINS:
        origins = [*origins[:_MOST_ORIGINS], f"and {len(origins) - _MOST_ORIGINS} others"]
    about: dict[str, Any] = {
        "title": ("Simulated states" if made_up else "Analyses") + " on HEALPix, ingested by PEAR",
        "source": " | ".join(origins) or "files without a statement of origin",
        "history": f"{by} ingest, {method} regridding",
    }
    return about | ({"simulated": "true"} if made_up else {})


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
            f"{to_iso(plan.times[0])} to {to_iso(plan.times[-1])}",
            field="time",
        )
    plan.times = plan.times[keep]
