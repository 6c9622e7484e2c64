"""``pear demo``: run the whole system once on the embedded simulated atmosphere."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
import xarray as xr

from pear import resources
from pear.store.reader import open_store
from pear.times import as_utc, to_iso
from pear.typing import Float32, Times
from pipelines.catalog import Catalog, Model, Run
from pipelines.catalog.rebuild import enter_evaluations
from pipelines.catalog.scan import add_model, refresh
from pipelines.engine.engine import Engine, EngineConfig
from pipelines.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate_model
from pipelines.storage.data_folder import DataFolder
from service.cli.console import announced, console, emit_json, interruptible, progress
from service.cli.demo_train import Training, ingest_files, side_by_side, timed, train_own
from service.cli.evaluate import show
from service.cli.forecast import watch
from service.cli.options import Json, Output
from service.cli.serve import check_port, run_server
from service.maps import MapOptions, MapTitle, limits_for, render_map, style_of

ANALYSIS: Final = "simulated"
LEAD_HOURS: Final = 240
SERVED_RUNS: Final = 3
MAPPED: Final[tuple[tuple[str, int | None], ...]] = (
    ("geopotential", 500),
    ("temperature", 850),
    ("mean_sea_level_pressure", None),
    ("2m_temperature", None),
)
LEADS: Final = (24, 120, 240)
_FOLDER: Final = Path("pear-data")
SUMMARY_KEYS: Final = ("forecaster", "variable", "level", "lead_days", "acc", "rmse", "mae", "bias")


def demo(
    *,
    output: Output = _FOLDER,
    once: Annotated[bool, typer.Option("--once", help="Stop when done; do not serve.")] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Also simulate, train a model, and compare the two.")
    ] = False,
    minutes: Annotated[
        float,
        typer.Option(
            metavar="N", help="With --train: time for everything; use 30 without bfloat16."
        ),
    ] = 15.0,
    days: Annotated[
        int, typer.Option(metavar="N", help="With --train: simulated days to learn from.")
    ] = 730,
    as_json: Json = False,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, metavar="PORT", help="Port to serve at.")
    ] = 8000,
) -> None:
    """Ingest, forecast 10 days, score, draw and serve the embedded simulated atmosphere.

    Needs no network and no account. What the folder already holds is not computed again.

    Examples
    --------
    $ pear demo
    $ pear demo --once --output DIR --json
    $ pear demo --train
    """
    if not once:
        check_port(host, port)  # before minutes of work, not after
    kept = f"finished stages are kept in {output}; run the same command again to continue"
    with interruptible(kept):
        summary = fill(output, Training(days, minutes=minutes) if train else None)
    _show(summary, output)
    if as_json:
        emit_json(summary.document())
    if not once:
        run_server(output, host=host, port=port)


@dataclass
class Summary:
    """Results of a demo, and the seconds that each part took."""

    model: Model
    inits: Times
    evaluation: Evaluation
    own: tuple[Model, Evaluation] | None = None
    runs: list[str] = field(default_factory=list)
    maps: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the machine-readable summary."""
        return {
            "atmosphere": "simulated",
            "model": {"id": self.model.id, "sha256": self.model.sha256, "nside": self.model.nside},
            "analysis": ANALYSIS,
            "climatology": self.evaluation.about["climatology"],
            "inits": [to_iso(t) for t in self.inits],
            "lead_hours": LEAD_HOURS,
            "scores": _scores(self.evaluation),
            "trained": self.own
            and {
                "id": self.own[0].id,
                "sha256": self.own[0].sha256,
                "evaluation": self.own[1].id,
                "scores": [r for r in _scores(self.own[1]) if r["forecaster"] == "pear"],
            },
            "evaluation": self.evaluation.id,
            "runs": self.runs,
            "maps": self.maps,
            "seconds": {part: round(spent, 2) for part, spent in self.seconds.items()},
        }


def _scores(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {key: record[key] for key in SUMMARY_KEYS}
        for record in evaluation.records
        if record["region"] == "global"
    ]


def fill(out: Path, training: Training | None = None) -> Summary:
    """Fill a data folder from the package data: analysis, climatology, model, runs, scores, maps.

    Parameters
    ----------
    out
        The data folder; what it holds already is kept.
    training
        Also simulate an atmosphere, train a model on it, and score that model.

    Returns
    -------
    Summary
        What was made, and the seconds it took.
    """
    began, seconds = time.perf_counter(), dict[str, float]()
    folder = DataFolder.create(out)
    catalog = Catalog(folder.catalog_url)
    with timed(seconds, "model"):
        model = add_model(folder, catalog, resources.path("checkpoint"), name="pear-simulated")
    with timed(seconds, "ingest"):
        ingest_files(resources.path("sample").glob("*.nc"), folder.analysis(ANALYSIS), model.nside)
        if not folder.climatology(ANALYSIS).exists():
            _copy(resources.path("climatology"), folder.climatology(ANALYSIS))
        refresh(folder, catalog)
    inits = _inits(folder)
    with Engine(folder, EngineConfig(recover_orphans=False)) as engine:
        runs = _submit(engine, model.id, inits)  # computed in other processes meanwhile
        with timed(seconds, "evaluate"):
            evaluation = _evaluate(folder, model.id, inits)
        summary = Summary(model, inits, evaluation, seconds=seconds)
        with timed(seconds, "forecast"):
            summary.runs = _await(engine, runs)
    with timed(seconds, "maps"):
        summary.maps = draw(folder, ANALYSIS, summary.runs[-1])
    if training is not None:
        made = train_own(folder.root / "training", training, began, seconds)
        own = add_model(folder, catalog, made, name="pear-own")
        with timed(seconds, "evaluate own"):
            summary.own = own, _evaluate(folder, own.id, inits)
    enter_evaluations(folder, catalog)
    return summary


