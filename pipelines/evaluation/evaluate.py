"""Evaluate a model: roll out from many init times, score beside persistence and climatology.

One pass over the analysis; the answer is a folder that is published in one rename::

    evaluations/ID/
      scores.json   what was evaluated, and records of the headline scores
      scores.csv    records of all scores, with intervals
      scores.zarr   the table of means by init time that any score can be made of
      acc.png rmse.png scorecard.png spectra.png error_maps.png
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pear.errors import InputError
from pear.metrics import ScoreAccumulator
from pear.progress import ProgressFactory
from pear.rollout import Ensemble, Forecaster
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.times import as_utc, to_iso
from pear.typing import Times
from pipelines.evaluation.distribute import Sources, verify_spread, with_baselines
from pipelines.evaluation.inputs import climatology_path, model_path, pick, run_path
from pipelines.evaluation.plots import draw
from pipelines.evaluation.records import (
    FURTHER,
    HEADLINE,
    Record,
    records,
    with_ensemble,
    write_csv,
    write_json,
    write_tables,
)
from pipelines.evaluation.stored_forecasts import StoredForecasts
from pipelines.evaluation.tables import REGIONS, EvaluationAccumulators, Plan
from pipelines.evaluation.verify import check, verify
from pipelines.storage.atomic import publish, shared_lock
from pipelines.storage.data_folder import DataFolder
from pipelines.training.dataset import static_fields


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes
    ----------
    id
        Name of its folder: the same question gives the same name.
    about
        model, analysis, climatology, climatology_kind, inits, lead_days, region.
    records
        One per forecaster, variable, level, lead and region.
    tables
        The sums behind the records, by forecaster.
    """

    id: str
    about: Mapping[str, Any]
    records: Sequence[Record]
    tables: Mapping[str, EvaluationAccumulators]

    @property
    def sums(self) -> dict[str, ScoreAccumulator]:
        """The tables of scores alone, by forecaster."""
        return {name: table.scores for name, table in self.tables.items()}

    @property
    def document(self) -> dict[str, Any]:
        """What scores.json holds."""
        return {"id": self.id, **self.about, "scores": list(self.records)}


def evaluate_model(
    data: DataFolder,
    *,
    model: str | None = None,
    analysis: str | None = None,
    climatology: str | None = None,
    runs: Sequence[str] = (),
    inits: Times | None = None,
    lead_hours: int = 240,
    regions: Sequence[str] = REGIONS,
    batch: int = 4,
    device: str = "cpu",
    members: int = 0,
    amplitude: float = 0.15,
    plots: bool = True,
    client: Any = None,
    announce: ProgressFactory | None = None,
) -> Evaluation:
    """Evaluate a model of a data folder against an analysis in it, and write the folder.

    Parameters
    ----------
    data
        Data folder with models/, analyses/ and climatology/.
    model, analysis, climatology
        Names; may be left out where there is only one (the climatology named like the analysis
        comes first).
    runs
        Finished forecasts to score instead of rolling a model out.
    inits
        Init times; every time from which all leads can be verified if not given.
    lead_hours
        Longest lead, a whole number of the model's steps.
    regions
        As :func:`pear.metrics.region_weights` names them.
    batch
        Forecasts that run side by side.
    device
        Where the model runs.
    members, amplitude
        Verify an ensemble too: its size, and its perturbations at the start and after every step
        over climatology's spread.
    plots
        Draw the pictures too.
    client
        Dask client whose workers share the init times; this process does them all if not given.
    announce
        Told how many init times there are, once that is known; what it returns is called with
        the number done.

    Returns
    -------
    Evaluation
        Also written to ``data.evaluation(id)``.

    Raises
    ------
    InputError
        If something named is not there, or a time is missing.
    """
    analysis_name = pick(data.root / "analyses", analysis, "analysis", ".zarr")
    chosen = None if runs else model_path(data, model)
    sources = Sources(
        data.analysis(analysis_name),
        climatology_path(data, climatology, analysis_name),
        model=chosen,
        runs=tuple(run_path(data, run) for run in runs),
        device=device,
        members=members,
        amplitude=amplitude,
    )
    with ExitStack() as held:
        for store in sources.runs:
            held.enter_context(shared_lock(store))
        forecaster, truth, usual = sources.open()
        if isinstance(forecaster, StoredForecasts):
            inits = forecaster.inits if inits is None else inits
            name = forecaster.model
        else:
            name = str(chosen.name if chosen else "")
        shared = partial(verify_spread, client, sources, batch=batch)
        evaluation = evaluate(
            forecaster,
            truth,
            usual,
            model=name,
            inits=inits,
            lead_hours=lead_hours,
            regions=regions,
            batch=batch,
            announce=announce,
            ensemble=partial(sources.ensemble, forecaster, truth),
            spread=None if client is None else shared,
        )
    write(evaluation, data.evaluation(evaluation.id), plots=plots)
    return evaluation


