"""Which of PEAR's choices pay: the same training with one choice changed, at equal cost.

Each arm is trained with several seeds, at equal time (each arm gets the steps that fit into the
same seconds, from a step time measured in turns) and at equal parameters (widths chosen to match
the base, same steps).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.metrics import ScoreAccumulator
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.rollout import PearForecaster
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.store.reader import stored_layout
from pear.training import Samples, Trainer
from pear.variables import Layout
from pipelines.evaluation.accumulators import EvaluationDesign
from pipelines.evaluation.verify import verify
from pipelines.studies.study import ROUNDS, TIMED_STEPS, Job, Study, steps_in, the_plan, timed
from pipelines.studies.tables import save_sums
from pipelines.training.dataset import open_source
from pipelines.training.train import CHECKPOINT, TrainingJob, build_network, train

BASE: Final = "ring_rotation"
AXES: Final = ("time", "parameters")
WIDTH_STEP: Final = 8
SUMS: Final = "sums.npz"


@dataclass(frozen=True)
class Arm:
    """One changed choice.

    Attributes
    ----------
    question
        What it answers, against the base.
    model, training
        Changes of settings.
    head
        Features of a head.
    """

    question: str
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    head: int = 32


ARMS: Final[dict[str, Arm]] = {
    BASE: Arm("the base: R-equivariant, patch 16, heads of 32", {}, {}),
    "ring_roll": Arm("the published shift", {"shift": "ring_roll"}, {}),
    "c4h": Arm("the mirror built in", {"symmetry": "c4h"}, {}),
    "wrong_mirror": Arm(
        "control: a mirror that forgets the sign of v",
        {"symmetry": "c4h", "mirror": "unsigned"},
        {},
    ),
    "augmented": Arm("C4h by augmentation instead", {}, {"augmentation": "c4h"}),
    "patch4": Arm("patches of 4 cells", {"patch": 4}, {}),
    "head8": Arm("heads of 8 features, as published", {}, {}, head=8),
}


@dataclass(frozen=True)
class Ablation(Study):
    """A study of arms.

    Attributes
    ----------
    arms
        Names from :data:`ARMS`; the base is always among them. Processes that share a folder may
        take different ones, if all are in its plan.
    """

    arms: tuple[str, ...] = tuple(ARMS)

    OPEN: ClassVar[tuple[str, ...]] = ("seeds", "arms")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.arms:
            if name not in ARMS:
                raise InputError(f"no arm {name!r}", field="--arms", hint=did_you_mean(name, ARMS))
        object.__setattr__(self, "arms", tuple(dict.fromkeys((BASE, *self.arms))))


def config_of(arm: str, nside: int, embed: int, layout: Layout | None = None) -> PearConfig:
    """Settings of an arm's network at a width."""
    one = ARMS[arm]
    outer = _heads(embed, one.head, paired=one.model.get("symmetry") == "c4h")
    heads = (outer, 2 * outer, 2 * outer, outer)
    changes = {"embed": embed, "heads": heads, "layout": layout or Layout.default(), **one.model}
    return PearConfig.small(nside, **changes)


def _heads(width: int, size: int, *, paired: bool) -> int:
    """Heads of most nearly the wished size; an even number of them where the mirror pairs them."""
    counts = range(2 if paired else 1, width + 1, 2 if paired else 1)
    whole = (n for n in counts if width % n == 0)
    return min(whole, key=lambda n: abs(width / n - size), default=1)  # 1: the settings refuse it


def parameters(config: PearConfig) -> int:
    """Number of learnt numbers."""
    return sum(p.numel() for p in Pear(config).parameters())


def matched_width(arm: str, nside: int, wanted: int, layout: Layout | None = None) -> int:
    """Width at which an arm has as nearly as possible the wanted number of parameters."""
    sizes: dict[int, int] = {}
    for width in range(WIDTH_STEP, 64 * WIDTH_STEP, WIDTH_STEP):
        sizes[width] = parameters(config_of(arm, nside, width, layout))
        if sizes[width] > wanted:
            break
    return min(sizes, key=lambda width: abs(sizes[width] - wanted))


