"""``pear ingest``: files of any origin into an analysis store; continues where it stopped."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from pear.errors import InputError
from pear.variables import LEVELS
from service.cli.console import announced, console, emit_json
from service.cli.options import Json, Scheduler, parse_time

if TYPE_CHECKING:
    from distributed import Client

    from pear.progress import ProgressFactory
    from pipelines.ingestion.ingest import ClientFor
    from pipelines.ingestion.options import IngestOptions
    from pipelines.ingestion.report import IngestReport
    from pipelines.storage.data_folder import DataFolder

Choice = TypeVar("Choice", bound=str)
_PARALLEL_FIELDS = 1000  # with fewer, starting worker processes takes longer than it saves


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command("ingest")(ingest)


def ingest(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="NetCDF, GRIB or zip files; Zarr folders or fsspec addresses."),
    ] = None,
    *,
    source: Annotated[
        str | None,
        typer.Option(help="cds: download ERA5 from the Climate Data Store with your own key."),
    ] = None,
    years: Annotated[str | None, typer.Option(help="With cds: years, e.g. 1990-1999.")] = None,
    months: Annotated[str, typer.Option(help="With cds: months of the year.")] = "1-12",
    hours: Annotated[str, typer.Option(help="With cds: hours of the day, UTC.")] = "0,6,12,18",
    data: Annotated[Path | None, typer.Option("--data", help="Data folder to ingest into.")] = None,
    name: Annotated[str, typer.Option(help="Name of the analysis in the data folder.")] = "era5",
    out: Annotated[Path | None, typer.Option(help="Path of the store to write instead.")] = None,
    nside: Annotated[int, typer.Option(help="HEALPix resolution, a power of two.")] = 64,
    method: Annotated[str, typer.Option(help="bilinear or conservative.")] = "bilinear",
    on_error: Annotated[
        str, typer.Option(help="raise: stop at the first fault; skip: mark faulty data as missing.")
    ] = "raise",
    overviews: Annotated[
        str | None,
        typer.Option(
            help="Resolutions of the means kept in a new store, e.g. 16,8, or none "
            "(default: a quarter of the resolution)."
        ),
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Pressure levels in hPa, e.g. 1000,850,500.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="First valid time to keep (UTC).")] = None,
    end: Annotated[str | None, typer.Option(help="Last valid time to keep (UTC).")] = None,
    every: Annotated[
        int | None, typer.Option(min=1, max=24, help="Keep hours of the day divisible by this.")
    ] = None,
    member: Annotated[int | None, typer.Option(help="Ensemble member to read.")] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes (default: by amount of work).")
    ] = 0,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Ingest ERA5-like files into a HEALPix store; data already present are not written again."""
    from pear.datasets.base import ScanOptions
    from pipelines.ingestion.ingest import ingest as ingest_sources
    from pipelines.ingestion.options import IngestOptions

    _check_source(source, sources)
    folder, store = _find_target(data, name, out)
    options = IngestOptions(
        nside=nside,
        method=_choose(method, ("bilinear", "conservative"), "--method"),
        on_error=_parse_on_error(on_error),
        levels=_parse_levels(levels) if levels else LEVELS,
        overviews=_parse_overviews(overviews),
        start=parse_time(start) if start else None,
        end=parse_time(end) if end else None,
        every_hours=every,
        scan=ScanOptions(member),
    )
    with contextlib.ExitStack() as stack:

        def client_for(total: int) -> Client | None:
            return _start_client(stack, total, workers, scheduler)

        progress = stack.enter_context(announced("ingest"))
        if source == "cds":
            reports = list(
                _ingest_cds(store, (years, months, hours), options, client_for, progress)
            )
        else:
            report = ingest_sources(
                sources or [],
                store,
                nside,
                options=options,
                client_for=client_for,
                progress=progress,
            )
            reports = [report]
    if folder is not None:
        _register_store(folder)
    if as_json:
        documents = [report.to_dict() for report in reports]
        emit_json({"months": documents} if source == "cds" else documents[0])
    for report in reports:
        show(report)


def _check_source(source: str | None, sources: list[str] | None) -> None:
    if source not in (None, "cds"):
        raise InputError(
            f"invalid --source {source!r}: only 'cds' is supported",
            field="--source",
            hint="give the address itself, e.g. `pear ingest gs://BUCKET/STORE.zarr`, and put its "
            "credentials into ~/.config/fsspec/conf.json",
        )
    if source == "cds" and sources:
        raise InputError("--source cds does not accept files", field="--source")


