"""Fetch initial states of today or of the past into an analysis store."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from pear.addresses import is_address, require_host, without_secrets
from pear.datasets.base import ScanOptions
from pear.errors import InputError, did_you_mean
from pear.progress import ProgressFactory
from pear.store import schema
from pear.store.reader import stored_layout
from pear.times import to_iso
from pear.typing import Times
from pear.variables import BY_NAME
from pipelines.ingestion.cds_months import is_complete
from pipelines.ingestion.ingest import Source as IngestSource
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions, method_of
from pipelines.ingestion.plan import make_plan
from pipelines.ingestion.readers import scan_source
from pipelines.ingestion.remote_files import FileCache
from pipelines.ingestion.report import IngestReport
from pipelines.ingestion.sources import gfs
from pipelines.ingestion.sources.archives import (
    Address,
    Archive,
    Reanalysis,
    arco,
    weatherbench2,
)
from pipelines.ingestion.sources.base import Selection, Source, StateFile
from pipelines.ingestion.sources.messages import check_messages
from pipelines.ingestion.sources.transfer import Transfer
from pipelines.storage.atomic import require_space, temporary_parents

SOURCES: Final = ("ifs", "aifs", "gfs", "era5", "arco", "wb2")
"""Names of the sources: servers with today's analyses, and archives of ERA5."""
NSIDE: Final = 16
"""Resolution of a new store: that of the model that ships."""
_MODELS: Final = {"ifs": "ifs", "aifs": "aifs-single"}