def make_plan(study: Ablation, folder: Path) -> dict[str, Any]:
    """Width, parameters, step time and steps of every arm on both axes."""
    _, layout, nside = stored_layout(study.store)
    samples = Samples.from_source(open_source(study.store, study.period, layout).load())
    base = parameters(config_of(BASE, nside, study.embed, layout))
    widths = {("time", name): study.embed for name in study.arms} | {
        ("parameters", name): study.embed
        if name == BASE
        else matched_width(name, nside, base, layout)
        for name in study.arms
    }
    configs = {key: config_of(key[1], nside, width, layout) for key, width in widths.items()}
    # Whatever has one width on both axes is one network: its better time counts for both.
    networks = {(name, widths[axis, name]): config for (axis, name), config in configs.items()}
    best = dict.fromkeys(networks, float("inf"))
    for _ in range(ROUNDS):  # by turns, so that what else the machine does meets all alike
        for network, config in networks.items():
            took = _step_seconds(study, network[0], config, samples, folder)
            best[network] = min(best[network], took)
    seconds = {key: best[key[1], widths[key]] for key in configs}
    equal = steps_in(study.minutes, seconds["time", BASE])
    plan: dict[str, Any] = {axis: {} for axis in AXES}
    for (axis, name), config in configs.items():
        own = steps_in(study.minutes, seconds[axis, name])
        plan[axis][name] = {
            "embed": widths[axis, name],
            "parameters": parameters(config),
            "steps": own if axis == "time" else equal,
            "step_seconds": round(seconds[axis, name], 4),
        }
    return plan


def _step_seconds(
    study: Ablation, arm: str, config: PearConfig, samples: Samples, folder: Path
) -> float:
    network, normaliser = build_network(config, samples, study.store)
    settings = study.settings(TIMED_STEPS, 0, **ARMS[arm].training)
    scratch = folder / "timing" / arm
    return timed(Trainer(network, normaliser, samples, None, settings, scratch))


def plan_of(study: Ablation, folder: Path) -> dict[str, Any]:
    """Return the plan of a folder; made if there is none.

    Raises
    ------
    InputError
        If the folder holds another study, or has not planned for an arm.
    """
    plan = the_plan(study, folder, lambda: make_plan(study, folder))
    for name in study.arms:
        if name not in plan["time"]:
            raise InputError(
                f"the study in {folder} was begun without {name}",
                field="--arms",
                hint="name every arm at the start, or use another folder",
            )
    return plan


def jobs_of(
    study: Ablation, folder: Path, plan: Mapping[str, Any], axes: Sequence[str] = AXES
) -> list[Job]:
    """Every training with its verification; all of a seed first: a stopped study can be read."""
    jobs: dict[Path, Job] = {}
    for seed in study.seeds:
        for axis in axes:
            for arm in study.arms:
                out, row = where(folder, axis, arm, seed), plan[axis][arm]
                jobs.setdefault(
                    out,
                    Job(
                        f"{axis} {arm} seed {seed}",
                        out / SUMS,
                        partial(_one, study, out, arm, seed, row),
                        row["steps"] * row["step_seconds"],
                    ),
                )
    return list(jobs.values())


def where(folder: Path, axis: str, arm: str, seed: int) -> Path:
    """Folder of one training. The base is the same on both axes."""
    return folder / ("time" if arm == BASE else axis) / arm / f"seed{seed}"


def _one(study: Ablation, out: Path, arm: str, seed: int, row: Mapping[str, Any]) -> None:
    if not (out / CHECKPOINT / "checkpoint.json").exists():
        _, layout, nside = stored_layout(study.store)
        job = TrainingJob(
            study.store,
            config_of(arm, nside, int(row["embed"]), layout),
            study.settings(int(row["steps"]), seed, **ARMS[arm].training),
            study.period,
            storage="float16",
            command="pear bench ablation",
        )
        train(job, out, resume=(out / "resume.pt").exists())
    save_sums(out / SUMS, _verify(study, out / CHECKPOINT))
    (out / "resume.pt").unlink(missing_ok=True)


def _verify(study: Study, folder: Path) -> ScoreAccumulator:
    forecaster = PearForecaster(checkpoint.load(folder))
    like = (forecaster.layout, forecaster.nside)
    analysis = Analysis(study.store, *like)
    climatology = Climatology.open(study.climatology, *like)
    leads = np.arange(1, study.days + 1) * np.timedelta64(86_400, "s")
    inits = study.inits(analysis.times)
    plan = EvaluationDesign.build(*like, inits, leads, ("global",)).without_plots()
    return verify(plan, [forecaster], analysis, climatology, batch=8)[forecaster.name].scores
