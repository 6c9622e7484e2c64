"""``pear ingest``: files of any origin into an analysis store, restartable by time."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pear.errors import InputError
from pear.variables import LEVELS
from service.cli.console import announced, console, emit_json
from service.cli.options import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pear.progress import ProgressFactory
    from pipelines.ingestion.executor import ClientFor, Settings
    from pipelines.ingestion.report import IngestReport
    from pipelines.storage.data_folder import DataFolder

_PARALLEL_FROM = 1000  # fields; below this, starting worker processes takes longer than it saves


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("ingest")(ingest)


def ingest(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="NetCDF, GRIB or zip files, Zarr folders or addresses."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="cds (ERA5, with your own key), or a source of the operator's list."),
    ] = None,
    years: Annotated[str | None, typer.Option(help="With cds: years, as 1990-1999.")] = None,
    months: Annotated[str, typer.Option(help="With cds: months of the year.")] = "1-12",
    hours: Annotated[str, typer.Option(help="With cds: hours of the day, UTC.")] = "0,6,12,18",
    data: Annotated[Path | None, typer.Option("--data", help="Data folder to ingest into.")] = None,
    name: Annotated[str, typer.Option(help="Name of the analysis in the data folder.")] = "era5",
    out: Annotated[Path | None, typer.Option(help="Store to write instead, by path.")] = None,
    nside: Annotated[int, typer.Option(help="HEALPix resolution, a power of two.")] = 64,
    method: Annotated[str, typer.Option(help="bilinear or conservative.")] = "bilinear",
    on_error: Annotated[
        str, typer.Option(help="stop at the first fault, or skip what is faulty and mark it.")
    ] = "stop",
    coarser: Annotated[
        str | None,
        typer.Option(help="Resolutions a new store keeps means at, as 16,8, or none; a quarter."),
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Pressure levels in hPa, as 1000,850,500.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="First valid time to keep (UTC).")] = None,
    end: Annotated[str | None, typer.Option(help="Last valid time to keep (UTC).")] = None,
    every: Annotated[
        int | None, typer.Option(min=1, max=24, help="Keep hours of the day divisible by this.")
    ] = None,
    member: Annotated[int | None, typer.Option(help="Member of an ensemble to take.")] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes; 0: as the work needs.")
    ] = 0,
    dask: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler, as tcp://host:8786.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> None:
    """Bring ERA5-style files into a HEALPix store; what is there already is not done again."""
    from pear.datasets.base import ScanOptions
    from pipelines.ingestion import ingest as rooms
    from pipelines.ingestion.source_registry import named

    folder, store = _target(data, name, out)
    files = list(sources or [])
    storage: tuple[tuple[str, Any], ...] = ()
    if source not in (None, "cds"):
        found = named(str(source), folder.root if folder else None)
        files, storage = [*files, found.url], found.storage
    settings = rooms.Settings(
        nside=nside,
        method=_choice(method, ("bilinear", "conservative"), "--method"),
        on_error=_choice(on_error, ("stop", "skip"), "--on-error"),
        levels=_levels(levels) if levels else LEVELS,
        coarser=_coarser(coarser),
        start=parse_time(start) if start else None,
        end=parse_time(end) if end else None,
        every_hours=every,
        scan=ScanOptions(member=member, storage=storage),
    )
    with contextlib.ExitStack() as stack:

        def client_for(total: int) -> Any:
            return _client(stack, total, workers, dask)

        announce = stack.enter_context(announced("ingest"))
        if source == "cds":
            if files:
                raise InputError("--source cds takes no files", field="--source")
            asked = (years, months, hours)
            reports = list(_from_cds(store, asked, settings, client_for, announce))
        else:
            reports = [
                rooms.ingest(
                    files, store, nside, settings=settings, client_for=client_for, announce=announce
                )
            ]
    if folder is not None:
        _enter(folder)
    if as_json:
        documents = [report.to_dict() for report in reports]
        emit_json(documents[0] if source != "cds" else {"months": documents})
    for report in reports:
        show(report)


def _from_cds(
    store: Path,
    asked: tuple[str | None, str, str],
    settings: Settings,
    client_for: ClientFor,
    announce: ProgressFactory,
) -> Iterator[IngestReport]:
    import importlib.util

    from pipelines.ingestion.cds import Account, DataStore
    from pipelines.ingestion.cds_months import ingest_from_cds, span

    if asked[0] is None:
        raise InputError("--source cds needs --years", field="--years", hint="write 1990-1999")
    years, months, hours = (
        span(asked[0], "--years", 1940, 2100),
        span(asked[1], "--months", 1, 12),
        span(asked[2], "--hours", 0, 23),
    )
    client = DataStore(Account.found(), store.parent / f".{store.name}.cds")
    wanted = [(year, number) for year in years for number in months]
    has_grib = importlib.util.find_spec("eccodes") is not None
    yield from ingest_from_cds(
        client,
        store,
        wanted,
        hours,
        settings=settings,
        data_format="grib" if has_grib else "netcdf",
        client_for=client_for,
        announce=announce,
        watch=lambda text: console.print(f"[dim]{text}[/dim]"),
    )


def _target(data: Path | None, name: str, out: Path | None) -> tuple[DataFolder | None, Path]:
    """Data folder, if the store belongs to one, and path of the store."""
    from pipelines.storage.data_folder import DataFolder

    if (data is None) == (out is None):
        raise InputError(
            "say where to: either --data DIR or --out STORE",
            field="--data",
            hint="`pear ingest FILES… --data DIR --name NAME`",
        )
    if data is not None:
        folder = DataFolder(data.resolve())  # made when there is something to put into it
        return folder, folder.analysis(name)
    if out is None:
        raise InputError("no store to write to", field="--out")
    return None, out


def _choice(text: str, known: tuple[str, ...], option: str) -> Any:
    if text not in known:
        raise InputError(
            f"{option} {text!r} is no choice", field=option, hint="choose " + " or ".join(known)
        )
    return text


def _levels(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(sorted({int(part) for part in text.split(",")}, reverse=True))
    except ValueError as error:
        raise InputError(
            f"--levels {text!r} are no levels", field="--levels", hint="write 1000,850,500"
        ) from error
    if levels[-1] < 1 or levels[0] > 1100:
        raise InputError(f"--levels {text!r} are not in hPa", field="--levels")
    return levels


def _coarser(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return () if text == "none" else tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--coarser {text!r} are no resolutions", field="--coarser", hint="write 16,8 or none"
        ) from error


def _client(stack: contextlib.ExitStack, total: int, workers: int, address: str | None) -> Any:
    """Dask client for this much work, or None to work in this process."""
    import os

    wanted = workers or (min(os.cpu_count() or 1, 8) if total >= _PARALLEL_FROM else 1)
    if address is None and wanted == 1:
        return None
    from pipelines.engine.cluster import Cluster

    return stack.enter_context(contextlib.closing(Cluster(wanted, 1, address))).client


def _enter(folder: DataFolder) -> None:
    from pipelines.catalog import Catalog
    from pipelines.catalog.scan import refresh
    from pipelines.storage.data_folder import DataFolder

    DataFolder.create(folder.root)
    with contextlib.closing(Catalog(folder.catalog_url)) as catalog:
        refresh(folder, catalog)


def show(report: IngestReport) -> None:
    """Write the report for people: a table of sources, what was refused, one line at the end."""
    from rich.table import Table

    table = Table("source", "", "times", "fields", "what happened", box=None, pad_edge=False)
    for source in report.sources:
        said = "; ".join(
            part
            for part in (source.reason, *source.converted, *source.notes, _ignored(source.ignored))
            if part
        )
        fields = " ".join(dict.fromkeys(source.fields))
        table.add_row(Path(source.source).name, source.status, str(source.times), fields, said)
    console.print(table)
    for text in report.duplicates[:5]:
        console.print(f"twice: {text}")
    for refusal in report.refused[:5]:
        level = "" if refusal.level is None else f" {refusal.level} hPa"
        console.print(f"refused: {refusal.variable}{level} at {refusal.time}: {refusal.reason}")
    for gap in report.gaps[:5]:
        console.print(f"gap: {gap['missing']} times between {gap['after']} and {gap['before']}")
    console.print(f"{report.store}: {report.summary}")


def _ignored(names: dict[str, str]) -> str:
    if not names:
        return ""
    some = ", ".join(list(names)[:4])
    return f"not used: {some}" + (f" and {len(names) - 4} others" if len(names) > 4 else "")
