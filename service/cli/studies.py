"""``pear study``: comparisons that train or run several networks for minutes to days."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from pear.errors import InputError
from pear.typing import Times
from service.cli.console import console, emit_json, emit_table, interruptible, progress
from service.cli.options import (
    DURATION,
    LIST,
    NUMBERS,
    PERIOD,
    TIMES,
    CommaList,
    Duration,
    Json,
    Numbers,
    Period,
    examples,
    parse_period,
    parse_times,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from pipelines.studies.study import TrainingStudy

_DESCRIPTIONS = {
    "ablation": "Change one design choice at a time, at equal time and at equal parameters.",
    "pangu": "Compare PEAR with Pangu on a regular grid, trained alike.",
    "symmetrisation": "Average over the symmetry group and over augmented members.",
    "stability": "Compare the variability of long forecasts with that of the analyses.",
}
_PERIOD = parse_period("2000-01-01..2004-12-31")
_INIT, _SPARSE_INIT = "2006-01-01..2006-12-20/5d", "2006-01-01..2006-12-20/10d"
_WEEK, _TEN_DAYS, _MONTH = Duration(168), Duration(240), Duration(720)
_SEEDS = Numbers(range(3))
_MANY_SEEDS = Numbers(range(8))
_AXES = CommaList(("time", "parameters"))
_BUDGETS = CommaList(("time", "steps"))
_KEPT = "finished trials are kept; run the same command again to continue"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Comparisons of networks, of minutes to days; resumable, shared among processes.",
)

AnalysisStore = Annotated[
    Path, typer.Option("--analysis", metavar="STORE", help="Analysis store, a path.")
]
ClimatologyStore = Annotated[
    Path,
    typer.Option("--climatology", metavar="STORE", help="Climatology of the training years."),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Folder of the study; several processes may work in one.",
    ),
]
TrainingPeriod = Annotated[
    Period, typer.Option("--period", parser=PERIOD, metavar="A..B", help="Training period.")
]
Init = Annotated[
    Times | None,
    typer.Option(
        "--init",
        parser=TIMES,
        metavar="A..B/5d",
        help="Init times of the verification (default: every 5 or 10 days of 2006).",
    ),
]
Lead = Annotated[
    Duration,
    typer.Option("--lead", parser=DURATION, metavar="DURATION", help="Longest lead time."),
]
Minutes = Annotated[
    float, typer.Option(min=0.01, metavar="N", help="Length of a training at equal time.")
]
Seeds = Annotated[
    Numbers,
    typer.Option("--seeds", parser=NUMBERS, metavar="LIST", help="Seeds; more may be added later."),
]
Embed = Annotated[int, typer.Option(min=32, metavar="N", help="Width of the networks.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Time the networks, estimate the duration, and stop.")
]


@app.command("list", epilog=examples("pear study list", "pear study list --json"))
def list_studies(*, as_json: Json = False) -> None:
    """List the studies."""
    if as_json:
        emit_json([{"name": name, "help": text} for name, text in _DESCRIPTIONS.items()])
    else:
        emit_table(("study", "compares"), list(_DESCRIPTIONS.items()))


@app.command(
    help=_DESCRIPTIONS["ablation"] + "\n\nWrites ablation.csv and ablation.png with intervals. "
    "To use several cores, run the same command several times with OMP_NUM_THREADS=1.",
    epilog=examples(
        "pear study ablation --analysis era5.zarr --climatology c.zarr -o ablation",
        "pear study ablation --analysis era5.zarr --climatology c.zarr -o a --arms c4h",
    ),
)
def ablation(
    *,
    analysis: AnalysisStore,
    climatology: ClimatologyStore,
    output: Output,
    period: TrainingPeriod = _PERIOD,
    init: Init = None,
    lead: Lead = _WEEK,
    minutes: Minutes = 5.0,
    seeds: Seeds = _SEEDS,
    embed: Embed = 128,
    arms: Annotated[
        CommaList | None,
        typer.Option(parser=LIST, metavar="LIST", help="Arms, e.g. c4h,patch4 (default: all)."),
    ] = None,
    axes: Annotated[
        CommaList, typer.Option(parser=LIST, metavar="LIST", help="time, parameters, or both.")
    ] = _AXES,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train and compare the arms."""
    from pipelines.studies.ablation import ARMS, Ablation

    common = _common(analysis, climatology, output, period, init, lead, minutes, seeds, embed)
    study = Ablation(**common, arms=tuple(arms or ARMS), axes=tuple(axes))
    _run(study, ("axis", "arm", "parameters", "steps"), dry_run=dry_run, as_json=as_json)


