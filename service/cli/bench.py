"""``pear bench``: speed, memory and symmetry of PEAR on this machine, in seconds to minutes."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from pear.errors import InputError
from service.cli.console import console, emit_json, progress
from service.cli.options import Data, Json, examples

if TYPE_CHECKING:
    from pipelines.benchmarks.equivariance import EquivarianceReport
    from pipelines.benchmarks.step import ModelReport

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Measure PEAR on this machine: speed, memory, symmetry.",
)

Nside = Annotated[int, typer.Option("--nside", metavar="N", help="HEALPix resolution.")]


@app.command(
    "model",
    epilog=examples("pear bench model", "pear bench model --config small --nside 16 --train"),
)
def model(
    *,
    config: Annotated[
        Literal["published", "small", "base"], typer.Option(help="Configuration of the network.")
    ] = "published",
    changes: Annotated[
        str, typer.Option("--set", metavar="JSON", help="Changed settings, a JSON object.")
    ] = "{}",
    nside: Nside = 64,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Number format of the network.")
    ] = "float32",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads (default: torch's choice).")
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Measure a training step.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    repetitions: Annotated[
        int, typer.Option(min=1, metavar="N", help="Steps measured; the best one counts.")
    ] = 5,
    as_json: Json = False,
) -> None:
    """Time one step of a network beside the published reference and the machine's best rate."""
    from pipelines.benchmarks.step import Task, measure_model

    task = Task(
        config=config,
        changes=_settings(changes),
        nside=nside,
        dtype=dtype,
        threads=threads,
        train=train,
        compiled=compiled,
    )
    processes = 3 if dtype == "float32" else 4
    with progress("steps", total=processes * (repetitions + 1) + 1) as tick:
        report = measure_model(task, repetitions, tick)
    if as_json:
        emit_json(report.to_dict())
    else:
        console.print(_model_table(report))


@app.command(
    "serve",
    epilog=examples("pear bench serve --data pear-data", "pear bench serve --data d --seconds 30"),
)
def serve(
    *,
    data: Data,
    seconds: Annotated[
        float, typer.Option(min=0.5, max=600, metavar="N", help="Length of each load.")
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Time the service's responses beside an empty handler, also while a forecast runs.

    The data folder needs a finished forecast, as `pear demo --once` makes one.
    """
    from pipelines.benchmarks.http import STAGES, measure_service
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    with progress("loads", total=STAGES) as tick:
        report = measure_service(folder.root, seconds, tick)
    if as_json:
        emit_json(report.to_dict())
        return
    rows = Table("", "requests/s", "p50 ms", "p99 ms", "errors")
    for name, load in (
        ("empty handler", report.empty),
        ("cached point", report.point),
        ("cached point, half rate, rollout", report.steady),
    ):
        rows.add_row(
            name, f"{load.rate:.0f}", f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}", str(load.errors)
        )
    console.print(rows)
    console.print(
        f"cached point / empty handler {report.ratio:.2f}; rollout running: {report.rollout}; "
        f"healthz p99 {report.health_p99_ms:.1f} ms\nfield {report.field_ms:.1f} ms, again "
        f"{report.field_cached_ms:.1f} ms; map {report.map_ms:.0f} ms, again "
        f"{report.map_cached_ms:.1f} ms; first page {report.page_ms:.0f} ms",
        highlight=False,
    )


@app.command(
    "regrid",
    epilog=examples("pear bench regrid", "pear bench regrid --rows 181 --columns 360 --nside 16"),
)
def regrid(
    *,
    rows: Annotated[
        int, typer.Option(min=3, metavar="N", help="Rows of a field, from pole to pole.")
    ] = 721,
    columns: Annotated[int, typer.Option(min=4, metavar="N", help="Columns of a field.")] = 1440,
    fields: Annotated[int, typer.Option(min=1, metavar="N", help="Fields to regrid.")] = 65,
    nside: Nside = 64,
    repetitions: Annotated[
        int, typer.Option(min=1, metavar="N", help="Turns; the best of each counts.")
    ] = 3,
    times: Annotated[
        int, typer.Option(min=1, metavar="N", help="Times of the ingestion measured.")
    ] = 8,
    as_json: Json = False,
) -> None:
    """Time regridding beside xarray.interp, and a whole ingestion beside reading alone."""
    from pipelines.benchmarks.regridding import forty_years, measure_ingestion, measure_regrid

    with progress("turns", total=2 * repetitions) as tick:
        one = measure_regrid((rows, columns), fields, nside, repetitions, tick=tick)
        two = measure_ingestion((rows, columns), times, nside, repetitions, tick=tick)
    size = forty_years(two)
    if as_json:
        reports = {"regrid": asdict(one), "ingestion": asdict(two), "forty_years": asdict(size)}
        emit_json(reports)
        return
    console.print(
        f"{fields} fields of {rows} x {columns} to nside {nside}: xarray.interp "
        f"{one.xarray_interp:.2f} s, pear {one.pear:.2f} s, {one.speedup:.1f} times faster; "
        f"largest difference {one.largest_difference:.1e}\n{two.fields} fields: reading alone "
        f"{two.reading:.2f} s, whole ingestion {two.ingesting:.2f} s, ratio {two.ratio:.2f} "
        f"({two.ratio_cpu:.2f} in processor seconds)\nforty years of 6-hourly ERA5, {size.fields} "
        f"such fields: {size.worker_hours:.1f} hours of one worker, {size.terabytes_read:.1f} TB "
        f"read ({size.megabytes_per_second:.0f} MB/s a worker), {size.terabytes_written:.2f} TB "
        "written",
        highlight=False,
    )


@app.command(
    "rollout",
    epilog=examples("pear bench rollout", "pear bench rollout --nside 16 --steps 5 --json"),
)
def rollout(
    *,
    nside: Nside = 64,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of a rollout.")] = 10,
    rounds: Annotated[
        int, typer.Option(min=1, max=20, metavar="N", help="Turns; the best of each counts.")
    ] = 3,
    runs: Annotated[int, typer.Option(min=2, metavar="N", help="Runs of the batch.")] = 4,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Threads of the single process (default: an engine's)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Time forecasts of a network of the published size, with everything written, and workers."""
    from pipelines.benchmarks.rollout import measure_rollout

    with console.status("measuring") as status:
        report = measure_rollout(nside, steps, rounds, threads, runs, status.update)
    if as_json:
        emit_json(report.to_dict())
        return
    table = Table("", "", title=f"rollout of {steps} steps at nside {nside}")
    table.add_row("bare model steps", f"{report.bare_seconds:.2f} s")
    table.add_row("the same, everything written", f"{report.written_seconds:.2f} s")
    table.add_row("written / bare", f"{report.ratio:.3f}")
    table.add_row("request to first step, warm", f"{report.first_step_seconds:.2f} s")
    table.add_row("one worker, one thread", f"{report.one_worker_rate:.2f} steps/s")
    table.add_row("two workers, one thread each", f"{report.two_workers_rate:.2f} steps/s")
    table.add_row("two / one", f"{report.speed_up:.2f}")
    console.print(table)


@app.command(
    "equivariance",
    epilog=examples(
        "pear bench equivariance --nside 16 --step 15",
        "pear bench equivariance --model runs/a/checkpoint --model runs/b/checkpoint -o e.png",
    ),
)
def equivariance(
    *,
    nside: Nside = 32,
    step: Annotated[
        float, typer.Option(metavar="X", help="Degrees between the rotations about the pole.")
    ] = 3.0,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--model", metavar="DIR", help="Measure this model (default: random networks)."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Plot to write.")
    ] = Path("equivariance.png"),
    as_json: Json = False,
) -> None:
    """Show the error of the published network and of PEAR under the symmetries of the grid."""
    from pear.models.checkpoint import load
    from pipelines.benchmarks.equivariance import draw, measure_equivariance, random_models

    if not output.parent.is_dir():
        raise InputError(f"no such folder: {output.parent}", field="--output")
    if models:
        networks = {folder.name: load(folder).model for folder in models}
    else:
        networks = random_models(nside)
    with progress("rotations", total=round(360 / step) if step > 0 else None) as tick:
        report = measure_equivariance(networks, step, tick=tick)
    draw(report, output)
    if as_json:
        emit_json({**report.to_dict(), "picture": str(output)})
    else:
        console.print(_equivariance_table(report), f"plot: {output}")