def _ingest_cds(
    store: Path,
    period: tuple[str | None, str, str],
    options: IngestOptions,
    client_for: ClientFor,
    progress: ProgressFactory,
) -> Iterator[IngestReport]:
    if importlib.util.find_spec("ecmwf") is None:
        raise InputError(
            "--source cds needs ecmwf-datastores-client",
            field="--source",
            hint="pip install ecmwf-datastores-client",
        )
    from pipelines.ingestion.cds import Account, DataStore
    from pipelines.ingestion.cds_months import ingest_from_cds, parse_numbers

    if period[0] is None:
        raise InputError("--source cds needs --years", field="--years", hint="e.g. 1990-1999")
    years, months, hours = (
        parse_numbers(period[0], "--years", 1940, 2100),
        parse_numbers(period[1], "--months", 1, 12),
        parse_numbers(period[2], "--hours", 0, 23),
    )
    account = Account.from_environment()
    yield from ingest_from_cds(
        DataStore(
            account,
            store.parent / f".{store.name}.cds",
            log=lambda text: console.print(f"[dim]{text}[/dim]"),
        ),
        store,
        [(year, month) for year in years for month in months],
        hours,
        options=options,
        client_for=client_for,
        progress=progress,
    )


def _find_target(data: Path | None, name: str, out: Path | None) -> tuple[DataFolder | None, Path]:
    """Return the data folder, if the store belongs to one, and the path of the store."""
    from pipelines.storage.data_folder import DataFolder

    if data is not None and out is None:
        folder = DataFolder(data.resolve())  # created when there is something to write
        return folder, folder.analysis(name)
    if out is not None and data is None:
        return None, out
    raise InputError(
        "give either --data DIR or --out STORE",
        field="--data",
        hint="`pear ingest FILES… --data DIR --name NAME`",
    )


def _parse_on_error(text: str) -> Literal["raise", "skip"]:
    if text == "stop":
        raise InputError(
            "--on-error stop is now called raise", field="--on-error", hint="--on-error raise"
        )
    return _choose(text, ("raise", "skip"), "--on-error")


def _choose(text: str, choices: tuple[Choice, ...], option: str) -> Choice:
    for choice in choices:
        if text == choice:
            return choice
    raise InputError(
        f"invalid {option} {text!r}", field=option, hint=f"choose {' or '.join(choices)}"
    )


def _parse_levels(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(sorted({int(part) for part in text.split(",")}, reverse=True))
    except ValueError as error:
        raise InputError(
            f"invalid --levels {text!r}", field="--levels", hint="e.g. 1000,850,500"
        ) from error
    if levels[-1] < 1 or levels[0] > 1100:
        raise InputError(
            f"invalid --levels {text!r}: pressure in hPa must be in 1-1100", field="--levels"
        )
    return levels


def _parse_overviews(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return () if text == "none" else tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"invalid --overviews {text!r}", field="--overviews", hint="e.g. 16,8, or none"
        ) from error


def _start_client(
    stack: contextlib.ExitStack, total: int, workers: int, address: str | None
) -> Client | None:
    """Return a dask client for this many fields, or None to work in this process."""
    wanted = workers or (min(os.cpu_count() or 1, 8) if total >= _PARALLEL_FIELDS else 1)
    if address is None and wanted == 1:
        return None
    from pipelines.engine.cluster import Cluster

    client: Client = stack.enter_context(contextlib.closing(Cluster(wanted, 1, address))).client
    return client


def _register_store(folder: DataFolder) -> None:
    """Create the data folder if necessary and enter its stores into the catalog."""
    from pipelines.catalog import Catalog
    from pipelines.catalog.scan import refresh
    from pipelines.storage.data_folder import DataFolder

    DataFolder.create(folder.root)
    with contextlib.closing(Catalog(folder.catalog_url)) as catalog:
        refresh(folder, catalog)


def show(report: IngestReport) -> None:
    """Print a report: a table of sources, refused fields and a summary."""
    from rich.table import Table

    table = Table("source", "status", "times", "fields", "remarks", box=None, pad_edge=False)
    for source in report.sources:
        remarks = [source.reason, *source.converted, *source.notes, _list_ignored(source.ignored)]
        fields = " ".join(dict.fromkeys(source.fields))
        table.add_row(
            Path(source.source).name,
            source.status,
            str(source.times),
            fields,
            "; ".join(filter(None, remarks)),
        )
    console.print(table)
    for text in report.duplicates[:5]:
        console.print(f"duplicate: {text}")
    for refusal in report.refused[:5]:
        level = "" if refusal.level is None else f" {refusal.level} hPa"
        console.print(f"refused: {refusal.variable}{level} at {refusal.time}: {refusal.reason}")
    for gap in report.gaps[:5]:
        console.print(f"gap: {gap['missing']} times between {gap['after']} and {gap['before']}")
    console.print(f"{report.store}: {report.summary}")


def _list_ignored(names: dict[str, str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 4} others" if len(names) > 4 else ""
    return f"not used: {', '.join(list(names)[:4])}{more}"