@app.command(
    help=_DESCRIPTIONS["pangu"] + "\n\nWrites pangu.csv and pangu.png with intervals. "
    "To use several cores, run the same command several times with OMP_NUM_THREADS=1.",
    epilog=examples(
        "pear study pangu era5/*.nc --analysis era5.zarr --climatology c.zarr -o pangu",
        "pear study pangu era5/*.nc --analysis era5.zarr --climatology c.zarr -o p --dry-run",
    ),
)
def pangu(
    *,
    sources: Annotated[list[Path], typer.Argument(help="Files that the store was made from.")],
    analysis: AnalysisStore,
    climatology: ClimatologyStore,
    output: Output,
    period: TrainingPeriod = _PERIOD,
    init: Init = None,
    lead: Lead = _TEN_DAYS,
    minutes: Minutes = 5.0,
    seeds: Seeds = _SEEDS,
    embed: Embed = 128,
    budgets: Annotated[
        CommaList,
        typer.Option(parser=LIST, metavar="LIST", help="Equal time, steps, or both."),
    ] = _BUDGETS,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train and compare both networks."""
    from pipelines.studies.pangu import PanguStudy

    common = _common(analysis, climatology, output, period, init, lead, minutes, seeds, embed)
    study = PanguStudy(**common, sources=tuple(sources), budgets=tuple(budgets))
    _run(study, ("budget", "grid"), dry_run=dry_run, as_json=as_json)


@app.command(
    help=_DESCRIPTIONS["symmetrisation"] + "\n\nWrites symmetrisation-errors.csv, "
    "symmetrisation-scores.csv and symmetrisation.png. To use several cores, run the same "
    "command several times with OMP_NUM_THREADS=1.",
    epilog=examples(
        "pear study symmetrisation --analysis era5.zarr --climatology c.zarr -o sym",
        "pear study symmetrisation --analysis era5.zarr --climatology c.zarr -o s --model m",
    ),
)
def symmetrisation(
    *,
    analysis: AnalysisStore,
    climatology: ClimatologyStore,
    output: Output,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Trained model to measure as well.")
    ] = None,
    period: TrainingPeriod = _PERIOD,
    init: Init = None,
    lead: Lead = _WEEK,
    minutes: Minutes = 1.0,
    seeds: Seeds = _MANY_SEEDS,
    embed: Embed = 64,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train members with and without augmentation, and average them."""
    from pipelines.studies.symmetrisation_study import SymmetrisationStudy

    init = parse_times(_SPARSE_INIT) if init is None else init
    common = _common(analysis, climatology, output, period, init, lead, minutes, seeds, embed)
    study = SymmetrisationStudy(**common, model=model)
    report = _run(study, ("models", "way"), dry_run=dry_run, as_json=as_json)
    if report is not None and report.sizes:
        console.print(*_equivariance_tables(report))


@app.command(
    help=_DESCRIPTIONS["stability"] + " Exit status 1 if a ratio leaves its bounds.",
    epilog=examples(
        "pear study stability --model m --analysis era5.zarr --init 2019-01-01..2019-12-01/30d",
        "pear study stability --model m --analysis era5.zarr --init 2019-01-01 --lead 60d",
    ),
)
def stability(
    *,
    model: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the model.")],
    analysis: AnalysisStore,
    init: Annotated[
        Times, typer.Option(parser=TIMES, metavar="A..B/30d", help="Init times of the forecasts.")
    ],
    lead: Lead = _MONTH,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the study (default: nothing is kept)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare variance and spectra of long forecasts with those of the analyses."""
    from pipelines.studies.stability import BANDS, StabilityStudy

    with ExitStack() as stack:
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        study = StabilityStudy(
            folder=folder, store=analysis, inits=init, model=model, days=lead.hours // 24
        )
        stack.enter_context(interruptible(_KEPT if output else "nothing is kept"))
        report = study.run(stack.enter_context(progress("stability", len(init))))
    stable = bool(report["stable"].all())
    if as_json:
        emit_json({"stable": stable, "rows": _rows(report.to_dataframe().reset_index())})
    table = Table(title=f"forecast / analysis, {len(init)} forecasts", title_justify="left")
    for heading in ("field", "day", "spread", *BANDS, ""):
        table.add_column(heading)
    for field in report["field"].values:
        for day in report["day"].values:
            part = report.sel(field=field, day=day)
            powers = [f"{power:.2f}" for power in part["power"].values]
            powers += [""] * (len(BANDS) - len(powers))
            mark = "" if part["stable"] else "out of bounds"
            table.add_row(field, str(day), f"{part['spread'].item():.3f}", *powers, mark)
    console.print(table, "stable" if stable else "not stable")
    if not stable:
        raise typer.Exit(1)


def _common(
    analysis: Path,
    climatology: Path,
    output: Path,
    period: Period,
    init: Times | None,
    lead: Duration,
    minutes: float,
    seeds: Numbers,
    embed: int,
) -> dict[str, Any]:
    """Return the attributes that all training studies have."""
    init = parse_times(_INIT) if init is None else init
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
    from pear.device import keep_memory

    keep_memory()
    trials = study.design()
    left = sum(not trial.is_done(study.folder) for trial in trials)
    hours = study.seconds_left() / 3600
    console.print(f"{left} trials left, trainings of {hours:.2f} hours in one process")
    if dry_run:
        report = study.report(study.results())
    else:
        with interruptible(_KEPT), progress(study.name, len(trials)) as tick:
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
    table = Table(
        title=f"z500 {score.upper()}: value, difference [95 %]; * the interval excludes 0",
        title_justify="left",
    )
    for heading in (*labels, *(f"day {day}" for day in days)):
        table.add_column(heading)
    digits = 3 if score == "acc" else 1
    for names, rows in part.groupby(list(labels), sort=False):
        cells: list[str] = []
        for row in rows[rows["day"].isin(days)].to_dict("records"):
            low, high = row["low"], row["high"]
            cells.append(
                f"{row['value']:.{digits}f} {row['difference']:+.{digits}f} "
                f"[{low:+.{digits}f}, {high:+.{digits}f}]{'*' if low > 0 or high < 0 else ''}"
            )
        texts = (f"{name:,.0f}" if isinstance(name, float) else str(name) for name in names)
        table.add_row(*texts, *cells)
    return table


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
    table = Table(*map(str, frame.columns), title=title, title_justify="left")
    for row in frame.to_dict("records"):
        table.add_row(
            *(f"{cell:{digits}}" if isinstance(cell, float) else str(cell) for cell in row.values())
        )
    return table


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a table as JSON can hold them."""
    rows: list[dict[str, object]] = json.loads(frame.to_json(orient="records"))
    return rows
