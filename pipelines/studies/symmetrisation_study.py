"""``pear bench orbit``: members trained with and without augmentation, measured and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.figure import Figure

from pear.models.checkpoint import load
from pear.models.config import PearConfig
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.store.reader import stored_layout
from pear.training import Samples, Trainer
from pear.typing import Float64
from pipelines.storage.atomic import write_atomically
from pipelines.studies.ablation import BASE, config_of
from pipelines.studies.study import ROUNDS, TIMED_STEPS, Job, Study, steps_in, the_plan, timed
from pipelines.studies.symmetrisation import WAYS, common_error, ensemble_error, exactness, measure
from pipelines.studies.tables import Gap, gaps, load_sums, save_sums, write_rows
from pipelines.training.dataset import open_source
from pipelines.training.train import CHECKPOINT, TrainingJob, build_network, train

KINDS: Final[dict[str, dict[str, Any]]] = {"augmented": {"augmentation": "c4h"}, "plain": {}}


"""How members are trained, and the settings that make the difference."""


RESULT: Final = "errors.json"


EXACT_DAYS: Final = 3


EXACT_INITS: Final = 2


@dataclass(frozen=True)
class ErrorRow:
    """Equivariance error of the mean of some members under the mirror.

    Attributes
    ----------
    error, low, high
        See :func:`pipelines.studies.symmetrisation.ensemble_error`; 1 is a day's change.
    expected
        The error of one member over √members.
    common
        What no ensemble of this kind gets rid of.
    """

    models: str
    day: int
    members: int
    error: float
    low: float
    high: float
    expected: float
    common: float | None


@dataclass(frozen=True)
class ScoreRow(Gap):
    """A score of one way to forecast, compared with that of single networks."""

    models: str
    way: str


def plan_of(study: Study, folder: Path) -> dict[str, Any]:
    """Return the plan of a folder, the steps of a training; made if there is none.

    Raises
    ------
    InputError
        If the folder holds another study.
    """
    return the_plan(study, folder, partial(_make_plan, study, folder))


def _make_plan(study: Study, folder: Path) -> dict[str, Any]:
    config, took = _config(study), float("inf")
    samples = Samples.from_source(open_source(study.store, study.period, config.layout).load())
    for _ in range(ROUNDS):
        network, normaliser = build_network(config, samples, study.store)
        settings = study.settings(TIMED_STEPS, 0, **KINDS["augmented"])
        trainer = Trainer(network, normaliser, samples, None, settings, folder / "timing")
        took = min(took, timed(trainer))
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "step_seconds": round(took, 4),
        "steps": steps_in(study.minutes, took),
    }


def _config(study: Study) -> PearConfig:
    _, layout, nside = stored_layout(study.store)
    return config_of(BASE, nside, study.embed, layout)


def trainings(study: Study, folder: Path, plan: Mapping[str, Any]) -> list[Job]:
    """Members of both kinds; both of a seed first."""
    seconds = plan["steps"] * plan["step_seconds"]
    return [
        Job(
            f"train {kind} seed {seed}",
            path / "checkpoint.json",
            partial(_train, study, path.parent, study.settings(plan["steps"], seed, **changes)),
            seconds,
        )
        for seed in study.seeds
        for kind, changes in KINDS.items()
        for path in [_member(folder, kind, seed)]
    ]


def _member(folder: Path, kind: str, seed: int) -> Path:
    return folder / kind / f"seed{seed}" / CHECKPOINT


def _train(study: Study, out: Path, settings: Any) -> None:
    command = "pear bench orbit"
    job = TrainingJob(study.store, _config(study), settings, study.period, command=command)
    train(job, out, resume=(out / "resume.pt").exists())
    (out / "resume.pt").unlink(missing_ok=True)


def subjects(study: Study, folder: Path, given: Path | None = None) -> dict[str, list[Path]]:
    """What is measured: the members of each kind, and a model of one's own."""
    models = {kind: [_member(folder, kind, seed) for seed in study.seeds] for kind in KINDS}
    return models if given is None else {"given": [given], **models}


def measurements(study: Study, folder: Path, models: Mapping[str, list[Path]]) -> list[Job]:
    """Errors and scores of each subject on the init times of the test."""
    jobs = []
    for name, paths in models.items():
        out = where(folder, name, paths)
        jobs.append(Job(f"measure {name}", out / RESULT, partial(_measure, study, out, paths)))
    return jobs


def where(folder: Path, name: str, paths: Sequence[Path]) -> Path:
    """Folder of a measurement; more members, or another model, make another one."""
    label = f"{len(paths)}" if len(paths) > 1 else load(paths[0]).id
    return folder / "measured" / f"{name}-{label}"


