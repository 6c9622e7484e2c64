"""``pear evaluate`` and ``pear climatology``: scores of a model beside the baselines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from os import environ
from typing import Annotated, Any, Literal

import typer
from distributed import Client
from rich.table import Table

from pear.device import choose_device
from pear.errors import InputError
from pear.models.climate import OTHER_CLIMATE
from pear.models.spread_skill import record_spread_skill
from pear.store.reader import stored_layout
from pear.typing import Times
from pear.variables import channel_label, variable
from pipelines.catalog import Catalog
from pipelines.catalog.rebuild import open_catalog
from pipelines.catalog.scan import refresh
from pipelines.catalog.sharing import writing
from pipelines.engine.cluster import Cluster
from pipelines.engine.config import EngineConfig
from pipelines.evaluation.baselines import BASELINES, BaselineOptions
from pipelines.evaluation.calibration import measured_spread_skill
from pipelines.evaluation.climatology import HarmonicFit, build_climatology
from pipelines.evaluation.derived import parse_channels
from pipelines.evaluation.evaluate import EvaluationOptions, evaluate_model
from pipelines.evaluation.inputs import model_path, resolve_name
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import share
from service.cli import options as opt
from service.cli.console import announced, console, emit_json, interruptible, make_table, progress
from service.cli.models import model_id
from service.cli.runs import open_folder

_KEPT = "nothing was written; run the same command again"
_LEAD = opt.Duration(240)
_FIELDS = opt.CommaList(("z500", "t850", "msl", "t2m", "u10", "q700"))
_REGIONS = opt.CommaList(("global", "northern_extratropics", "tropics", "southern_extratropics"))


def evaluate(
    *,
    data: opt.Data,
    init: Annotated[Times | None, opt.init_option(help=f"{opt.TIMES_HELP} (default: all).")] = None,
    lead: opt.Lead = _LEAD,
    model: opt.Model = None,
    runs: Annotated[
        opt.CommaList | None,
        opt.list_option(help="Score these finished runs instead: ids, prefixes, latest, or all."),
    ] = None,
    analysis: opt.Analysis = None,
    climatology: Annotated[
        str | None, typer.Option(metavar="NAME", help="Climatology (default: the analysis's own).")
    ] = None,
    regions: Annotated[
        opt.CommaList,
        opt.list_option(
            help="Regions, also land, europe, band:-60:-30, box:35:75:-12:42 or "
            "polygon:LAT:LON:LAT:LON:…."
        ),
    ] = _REGIONS,
    fields: Annotated[
        opt.CommaList,
        opt.list_option(
            help="Fields of the printed table; derived ones such as ws850 or rh700 are scored too."
        ),
    ] = _FIELDS,
    as_json: opt.Json = False,
    baseline_period: Annotated[
        opt.Period | None,
        opt.period_option(
            "--baseline-period",
            help="Also score damped persistence and a linear inverse model, fitted on this period.",
        ),
    ] = None,
    baseline_analysis: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Analysis that they are fitted on (default: --analysis)."
        ),
    ] = None,
    members: opt.Members = None,
    ensemble: opt.EnsembleKind = "noise",
    perturbation_scale: opt.PerturbationScale = None,
    perturb_steps: opt.PerturbSteps = None,
    length_km: opt.LengthKm = 1000.0,
    seed: opt.PerturbationSeed = 0,
    no_correction: opt.NoCorrection = False,
    allow_other_climate: Annotated[
        bool,
        typer.Option(
            "--allow-other-climate", help="Accept an analysis unlike the model's training data."
        ),
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Keep the spread/skill of the members with the model, for its forecasts.",
        ),
    ] = False,
    batch: opt.Batch = 4,
    workers: opt.Workers = 1,
    device: opt.Device = None,
    scheduler: opt.Scheduler = None,
) -> None:
    """Score a model beside persistence, climatology and fitted baselines.

    Writes evaluations/ID in the data folder: all scores with intervals as a netCDF file and as
    a table, and plots.

    Examples
    --------
    $ pear evaluate --data pear-data --init 2019-01-01..2019-12-21/5d
    $ pear evaluate --data pear-data --runs all --lead 5d --regions global,europe
    $ pear evaluate --data pear-data --init 2010-01-01..2010-12-21/10d \
      --baseline-period 2000-01-01..2004-12-31
    $ pear evaluate --data pear-data --init 2019-01-01..2019-12-21/10d --members 8 --record
    """
    folder = open_folder(data)  # which may have variables of its own
    if record and (members is None or members < 2 or runs):
        raise InputError(
            "--record needs an ensemble of a model", field="--record", hint="give --members"
        )
    if baseline_analysis is not None and baseline_period is None:
        raise InputError(
            "--baseline-analysis needs the period to fit baselines on",
            field="--baseline-analysis",
            hint="give --baseline-period A..B",
        )
    folder.require_writable()
    source = resolve_name(folder.root / "analyses", analysis, "analysis", ".zarr")
    stored_layout(folder.analysis(source))  # which may define variables of its own
    channels, derived = parse_channels(fields)
    options = EvaluationOptions(
        derived=derived,
        baselines=baseline_period and BaselineOptions(baseline_period, baseline_analysis),
        model=_model(folder, model),
        analysis=analysis,
        climatology=climatology,
        runs=_runs(folder, runs),
        inits=init,
        lead_hours=lead.hours,
        regions=regions,
        batch=batch,
        device=str(choose_device(device or environ.get("PEAR_DEVICE"))),
        forecast=ForecastOptions.from_dict(
            {
                "members": members,
                "ensemble": ensemble,
                "perturbation_scale": perturbation_scale and perturbation_scale.value,
                "perturb_steps": perturb_steps,
                "length_km": length_km,
                "seed": seed,
                "correction": not no_correction,
                "allow_other_climate": allow_other_climate,
            }
        ),
    )
    with (
        interruptible(_KEPT),
        announced("evaluate") as announce,
        _client(workers, scheduler) as client,
    ):
        done = evaluate_model(folder, options, client=client, progress=announce)
    if folder.is_writable:
        with open_catalog(folder):  # which enters it
            pass
    records = done.records
    show(records, channels, done.about["regions"][0])
    by_hour = done.hourly_records
    show_hours(by_hour, channels, done.about["regions"][0])
    if record:
        measured = measured_spread_skill(done, options.forecast)
        model_folder = model_path(folder, str(done.about["model"]))
        record_spread_skill(model_folder, measured)
        share(folder, "models", model_folder.name, changed=True)
        console.print(f"{measured.text}, kept with the model", soft_wrap=True, highlight=False)
    if OTHER_CLIMATE in done.about:
        console.print(f"note: {done.about[OTHER_CLIMATE]}", soft_wrap=True, highlight=False)
    console.print(f"{len(records)} scores in {folder.evaluation(done.id)}")
    if as_json:
        path = str(folder.evaluation(done.id))
        more = {"scores_by_hour": by_hour} if by_hour else {}
        emit_json({"id": done.id, **done.about, "scores": records, **more, "folder": path})


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client | None]:
    """Yield a dask client to share the work, or None to do it in this process."""
    if workers == 1 and scheduler is None:
        yield None
        return
    with closing(Cluster(EngineConfig(workers=workers, scheduler=scheduler))) as cluster:
        yield cluster.client


def _model(folder: DataFolder, reference: str | None) -> str | None:
    """Return the model to score; default: the newest."""
    if reference is not None:
        return model_id(folder, reference)
    with Catalog(folder.catalog_url) as catalog:
        refresh(folder, catalog)
        return next((model.id for model in catalog.models.all()), None)


def _runs(folder: DataFolder, names: opt.CommaList | None) -> tuple[str, ...]:
    """Return ids of finished runs: by id, unique prefix, ``latest``, or ``all``."""
    stored = sorted(path.stem for path in (folder.root / "forecasts").glob("[!.]*.zarr"))
    if names == ("all",):
        return tuple(stored)
    with Catalog(folder.catalog_url) as catalog:
        known = set(stored)
        return tuple(n if n in known else catalog.runs.resolve(n).id for n in names or ())


def climatology(
    *,
    data: opt.Data,
    analysis: opt.Analysis = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the climatology (default: the analysis's)."),
    ] = None,
    kind: Annotated[
        Literal["harmonic", "daily", "smoothed"],
        typer.Option(
            metavar="KIND", help="Fit of the seasonal cycle: harmonic, daily or smoothed."
        ),
    ] = "harmonic",
    harmonics: Annotated[int, opt.count_option(help="Harmonics of the year.")] = 3,
    period: Annotated[opt.Period | None, opt.TRAINING_PERIOD] = None,
    also: Annotated[
        opt.CommaList | None,
        opt.list_option(help="Derived quantities to average too, e.g. wind_speed,ws10."),
    ] = None,
    spread: Annotated[
        bool,
        typer.Option(
            "--spread",
            help="Store the standard deviation about the mean too: the normal range of a point.",
        ),
    ] = False,
    scheduler: opt.Scheduler = None,
    as_json: opt.Json = False,
) -> None:
    """Build a day-of-year climatology from an analysis.

    Give --period, so that no time of a verification enters it.

    Examples
    --------
    $ pear climatology --data pear-data --period 2007-01-01..2017-12-31
    $ pear climatology --data pear-data --analysis era5 --kind smoothed
    $ pear climatology --data pear-data --also wind_speed,relative_humidity --spread
    """
    folder = open_folder(data)
    folder.require_writable()
    source = resolve_name(folder.root / "analyses", analysis, "analysis", ".zarr")
    target = folder.climatology(name or source)
    with (
        writing(folder, "climatology", target.stem),
        interruptible(_KEPT),
        progress("climatology", None) as tick,
        _client(1, scheduler) as client,
    ):
        built = build_climatology(
            folder.analysis(source),
            target,
            kind,
            fit=HarmonicFit(harmonics),
            period=period,
            derived=also or (),
            spread=spread,
            tick=tick,
            client=client,
        )
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    years = "..".join(time[:10] for time in built.period)
    console.print(f"{built.kind} climatology {built.name} of {years}, {size / 1e6:.1f} MB")
    if as_json:
        fields = {name: getattr(built, name) for name in ("name", "kind", "nside")}
        where = {"path": str(target), "bytes": size}
        lists = {"period": list(built.period), "hours": list(built.hours)}
        emit_json({**fields, **where, **lists})


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
    titles = {
        "acc": f"ACC by lead, days ({region}); uncentred, pooled",
        "rmse": f"RMSE by lead, days ({region})",
    }
    if any(record.get("crps") is not None for record in here):
        titles["crps"] = f"Fair CRPS by lead, days ({region}); MAE of single forecasts"
        titles["spread_skill"] = f"Spread/skill by lead, days ({region}); 1 is reliable"
    for score, title in titles.items():
        console.print(_table(title, here, channels, score))
    for line in worse_than_baselines(here):
        console.print(line, soft_wrap=True, highlight=False)


def worse_than_baselines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Count the pairs of field and lead time at which the RMSE is above that of a baseline.

    Parameters
    ----------
    records
        Rows of one region; the first forecaster is the one under test.

    Returns
    -------
    list of str
        One sentence; none if nothing is compared.
    """
    errors: dict[str, dict[tuple[str, int | None, float], float]] = {}
    for row in records:
        key = (row["variable"], row["level"], row["lead_days"])
        errors.setdefault(row["forecaster"], {})[key] = row["rmse"]
    tested, *others = errors or {"": {}}
    baselines = [name for name in others if name in BASELINES]
    if not baselines:
        return []
    mine = errors[tested]
    above = {
        name: {key for key, value in mine.items() if value > errors[name][key]}
        for name in baselines
    }
    each = ", ".join(f"{name} {len(keys)}" for name, keys in above.items())
    total = len(set().union(*above.values()))
    where = f"{total} of {len(mine)} pairs of field and lead time"
    return [f"RMSE of {tested} above a baseline in {where} ({each})"]


