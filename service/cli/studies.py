"""``pear study``: comparisons that train or run several networks for minutes to days.

The studies of published claims are in :mod:`service.cli.claims`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import pandas as pd
import typer
import xarray as xr
from rich.table import Table

from pear.device import keep_memory
from pear.errors import InputError
from pear.typing import Times
from pipelines.studies.ablation import ARMS, Ablation, MixingStudy
from pipelines.studies.pangu import PanguStudy
from pipelines.studies.stability import BANDS, BOUNDS, StabilityStudy
from pipelines.studies.study import TrainingStudy
from pipelines.studies.symmetrisation_study import SymmetrisationStudy
from service.cli import claims
from service.cli import options as opt
from service.cli.console import (
    console,
    emit_json,
    emit_table,
    interruptible,
    make_table,
    progress,
)
from service.cli.models import checkpoint_folder

_STUDIES = {
    "ablation": ("Change one design choice at a time, at equal time and equal size.", "hours"),
    "mixing": ("Mix tokens by attention, stencils, harmonics, or two in turn.", "hours"),
    "pangu": ("Compare PEAR with Pangu on a regular grid, trained alike.", "hours"),
    "symmetrisation": ("Average over the symmetry group and over augmented members.", "hours"),
    "stability": ("Compare the variability of long forecasts with the analyses.", "minutes"),
}
_PERIOD = opt.parse_period("2000-01-01..2004-12-31")
_INIT, _SPARSE_INIT = "2006-01-01..2006-12-20/5d", "2006-01-01..2006-12-20/10d"
_WEEK, _TEN_DAYS, _MONTH = opt.Duration(168), opt.Duration(240), opt.Duration(720)
_SEEDS, _MANY_SEEDS = opt.Numbers(range(3)), opt.Numbers(range(8))
_AXES, _BUDGETS = opt.CommaList(("time", "parameters")), opt.CommaList(("time", "steps"))
_KEPT = "finished trials are kept; run the same command again to continue"

ClimatologyStore = Annotated[
    Path, typer.Option("--climatology", metavar="STORE", help="Climatology of the training years.")
]
TrainingPeriod = Annotated[opt.Period, opt.TRAINING_PERIOD]
TestInit = Annotated[
    Times | None, opt.init_option(help=f"{opt.TIMES_HELP} (default: every 5 or 10 days of 2006).")
]
Minutes = Annotated[float, typer.Option(min=0.01, metavar="N", help="Minutes of each training.")]
Seeds = Annotated[opt.Numbers, opt.numbers_option(help="Random seeds; more may be added later.")]
Embed = Annotated[int, typer.Option(min=32, metavar="N", help="Width of the networks.")]

app = typer.Typer(add_completion=False, no_args_is_help=True)
app.add_typer(claims.app)


@app.command("list")
def list_studies(*, as_json: opt.Json = False) -> None:
    """List the studies, how long they take, and how many published claims they check.

    The JSON has the claims themselves: text, source, published value and tolerance.

    Examples
    --------
    $ pear study list
    $ pear study list --json
    """
    records: list[dict[str, object]] = [
        {"name": name, "help": text, "usual_time": time, "claims": []}
        for name, (text, time) in _STUDIES.items()
    ]
    for name in claims.CLAIM_STUDIES:
        study = claims.study_class(name)
        records.append(
            {
                "name": name,
                "help": study.help,
                "usual_time": study.usual_time,
                "claims": [asdict(claim) for claim in study.claims],
            }
        )
    if as_json:
        emit_json(records)
        return
    rows = [
        (
            record["name"],
            record["usual_time"],
            len(cast("list[object]", record["claims"])),
            record["help"],
        )
        for record in records
    ]
    emit_table(("study", "usual time", "claims", "description"), rows)


@app.command("ablation")
def ablation(
    *,
    analysis: opt.AnalysisStore,
    climatology: ClimatologyStore,
    output: opt.Output,
    period: TrainingPeriod = _PERIOD,
    init: TestInit = None,
    lead: opt.Lead = _WEEK,
    minutes: Minutes = 5.0,
    seeds: Seeds = _SEEDS,
    embed: Embed = 128,
    arms: Annotated[
        opt.CommaList | None, opt.list_option(help="Arms, e.g. c4h,patch4 (default: all).")
    ] = None,
    axes: Annotated[opt.CommaList, opt.list_option(help="time, parameters, or both.")] = _AXES,
    dry_run: opt.DryRun = False,
    as_json: opt.Json = False,
) -> None:
    """Change one design choice at a time, at equal time and at equal parameters.

    Writes ablation.csv and ablation.png with intervals. To use several cores, run the same
    command several times with OMP_NUM_THREADS=1.

    Examples
    --------
    $ pear study ablation --analysis era5.zarr --climatology c.zarr -o ablation
    $ pear study ablation --analysis era5.zarr --climatology c.zarr -o a --arms c4h
    """
    common = _common(analysis, climatology, output, period, init, lead, minutes, seeds, embed)
    study = Ablation(**common, arms=tuple(arms or ARMS), axes=tuple(axes))
    _run(study, ("axis", "arm", "parameters", "steps"), dry_run=dry_run, as_json=as_json)


@app.command("mixing")
def mixing(
    *,
    analysis: opt.AnalysisStore,
    climatology: ClimatologyStore,
    output: opt.Output,
    period: TrainingPeriod = _PERIOD,
    init: TestInit = None,
    lead: opt.Lead = _WEEK,
    minutes: Minutes = 5.0,
    seeds: Seeds = _SEEDS,
    embed: Embed = 128,
    axes: Annotated[opt.CommaList, opt.list_option(help="time, parameters, or both.")] = _AXES,
    dry_run: opt.DryRun = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if attention is not the best.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Mix tokens by attention, stencils, harmonics, or two in turn, at equal cost.

    The arms of the ablation that differ in this alone, at equal time and at equal parameters.
    Writes mixing.csv and mixing.png with intervals. With --check the command fails if a network
    without attention alone is better after equal time (z500 ACC, 95 % interval, last day).

    Examples
    --------
    $ pear study mixing --analysis era5.zarr --climatology c.zarr -o mixing
    $ pear study mixing --analysis era5.zarr --climatology c.zarr -o m --minutes 1
    """
    common = _common(analysis, climatology, output, period, init, lead, minutes, seeds, embed)
    study = MixingStudy(**common, axes=tuple(axes))
    labels = ("axis", "arm", "parameters", "steps")
    report = _run(study, labels, dry_run=dry_run, as_json=as_json)
    if check and report is not None and (better := study.better_arms(report)):
        console.print(f"better than attention: {', '.join(better)}")
        raise typer.Exit(1)


