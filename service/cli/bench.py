"""``pear bench``: measure PEAR on this machine."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from pear.errors import InputError
from service.cli import console

if TYPE_CHECKING:
    from pipelines.benchmarks.equivariance import EquivarianceReport
    from pipelines.benchmarks.step import ModelReport

bench = typer.Typer(
    name="bench",
    help="Measure PEAR on this machine: speed, memory, symmetry.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.add_typer(bench)


@bench.command("model")
def model(
    config: str = typer.Option("published", help="Configuration: published, small or base."),
    changes: str = typer.Option("{}", "--set", help="Changes to it, as a JSON object."),
    nside: int = typer.Option(64, help="Resolution of the cells."),
    dtype: str = typer.Option("float32", help="float32 or bfloat16."),
    threads: int | None = typer.Option(None, help="Threads; torch's choice if not given."),
    train: bool = typer.Option(False, "--train", help="A training step, not a forecast step."),
    compiled: bool = typer.Option(False, "--compile", help="Run through torch.compile."),
    repetitions: int = typer.Option(5, help="Steps that are timed; the best one counts."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
) -> None:
    """Time one step of a network beside the published reference and the machine's best rate."""
    from pipelines.benchmarks.step import Task, measure_model

    if dtype not in ("float32", "bfloat16"):
        raise InputError(
            f"dtype {dtype!r} is not measured", field="--dtype", hint="use float32 or bfloat16"
        )
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
    with console.progress("steps", total=processes * (repetitions + 1) + 1) as tick:
        report = measure_model(task, repetitions, tick)
    if as_json:
        console.emit_json(report.to_dict())
    else:
        console.console.print(_model_table(report))


@bench.command("serve")
def serve(
    data: Path = typer.Option(..., "--data", help="Data folder with a finished forecast."),
    seconds: float = typer.Option(5.0, min=0.5, max=600, help="Length of each load."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
) -> None:
    """Time the service's answers beside an empty handler, also while a forecast runs."""
    from pipelines.benchmarks.http import STAGES, measure_service
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    with console.progress("loads", total=STAGES) as tick:
        report = measure_service(folder.root, seconds, tick)
    if as_json:
        console.emit_json(report.to_dict())
        return
    rows = Table("", "rate a second", "p50 ms", "p99 ms", "errors")
    for name, load in (
        ("empty handler", report.empty),
        ("cached point", report.point),
        ("cached point, half rate, rollout", report.steady),
    ):
        rows.add_row(
            name, f"{load.rate:.0f}", f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}", str(load.errors)
        )
    console.console.print(rows)
    console.console.print(
        f"cached point / empty handler {report.ratio:.2f}; rollout running: {report.rollout}; "
        f"healthz p99 {report.health_p99_ms:.1f} ms\nfield {report.field_ms:.1f} ms, again "
        f"{report.field_cached_ms:.1f} ms; map {report.map_ms:.0f} ms, again "
        f"{report.map_cached_ms:.1f} ms; first page {report.page_ms:.0f} ms",
        highlight=False,
    )


@bench.command("regrid")
def regrid(
    rows: int = typer.Option(721, min=3, help="Rows of the fields, from pole to pole."),
    columns: int = typer.Option(1440, min=4, help="Columns of the fields."),
    fields: int = typer.Option(65, min=1, help="Fields to regrid."),
    nside: int = typer.Option(64, help="Resolution of the cells."),
    repetitions: int = typer.Option(3, min=1, help="Turns; the best of each counts."),
    times: int = typer.Option(8, min=1, help="Times of the ingestion that is measured."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
) -> None:
    """Time regridding beside xarray.interp, and a whole ingestion beside only reading."""
    from pipelines.benchmarks.regridding import (
        forty_years,
        measure_ingestion,
        measure_regrid,
        to_dict,
    )

    with console.progress("turns", total=2 * repetitions) as tick:
        one = measure_regrid(rows, columns, fields, nside, repetitions, tick=tick)
        two = measure_ingestion(rows, columns, times, nside, repetitions, tick=tick)
    size = forty_years(two)
    if as_json:
        console.emit_json(
            {"regrid": to_dict(one), "ingestion": to_dict(two), "forty_years": to_dict(size)}
        )
        return
    console.console.print(
        f"{fields} fields of {rows} x {columns} to nside {nside}: xarray.interp "
        f"{one.xarray_interp:.2f} s, pear {one.pear:.2f} s, {one.speedup:.1f} times faster; "
        f"largest difference {one.largest_difference:.1e}\n{two.fields} fields: only reading "
        f"{two.reading:.2f} s, whole ingestion {two.ingesting:.2f} s, ratio {two.ratio:.2f} "
        f"({two.ratio_cpu:.2f} in processor seconds)\nforty years of 6-hourly ERA5, {size.fields} "
        f"such fields: {size.worker_hours:.1f} hours of one worker, {size.terabytes_read:.1f} TB "
        f"read ({size.megabytes_per_second:.0f} MB/s a worker), {size.terabytes_written:.2f} TB "
        "written",
        highlight=False,
    )


@bench.command("equivariance")
def equivariance(
    nside: int = typer.Option(32, help="Resolution of the networks with random weights."),
    step: float = typer.Option(3.0, help="Degrees between the rotations about the pole."),
    checkpoint: list[Path] = typer.Option(
        [], help="Measure these models instead; give the folder of each."
    ),
    out: Path = typer.Option(Path("equivariance.png"), help="Where the picture goes."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
) -> None:
    """Show the error of the published network and of our own under the symmetries of the grid."""
    from pear.models.checkpoint import load
    from pipelines.benchmarks.equivariance import draw, measure_equivariance, random_models

    if not out.parent.is_dir():
        raise InputError(f"no such folder: {out.parent}", field="--out")
    if checkpoint:
        models = {folder.name: load(folder).model for folder in checkpoint}
    else:
        models = random_models(nside)
    with console.progress("rotations", total=round(360 / step) if step > 0 else None) as tick:
        report = measure_equivariance(models, step, tick=tick)
    draw(report, out)
    if as_json:
        console.emit_json({**report.to_dict(), "picture": str(out)})
    else:
        console.console.print(_equivariance_table(report), f"picture: {out}")


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
        raise InputError(f"--set is no JSON: {error}", field="--set") from error
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
