"""``pear ingest``: files of any origin into an analysis store; continues where it stopped."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pear.datasets.base import UNKNOWN, ScanOptions
from pear.errors import InputError
from pear.variables import LEVELS, variable
from pear.variables.own import FILE
from pear.variables.table import VARIABLE
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.catalog.sharing import writing
from pipelines.ingestion.ingest import ingest as ingest_sources
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.report import IngestReport
from pipelines.storage.data_folder import DataFolder
from service.cli import options as opt
from service.cli.console import announced, console, emit_json, interruptible, make_table
from service.cli.options import parse_ranges

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ingest", "parse_ranges"]
_LISTED_NAMES, _LISTED_REASONS = 4, 12
_PARALLEL_FIELDS = 1000  # with fewer, starting worker processes takes longer than it saves
_ALL_MONTHS, _SYNOPTIC_HOURS = opt.Numbers(range(1, 13)), opt.Numbers((0, 6, 12, 18))
_store, _selection, _cds, _computing = (
    partial(typer.Option, rich_help_panel=name)
    for name in ("Store", "Selection", "Climate Data Store", "Computing")
)


def parse_overviews(text: str) -> opt.Numbers:
    """Return resolutions such as ``16,8``, or nothing for ``none``."""
    return opt.Numbers() if text == "none" else opt.parse_numbers(text)


def ingest(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="NetCDF, GRIB or zip files, Zarr folders, or their addresses."),
    ] = None,
    *,
    data: opt.OptionalData = None,
    analysis: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the analysis in the data folder.")
    ] = "era5",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="STORE", help="Path of the store to write instead."),
    ] = None,
    nside: Annotated[int, _store(metavar="N", help="HEALPix resolution, a power of two.")] = 64,
    method: Annotated[
        Literal["bilinear", "conservative"],
        _store(metavar="METHOD", help="Regridding: bilinear or conservative."),
    ] = "bilinear",
    overviews: Annotated[
        opt.Numbers | None,
        _store(
            parser=opt.option_parser(parse_overviews),
            metavar="LIST",
            help="Resolutions of the means kept in a new store, e.g. 16,8, or none "
            "(default: a quarter of the resolution).",
        ),
    ] = None,
    levels: Annotated[
        opt.Numbers | None,
        _selection(
            parser=opt.NUMBERS, metavar="LIST", help="Levels to keep, hPa (default: 13 of PEAR)."
        ),
    ] = None,
    period: Annotated[
        opt.Period | None,
        _selection(parser=opt.PERIOD, metavar="A..B", help="Valid times to keep (UTC)."),
    ] = None,
    replace: Annotated[
        opt.Period | None,
        _selection(
            parser=opt.PERIOD,
            metavar="A..B",
            help="Times of the store to replace, each as a whole (preliminary ones are replaced "
            "by final data without it).",
        ),
    ] = None,
    step: Annotated[
        opt.Duration | None,
        _selection(
            parser=opt.DURATION,
            metavar="DURATION",
            help="Keep times whose hour of the day is a multiple of this, e.g. 6h.",
        ),
    ] = None,
    also: Annotated[
        opt.CommaList | None,
        _selection(
            parser=opt.LIST,
            metavar="LIST",
            help="Variables to take beside the nine of PEAR and your own, e.g. tp06,d2m.",
        ),
    ] = None,
    member: Annotated[
        str | None, _selection(metavar="MEMBER", help="Ensemble member to read: number or name.")
    ] = None,
    on_error: Annotated[
        Literal["raise", "skip"],
        _selection(help="Stop at the first fault, or mark faulty data as missing."),
    ] = "raise",
    source: Annotated[
        str | None, _cds(metavar="cds", help="cds: download ERA5 with your own key.")
    ] = None,
    years: Annotated[
        opt.Numbers | None, _cds(parser=opt.RANGES, metavar="RANGE", help="Years, e.g. 1990..1999.")
    ] = None,
    months: Annotated[
        opt.Numbers,
        _cds(parser=opt.RANGES, metavar="RANGE", help="Months of the year.", show_default="1..12"),
    ] = _ALL_MONTHS,
    hours: Annotated[
        opt.Numbers, _cds(parser=opt.RANGES, metavar="LIST", help="Hours of the day, UTC.")
    ] = _SYNOPTIC_HOURS,
    workers: Annotated[
        int,
        _computing(min=0, metavar="N", help="Number of worker processes; 0: by the work."),
    ] = 0,
    scheduler: opt.Scheduler = None,
    as_json: opt.Json = False,
) -> None:
    """Ingest ERA5-like files into a HEALPix store; data already present are not written again.

    Examples
    --------
    $ pear ingest era5/*.nc --data DATA
    $ pear ingest --source cds --years 2000..2019 --data DATA
    """
    _check_source(source, sources, years, months, hours)
    folder, store = find_target(data, analysis, output)
    options = IngestOptions(
        nside=nside,
        method=method,
        on_error=on_error,
        levels=tuple(sorted(levels, reverse=True)) if levels else LEVELS,
        overviews=overviews,
        start=period[0] if period else None,
        end=period[1] if period else None,
        replace=(replace[0], replace[1]) if replace else None,
        every_hours=step.hours if step else None,
        scan=ScanOptions(member, also=tuple(variable(name).name for name in also or ())),
    )
    kept = "committed times are kept; run the command again to continue"
    with interruptible(kept), ExitStack() as stack:
        if folder is not None:
            stack.enter_context(writing(folder, "analyses", analysis))

        def client_for(total: int) -> Client | None:
            return _start_client(stack, total, workers, scheduler)

        tick = stack.enter_context(announced("ingest"))
        if source == "cds" and years is not None:
            try:
                from pipelines.ingestion.cds import Account, DataStore
                from pipelines.ingestion.cds_months import ingest_from_cds
            except ImportError as error:
                raise InputError(
                    "--source cds needs ecmwf-datastores-client",
                    field="--source",
                    hint='pip install "pear-weather[cds]"',
                ) from error

            months_of_years = [(year, month) for year in years for month in months]
            account, folder_of_jobs = (
                Account.from_environment(),
                store.parent / f".{store.name}.cds",
            )
            client = DataStore(
                account, folder_of_jobs, log=lambda text: console.print(f"[dim]{text}[/dim]")
            )
            reports = list(
                ingest_from_cds(
                    client,
                    store,
                    months_of_years,
                    hours,
                    options=options,
                    client_for=client_for,
                    progress=tick,
                )
            )
        else:
            reports = [
                ingest_sources(
                    sources or [], store, options=options, client_for=client_for, progress=tick
                )
            ]
    if folder is not None:
        register_store(folder)
        keep_variables(folder)
    if as_json:
        documents = [report.to_dict() for report in reports]
        emit_json({"months": documents} if source == "cds" else documents[0])
    for report in reports:
        show(report)


def _check_source(
    source: str | None,
    sources: list[str] | None,
    years: opt.Numbers | None,
    months: opt.Numbers,
    hours: opt.Numbers,
) -> None:
    if source is None:
        return
    if source != "cds":
        raise InputError(
            f"invalid --source {source!r}: only 'cds' is supported",
            field="--source",
            hint="give the address itself, e.g. `pear ingest gs://BUCKET/STORE.zarr`, and put its "
            "credentials into ~/.config/fsspec/conf.json",
        )
    if sources:
        raise InputError("--source cds does not accept files", field="--source")
    if years is None:
        raise InputError("--source cds needs --years", field="--years", hint="e.g. 1990..1999")
    for option, numbers, least, most in (
        ("--years", years, 1940, 2100),
        ("--months", months, 1, 12),
        ("--hours", hours, 0, 23),
    ):
        if not all(least <= number <= most for number in numbers):
            raise InputError(f"{option} must be in {least}..{most}", field=option)


def find_target(
    data: Path | None, analysis: str, output: Path | None
) -> tuple[DataFolder | None, Path]:
    """Return the data folder, if the store belongs to one, and the path of the store.

    Parameters
    ----------
    data, analysis
        The data folder and the name of the analysis in it.
    output
        Path of a store outside a data folder.

    Returns
    -------
    tuple
        The data folder or None, and the path; neither need exist.

    Raises
    ------
    InputError
        If neither a data folder nor a path is given.
    """
    if output is not None:
        return None, output
    if data is not None:
        folder = DataFolder(data.resolve())  # created when there is something to write
        return folder, folder.analysis(analysis)
    raise InputError(
        "no data folder",
        field="--data",
        hint="give --data DIR, or --output STORE to write a store by its path",
    )


def _start_client(stack: ExitStack, total: int, workers: int, address: str | None) -> Client | None:
    """Return a dask client for this many fields, or None to work in this process."""
    wanted = workers or (min(os.cpu_count() or 1, 8) if total >= _PARALLEL_FIELDS else 1)
    if address is None and wanted == 1:
        return None
    from pipelines.engine.cluster import Cluster  # imports distributed, which takes a second
    from pipelines.engine.config import EngineConfig

    config = EngineConfig(workers=wanted, threads=1, scheduler=address)
    return stack.enter_context(closing(Cluster(config))).client


def keep_variables(folder: DataFolder) -> None:
    """Keep the file of variables that this process uses in a data folder that has none."""
    given, kept = os.environ.get(VARIABLE), folder.root / FILE
    if given and not kept.exists():
        kept.write_bytes(Path(given).read_bytes())
        console.print(f"variables: {given} is kept as {kept}")


def register_store(folder: DataFolder) -> None:
    """Create the data folder if necessary and enter its stores into the catalog."""
    DataFolder.create(folder.root)
    with closing(Catalog(folder.catalog_url)) as catalog:
        refresh(folder, catalog)


def show(report: IngestReport) -> None:
    """Print a report: a table of sources, refused fields and a summary."""
    rows = []
    for source in report.sources:
        remarks = [source.reason, *source.converted, *source.notes, _list_ignored(source.ignored)]
        fields = " ".join(dict.fromkeys(source.fields))
        text = "; ".join(filter(None, remarks))
        rows.append((Path(source.source).name, source.status, source.times, fields, text))
    console.print(make_table(("source", "status", "times", "fields", "remarks"), rows))
    for text in report.duplicates[:5]:
        console.print(f"duplicate: {text}")
    for text in report.kept[:5]:
        console.print(text)
    for time in report.left_out[:5]:
        console.print(f"{time} is left out: all its fields are refused")
    for refusal in report.refused[:5]:
        level = "" if refusal.level is None else f" {refusal.level} hPa"
        console.print(f"refused: {refusal.variable}{level} at {refusal.time}: {refusal.reason}")
    for gap in report.gaps[:5]:
        console.print(f"gap: {gap['missing']} times between {gap['after']} and {gap['before']}")
    console.print(f"{report.store}: {report.summary}")


def _list_ignored(names: dict[str, str]) -> str:
    """Return what was not used: with the reason what PEAR knows, and a few names of the rest."""
    told = [f"{name} ({why})" for name, why in names.items() if why != UNKNOWN]
    rest = [name for name, why in names.items() if why == UNKNOWN]
    if len(rest) > _LISTED_NAMES + 1:  # one more takes no more room than its number
        rest = [*rest[:_LISTED_NAMES], f"{len(rest) - _LISTED_NAMES} other variables"]
    if len(told) > _LISTED_REASONS + 1:
        more = f"{len(told) - _LISTED_REASONS} more (reasons by --json)"
        told = [*told[:_LISTED_REASONS], more]
    return f"not used: {', '.join([*told, *rest])}" if names else ""