@app.command("pangu")
def pangu(
    sources: Annotated[list[Path], typer.Argument(help="Files that the store was made from.")],
    *,
    analysis: opt.AnalysisStore,
    climatology: ClimatologyStore,
    output: opt.Output,
    period: TrainingPeriod = _PERIOD,
    init: TestInit = None,
    lead: opt.Lead = _TEN_DAYS,
    minutes: Minutes = 5.0,
    seeds: Seeds = _SEEDS,
    embed: Embed = 128,
    budgets: Annotated[
        opt.CommaList, opt.list_option(help="Equal time, steps, or both.")
    ] = _BUDGETS,
    dry_run: opt.DryRun = False,
    as_json: opt.Json = False,
) -> None:
    """Compare PEAR with Pangu on a regular grid, trained alike.

    Writes pangu.csv and pangu.png with intervals. To use several cores, run the same command
    several times with OMP_NUM_THREADS=1.

    Examples
    --------
    $ pear study pangu era5/*.nc --analysis era5.zarr --climatology c.zarr -o pangu
    $ pear study pangu era5/*.nc --analysis era5.zarr --climatology c.zarr -o p --dry-run
    """
    common = _common(analysis, climatology, output, period, init, lead, minutes, seeds, embed)
    study = PanguStudy(**common, sources=tuple(sources), budgets=tuple(budgets))
    _run(study, ("budget", "grid"), dry_run=dry_run, as_json=as_json)