def _copy(source: Path, target: Path) -> None:
    """Copy a folder atomically."""
    hidden = target.with_name(f".{target.name}.new")
    shutil.rmtree(hidden, ignore_errors=True)
    shutil.copytree(source, hidden)
    hidden.rename(target)


def _inits(folder: DataFolder) -> Times:
    """Return the init times whose whole forecast can be compared with the analysis."""
    with open_store(folder.analysis(ANALYSIS)) as analysis:
        times = as_utc(analysis["time"].values)
    inits: Times = times[times + np.timedelta64(LEAD_HOURS, "h") <= times[-1]]
    return inits


def _evaluate(folder: DataFolder, model: str, inits: Times) -> Evaluation:
    with announced("evaluate") as announce:
        options = EvaluationOptions(
            model=model, analysis=ANALYSIS, climatology=ANALYSIS, inits=inits, lead_hours=LEAD_HOURS
        )
        return evaluate_model(folder, options, progress=announce)


def _submit(engine: Engine, model: str, inits: Times) -> list[Run]:
    """Have the engine compute some of the forecasts, so that they can be served."""
    chosen = inits[np.linspace(0, len(inits) - 1, min(SERVED_RUNS, len(inits))).astype(int)]
    submitted = engine.submit_forecasts(
        chosen, LEAD_HOURS, model=model, options={"analysis": ANALYSIS}
    )
    return [submission.run for submission in submitted]


def _await(engine: Engine, runs: list[Run]) -> list[str]:
    ended = watch(engine, runs)
    for run in ended:
        if run.status != "succeeded":
            raise RuntimeError(f"run {run.id} {run.status}: {run.reason}")
    return [run.id for run in ended]


def _show(summary: Summary, out: Path) -> None:
    wanted = (*MAPPED, ("10m_u_component_of_wind", None))
    if summary.own is None:
        show(summary.evaluation.records, wanted)
    else:
        side_by_side(summary.evaluation.records, summary.own[1].records, wanted)
        spent = ", ".join(f"{part} {took:.0f} s" for part, took in summary.seconds.items())
        console.print(f"Trained here: model {summary.own[0].id} ({spent})")
    console.print(
        f"[bold]Simulated atmosphere[/bold], {len(summary.inits)} init times, "
        f"model {summary.model.id}: {len(summary.maps)} maps in {out / 'maps'}, data in {out}"
    )


def draw(folder: DataFolder, analysis: str, run: str) -> list[str]:
    """Draw forecasts of one run and their verifying analyses into DIR/maps.

    Returns
    -------
    list of str
        Paths of the PNGs, two for each field and lead.
    """
    target = folder.root / "maps"
    target.mkdir(exist_ok=True)
    drawn: list[str] = []
    with (
        open_store(folder.forecast(run)) as forecast,
        open_store(folder.analysis(analysis)) as truth,
        progress("maps", len(MAPPED) * len(LEADS)) as tick,
    ):
        init = forecast["time"].values[0]
        for lead in LEADS:
            step = np.timedelta64(lead, "h")
            made = forecast.isel(time=0).sel(prediction_timedelta=step)
            came = truth.sel(time=init + step)
            for name, level in MAPPED:
                pair = [_values(source, name, level) for source in (made, came)]
                drawn += _pair(target, pair, name, level, init, lead)
                tick(1)
    return drawn


def _values(source: xr.Dataset, name: str, level: int | None) -> Float32:
    field = source[name] if level is None else source[name].sel(level=level)
    return np.asarray(field.values, dtype=np.float32)


def _pair(
    target: Path, pair: list[Any], name: str, level: int | None, init: np.datetime64, lead: int
) -> list[str]:
    style = style_of(name)
    low, high = limits_for(style, np.concatenate([style.shown(values) for values in pair]))
    label = name if level is None else f"{name}_{level}hPa"
    drawn = []
    for source, values in zip(("PEAR", "analysis"), pair, strict=True):
        title = MapTitle(f"{source} (simulated)", init, lead)
        options = MapOptions(vmin=low, vmax=high)
        path = target / f"{label}_day{lead // 24:02d}_{source.lower()}.png"
        path.write_bytes(render_map(values, name, title, level=level, options=options))
        drawn.append(str(path))
    return drawn
