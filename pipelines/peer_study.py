"""PEAR against the lat-lon peer at the same budget: trained in turns, scored on both grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from matplotlib.figure import Figure

from pear.models import checkpoint, pangu_checkpoint
from pear.models.config import FORCINGS
from pear.models.forced import ForcedNetwork
from pear.models.pangu import Pangu, PanguConfig
from pear.normalise import Normaliser
from pear.rollout import PearForecaster
from pear.training import Samples, Trainer, TrainingConfig
from pear.training.statistics import measure
from pipelines.ablation import BASE, config_of
from pipelines.climatology import Climatology
from pipelines.evaluation.truth import Analysis
from pipelines.peer import PeerForecaster, score_on_cells, score_on_points, train_peer
from pipelines.peer_data import LatLonStates, collect
from pipelines.stored import stored_layout
from pipelines.study import (
    ROUNDS,
    TIMED_STEPS,
    Job,
    Study,
    Tick,
    share,
    steps_in,
    the_plan,
    timed,
    waiting,
)
from pipelines.study_table import Gap, gaps, load_sums, save_sums, write_rows
from pipelines.train import CHECKPOINT, Data, build_network, train
from pipelines.training_data import open_source

GRIDS: Final = ("cells", "points")
NAMES: Final = ("pear", "pangu")
DONE: Final = "points-pangu.npz"
"""What a verification writes last."""


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
    """

    days: int = 10
    sources: tuple[Path, ...] = ()
    depths: tuple[int, ...] = (2, 2, 2, 2)

    OPEN: ClassVar[tuple[str, ...]] = ("seeds", "sources")


@dataclass(frozen=True)
class Row(Gap):
    """One number of the table: PEAR's score, compared with the peer's, on one grid."""

    grid: str


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
            self.nside, layout=layout, embed=study.embed, heads=base.heads, depths=study.depths,
            residual=True, forcings=tuple(FORCINGS), drop_path=0.0, masks=0,
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        with waiting(folder / ".latlon.lock"):
            self.states: LatLonStates = collect(
                study.sources, folder / "latlon", self.pangu.rows, self.pangu.columns, layout
            )
        self.plan = the_plan(study, folder, self._make_plan)

    def _make_plan(self) -> dict[str, Any]:
        """Steps that each network can do in the same time, from step times taken in turns."""
        study, took = self.study, dict.fromkeys(NAMES, float("inf"))
        cells = Samples.of(open_source(study.store, study.period, self.pear.layout).hold())
        points = Samples.of(self.states.during(*study.period))
        sizes = {}
        for _ in range(ROUNDS):
            network, normaliser = build_network(self.pear, cells, None, study.store)
            peer = Pangu(self.pangu)
            for name in ("orography", "land_fraction"):  # values do not matter to a clock
                peer.set_static(**{name: np.zeros(self.states.grid.size)})
            subjects: dict[str, tuple[ForcedNetwork, Normaliser, Samples]] = {
                "pear": (network, normaliser, cells), "pangu": (peer, measure(points), points),
            }  # fmt: skip
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
                    "parameters": sizes[name], "step_seconds": round(seconds, 4),
                    "steps": steps_in(study.minutes, seconds),
                }
                for name, seconds in took.items()
            },
        }  # fmt: skip

    def trainings(self) -> list[Job]:
        """Both networks with every seed."""
        jobs = []
        for seed in self.study.seeds:
            out = self.folder / f"seed{seed}"
            for name, work, result in (
                ("pear", self._train_pear, out / "pear" / CHECKPOINT / "checkpoint.json"),
                ("pangu", self._train_pangu, out / "pangu" / pangu_checkpoint.SETTINGS),
            ):
                steps = int(self.plan[name]["steps"])
                todo = partial(work, out / name, self.study.settings(steps, seed))
                seconds = steps * self.plan[name]["step_seconds"]
                jobs.append(Job(f"train {name} seed {seed}", result, todo, seconds))
        return jobs

    def _train_pear(self, out: Path, settings: TrainingConfig) -> None:
        data = Data(self.study.store, self.study.period)
        resume = (out / "resume.pt").exists()
        train(data, out, self.pear, settings, resume=resume, command="pear bench peer")

    def _train_pangu(self, out: Path, settings: TrainingConfig) -> None:
        states = self.states.during(*self.study.period)
        train_peer(states, self.pangu, settings, out, self.study.store)

    def verifications(self) -> list[Job]:
        """Scores of both networks on both grids, for every seed."""
        jobs = []
        for seed in self.study.seeds:
            out = self.folder / f"seed{seed}"
            jobs.append(Job(f"score seed {seed}", out / DONE, partial(self._score, out)))
        return jobs

    def run(self, tick: Tick | None = None) -> list[Row]:
        """Do what the folder lacks, beside others that do, and compare."""
        share(self.trainings(), self.folder, tick)
        share(self.verifications(), self.folder, tick)
        return rows(self.folder, self.study.seeds)

    def _score(self, out: Path) -> None:
        study = self.study
        other = PearForecaster(checkpoint.load(out / "pear" / CHECKPOINT))
        peer = PeerForecaster(*pangu_checkpoint.load(out / "pangu"), self.states, self.nside)
        like = (other.layout, other.nside)
        analysis, usual = Analysis(study.store, *like), Climatology.open(study.climatology, *like)
        everything = (peer, other, analysis, usual, study.inits(analysis.times), study.days)
        for grid, sums in (
            ("cells", score_on_cells(*everything)), ("points", score_on_points(*everything)),
        ):  # fmt: skip
            for name, table in sums.items():
                save_sums(_sums(out, grid, name), table)


def _sums(out: Path, grid: str, name: str) -> Path:
    return out / f"{grid}-{name}.npz"


def rows(folder: Path, seeds: Sequence[int]) -> list[Row]:
    """Compare PEAR with the peer on each grid."""
    out = []
    for grid in GRIDS:
        pear, pangu = (
            [load_sums(_sums(folder / f"seed{seed}", grid, name)) for seed in seeds]
            for name in NAMES
        )
        out += [Row(**asdict(gap), grid=grid) for gap in gaps(pear, pangu)]
    return out


def write(found: Sequence[Row], folder: Path) -> None:
    """Write ``peer.csv`` and ``peer.png``."""
    write_rows(found, folder / "peer.csv")
    _draw(found, folder / "peer.png")


def _draw(found: Sequence[Row], path: Path) -> None:
    """Draw the difference of anomaly correlations by lead, for each field on both grids."""
    fields = list(dict.fromkeys(row.field for row in found))
    figure = Figure(figsize=(3.2 * len(fields), 3.2), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False, sharey=True)[0]
    for axis, field in zip(axes, fields, strict=True):
        for grid, colour in zip(GRIDS, ("#14784f", "#3b6fb6"), strict=True):
            part = [r for r in found if (r.field, r.grid, r.score) == (field, grid, "acc")]
            days = [r.day for r in part]
            axis.plot(days, [r.difference for r in part], color=colour, label=f"on {grid}")
            axis.fill_between(
                days, [r.low for r in part], [r.high for r in part], color=colour, alpha=0.2
            )
        axis.axhline(0.0, color="k", linewidth=0.6)
        axis.set(title=field, xlabel="lead (days)")
    axes[0].set_ylabel("ACC, PEAR minus Pangu (simulated)")
    axes[0].legend()
    figure.savefig(path, dpi=110)