@app.command("symmetrisation")
def symmetrisation(
    *,
    analysis: opt.AnalysisStore,
    climatology: ClimatologyStore,
    output: opt.Output,
    model: Annotated[
        Path | None,
        opt.path_option(help="Checkpoint folder of a model to measure as well, or shipped."),
    ] = None,
    period: TrainingPeriod = _PERIOD,
    init: TestInit = None,
    lead: opt.Lead = _WEEK,
    minutes: Minutes = 1.0,
    seeds: Seeds = _MANY_SEEDS,
    embed: Embed = 64,
    dry_run: opt.DryRun = False,
    as_json: opt.Json = False,
) -> None:
    """Average over the symmetry group and over augmented members.

    Writes symmetrisation-errors.csv, symmetrisation-scores.csv and symmetrisation.png. To use
    several cores, run the same command several times with OMP_NUM_THREADS=1.

    Examples
    --------
    $ pear study symmetrisation --analysis era5.zarr --climatology c.zarr -o sym
    $ pear study symmetrisation --analysis era5.zarr --climatology c.zarr -o s --model m
    """
    init = opt.parse_times(_SPARSE_INIT) if init is None else init
    common = _common(analysis, climatology, output, period, init, lead, minutes, seeds, embed)
    study = SymmetrisationStudy(**common, model=model and checkpoint_folder(model))
    report = _run(study, ("models", "way"), dry_run=dry_run, as_json=as_json)
    if report is not None and report.sizes:
        console.print(*_equivariance_tables(report))


