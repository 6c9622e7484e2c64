"""``pear bench``: speed, memory and symmetry of PEAR on this machine, in seconds to minutes."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from pear.errors import InputError
from pear.models.checkpoint import load
from pipelines.benchmarks.busy import WORKS, BusyRow, measure_busy
from pipelines.benchmarks.equivariance import (
    EquivarianceReport,
    draw,
    measure_equivariance,
    random_models,
)
from pipelines.benchmarks.http import STAGES, measure_service
from pipelines.benchmarks.mixing import KINDS, MixingTask, measure_mixing
from pipelines.benchmarks.regridding import forty_years, measure_ingestion, measure_regrid
from pipelines.benchmarks.rollout import measure_rollout
from pipelines.benchmarks.soak import SAMPLE_SECONDS, draw_soak, measure_soak
from pipelines.benchmarks.step import ModelReport, Task, measure_model
from pipelines.storage.data_folder import DataFolder
from service.cli import options as opt
from service.cli.console import console, emit_json, make_table, progress
from service.cli.models import checkpoint_folder

app = typer.Typer(add_completion=False, no_args_is_help=True)
Repetitions = Annotated[int, opt.count_option(help="Repetitions; the best one counts.")]
_PICTURE = Path("equivariance.png")
_SOAK_PICTURE = Path("soak.png")


@app.command("model")
def model(
    *,
    config: Annotated[
        Literal["published", "small", "base"], typer.Option(help="Configuration of the network.")
    ] = "published",
    changes: Annotated[
        str, typer.Option("--set", metavar="JSON", help="Changed settings, a JSON object.")
    ] = "{}",
    nside: opt.Nside = 64,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Number format of the network.")
    ] = "float32",
    threads: opt.Threads = None,
    train: Annotated[bool, typer.Option("--train", help="Measure a training step.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    repetitions: Repetitions = 5,
    as_json: opt.Json = False,
) -> None:
    """Time one step of a network beside the published reference and the machine's best rate.

    Examples
    --------
    $ pear bench model
    $ pear bench model --config small --nside 16 --train
    """
    task = Task(
        config=config,
        changes=opt.parse_json(changes, "--set"),
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


@app.command("mixing")
def mixing(
    *,
    nside: Annotated[int, typer.Option(min=1, metavar="N", help="Resolution of the tokens.")] = 4,
    depths: Annotated[int, typer.Option(min=2, metavar="N", help="Tokens above each other.")] = 8,
    features: Annotated[int, typer.Option(min=2, metavar="N", help="Width of the blocks.")] = 128,
    symmetry: Annotated[Literal["r", "c4h"], typer.Option(help="Symmetry of the features.")] = "r",
    repetitions: Repetitions = 10,
    as_json: opt.Json = False,
) -> None:
    """Time a block by each way of mixing tokens, and its MLP alone.

    Attention in windows, stencils of neighbours, filters of spherical harmonics.

    Milliseconds of one processor, for the output and with gradients.

    Examples
    --------
    $ pear bench mixing
    $ pear bench mixing --nside 8 --features 96 --symmetry c4h
    """
    task = MixingTask(nside, depths, features, symmetry)
    with progress("blocks", total=len(KINDS)) as tick:
        found = measure_mixing(task, repetitions, tick)
    if as_json:
        emit_json({**asdict(task), "blocks": [asdict(each) for each in found]})
        return
    rows = [
        (each.kind, f"{each.forward_ms:.2f}", f"{each.training_ms:.2f}", f"{each.parameters:,}")
        for each in found
    ]
    title = f"One block, {depths} depths of nside {nside}, {features} features, {symmetry}"
    console.print(make_table(("", "forward ms", "with gradients ms", "parameters"), rows, title))


@app.command("serve")
def serve(
    *,
    data: opt.Data,
    seconds: Annotated[
        float, typer.Option(min=0.5, max=600, metavar="N", help="Length of each load.")
    ] = 5.0,
    as_json: opt.Json = False,
) -> None:
    """Time the service's responses beside an empty handler, also while a forecast runs.

    The data folder needs a finished forecast, as `pear demo --once` makes one.

    Examples
    --------
    $ pear bench serve --data pear-data
    $ pear bench serve --data d --seconds 30
    """
    folder = DataFolder.open(data)
    with progress("loads", total=STAGES) as tick:
        report = measure_service(folder.root, seconds, tick)
    if as_json:
        emit_json(report.to_dict())
        return
    rows = [
        (name, f"{rate.rate:.0f}", f"{rate.p50_ms:.2f}", f"{rate.p99_ms:.2f}", rate.errors)
        for name, rate in (
            ("empty handler", report.empty),
            ("cached point", report.point),
            ("cached point, half rate, rollout", report.steady),
        )
    ]
    console.print(make_table(("", "requests/s", "p50 ms", "p99 ms", "errors"), rows))
    console.print(
        f"cached point / empty handler {report.ratio:.2f}; rollout running: {report.rollout}; "
        f"healthz p99 {report.health_p99_ms:.1f} ms\nfield {report.field_ms:.1f} ms, again "
        f"{report.field_cached_ms:.1f} ms; map {report.map_ms:.0f} ms, again "
        f"{report.map_cached_ms:.1f} ms; first page {report.page_ms:.0f} ms\n"
        f"tiles a second, one core: {report.tiles_first:.0f} of new places, {report.tiles:.0f} of "
        f"the same at other times; EDR area {report.area_ms:.1f} ms",
        highlight=False,
    )


@app.command("soak")
def soak(
    *,
    data: opt.Data,
    minutes: Annotated[
        float, typer.Option(min=0.1, max=1440, metavar="N", help="Length of the load.")
    ] = 120.0,
    clients: Annotated[
        int, typer.Option(min=1, max=256, metavar="N", help="Clients at the same time.")
    ] = 8,
    rollout: Annotated[
        float, typer.Option(min=1, metavar="S", help="Seconds between two forecasts.")
    ] = 20.0,
    output: opt.Picture = _SOAK_PICTURE,
    as_json: opt.Json = False,
) -> None:
    """Show the memory of the service over time under mixed load.

    The data folder needs a finished forecast, as `pear demo --once` makes one; the forecasts of
    the load stay in it. The samples are written as JSON beside the picture.

    Examples
    --------
    $ pear bench soak --data pear-data --minutes 120
    """
    if not output.parent.is_dir():
        raise InputError(f"no such folder: {output.parent}", field="--output")
    folder = DataFolder.open(data)
    with progress("samples", total=round(60 * minutes / SAMPLE_SECONDS)) as tick:
        report = measure_soak(
            folder.root, minutes, clients=clients, rollout_seconds=rollout, tick=tick
        )
    draw_soak(report, output)
    output.with_suffix(".json").write_text(json.dumps(report.to_dict()))
    if as_json:
        emit_json({**report.to_dict(), "picture": str(output)})
        return
    rows = [(name, number) for name, number in report.answers.items()]
    console.print(make_table(("responses", "number"), rows))
    console.print(
        f"service with its processes for maps and downloads: settled at "
        f"{report.settled / 1e6:.0f} MB, at most {report.peak / 1e6:.0f} MB, growing by "
        f"{report.growth / 1e6:+.0f} MB an hour; {report.errors} errors\nplot: {output}",
        highlight=False,
    )


@app.command("regrid")
def regrid(
    *,
    rows: Annotated[
        int, typer.Option(min=3, metavar="N", help="Rows of a field, from pole to pole.")
    ] = 721,
    columns: Annotated[int, typer.Option(min=4, metavar="N", help="Columns of a field.")] = 1440,
    fields: Annotated[int, opt.count_option(help="Fields to regrid.")] = 65,
    nside: opt.Nside = 64,
    repetitions: Repetitions = 3,
    times: Annotated[int, opt.count_option(help="Times of the ingestion measured.")] = 8,
    as_json: opt.Json = False,
) -> None:
    """Time regridding beside xarray.interp, and a whole ingestion beside reading alone.

    Examples
    --------
    $ pear bench regrid
    $ pear bench regrid --rows 181 --columns 360 --nside 16
    """
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


@app.command("rollout")
def rollout(
    *,
    nside: opt.Nside = 64,
    steps: Annotated[int, opt.count_option(help="Steps of a rollout.")] = 10,
    rounds: Annotated[int, opt.count_option(max=20, help="Repetitions; the best one counts.")] = 3,
    runs: Annotated[int, typer.Option(min=2, metavar="N", help="Runs of the batch.")] = 4,
    threads: opt.Threads = None,
    as_json: opt.Json = False,
) -> None:
    """Time forecasts of a network of the published size, with everything written, and workers.

    Examples
    --------
    $ pear bench rollout
    $ pear bench rollout --nside 16 --steps 5 --json
    """
    with console.status("measuring") as status:
        report = measure_rollout(nside, steps, rounds, threads, runs, status.update)
    if as_json:
        emit_json(report.to_dict())
        return
    rows = (
        ("bare model steps, s", f"{report.bare_seconds:.2f}"),
        ("the same, everything written, s", f"{report.written_seconds:.2f}"),
        ("written / bare", f"{report.ratio:.2f}"),
        ("request to first step, warm, s", f"{report.first_step_seconds:.2f}"),
        ("one worker, one thread, steps/s", f"{report.one_worker_rate:.2f}"),
        ("two workers, one thread each, steps/s", f"{report.two_workers_rate:.2f}"),
        ("four workers, one thread each, steps/s", f"{report.four_workers_rate:.2f}"),
        ("two / one", f"{report.speed_up:.2f}"),
        ("four / one", f"{report.speed_up_four:.2f}"),
    )
    console.print(make_table(("", ""), rows, f"rollout of {steps} steps at nside {nside}"))


@app.command("busy")
def busy(
    *,
    counts: Annotated[
        opt.Numbers | None,
        opt.numbers_option("--busy", help="Busy processes beside PEAR (default: 0,1,2,4)."),
    ] = None,
    works: Annotated[
        opt.CommaList | None,
        opt.list_option("--work", help="demo, rollout, service, training (default: all)."),
    ] = None,
    nside: opt.Nside = 64,
    as_json: opt.Json = False,
) -> None:
    """Time PEAR beside busy processes, which it starts itself, and compare with the fair share.

    Examples
    --------
    $ pear bench busy
    $ pear bench busy --busy 2 --work rollout --nside 16
    """

    def show(row: BusyRow) -> None:
        # What is measured stays readable when a later row is interrupted.
        console.print(f"{row.work} beside {row.busy}: {row.seconds:.1f} s, ratio {row.ratio:.2f}")

    with console.status("measuring") as status:
        rows = measure_busy(works or WORKS, counts or (0, 1, 2, 4), nside, status.update, show)
    if as_json:
        emit_json({"rows": [row.to_dict() for row in rows]})
        return
    columns = ("", "busy", "seconds", "slowdown", "fair share", "ratio")
    shown = [
        (r.work, r.busy, *(f"{x:.2f}" for x in (r.seconds, r.slowdown, r.fair, r.ratio)))
        for r in rows
    ]
    console.print(make_table(columns, shown, "PEAR beside busy processes"))


@app.command("equivariance")
def equivariance(
    *,
    nside: opt.Nside = 32,
    step: Annotated[
        float, typer.Option(metavar="X", help="Degrees between the rotations about the pole.")
    ] = 3.0,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            metavar="DIR",
            help="Checkpoint folder, or shipped (default: random); repeat for several.",
        ),
    ] = None,
    output: opt.Picture = _PICTURE,
    as_json: opt.Json = False,
) -> None:
    """Show the error of the published network and of PEAR under the symmetries of the grid.

    Examples
    --------
    $ pear bench equivariance --nside 16 --step 15
    $ pear bench equivariance --model runs/a/checkpoint --model runs/b/checkpoint -o e.png
    """
    if not output.parent.is_dir():
        raise InputError(f"no such folder: {output.parent}", field="--output")
    networks = {
        path.name: load(checkpoint_folder(path)).model for path in models or ()
    } or random_models(nside)
    with progress("rotations", total=round(360 / step) if step > 0 else None) as tick:
        report = measure_equivariance(networks, step, tick=tick)
    draw(report, output)
    if as_json:
        emit_json({**report.to_dict(), "picture": str(output)})
    else:
        console.print(_equivariance_table(report), f"plot: {output}")


def _equivariance_table(report: EquivarianceReport) -> Table:
    between = [abs(angle % 90) > 1e-6 for angle in report.angles]
    rows = []
    for name, errors in {**report.rotated, "interpolation alone": report.interpolation}.items():
        exact = report.exact.get(name, {})
        quarter = [e for e, other in zip(errors, between, strict=True) if not other]
        others = [e for e, other in zip(errors, between, strict=True) if other]
        rows.append(
            (
                name,
                *(f"{exact[g]:.1e}" if g in exact else "" for g in ("R", "M", "RM")),
                f"{max(quarter):.1e}" if quarter else "",
                f"{statistics.median(others):.3f}" if others else "",
                f"{max(others):.3f}" if others else "",
            )
        )
    columns = ("", "R", "M", "RM", "at 90°", "median elsewhere", "largest")
    return make_table(columns, rows, f"Equivariance error, nside {report.nside}")


def _model_table(report: ModelReport) -> Table:
    task = report.task
    rows = [
        (
            name,
            f"{run['seconds']:.3f}",
            f"{run['flop'] / 1e9:.1f}",
            f"{run['flop_per_second'] / 1e9:.0f}",
            f"{run['parameters']:,}",
            f"{run['peak_memory_bytes'] / 2**20:.0f}",
            f"{run['peak_memory_of_steps_bytes'] / 2**20:.0f}",
        )
        for name, run in report.runs.items()
    ]
    rows += [
        (f"machine, {name}", "", "", f"{rate / 1e9:.0f}", "", "", "")
        for name, rate in report.machine.items()
    ]
    lines = [f"{name} {value:.3g}" for name, value in report.ratios.items()]
    lines += [f"differs from {name} by {value:.1e}" for name, value in report.differences.items()]
    return make_table(
        ("", "seconds", "GFLOP", "GFLOP/s", "parameters", "peak MiB", "above start"),
        rows,
        f"{task.config}, nside {task.nside}: one {'training step' if task.train else 'step'}",
        " · ".join(lines),
    )
