"""PEAR against the lat-lon peer at the same budget: trained in turns, scored on both grids."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from pear.calendar import utc
from pear.errors import InputError
from pear.metrics import ScoreSums
from pear.metrics.bootstrap import bootstrap_seeds
from pear.models import checkpoint, pangu_checkpoint
from pear.models.config import FORCINGS
from pear.models.pangu import Pangu, PanguConfig
from pear.rollout import PearForecaster
from pear.training import Samples, Trainer, TrainingConfig
from pear.training.statistics import measure
from pear.variables import BY_NAME
from pipelines.ablation import BASE, ROUNDS, TIMED_STEPS, config_of, load_sums, save_sums, timed
from pipelines.ablation_table import FIELDS
from pipelines.climatology import Climatology
from pipelines.evaluation.truth import Analysis
from pipelines.files import write_atomically
from pipelines.peer import PeerForecaster, score_on_cells, score_on_points, train_peer
from pipelines.peer_data import LatLonStates, collect
from pipelines.stored import stored_layout
from pipelines.train import CHECKPOINT, Data, build_network, train
from pipelines.training_data import open_source

GRIDS: Final = ("cells", "points")
SCORES: Final = ("acc", "rmse")


@dataclass(frozen=True)
class PeerStudy:
    """What is compared, on which data.

    Attributes
    ----------
    store, climatology
        As in :class:`pipelines.ablation.Study`.
    sources
        The files that the store was made from.
    period, test, every, days, minutes, seeds, embed, batch
        As in :class:`pipelines.ablation.Study`; ``embed`` of both networks.
    depths
        Blocks of the four stages of both.
    """

    store: Path
    climatology: Path
    sources: tuple[Path, ...]
    period: tuple[str, str]
    test: tuple[str, str]
    every: int = 5
    days: int = 10
    minutes: float = 5.0
    seeds: tuple[int, ...] = (0, 1, 2)
    embed: int = 128
    batch: int = 4
    depths: tuple[int, ...] = (2, 2, 2, 2)

    def settings(self, steps: int, seed: int) -> TrainingConfig:
        """Settings of the loop, the same for both."""
        return TrainingConfig(steps=steps, batch=self.batch, seed=seed, ema=0.998)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to tell whether a folder belongs to this study."""
        return {
            "store": self.store.name, "climatology": self.climatology.name,
            "period": list(self.period), "test": list(self.test), "every": self.every,
            "days": self.days, "minutes": self.minutes, "embed": self.embed, "batch": self.batch,
            "depths": list(self.depths),
        }  # fmt: skip


class _Study:
    """A study at work in its folder."""

    def __init__(self, study: PeerStudy, folder: Path) -> None:
        self.study, self.folder = study, folder
        _, layout, self.nside = stored_layout(study.store)
        base = config_of(BASE, self.nside, study.embed, layout)
        self.pear = type(base)(**{**vars(base), "depths": study.depths})
        self.pangu = PanguConfig.like(
            self.nside, layout=layout, embed=study.embed, heads=base.heads, depths=study.depths,
            residual=True, forcings=tuple(FORCINGS), drop_path=0.0, masks=0,
        )  # fmt: skip
        self.states: LatLonStates = collect(
            study.sources, folder / "latlon", self.pangu.rows, self.pangu.columns, layout
        )

    def plan(self) -> dict[str, Any]:
        """Steps that each network can do in the same time, from step times taken in turns."""
        study, took = self.study, {"pear": float("inf"), "pangu": float("inf")}
        cells = Samples.of(open_source(study.store, study.period, self.pear.layout).hold())
        points = Samples.of(self.states.during(*study.period))
        settings = study.settings(TIMED_STEPS, 0)
        numbers = {}
        for _ in range(ROUNDS):
            network, normaliser = build_network(self.pear, cells, None, study.store)
            numbers["pear"] = sum(p.numel() for p in network.parameters())
            scratch = self.folder / "timing"
            one = timed(Trainer(network, normaliser, cells, None, settings, scratch / "pear"))
            peer = Pangu(self.pangu)
            for name in ("orography", "land_fraction"):  # values do not matter to a clock
                peer.set_static(**{name: np.zeros(self.states.grid.size)})
            numbers["pangu"] = sum(p.numel() for p in peer.parameters())
            two = timed(
                Trainer(peer, measure(points), points, None, settings, scratch / "pangu")
            )  # fmt: skip
            took = {"pear": min(took["pear"], one), "pangu": min(took["pangu"], two)}
        return {
            "study": study.to_dict(),
            "points": [self.pangu.rows, self.pangu.columns],
            **{
                name: {
                    "parameters": numbers[name], "step_seconds": round(seconds, 4),
                    "steps": max(round(60.0 * study.minutes / seconds), 1),
                }
                for name, seconds in took.items()
            },
        }  # fmt: skip

    def one(self, seed: int, plan: Mapping[str, Any]) -> None:
        """Train and score both with one seed."""
        study, out = self.study, self.folder / f"seed{seed}"
        if all((out / f"{grid}-{name}.npz").exists() for grid in GRIDS for name in _NAMES):
            return
        own = out / "pear"
        if not (own / CHECKPOINT / "checkpoint.json").exists():
            train(
                Data(study.store, study.period), own, self.pear,
                study.settings(int(plan["pear"]["steps"]), seed),
                resume=(own / "resume.pt").exists(), command="pear bench peer",
            )  # fmt: skip
        train_peer(
            self.states.during(*study.period), self.pangu,
            study.settings(int(plan["pangu"]["steps"]), seed), out / "pangu", study.store,
        )  # fmt: skip
        other = PearForecaster(checkpoint.load(own / CHECKPOINT))
        peer = PeerForecaster(*pangu_checkpoint.load(out / "pangu"), self.states, self.nside)
        like = (other.layout, other.nside)
        analysis, usual = Analysis(study.store, *like), Climatology.open(study.climatology, *like)
        first, last = (np.datetime64(end, "s") for end in study.test)
        times = utc(analysis.times)
        inits = times[(times >= first) & (times <= last)][:: study.every]
        inits = inits[np.isin(inits + np.timedelta64(study.days, "D"), times)]
        if inits.size < 2:
            raise InputError("the test period holds no init times", field="--test")
        everything = (peer, other, analysis, usual, inits, study.days)
        for grid, sums in (
            ("cells", score_on_cells(*everything)), ("points", score_on_points(*everything)),
        ):  # fmt: skip
            for name, table in sums.items():
                save_sums(out / f"{grid}-{name}.npz", table)


