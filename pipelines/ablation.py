"""Which of PEAR's choices pay: the same training with one choice changed, at equal cost.

Each arm is trained with several seeds, at equal time (each arm gets the steps that fit into the
same seconds, from a step time measured in turns) and at equal parameters (widths chosen to match
the base, same steps). Everything lies in one folder and goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pear.calendar import utc
from pear.errors import InputError, did_you_mean
from pear.metrics import ScoreSums
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.rollout import PearForecaster
from pear.training import Samples, Trainer, TrainingConfig
from pear.variables import PUBLISHED, Layout
from pipelines.climatology import Climatology
from pipelines.evaluation.tables import Plan
from pipelines.evaluation.truth import Analysis
from pipelines.evaluation.verify import verify
from pipelines.files import write_atomically
from pipelines.stored import stored_layout
from pipelines.train import CHECKPOINT, Data, build_network, train
from pipelines.training_data import open_source

BASE: Final = "ring_rotation"
AXES: Final = ("time", "parameters")
ROUNDS: Final = 3
TIMED_STEPS: Final = 10


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
        {"symmetry": "c4h", "mirror": "unsigned"}, {},
    ),
    "augmented": Arm("C4h by augmentation instead", {}, {"augmentation": "c4h"}),
    "patch4": Arm("patches of 4 cells", {"patch": 4}, {}),
    "head8": Arm("heads of 8 features, as published", {}, {}, head=8),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What is compared, on which data.

    Attributes
    ----------
    store, climatology
        Analyses, and the climatology of the training years.
    period
        First and last day of training.
    test
        First and last init time, never used in training.
    every
        Days between init times.
    days
        Lead of the verification.
    minutes
        Length of a training of the base, and of every arm at equal time.
    seeds
        Of each arm.
    arms
        Names from :data:`ARMS`; the base is always among them.
    embed
        Width of the base.
    batch
        Samples in a batch.
    """

    store: Path
    climatology: Path
    period: tuple[str, str]
    test: tuple[str, str]
    every: int = 5
    days: int = 7
    minutes: float = 5.0
    seeds: tuple[int, ...] = (0, 1, 2)
    arms: tuple[str, ...] = tuple(ARMS)
    embed: int = 128
    batch: int = 4

    def __post_init__(self) -> None:
        for name in self.arms:
            if name not in ARMS:
                raise InputError(
                    f"no arm {name!r}", field="--arms", hint=did_you_mean(name, ARMS)
                )  # fmt: skip
        if self.period[1] >= self.test[0] and self.period[0] <= self.test[1]:
            raise InputError("training and test overlap", field="--test")
        object.__setattr__(self, "arms", tuple(dict.fromkeys((BASE, *self.arms))))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to tell whether a folder belongs to this study."""
        plain = asdict(self) | {"store": self.store.name, "climatology": self.climatology.name}
        return dict(json.loads(json.dumps(plain)))


def config_of(arm: str, nside: int, embed: int, layout: Layout = PUBLISHED) -> PearConfig:
    """Settings of an arm's network at a width."""
    one = ARMS[arm]
    outer = max(embed // one.head, 1)
    heads = (outer, 2 * outer, 2 * outer, outer)
    changes = {"embed": embed, "heads": heads, "layout": layout, **one.model}
    return PearConfig.small(nside, **changes)


def parameters(config: PearConfig) -> int:
    """Number of learnt numbers."""
    return sum(p.numel() for p in Pear(config).parameters())


def matched_width(arm: str, nside: int, wanted: int, layout: Layout = PUBLISHED) -> int:
    """Width at which an arm has as nearly as possible the wanted number of parameters."""
    # Whole heads, and an even number of them where the mirror pairs them.
    unit = 2 * ARMS[arm].head
    sizes: dict[int, int] = {}
    for width in range(unit, 64 * unit, unit):
        sizes[width] = parameters(config_of(arm, nside, width, layout))
        if sizes[width] > wanted:
            break
    return min(sizes, key=lambda width: abs(sizes[width] - wanted))


def make_plan(study: Study, samples: Samples, folder: Path) -> dict[str, Any]:
    """Width, parameters, step time and steps of every arm on both axes."""
    _, layout, nside = stored_layout(study.store)
    configs = {name: config_of(name, nside, study.embed, layout) for name in study.arms}
    seconds: dict[str, float] = dict.fromkeys(study.arms, float("inf"))
    for _ in range(ROUNDS):  # by turns, so that what else the machine does meets all alike
        for name, config in configs.items():
            took = _step_seconds(study, name, config, samples, folder)
            seconds[name] = min(seconds[name], took)
    base = parameters(configs[BASE])
    steps = max(round(60.0 * study.minutes / seconds[BASE]), 1)
    plan: dict[str, Any] = {"study": study.to_dict(), "time": {}, "parameters": {}}
    for name, config in configs.items():
        own = max(round(60.0 * study.minutes / seconds[name]), 1)
        width = study.embed if name == BASE else matched_width(name, nside, base, layout)
        plan["time"][name] = {
            "embed": study.embed, "steps": own, "parameters": parameters(config),
            "step_seconds": round(seconds[name], 4),
        }  # fmt: skip
        plan["parameters"][name] = {
            "embed": width, "steps": steps,
            "parameters": parameters(config_of(name, nside, width, layout)),
        }  # fmt: skip
    return plan


def _settings(study: Study, arm: str, steps: int, seed: int) -> TrainingConfig:
    return TrainingConfig(
        **{"steps": steps, "batch": study.batch, "seed": seed, "ema": 0.998, **ARMS[arm].training}
    )


def _step_seconds(
    study: Study, arm: str, config: PearConfig, samples: Samples, folder: Path
) -> float:  # fmt: skip
    network, normaliser = build_network(config, samples, None, study.store)
    scratch = folder / "timing" / arm
    settings = _settings(study, arm, TIMED_STEPS, 0)
    return timed(Trainer(network, normaliser, samples, None, settings, scratch))


def timed(trainer: Trainer) -> float:
    """Seconds of one optimiser step of a trainer of :data:`TIMED_STEPS`, without the first."""
    log = trainer.journal.log
    log.unlink(missing_ok=True)
    trainer.run()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    at = {line["step"]: line["seconds"] for line in lines if line["event"] == "step"}
    return float((at[TIMED_STEPS] - at[1]) / (TIMED_STEPS - 1))


def run(
    study: Study, folder: Path, axes: Sequence[str] = AXES,
    tick: Callable[[float, str], Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train and verify what the folder lacks; returns the plan.

    Raises
    ------
    InputError
        If the folder holds another study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "plan.json"
    if note.exists():
        plan: dict[str, Any] = json.loads(note.read_text())
        if plan["study"] != study.to_dict():
            raise InputError(f"{folder} holds another study", field="--out")
    else:
        source = open_source(study.store, study.period, _layout(study))
        plan = make_plan(study, Samples.of(source.hold()), folder)
        write_atomically(note, json.dumps(plan, indent=2).encode())
    for seed in study.seeds:  # all arms of a seed first: a stopped study can be read
        for axis in axes:
            for arm in study.arms:
                _one(study, folder, axis, arm, seed, plan[axis][arm])
                if tick is not None:
                    tick(1, f"{axis} {arm} seed {seed}")
    return plan


def _layout(study: Study) -> Layout:
    return stored_layout(study.store)[1]


def where(folder: Path, axis: str, arm: str, seed: int) -> Path:
    """Folder of one training. The base is the same on both axes."""
    return folder / ("time" if arm == BASE else axis) / arm / f"seed{seed}"


def _one(
    study: Study, folder: Path, axis: str, arm: str, seed: int, row: Mapping[str, Any]
) -> None:  # fmt: skip
    out = where(folder, axis, arm, seed)
    if (out / "sums.npz").exists():
        return
    if not (out / CHECKPOINT / "checkpoint.json").exists():
        _, layout, nside = stored_layout(study.store)
        config = config_of(arm, nside, int(row["embed"]), layout)
        train(
            Data(study.store, study.period), out, config,
            _settings(study, arm, int(row["steps"]), seed), resume=(out / "resume.pt").exists(),
            command="pear bench ablation", storage="float16",
        )  # fmt: skip
    save_sums(out / "sums.npz", _verify(study, out / CHECKPOINT))
    (out / "resume.pt").unlink(missing_ok=True)


def _verify(study: Study, folder: Path) -> ScoreSums:
    forecaster = PearForecaster(checkpoint.load(folder))
    like = (forecaster.layout, forecaster.nside)
    analysis = Analysis(study.store, *like)
    climatology = Climatology.open(study.climatology, *like)
    first, last = (np.datetime64(end, "s") for end in study.test)
    lead = np.timedelta64(study.days, "D")
    times = utc(analysis.times)
    inside = times[(times >= first) & (times <= last)][:: study.every]
    held = inside[np.isin(inside + lead, times)]
    if held.size < 2:
        raise InputError("the test period holds no init times", field="--test")
    leads = np.arange(1, study.days + 1) * np.timedelta64(86_400, "s")
    plan = replace(Plan.of(*like, held, leads, ("global",)), charted=())
    return verify(plan, [forecaster], analysis, climatology, batch=8)[forecaster.name].scores


def save_sums(path: Path, sums: ScoreSums) -> None:
    """Keep a table of sums, float64."""
    scratch = path.with_suffix(".tmp")
    with scratch.open("wb") as stream:
        np.savez_compressed(
            stream, values=sums.values, inits=sums.inits, leads=sums.leads,
            channels=np.array(json.dumps(sums.channels)),
        )  # fmt: skip
    scratch.replace(path)


def load_sums(path: Path) -> ScoreSums:
    """Read what :func:`save_sums` kept."""
    with np.load(path) as data:
        channels = tuple((str(n), level) for n, level in json.loads(str(data["channels"])))
        return ScoreSums(
            data["inits"], data["leads"], channels, ("global",), data["values"]
        )  # fmt: skip