def _measure(study: Study, out: Path, paths: Sequence[Path]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    models = [load(path) for path in paths]
    like = (models[0].config.layout, models[0].config.nside)
    analysis, climatology = Analysis(study.store, *like), Climatology.open(study.climatology, *like)
    inits = study.inits(analysis.times)
    days = min(EXACT_DAYS, study.days)
    exact = exactness(models[0], analysis, inits[:EXACT_INITS], days)
    models = [load(path) for path in paths]
    found = measure(models, analysis, climatology, inits, study.days)
    for way, sums in found.tables.items():
        save_sums(out / f"{way}.npz", sums)
    note = {"exact": exact, "gram": found.gram.tolist()}
    write_atomically(out / RESULT, json.dumps(note).encode())


@dataclass(frozen=True)
class Result:
    """All rows of a study.

    Attributes
    ----------
    exact
        Subject to ``single`` and ``averaged``, element name, error by day; float64.
    """

    exact: dict[str, Any]
    errors: list[ErrorRow]
    scores: list[ScoreRow]


def collect(folder: Path, models: Mapping[str, list[Path]]) -> Result:
    """Read what is measured; what is not yet is left out."""
    result = Result({}, [], [])
    for name, paths in models.items():
        out = where(folder, name, paths)
        if not (out / RESULT).exists():
            continue
        note = json.loads((out / RESULT).read_text())
        result.exact[name] = note["exact"]
        result.errors.extend(_errors(name, np.array(note["gram"])))
        tables = {way: load_sums(out / f"{way}.npz") for way in WAYS}
        for way in WAYS if len(paths) > 1 else WAYS[:2]:
            result.scores.extend(
                ScoreRow(**asdict(gap), models=name, way=way)
                for gap in gaps([tables[way]], [tables["single"]])
            )
    return result


def _errors(name: str, gram: Float64) -> list[ErrorRow]:
    rows = []
    for lead in range(gram.shape[1]):
        one = ensemble_error(gram[:, lead], 1)[0]
        common = common_error(gram[:, lead])
        for members in range(1, gram.shape[-1] + 1):
            found = ensemble_error(gram[:, lead], members)
            rows.append(ErrorRow(name, lead + 1, members, *found, one / members**0.5, common))
    return rows


def write(result: Result, folder: Path) -> None:
    """Write ``orbit-errors.csv``, ``orbit-scores.csv`` and ``orbit.png``."""
    write_rows(result.errors, folder / "orbit-errors.csv")
    write_rows(result.scores, folder / "orbit-scores.csv")
    draw(result, folder / "orbit.png")


if TYPE_CHECKING:
    pass


COLOURS: Final = ("#14784f", "#b6533b", "#3b6fb6", "#7a5ba8")


STYLES: Final = {"averaged": ":", "ensemble": "-", "both": "--"}


def draw(result: Result, path: Path) -> None:
    """Draw errors on the left, and what averaging does to ACC and RMSE of z500."""
    figure = Figure(figsize=(12.5, 3.9), layout="constrained")
    error, acc, rmse = figure.subplots(1, 3)
    names = list(result.exact)
    for name, colour in zip(names, COLOURS, strict=False):
        _draw_errors(error, [r for r in result.errors if (r.models, r.day) == (name, 1)], colour)
        for axis, score in ((acc, "acc"), (rmse, "rmse")):
            rows = [
                r for r in result.scores if (r.models, r.field, r.score) == (name, "z500", score)
            ]
            _draw_scores(axis, rows, score, colour)
    error.set(
        xscale="log",
        yscale="log",
        xlabel="members",
        title="Equivariance error, one day",
        ylabel="rms, 1 = a day's change",
    )
    counts = sorted({row.members for row in result.errors})
    error.set_xticks(counts, [str(count) for count in counts])
    error.minorticks_off()
    acc.set(title="z500 ACC, minus a single network's", xlabel="lead (days)")
    rmse.set(title="z500 RMSE, over a single network's", xlabel="lead (days)")
    for axis in (error, acc, rmse):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def _draw_errors(axis: Any, rows: Sequence[ErrorRow], colour: str) -> None:
    members = [row.members for row in rows]
    name = rows[0].models
    axis.plot(members, [row.error for row in rows], "o-", color=colour, label=name, markersize=4)
    if len(rows) > 1:
        low, high = [row.low for row in rows], [row.high for row in rows]
        axis.fill_between(members, low, high, color=colour, alpha=0.2, lw=0)
        expected = [row.expected for row in rows]
        axis.plot(members, expected, ":", color=colour, label=f"{name}: one member's / √n")


def _draw_scores(axis: Any, rows: Sequence[ScoreRow], score: str, colour: str) -> None:
    for way, style in STYLES.items():
        part = [row for row in rows if row.way == way]
        if not part:
            continue
        days = [row.day for row in part]
        base = [row.reference if score == "rmse" else None for row in part]
        middle, low, high = (
            [v if b is None else 1 + v / b for v, b in zip(values, base, strict=True)]
            for values in (
                [r.difference for r in part],
                [r.low for r in part],
                [r.high for r in part],
            )
        )
        axis.plot(days, middle, style, color=colour, label=f"{part[0].models}, {way}")
        axis.fill_between(days, low, high, color=colour, alpha=0.12, lw=0)
