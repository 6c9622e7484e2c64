"""``pear evaluate`` and ``pear climatology``: scores of a model beside the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pear.typing import Times
from pear.variables import parse_field
from service.cli.console import announced, console, emit_json, interruptible, progress
from service.cli.options import (
    COMPUTING,
    DURATION,
    LIST,
    PERIOD,
    TIMES,
    CommaList,
    Data,
    Duration,
    Json,
    Period,
    Scheduler,
    Workers,
    examples,
)

if TYPE_CHECKING:
    from distributed import Client
    from rich.table import Table

    from pipelines.storage.data_folder import DataFolder

EnsembleKind = Literal["noise", "random_field", "symmetry"]
_LEAD = Duration(240)
_FIELDS = CommaList(("z500", "t850", "msl", "t2m", "u10", "q700"))
_REGIONS = CommaList(("global", "northern_extratropics", "tropics", "southern_extratropics"))

app = typer.Typer(add_completion=False)
_ensemble, _computing = (
    partial(typer.Option, rich_help_panel=name) for name in ("Ensemble", COMPUTING)
)


@app.command(
    "evaluate",
    epilog=examples(
        "pear evaluate --data pear-data --init 2019-01-01..2019-12-21/5d",
        "pear evaluate --data pear-data --runs all --lead 5d --regions global,europe",
    ),
)
def evaluate(
    *,
    data: Data,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model id or name (default: the only one).")
    ] = None,
    runs: Annotated[
        CommaList | None,
        typer.Option(
            parser=LIST, metavar="RUNS", help="Score these finished runs instead; `all` for all."
        ),
    ] = None,
    analysis: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Analysis to verify against (default: the only one)."),
    ] = None,
    climatology: Annotated[
        str | None, typer.Option(metavar="NAME", help="Climatology (default: the analysis's own).")
    ] = None,
    init: Annotated[
        Times | None,
        typer.Option(
            parser=TIMES,
            metavar="TIMES",
            help="Init times (UTC), e.g. 2019-01-01..2019-12-21/5d (default: all).",
        ),
    ] = None,
    lead: Annotated[
        Duration,
        typer.Option(
            parser=DURATION, metavar="DURATION", help="Longest lead time, e.g. 10d or 240h."
        ),
    ] = _LEAD,
    regions: Annotated[
        CommaList,
        typer.Option(
            parser=LIST,
            metavar="LIST",
            help="Regions, also land, europe, band:-60:-30, box:35:75:-12:42 or "
            "polygon:LAT:LON:LAT:LON:….",
        ),
    ] = _REGIONS,
    fields: Annotated[
        CommaList, typer.Option(parser=LIST, metavar="LIST", help="Fields of the printed table.")
    ] = _FIELDS,
    as_json: Json = False,
    members: Annotated[
        int, _ensemble(min=0, metavar="N", help="Score an ensemble of N members too.")
    ] = 0,
    ensemble: Annotated[EnsembleKind, _ensemble(help="Origin of the members.")] = "noise",
    perturbation_scale: Annotated[
        float,
        _ensemble(
            metavar="X",
            help="Scale over the change of a step (noise) or the climatological spread.",
        ),
    ] = 0.1,
    perturb_steps: Annotated[
        bool, _ensemble("--perturb-steps", help="Perturb the members before every step.")
    ] = False,
    seed: Annotated[int, _ensemble(metavar="N", help="Random seed of the perturbations.")] = 0,
    batch: Annotated[int, _computing(min=1, metavar="N", help="Forecasts side by side.")] = 4,
    device: Annotated[str, _computing(metavar="DEVICE", help="Device, cpu or cuda.")] = "cpu",
    workers: Workers = 1,
    scheduler: Scheduler = None,
) -> None:
    """Score a model beside persistence and climatology.

    Writes evaluations/ID in the data folder: all scores with intervals as a netCDF file and as
    a table, and plots.
    """
    from pipelines.evaluation.evaluate import EvaluationOptions, evaluate_model
    from pipelines.forecasting.options import ForecastOptions
    from pipelines.storage.data_folder import DataFolder

    channels = [(v.name, level) for v, level in map(parse_field, fields)]
    folder = DataFolder.open(data)
    options = EvaluationOptions(
        model=model,
        analysis=analysis,
        climatology=climatology,
        runs=_runs(folder, runs),
        inits=init,
        lead_hours=lead.hours,
        regions=regions,
        batch=batch,
        device=device,
        forecast=ForecastOptions.from_dict(
            {
                "members": members or None,
                "ensemble": ensemble,
                "perturbation_scale": perturbation_scale,
                "perturb_steps": perturb_steps,
                "seed": seed,
            }
        ),
    )
    with (
        interruptible("nothing was written; run it again"),
        announced("evaluate") as announce,
        _client(workers, scheduler) as client,
    ):
        done = evaluate_model(folder, options, client=client, progress=announce)
    records = done.records
    show(records, channels, done.about["regions"][0])
    console.print(f"{len(records)} scores in {folder.evaluation(done.id)}")
    if as_json:
        path = str(folder.evaluation(done.id))
        emit_json({"id": done.id, **done.about, "scores": records, "folder": path})


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client | None]:
    """Yield a dask client to share the work, or None to do it in this process."""
    if workers == 1 and scheduler is None:
        yield None
        return
    from pipelines.engine.cluster import Cluster
    from pipelines.engine.config import EngineConfig

    with closing(Cluster(EngineConfig(workers=workers, scheduler=scheduler))) as cluster:
        yield cluster.client


def _runs(folder: DataFolder, names: CommaList | None) -> tuple[str, ...]:
    if names == ("all",):
        return tuple(sorted(p.stem for p in (folder.root / "forecasts").glob("[!.]*.zarr")))
    return names or ()


@app.command(
    "climatology",
    epilog=examples(
        "pear climatology --data pear-data --period 2007-01-01..2017-12-31",
        "pear climatology --data pear-data --analysis era5 --kind smoothed",
    ),
)
def climatology(
    *,
    data: Data,
    analysis: Annotated[
        str | None, typer.Option(metavar="NAME", help="Analysis to read (default: the only one).")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the climatology (default: the analysis's)."),
    ] = None,
    kind: Annotated[
        Literal["harmonic", "daily", "smoothed"], typer.Option(help="Fit of the seasonal cycle.")
    ] = "harmonic",
    harmonics: Annotated[int, typer.Option(min=1, metavar="N", help="Harmonics of the year.")] = 3,
    period: Annotated[
        Period | None,
        typer.Option(
            parser=PERIOD, metavar="A..B", help="Period to use; take training years only."
        ),
    ] = None,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Build a day-of-year climatology from an analysis."""
    from pipelines.evaluation.climatology import HarmonicFit, build_climatology
    from pipelines.evaluation.inputs import resolve_name
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    source = resolve_name(folder.root / "analyses", analysis, "analysis", ".zarr")
    target = folder.climatology(name or source)
    with (
        interruptible("nothing was written; run it again"),
        progress("climatology", None) as tick,
        _client(1, scheduler) as client,
    ):
        built = build_climatology(
            folder.analysis(source),
            target,
            kind,
            fit=HarmonicFit(harmonics),
            period=period,
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
    """Print ACC and RMSE of one region by lead time, one row per field and forecaster.

    With an ensemble its CRPS is printed too; the CRPS of a single forecast is its MAE.

    Parameters
    ----------
    records
        Rows of a table of scores.
    channels
        Variables and levels to print.
    region
        Name of the region.
    """
    here = [record for record in records if record["region"] == region]
    console.print(_table(f"ACC by lead, days ({region})", here, channels, _acc))
    console.print(_table(f"RMSE by lead, days ({region})", here, channels, _rmse, units=True))
    if any(record.get("crps") is not None for record in here):
        title = f"CRPS by lead, days ({region}); MAE of single forecasts"
        console.print(_table(title, here, channels, _crps, units=True))


def _acc(record: Mapping[str, Any]) -> str:
    return "-" if record.get("note") else f"{record['acc']:.3f}"


def _rmse(record: Mapping[str, Any]) -> str:
    return f"{record['rmse']:.4g}"


def _crps(record: Mapping[str, Any]) -> str:
    crps = record.get("crps")
    return f"{record['mae'] if crps is None else crps:.4g}"


def _table(
    title: str,
    records: Sequence[Mapping[str, Any]],
    channels: Sequence[tuple[str, int | None]],
    text: Callable[[Mapping[str, Any]], str],
    *,
    units: bool = False,
) -> Table:
    """Return a table of one score by lead time, fields and forecasters down."""
    from rich import box
    from rich.table import Table

    from pear.variables import BY_NAME, channel_label

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
            table.add_row(channel_label((name, level)), *unit, forecaster, *cells)
        table.add_section()
    return table