_NAMES: Final = ("pear", "pangu")


def run(
    study: PeerStudy, folder: Path, tick: Callable[[float, str], Any] | None = None
) -> dict[str, Any]:  # fmt: skip
    """Do what the folder lacks, then write ``peer.csv`` and ``peer.png``; returns the plan.

    Raises
    ------
    InputError
        If the folder holds another study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = _Study(study, folder)
    note = folder / "plan.json"
    if not note.exists():
        write_atomically(note, json.dumps(work.plan(), indent=2).encode())
    plan: dict[str, Any] = json.loads(note.read_text())
    if plan["study"] != study.to_dict():
        raise InputError(f"{folder} holds another study", field="--out")
    for seed in study.seeds:
        work.one(seed, plan)
        if tick is not None:
            tick(1, f"seed {seed}")
    found = rows(folder, study.seeds)
    write_table(found, folder / "peer.csv")
    draw(found, folder / "peer.png")
    return plan


def rows(folder: Path, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """One row for each grid, field, lead and score: both values, PEAR minus peer, interval."""
    out = []
    for grid in GRIDS:
        tables: dict[str, list[ScoreSums]] = {
            name: [load_sums(folder / f"seed{s}" / f"{grid}-{name}.npz") for s in seeds]
            for name in _NAMES
        }
        fields = [channel for channel in FIELDS if channel in tables["pear"][0].channels]
        pear, pangu = ([t.select(channels=fields) for t in tables[name]] for name in _NAMES)
        for score in SCORES:
            one, _ = bootstrap_seeds(pear, score, replicates=1)
            two, _ = bootstrap_seeds(pangu, score, replicates=1)
            gap, interval = bootstrap_seeds(pear, score, pangu)
            for column, (name, level) in enumerate(fields):
                for lead in range(len(one)):
                    at = (lead, column, 0)
                    label = BY_NAME[name].short_name + ("" if level is None else str(level))
                    out.append({
                        "grid": grid, "field": label, "day": lead + 1, "score": score,
                        "pear": float(one[at]), "pangu": float(two[at]),
                        "difference": float(gap[at]), "low": float(interval.low[at]),
                        "high": float(interval.high[at]), "seeds": len(pear),
                        "inits": int(pear[0].inits.size),
                    })  # fmt: skip
    return out


def write_table(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    write_atomically(path, text.getvalue().encode())


def draw(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the difference of anomaly correlations by lead, for each field on both grids."""
    fields = list(dict.fromkeys(row["field"] for row in found))
    figure = Figure(figsize=(3.2 * len(fields), 3.2), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False, sharey=True)[0]
    for axis, field in zip(axes, fields, strict=True):
        for grid, colour in zip(GRIDS, ("#14784f", "#3b6fb6"), strict=True):
            part = [r for r in found
                    if (r["field"], r["grid"], r["score"]) == (field, grid, "acc")]  # fmt: skip
            days = [r["day"] for r in part]
            axis.plot(days, [r["difference"] for r in part], color=colour, label=f"on {grid}")
            axis.fill_between(
                days, [r["low"] for r in part], [r["high"] for r in part], color=colour, alpha=0.2
            )
        axis.axhline(0.0, color="k", linewidth=0.6)
        axis.set(title=field, xlabel="lead (days)")
    axes[0].set_ylabel("ACC, PEAR minus Pangu (simulated)")
    axes[0].legend()
    figure.savefig(path, dpi=110)
