"""``pear evaluate`` and ``pear climatology``: how good is it, against what is usual."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pear.variables import parse_field
from service.cli.console import announced, console, emit_json, progress
from service.cli.options import parse_duration, parse_times

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.storage.data_folder import DataFolder

REGIONS = ("global", "northern_extratropics", "tropics", "southern_extratropics")
HEADLINES = ("z500", "t850", "msl", "t2m", "u10", "q700")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("evaluate")(evaluate)
    app.command("climatology")(climatology)


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Data folder.")],
    model: Annotated[str | None, typer.Option(help="Model id; the only one if left out.")] = None,
    analysis: Annotated[
        str | None, typer.Option(help="Analysis to verify against; the only one if left out.")
    ] = None,
    climatology: Annotated[
        str | None, typer.Option(help="Climatology; the analysis's own if left out.")
    ] = None,
    runs: Annotated[
        str | None,
        typer.Option(help="Finished forecasts to score instead: a comma list of run ids, or all."),
    ] = None,
    inits: Annotated[
        str | None, typer.Option(help="Init times, as A..B/1d or a comma list; all if left out.")
    ] = None,
    lead: Annotated[str, typer.Option(help="Longest lead, as 10d or 240h.")] = "10d",
    regions: Annotated[
        str,
        typer.Option(
            help="Comma list: tropics, land, europe, band:-60:-30, box:35:75:-12:42, "
            "polygon:LAT:LON:LAT:LON:…"
        ),
    ] = ",".join(REGIONS),
    batch: Annotated[int, typer.Option(min=1, help="Forecasts side by side.")] = 4,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu or cuda.")] = "cpu",
    members: Annotated[
        int, typer.Option(min=0, help="Score an ensemble of so many members too.")
    ] = 0,
    amplitude: Annotated[
        float, typer.Option(help="Its perturbations at each step, over climatology's spread.")
    ] = 0.15,
    workers: Annotated[
        int, typer.Option(min=1, help="Worker processes that share the init times.")
    ] = 1,
    dask: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler, as tcp://host:8786.")
    ] = None,
    fields: Annotated[str, typer.Option(help="Fields of the table.")] = ",".join(HEADLINES),
    as_json: Annotated[bool, typer.Option("--json", help="Scores as JSON on stdout.")] = False,
) -> None:
    """Score a model beside persistence and climatology."""
    from pipelines.evaluation.evaluate import evaluate_model
    from pipelines.storage.data_folder import DataFolder

    hours = parse_duration(lead).hours
    times = None if inits is None else parse_times(inits)
    wanted = [parse_field(text) for text in fields.split(",")]
    folder = DataFolder.open(data)
    with announced("evaluate") as announce, _client(workers, dask) as client:
        done = evaluate_model(
            folder,
            model=model,
            analysis=analysis,
            climatology=climatology,
            inits=times,
            lead_hours=hours,
            regions=tuple(regions.split(",")),
            batch=batch,
            device=device,
            runs=_runs(folder, runs),
            client=client,
            members=members,
            amplitude=amplitude,
            announce=announce,
        )
    channels = [(v.name, level) for v, level in wanted]
    show(done.records, channels, done.about["regions"][0])
    console.print(f"{len(done.records)} records in {folder.evaluation(done.id)}")
    if as_json:
        emit_json({**done.document, "folder": str(folder.evaluation(done.id))})


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    """Dask client to share the work, or None to do it in this process."""
    if workers == 1 and scheduler is None:
        yield None
        return
    from pipelines.engine.cluster import Cluster, default_threads

    with closing(Cluster(workers, default_threads(workers), scheduler)) as cluster:
        yield cluster.client


def _runs(folder: DataFolder, text: str | None) -> list[str]:
    if text == "all":
        return sorted(p.stem for p in (folder.root / "forecasts").glob("[!.]*.zarr"))
    return text.split(",") if text else []


def climatology(
    data: Annotated[Path, typer.Option("--data", help="Data folder.")],
    analysis: Annotated[
        str | None, typer.Option(help="Analysis to build it from; the only one if left out.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name; the analysis's if left out.")] = None,
    kind: Annotated[str, typer.Option(help="harmonic, daily or smoothed.")] = "harmonic",
    harmonics: Annotated[int, typer.Option(min=1, help="Harmonics of the year.")] = 3,
    period: Annotated[
        str | None, typer.Option(help="Training years only, as 2007-01-01..2017-12-31.")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler, as tcp://host:8786.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Summary as JSON on stdout.")] = False,
) -> None:
    """Build a day-of-year climatology from an analysis."""
    from pear.errors import InputError
    from pipelines.evaluation.climatology import build_climatology
    from pipelines.evaluation.inputs import pick
    from pipelines.storage.data_folder import DataFolder
    from service.cli.options import parse_time

    folder = DataFolder.open(data)
    source = pick(folder.root / "analyses", analysis, "analysis", ".zarr")
    ends = None
    if period is not None:
        first, dots, last = period.partition("..")
        if not dots:
            raise InputError(f"--period {period!r} is no period", hint="write FIRST..LAST")
        ends = (parse_time(first), parse_time(last))
    target = folder.climatology(name or source)
    with ExitStack() as stack, progress("climatology", None) as tick:
        client = None
        if dask is not None:
            from pipelines.engine.cluster import Cluster

            client = stack.enter_context(closing(Cluster(1, 1, dask))).client
        built = build_climatology(
            folder.analysis(source),
            target,
            kind,  # type: ignore[arg-type]
            harmonics=harmonics,
            period=ends,
            tick=tick,
            client=client,
        )
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    console.print(f"{built.kind} climatology {built.name}, {size / 1e6:.1f} MB, {built.period}")
    if as_json:
        emit_json(
            {
                "name": built.name,
                "kind": built.kind,
                "path": str(target),
                "bytes": size,
                "period": list(built.period),
                "nside": built.nside,
                "hours": list(built.hours),
            }
        )


def show(
    records: Sequence[Mapping[str, Any]],
    channels: Sequence[tuple[str, int | None]],
    region: str = "global",
) -> None:
    """Print ACC and RMSE of one region by lead, each forecaster beside the others.

    Where there is an ensemble its CRPS is printed too; of a single forecast that is the MAE.
    """
    here = [record for record in records if record["region"] == region]
    console.print(_table(f"ACC by lead, days ({region})", here, channels, _acc))
    console.print(_table(f"RMSE by lead, days ({region})", here, channels, _rmse, units=True))
    if any("crps" in record for record in here):
        title = f"CRPS by lead, days ({region}); MAE of what is no ensemble"
        console.print(_table(title, here, channels, _crps, units=True))


def _acc(record: Mapping[str, Any]) -> str:
    return "-" if record.get("note") else f"{record['acc']:.3f}"


def _rmse(record: Mapping[str, Any]) -> str:
    return f"{record['rmse']:.4g}"


def _crps(record: Mapping[str, Any]) -> str:
    return f"{record.get('crps', record['mae']):.4g}"


def _table(
    title: str,
    records: Sequence[Mapping[str, Any]],
    channels: Sequence[tuple[str, int | None]],
    text: Callable[[Mapping[str, Any]], str],
    *,
    units: bool = False,
) -> Table:
    """One score by lead, fields and forecasters down."""
    from rich import box
    from rich.table import Table

    from pear.variables import BY_NAME, label_of

    leads = sorted({r["lead_days"] for r in records})
    shown = [d for d in leads if d in (1, 2, 3, 5, 7, 10)] or leads[:8]
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,  # for eighty columns
    )
    words = ("field", *(("unit",) if units else ()), "forecaster")
    for column in (*words, *(str(day) for day in shown)):
        justify: Literal["left", "right"] = "left" if column in words else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for name, level in channels:
        rows = [r for r in records if (r["variable"], r["level"]) == (name, level)]
        unit = (BY_NAME[name].units,) if units else ()
        for forecaster in dict.fromkeys(r["forecaster"] for r in rows):
            at = {r["lead_days"]: r for r in rows if r["forecaster"] == forecaster}
            cells = [text(at[day]) for day in shown if day in at]
            table.add_row(label_of((name, level)), *unit, forecaster, *cells)
        table.add_section()
    return table