@dataclass(frozen=True)
class FetchedState:
    """What became of one time.

    Attributes
    ----------
    time
        Valid time, UTC, as ISO 8601.
    needed_bytes
        Size of the messages of the state.
    fetched_bytes
        Bytes received in this run, indexes included; 0 if the store had the state already.
    report
        The ingestion, or None if the store had the state already.
    lacking
        Variables of the store, or of a user's own table, that the source does not have.
    """

    time: str
    needed_bytes: int
    fetched_bytes: int
    report: IngestReport | None
    lacking: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the values as JSON can hold them."""
        document = asdict(replace(self, report=None))
        return document | {"report": self.report.to_dict() if self.report else None}


def open_source(name: str, transfer: Transfer, mirror: str | None = None) -> Source | Archive:
    """Return a server with analyses by its name.

    Parameters
    ----------
    name
        One of :data:`SOURCES`, or an address.
    transfer
        The session.
    mirror
        Address of a replica, or for ECMWF one of its mirrors by name; default: the public server.

    Returns
    -------
    Source or Archive

    Raises
    ------
    InputError
        If the name is unknown, or the client of the source is not installed.
    """
    if is_address(name):
        return Address(name)
    if name not in SOURCES:
        raise InputError(
            f"unknown source {name!r}", field="--source", hint=did_you_mean(name, SOURCES)
        )
    if mirror is not None:
        _check_mirror(mirror, name)
    if name == "arco":
        return arco(mirror)
    if name == "wb2":
        return weatherbench2(mirror)
    if name == "gfs":
        return gfs.Gfs(transfer, url=(mirror or gfs.URL).rstrip("/"))
    package, extra = ("ecmwf.datastores", "cds") if name == "era5" else ("ecmwf.opendata", "live")
    try:
        import_module(package)
    except ImportError as error:
        client = "ecmwf-datastores-client" if name == "era5" else "ecmwf-opendata"
        raise InputError(
            f"--source {name} needs {client}",
            field="--source",
            hint=f'pip install "pear-weather[{extra}]"',
        ) from error
    if name == "era5":
        return Reanalysis(mirror and mirror.rstrip("/"))
    from pipelines.ingestion.sources.ifs import MIRRORS, OpenData

    if mirror is not None and mirror not in MIRRORS and not is_address(mirror):
        raise InputError(
            f"invalid mirror {mirror!r}", field="--mirror", hint=did_you_mean(mirror, MIRRORS)
        )
    return OpenData(transfer, _MODELS[name], (mirror or MIRRORS[0]).rstrip("/"))


def _check_mirror(mirror: str, source: str) -> None:
    """Refuse an address that the client of a source cannot ask.

    Raises
    ------
    InputError
        If the scheme is of another kind, or the address names no host.
    """
    if not is_address(mirror):
        if source in _MODELS:
            return  # perhaps one of its mirrors by name
        raise InputError(
            f"invalid mirror {mirror!r}", field="--mirror", hint="write an address, https://…"
        )
    try:
        require_host(mirror)
    except InputError as error:
        raise InputError(error.message, field="--mirror", hint=error.hint) from error
    if source not in ("arco", "wb2") and urlsplit(mirror).scheme not in ("http", "https"):
        raise InputError(
            f"the mirror of {source} must be on the web, got {without_secrets(mirror)}",
            field="--mirror",
            hint="write https://HOST/PATH",
        )


def options_for(store: Path, nside: int | None = None, also: Sequence[str] = ()) -> IngestOptions:
    """Return the options of an ingestion into a store that may not exist yet.

    Parameters
    ----------
    store
        Path of the store.
    nside
        Resolution; default: that of the store, or :data:`NSIDE` for a new one.
    also
        Canonical names of variables that are needed beside the published ones.

    Returns
    -------
    IngestOptions
    """
    scan = ScanOptions(also=tuple(also))
    if not store.exists():
        return IngestOptions(nside=NSIDE if nside is None else nside, scan=scan)
    kept = stored_layout(store)[2]
    method = method_of(schema.open_group(store).attrs)
    return IngestOptions(
        nside=kept if nside is None else nside, method=method or "bilinear", scan=scan
    )


def select_fields(store: Path, options: IngestOptions) -> Selection:
    """Return which fields of a time are fetched.

    Parameters
    ----------
    store
        The analysis store, which need not exist; what it has is taken where the source has it.
    options
        Levels, and the variables that are needed beside the published ones.

    Returns
    -------
    Selection
        Variables of a user's own table are taken where the source has them.
    """
    also = tuple(name for name in options.scan.also if not BY_NAME[name].published)
    held = stored_layout(store)[1].names if store.exists() else ()
    used = [name for name in BY_NAME if BY_NAME.is_used(name)]
    others = dict.fromkeys([*held, *used])
    optional = tuple(n for n in others if not BY_NAME[n].published and n not in also)
    return Selection(options.levels, also, optional)


def fetch(
    source: Source | Archive,
    times: Times | None,
    store: Path,
    *,
    options: IngestOptions,
    transfer: Transfer,
    replace_times: bool = False,
    progress: Callable[[str], ProgressFactory] | None = None,
) -> Iterator[FetchedState]:
    """Download states, check every message, and ingest them.

    What was downloaded is kept beside the store until it is ingested, so an interrupted fetch
    continues where it stopped. A state that the store has is not downloaded again.

    An InputError says that a time is not published, or that a source answers with something else
    than was asked for; nothing of that state is stored. An OSError says that a server does not
    respond, or that the disk is full.

    Parameters
    ----------
    source
        The server.
    times
        Valid times, UTC; None for the newest that is published.
    store
        The analysis store, which need not exist.
    options
        Options of the ingestion; the span of times is set by ``times``.
    transfer
        The session that ``source`` uses.
    replace_times
        Whether states that the store has already are fetched and replaced.
    progress
        Given a title, returns what :func:`pipelines.ingestion.ingest.ingest` takes; units of the
        downloads are bytes.

    Yields
    ------
    FetchedState
        One for each time, in the order given.
    """
    now = np.datetime64("now", "s")
    wanted = select_fields(store, options)
    scan = replace(options.scan, also=wanted.names)
    for time in [source.find_latest(now)] if times is None else list(times):
        before = transfer.fetched
        present = is_complete(store, np.array([time]), options.levels, wanted.also)
        if present and not replace_times:
            yield FetchedState(to_iso(time), 0, 0, None)
            continue
        folder = store.parent / f".{store.name}.fetch"
        span = replace(
            options,
            start=time,
            end=time,
            scan=scan,
            replace=(time, time) if present else options.replace,
            attributes=_attributes(source) | dict(options.attributes),
        )
        run = partial(
            ingest,
            store=store,
            options=span,
            progress=progress("ingest") if progress else None,
        )
        if isinstance(source, Archive):
            with temporary_parents(folder), source.provide(time, wanted, folder) as given:
                lacking = _require_whole(given.sources, span, time, source.title, wanted)
                report = run(given.sources, confirm=given.require_unchanged)
            with suppress(OSError):  # it was there before, and nothing is left in it
                folder.rmdir()
            needed, fetched = given.needed, given.received
        else:
            state = source.locate(time, wanted)
            file = download_state(state, folder, transfer, progress)
            report = run([file])
            shutil.rmtree(folder)
            needed, fetched = state.size, transfer.fetched - before
            lacking = state.lacking
        yield FetchedState(to_iso(time), needed, fetched, report, lacking)


def _require_whole(
    sources: Sequence[IngestSource],
    options: IngestOptions,
    time: np.datetime64,
    title: str,
    wanted: Selection,
) -> tuple[str, ...]:
    """Refuse sources that lack a variable or level of a time; return what else they lack."""
    variables, report = [], IngestReport("", options.nside, options.method)
    with (
        tempfile.TemporaryDirectory() as unpacked,
        FileCache.from_environment() as files,
    ):
        for source in sources:
            for scan in scan_source(source, options.scan, lambda: Path(unpacked), files):
                if scan.faults:
                    raise scan.faults[0]
                variables += scan.variables
    plan, axis = make_plan(variables, options, report), np.array([time])
    missing, lacking = [], []
    for name in wanted.names:
        there = plan.offered(name, axis, options.levels)[0]
        if there.all():
            continue
        if name not in wanted.required:
            lacking.append(name)
            continue
        gone = (
            ", ".join(str(level) for level in np.array(options.levels)[~there])
            if (there.size > 1)
            else ""
        )
        missing.append(f"{name} at {gone} hPa" if gone and there.any() else name)
    if missing:
        raise InputError(
            f"{title} has no {'; '.join(missing)} at {to_iso(time)}",
            field="--source",
            hint="`pear ingest` takes what is there",
        )
    return tuple(lacking)


def _attributes(source: Source | Archive) -> dict[str, str]:
    licence = {"license": source.licence} if source.licence else {}
    return {"source": source.title, **licence}


def download_state(
    state: StateFile,
    folder: Path,
    transfer: Transfer,
    progress: Callable[[str], ProgressFactory] | None = None,
) -> Path:
    """Download a state into one GRIB file, and check its messages.

    Parameters
    ----------
    state
        Where it lies.
    folder
        For the parts and the file; parts of an earlier attempt are used.
    transfer
        The session.
    progress
        As in :func:`fetch`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If a message is damaged, missing or another than was asked for; the parts are deleted.
    """
    parent = folder.parent
    while not parent.exists():
        parent = parent.parent
    require_space(parent, 2 * state.size)
    parts_folder = folder / to_iso(state.time).replace(":", "").replace("-", "")
    parts_folder.mkdir(parents=True, exist_ok=True)
    parts = [parts_folder / f"{each.offset}-{each.length}.grib" for each in state.ranges]
    tick = progress(state.label)(state.size) if progress else None
    transfer.received = (lambda count: tick(count)) if tick else (lambda _: None)
    if tick:
        tick(sum(_size(part) for part in parts))
    for each, part in zip(state.ranges, parts, strict=True):
        transfer.fetch(each, part)
    file = folder / f"{parts_folder.name}.grib"
    with file.open("wb") as joined:
        for part in parts:
            with part.open("rb") as opened:
                shutil.copyfileobj(opened, joined)
    try:
        check_messages(file, state.label, state.fields, state.time)
    except InputError:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(parts_folder)
    return file


def _size(part: Path) -> int:
    for path in (part, part.with_name(part.name + ".part")):
        if path.exists():
            return path.stat().st_size
    return 0