@app.command("stability")
def stability(
    *,
    model: Annotated[Path, opt.path_option(help="Checkpoint folder, or shipped.")],
    analysis: opt.AnalysisStore,
    init: opt.Init,
    lead: opt.Lead = _MONTH,
    every: Annotated[int | None, opt.count_option(help="Days between those compared.")] = None,
    no_correction: opt.NoCorrection = False,
    output: Annotated[
        Path | None,
        opt.path_option("--output", "-o", help="Folder to write (default: nothing is kept)."),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Compare long forecasts with the analyses: variability, drift, mass, energy and balance.

    The analysis holds the compared days of every forecast. Exit status 1 if a number leaves its
    bounds, or a forecast does not reach the end.

    Examples
    --------
    $ pear study stability --model m --analysis era5.zarr --init 2019-01-01..2019-12-01/30d
    $ pear study stability --model m --analysis era5.zarr --init 2018-01-01 --lead 365d
    """
    length = lead.hours // 24
    with ExitStack() as stack:
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        study = StabilityStudy(
            folder=folder,
            store=analysis,
            inits=init,
            model=checkpoint_folder(model),
            days=length,
            every=every or (5 if length <= 60 else 30),
            correct=not no_correction,
        )
        stack.enter_context(interruptible(_KEPT if output else "nothing is kept"))
        report = study.run(stack.enter_context(progress("stability", len(init))))
    reached = int(report["reached"])
    sound = "sound" not in report or bool(report["sound"].all())
    stable = bool(report["stable"].all()) and sound and reached == length
    if as_json:
        frame = report[["spread", "power", "stable"]].to_dataframe().reset_index()
        checks = []
        if "sound" in report:
            checks = _rows(report[["departure", "bound", "sound"]].to_dataframe().reset_index())
        emit_json({"stable": stable, "reached": reached, "rows": _rows(frame), "soundness": checks})
    rows = []
    for field in report["field"].values:
        for day in report["day"].values:
            part = report.sel(field=field, day=day)
            powers = [f"{power:.2f}" for power in part["power"].values]
            powers += [""] * (len(BANDS) - len(powers))
            mark = "" if part["stable"] else "out of bounds"
            rows.append((field, day, f"{part['spread'].item():.3f}", *powers, mark))
    title = f"forecast / analysis, {len(init)} forecasts"
    console.print(make_table(("field", "day", "spread", *BANDS, ""), rows, title))
    if "sound" in report:
        console.print(_soundness_table(report))
    if reached < length:
        console.print(f"a forecast left the physical range after day {reached} of {length}")
    console.print("stable" if stable else "not stable")
    if not stable:
        raise typer.Exit(1)


def _soundness_table(report: xr.Dataset) -> Table:
    """Return the departures of forecasts from analyses over the days compared."""
    days, rows = report["day"].values, []
    for name in report["quantity"].values:
        part = report.sel(quantity=name)
        kind, bound = BOUNDS.get(str(name), ("ratio", float("nan")))
        values, outside = part["departure"].values, days[~part["sound"].values]
        cells = (f"{each:.3g}" for each in (values.min(), values.max(), values[-1]))
        told = f"{outside.size}, from day {outside[0]}" if outside.size else ""
        rows.append((name, kind, "" if bound != bound else f"{bound:g}", *cells, told))
    title = f"forecast against analysis on {days.size} days"
    names = ("quantity", "as", "bound", "least", "most", f"day {days[-1]}", "out of bounds")
    return make_table(names, rows, title)


def _common(
    analysis: Path,
    climatology: Path,
    output: Path,
    period: opt.Period,
    init: Times | None,
    lead: opt.Duration,
    minutes: float,
    seeds: opt.Numbers,
    embed: int,
) -> dict[str, Any]:
    """Return the attributes that all training studies have."""
    init = opt.parse_times(_INIT) if init is None else init
    if init.size < 2:
        raise InputError("a study needs a range of init times", field="--init", hint="write A..B")
    return {
        "folder": output,
        "store": analysis,
        "climatology": climatology,
        "period": (str(period[0]), str(period[1])),
        "test": (str(init[0]), str(init[-1])),
        "every": int((init[1] - init[0]) / np.timedelta64(1, "D")),
        "days": lead.hours // 24,
        "minutes": minutes,
        "seeds": tuple(seeds),
        "embed": embed,
    }


def _run(
    study: TrainingStudy, labels: tuple[str, ...], *, dry_run: bool, as_json: bool
) -> xr.Dataset | None:
    """Run a study, or only estimate it; print the scores of z500."""
    keep_memory()
    with interruptible(_KEPT):
        trials = study.design()
        left = sum(not trial.is_done(study.folder) for trial in trials)
        hours = study.seconds_left() / 3600
        console.print(f"{left} trials left, trainings of {hours:.2f} hours in one process")
        if dry_run:
            report = study.report(study.results())
        else:
            with progress(study.name, len(trials)) as tick:
                report = study.run(tick)
    if report.sizes:
        names = ("value", "reference", "difference", "low", "high")
        facts = [name for name in ("parameters", "steps") if name in report]
        frame = report[[*names, *facts]].to_dataframe().dropna(subset=["value"]).reset_index()
        for score in ("acc", "rmse"):
            console.print(_scores_table(frame[frame["field"] == "z500"], score, labels))
        console.print(f"all fields and days: {study.folder}/{study.name}*.csv and .png")
    if as_json:
        rows = _rows(report.to_dataframe().reset_index()) if report.sizes else []
        emit_json({"plan": study.plan(), "rows": rows})
    return report


def _scores_table(frame: pd.DataFrame, score: str, labels: Sequence[str]) -> Table:
    """Return the values of a score and their differences, days across."""
    part = frame[frame["score"] == score]
    days = [day for day in sorted(part["day"].unique()) if day in (1, 3, 5, 7, 10)]
    digits = 3 if score == "acc" else 1
    table: list[tuple[str, ...]] = []
    for names, rows in part.groupby(list(labels), sort=False):
        cells: list[str] = []
        for row in rows[rows["day"].isin(days)].to_dict("records"):
            low, high = row["low"], row["high"]
            cells.append(
                f"{row['value']:.{digits}f} {row['difference']:+.{digits}f} "
                f"[{low:+.{digits}f}, {high:+.{digits}f}]{'*' if low > 0 or high < 0 else ''}"
            )
        texts = (f"{name:,.0f}" if isinstance(name, float) else str(name) for name in names)
        table.append((*texts, *cells))
    title = f"z500 {score.upper()}: value, difference [95 %]; * the interval excludes 0"
    return make_table((*labels, *(f"day {day}" for day in days)), table, title)


def _equivariance_tables(report: xr.Dataset) -> tuple[Table, Table]:
    """Return the errors in float64, and those of the mean of some members."""
    exact = report["exact"].max("exact_day").sel(way=["single", "averaged"])
    by_element = exact.to_series().unstack("element").reset_index()
    names = ["error", "low_error", "high_error", "expected", "common"]
    means = report[names].sel(day=1).to_dataframe().dropna(subset=["error"]).reset_index()
    return (
        _frame_table(by_element, "Equivariance error in float64, largest of days", ".1e"),
        _frame_table(
            means[["models", "members", *names]],
            "Error of the mean of n members on day 1, its range over subsets, one / √n, in common",
            ".4f",
        ),
    )


def _frame_table(frame: pd.DataFrame, title: str, digits: str) -> Table:
    rows = [
        [f"{cell:{digits}}" if isinstance(cell, float) else cell for cell in row.values()]
        for row in frame.to_dict("records")
    ]
    return make_table([*map(str, frame.columns)], rows, title)


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a table as JSON can hold them."""
    rows: list[dict[str, object]] = json.loads(frame.to_json(orient="records"))
    return rows