def evaluate(
    forecaster: Forecaster,
    analysis: Analysis,
    climatology: Climatology,
    *,
    model: str,
    inits: Times | None = None,
    lead_hours: int = 240,
    regions: Sequence[str] = REGIONS,
    batch: int = 4,
    announce: ProgressFactory | None = None,
    ensemble: Callable[[np.datetime64], Ensemble | None] | None = None,
    spread: Callable[..., dict[str, EvaluationAccumulators]] | None = None,
) -> Evaluation:
    """Score a forecaster beside persistence and climatology; nothing is written.

    Parameters as in :func:`evaluate_model`; ``ensemble`` makes one for the first
    init time; ``spread``, given plan and tick, does the pass over the data elsewhere.

    Raises
    ------
    InputError
        If the lead is no whole number of steps, or a time is missing in the analysis.
    """
    steps = _steps(forecaster, lead_hours)
    times = (
        analysis.inits(steps * forecaster.time_step, forecaster.time_step)
        if inits is None
        else inits
    )
    if len(times) == 0:
        raise InputError(
            f"analysis {analysis.name} holds no init time with {lead_hours} h of truth after it",
            field="--lead",
            hint="choose a shorter lead",
        )
    leads = forecaster.time_step * np.arange(1, steps + 1)
    surface = static_fields(forecaster.nside, analysis.path)["land_fraction"]
    plan = Plan.of(
        forecaster.layout, forecaster.nside, as_utc(times), leads, regions, land_fraction=surface
    )
    everyone = with_baselines(forecaster, climatology)
    check(plan, everyone, analysis, climatology, plan.inits)
    members = None if ensemble is None else ensemble(plan.inits[0])
    tick = None if announce is None else announce(len(plan.inits))
    if spread is None:
        tables = verify(
            plan, everyone, analysis, climatology, ensemble=members, batch=batch, tick=tick
        )
    else:
        tables = spread(plan, tick=tick)
    about = {
        "model": model,
        "forecasts": "stored" if isinstance(forecaster, StoredForecasts) else "rolled out",
        "analysis": analysis.name,
        "climatology": climatology.name,
        "climatology_kind": climatology.kind,
        "climatology_period": list(climatology.period),
        "inits": [to_iso(t) for t in times],
        "lead_hours": lead_hours,
        "regions": list(regions),
    }
    if members is not None:
        about["members"] = members.members
    rows = _records(tables, model=model, climatology=climatology.name)
    return Evaluation(_identity(about), about, rows, tables)


def _records(tables: Mapping[str, EvaluationAccumulators], **options: Any) -> list[Record]:
    rows = records({name: table.scores for name, table in tables.items()}, **options)
    for name, table in tables.items():
        if table.ensemble is not None:
            rows = with_ensemble(rows, table.ensemble, name)
    return rows


def write(evaluation: Evaluation, folder: Path, *, plots: bool = True) -> Path:
    """Write an evaluation's folder; an older answer to the same question is replaced.

    Parameters
    ----------
    evaluation
        What to write.
    folder
        Where; appears whole or not at all.
    plots
        Draw the pictures too.

    Returns
    -------
    Path
        The folder.
    """
    scratch = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        write_json(scratch / "scores.json", evaluation.document)
        about = {"model": evaluation.about["model"], "climatology": evaluation.about["climatology"]}
        everything = _records(
            evaluation.tables, scores=(*HEADLINE, *FURTHER), intervals=True, **about
        )
        write_csv(scratch / "scores.csv", everything)
        write_tables(scratch / "scores.zarr", evaluation.tables, evaluation.about)
        if plots:
            draw(evaluation.tables, scratch, _title(evaluation.about))
        shutil.rmtree(folder, ignore_errors=True)
        publish(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _title(about: Mapping[str, Any]) -> str:
    first, last = about["inits"][0][:10], about["inits"][-1][:10]
    count = len(about["inits"])
    return f"model {about['model']} on {about['analysis']}, {count} forecasts {first} to {last}"


def _steps(forecaster: Forecaster, lead_hours: int) -> int:
    step_hours = int(forecaster.time_step / np.timedelta64(1, "h"))
    if lead_hours < step_hours or lead_hours % step_hours:
        raise InputError(
            f"lead of {lead_hours} h is no whole number of {step_hours} h steps", field="--lead"
        )
    return lead_hours // step_hours


def _identity(about: Mapping[str, Any]) -> str:
    """Readable beginning, and a hash of the whole question."""
    digest = hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()[:8]
    return f"{about['model'][:12]}-{about['analysis'][:40]}-{len(about['inits'])}x-{digest}"
