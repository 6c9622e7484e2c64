"""PEAR against the lat-lon peer at the same budget, scored on both grids.

The budget is the same time, or the same number of steps: the peer, whose windows are larger and
whose grid must be padded to whole ones, takes longer for a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from matplotlib.figure import Figure

from pear.errors import InputError, did_you_mean
from pear.models import checkpoint
from pear.models.base import StepNetwork
from pear.models.config import FORCINGS
from pear.models.pangu import Pangu, PanguConfig
from pear.normaliser import Normaliser
from pear.progress import ProgressCallback
from pear.rollout import PearForecaster
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.store.reader import stored_layout
from pear.training import Samples, Trainer, TrainingConfig
from pear.training.statistics import fit_normaliser
from pipelines.studies.ablation import BASE, config_of
from pipelines.studies.pangu_forecaster import (
    PanguForecaster,
    score_on_cells,
    score_on_points,
    train_peer,
)
from pipelines.studies.study import (
    ROUNDS,
    TIMED_STEPS,
    Job,
    Study,
    share,
    steps_in,
    the_plan,
    timed,
    waiting,
)
from pipelines.studies.tables import Gap, gaps, load_sums, save_sums, write_rows
from pipelines.training.dataset import open_source
from pipelines.training.latlon_dataset import LatLonStates, collect_states
from pipelines.training.train import CHECKPOINT, TrainingJob, build_network, train

GRIDS: Final = ("cells", "points")
BUDGETS: Final[dict[str, str]] = {"time": "pangu", "steps": "pangu-steps"}
"""What both have the same of, and the name of the peer that was trained so."""


@dataclass(frozen=True)
class PeerStudy(Study):
    """PEAR and the peer, of the same width.

    Attributes
    ----------
    days
        Lead of the verification.
    sources
        The files that the store was made from.
    depths
        Blocks of the four stages of both.
    budgets
        Names from :data:`BUDGETS`; more may be added to a folder later.

    Raises
    ------
    InputError
        If a budget is not known.
    """

    days: int = 10
    sources: tuple[Path, ...] = ()
    depths: tuple[int, ...] = (2, 2, 2, 2)
    budgets: tuple[str, ...] = tuple(BUDGETS)

    OPEN: ClassVar[tuple[str, ...]] = ("seeds", "sources", "budgets")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.budgets:
            if name not in BUDGETS:
                raise InputError(
                    f"no budget {name!r}", field="--budgets", hint=did_you_mean(name, BUDGETS)
                )


@dataclass(frozen=True)
class Row(Gap):
    """One number of the table: PEAR's score, compared with the peer's, on one grid."""

    grid: str
    budget: str


class Work:
    """A study at work in its folder: the states on the peer's grid, and the plan.

    Raises
    ------
    InputError
        If the folder holds another study.
    """

    def __init__(self, study: PeerStudy, folder: Path) -> None:
        self.study, self.folder = study, folder
        _, layout, self.nside = stored_layout(study.store)
        base = config_of(BASE, self.nside, study.embed, layout)
        self.pear = replace(base, depths=study.depths)
        self.pangu = PanguConfig.like(
            self.nside,
            layout=layout,
            embed=study.embed,
            heads=base.heads,
            depths=study.depths,
            residual=True,
            forcings=tuple(FORCINGS),
            drop_path=0.0,
            masks=0,
        )
        folder.mkdir(parents=True, exist_ok=True)
        with waiting(folder / ".latlon.lock"):
            self.states: LatLonStates = collect_states(
                study.sources, folder / "latlon", (self.pangu.rows, self.pangu.columns), layout
            )
        self.plan = the_plan(study, folder, self._make_plan)

    def _make_plan(self) -> dict[str, Any]:
        """Steps that each network can do in the same time, from step times taken in turns."""
        study, took = self.study, dict.fromkeys(("pear", "pangu"), float("inf"))
        cells = Samples.from_source(open_source(study.store, study.period, self.pear.layout).load())
        points = Samples.from_source(self.states.select(*study.period))
        sizes = {}
        for _ in range(ROUNDS):
            network, normaliser = build_network(self.pear, cells, study.store)
            peer = Pangu(self.pangu)
            for name in ("orography", "land_fraction"):  # values do not matter to a clock
                peer.set_static(**{name: np.zeros(self.states.grid.size)})
            subjects: dict[str, tuple[StepNetwork, Normaliser, Samples]] = {
                "pear": (network, normaliser, cells),
                "pangu": (peer, fit_normaliser(points), points),
            }
            for name, (one, statistics, samples) in subjects.items():
                sizes[name] = sum(p.numel() for p in one.parameters())
                scratch = self.folder / "timing" / name
                settings = study.settings(TIMED_STEPS, 0)
                trainer = Trainer(one, statistics, samples, None, settings, scratch)
                took[name] = min(took[name], timed(trainer))
        return {
            "points": [self.pangu.rows, self.pangu.columns],
            **{
                name: {
                    "parameters": sizes[name],
                    "step_seconds": round(seconds, 4),
                    "steps": steps_in(study.minutes, seconds),
                }
                for name, seconds in took.items()
            },
        }

    def trainings(self) -> list[Job]:
        """PEAR, and the peer at every budget, with every seed."""
        plan, jobs = self.plan, []
        for seed in self.study.seeds:
            out = self.folder / f"seed{seed}"
            result = f"{CHECKPOINT}/{checkpoint.DOCUMENT}"
            wanted = [("pear", "pear", plan["pear"]["steps"])]
            for budget in self.study.budgets:
                steps = plan["pangu" if budget == "time" else "pear"]["steps"]
                wanted.append((BUDGETS[budget], "pangu", steps))
            for name, kind, steps in wanted:
                train_it = self._train_pear if kind == "pear" else self._train_pangu
                todo = partial(train_it, out / name, self.study.settings(int(steps), seed))
                seconds = steps * plan[kind]["step_seconds"]
                jobs.append(Job(f"train {name} seed {seed}", out / name / result, todo, seconds))
        return jobs

    def _train_pear(self, out: Path, settings: TrainingConfig) -> None:
        job = TrainingJob(
            self.study.store, self.pear, settings, self.study.period, command="pear bench peer"
        )
        train(job, out, resume=(out / "resume.pt").exists())

    def _train_pangu(self, out: Path, settings: TrainingConfig) -> None:
        states = self.states.select(*self.study.period)
        train_peer(states, self.pangu, settings, out, self.study.store)

    def verifications(self) -> list[Job]:
        """Scores of both networks on both grids, for every budget and seed."""
        jobs = []
        for seed in self.study.seeds:
            out = self.folder / f"seed{seed}"
            for peer in (BUDGETS[budget] for budget in self.study.budgets):
                last = _sums(out, GRIDS[-1], peer)
                jobs.append(Job(f"score {peer} seed {seed}", last, partial(self._score, out, peer)))
        return jobs

    def run(self, tick: ProgressCallback | None = None) -> list[Row]:
        """Do what the folder lacks, beside others that do, and compare."""
        share(self.trainings(), self.folder, tick)
        share(self.verifications(), self.folder, tick)
        return rows(self.folder, self.study.seeds, self.study.budgets)

    def _score(self, out: Path, name: str) -> None:
        study = self.study
        other = PearForecaster(checkpoint.load(out / "pear" / CHECKPOINT))
        held = checkpoint.load_pangu(out / name / CHECKPOINT)
        peer = PanguForecaster(held.model, held.normaliser, self.states, self.nside)
        like = (other.layout, other.nside)
        analysis, usual = Analysis(study.store, *like), Climatology.open(study.climatology, *like)
        everything = (peer, other, analysis, usual, study.inits(analysis.times), study.days)
        for grid, sums in (
            ("cells", score_on_cells(*everything)),
            ("points", score_on_points(*everything)),
        ):
            save_sums(_sums(out, grid, "pear"), sums["pear"])
            save_sums(_sums(out, grid, name), sums["pangu"])


def _sums(out: Path, grid: str, name: str) -> Path:
    return out / f"{grid}-{name}.npz"


def rows(folder: Path, seeds: Sequence[int], budgets: Sequence[str]) -> list[Row]:
    """Compare PEAR with the peer at each budget on each grid."""
    out = []
    for budget in budgets:
        for grid in GRIDS:
            pear, pangu = (
                [load_sums(_sums(folder / f"seed{seed}", grid, name)) for seed in seeds]
                for name in ("pear", BUDGETS[budget])
            )
            found = gaps(pear, pangu)
            out += [Row(**asdict(gap), grid=grid, budget=budget) for gap in found]
    return out


def write(found: Sequence[Row], folder: Path) -> None:
    """Write ``peer.csv`` and ``peer.png``."""
    write_rows(found, folder / "peer.csv")
    _draw(found, folder / "peer.png")


def _draw(found: Sequence[Row], path: Path) -> None:
    """Draw the difference of anomaly correlations by lead: budgets down, fields across."""
    fields = list(dict.fromkeys(row.field for row in found))
    budgets = list(dict.fromkeys(row.budget for row in found))
    figure = Figure(figsize=(3.2 * len(fields), 0.4 + 2.8 * len(budgets)), layout="constrained")
    panels = figure.subplots(len(budgets), len(fields), squeeze=False, sharex=True, sharey=True)
    for (down, budget), (across, field) in product(enumerate(budgets), enumerate(fields)):
        axis = panels[down, across]
        for grid, colour in zip(GRIDS, ("#14784f", "#3b6fb6"), strict=True):
            wanted = (budget, field, grid, "acc")
            part = [r for r in found if (r.budget, r.field, r.grid, r.score) == wanted]
            days = [r.day for r in part]
            axis.plot(days, [r.difference for r in part], color=colour, label=f"on {grid}")
            axis.fill_between(
                days, [r.low for r in part], [r.high for r in part], color=colour, alpha=0.2
            )
        axis.axhline(0.0, color="k", linewidth=0.6)
        if down == 0:
            axis.set_title(field)
        if down == len(budgets) - 1:
            axis.set_xlabel("lead (days)")
        if across == 0:
            axis.set_ylabel(f"at equal {budget}")
    figure.suptitle("ACC, PEAR minus Pangu (simulated), with 95 % intervals", fontsize=10)
    panels[0, 0].legend()
    figure.savefig(path, dpi=110)