def show_hours(
    records: Sequence[Mapping[str, Any]],
    channels: Sequence[tuple[str, int | None]],
    region: str = "global",
) -> None:
    """Print RMSE and bias of one region by init hour, if there are several.

    Parameters
    ----------
    records
        Rows by hour of day.
    channels
        Variables and levels to print.
    region
        Name of the region.
    """
    here = [record for record in records if record["region"] == region]
    for score in ("rmse", "bias"):
        for hour in sorted({record["init_hour"] for record in here}):
            rows = [record for record in here if record["init_hour"] == hour]
            title = f"{score.upper()} from {hour:02d} UTC by lead, days ({region})"
            console.print(_table(title, rows, channels, score))


def _table(
    title: str,
    records: Sequence[Mapping[str, Any]],
    channels: Sequence[tuple[str, int | None]],
    score: str,
) -> Table:
    """Return a table of one score by lead time, fields and forecasters down."""
    leads = sorted({r["lead_days"] for r in records})
    shown = [d for d in leads if d in (1, 2, 3, 5, 7, 10)] or leads[:8]
    with_units = score not in ("acc", "spread_skill")
    rows: list[tuple[str, ...]] = []
    for channel in channels:
        mine = [r for r in records if (r["variable"], r["level"]) == channel]
        values = {(r["forecaster"], r["lead_days"]): _value(r, score) for r in mine}
        if score == "spread_skill":
            values = {key: value for key, value in values.items() if value is not None}
        scale = _scale(values.values()) if with_units else 1.0
        digits = _decimals(values.values(), scale) if with_units else 3
        names = [
            who
            for who in dict.fromkeys(r["forecaster"] for r in mine)
            if score != "spread_skill" or any((who, day) in values for day in leads)
        ]
        # The unit stands below the field: the table is at most 80 characters wide.
        labels = [channel_label(channel)] * len(names)
        if with_units and names:
            unit = variable(channel[0]).units
            unit = unit if scale == 1.0 else f"{scale:.0e} {unit}".replace("e-0", "e-")
            labels = [labels[0], unit, *[""] * len(names)][: len(names)]
            labels = labels if len(names) > 1 else [f"{labels[0]}, {unit}"]
        for label, who in zip(labels, names, strict=True):
            cells = (_format(values.get((who, day)), digits, scale) for day in shown)
            rows.append((label, who, *cells))
    return make_table(("field", "forecaster", *map(str, shown)), rows, title)


def _value(record: Mapping[str, Any], score: str) -> float | None:
    """Return a score; the CRPS of a single forecast is its MAE, a noted ACC has no value."""
    if score == "acc" and record.get("note"):
        return None
    value: float | None = record.get(score)
    return record["mae"] if score == "crps" and value is None else value


def _scale(values: Iterable[float | None]) -> float:
    """Return the power of 1000 in which the largest of some values needs no leading zeros."""
    largest = max((abs(value) for value in values if value), default=1.0)
    return 1.0 if largest >= 0.1 else 10.0 ** (3 * math.floor(math.log10(largest) / 3))


def _decimals(values: Iterable[float | None], scale: float) -> int:
    """Return the decimals that show the largest of some values with four digits."""
    largest = max((abs(value) for value in values if value), default=scale)
    return max(0, 3 - math.floor(math.log10(largest / scale)))


def _format(value: float | None, decimals: int, scale: float) -> str:
    return "-" if value is None else f"{value / scale:.{decimals}f}"