def _equivariance_table(report: EquivarianceReport) -> Table:
    table = Table(title=f"Equivariance error, nside {report.nside}")
    for heading in ("", "R", "M", "RM", "at 90°", "other angles, median", "largest"):
        table.add_column(heading, justify="right" if heading else "left")
    between = [abs(angle % 90) > 1e-6 for angle in report.angles]
    rows = {**report.rotated, "interpolation alone": report.interpolation}
    for name, errors in rows.items():
        exact = report.exact.get(name, {})
        quarter = [e for e, other in zip(errors, between, strict=True) if not other]
        others = [e for e, other in zip(errors, between, strict=True) if other]
        table.add_row(
            name,
            *(f"{exact[g]:.1e}" if g in exact else "" for g in ("R", "M", "RM")),
            f"{max(quarter):.1e}" if quarter else "",
            f"{statistics.median(others):.3f}" if others else "",
            f"{max(others):.3f}" if others else "",
        )
    return table


def _settings(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--set is not JSON: {error}", field="--set") from error
    if not isinstance(settings, dict):
        raise InputError(
            f"--set must be a JSON object, got {text!r}",
            field="--set",
            hint="""write --set '{"embed": 96}'""",
        )
    return settings


def _model_table(report: ModelReport) -> Table:
    task = report.task
    kind = "training step" if task.train else "step"
    table = Table(title=f"{task.config}, nside {task.nside}: one {kind}")
    for heading in ("", "seconds", "GFLOP", "GFLOP/s", "parameters", "peak MiB", "above start"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, run in report.runs.items():
        table.add_row(
            name,
            f"{run['seconds']:.3f}",
            f"{run['flop'] / 1e9:.1f}",
            f"{run['flop_per_second'] / 1e9:.0f}",
            f"{run['parameters']:,}",
            f"{run['peak_memory_bytes'] / 2**20:.0f}",
            f"{run['peak_memory_of_steps_bytes'] / 2**20:.0f}",
        )
    for name, rate in report.machine.items():
        table.add_row(f"machine, {name}", "", "", f"{rate / 1e9:.0f}", "", "", "")
    lines = [f"{name} {value:.3g}" for name, value in report.ratios.items()]
    lines += [f"differs from {name} by {value:.1e}" for name, value in report.differences.items()]
    table.caption = " · ".join(lines)
    return table
