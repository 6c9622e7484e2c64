"""Ablation: the same training with one design choice changed, at equal cost.

Each arm is trained with several seeds, at equal time (as many steps as fit into the same seconds)
and at equal parameters (widths matched to the base, same steps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from pear.errors import InputError, did_you_mean
from pear.metrics import ScoreAccumulator
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.rollout import PearForecaster
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.variables import Layout
from pipelines.evaluation.accumulators import EvaluationDesign
from pipelines.evaluation.verify import verify
from pipelines.studies.comparison import (
    combine,
    compare,
    labelled_sums,
    select_sums,
    write_results,
)
from pipelines.studies.study import NetworkPlan, TrainingStudy, Trial, measure_networks
from pipelines.training.train import CHECKPOINT

BASE: Final = "ring_rotation"
AXES: Final = ("time", "parameters")
WIDTH_STEP: Final = 8
DAYS: Final = (1, 3, 5)
_COLOURS: Final = {"time": "#14784f", "parameters": "#3b6fb6"}


@dataclass(frozen=True)
class Arm:
    """One changed design choice.

    Attributes
    ----------
    question
        What the comparison with the base answers.
    model, training
        Changed settings.
    head
        Features per attention head.
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
        "control: a mirror that ignores the sign of v",
        {"symmetry": "c4h", "mirror": "unsigned"},
        {},
    ),
    "face_frames": Arm("winds in the frames of base pixels", {"wind": "face"}, {}),
    "tangent": Arm("winds as tokens that turn with their frames", {"wind": "gauge"}, {}),
    "augmented": Arm("C4h by augmentation instead", {}, {"augmentation": "c4h"}),
    "patch4": Arm("patches of 4 cells", {"patch": 4}, {}),
    "stencil": Arm("neighbours by features instead of attention", {"mixing": "stencil"}, {}),
    "full_stencil": Arm("neighbours by matrices", {"mixing": "full_stencil"}, {}),
    "spectral": Arm("filters of harmonics by features", {"mixing": "spectral"}, {}),
    "full_spectral": Arm("filters of harmonics by matrices", {"mixing": "full_spectral"}, {}),
    "stencil_attention": Arm("stencils and attention in turn", {"mixing": "stencil+attention"}, {}),
    "head8": Arm("heads of 8 features, as published", {}, {}, head=8),
}


@dataclass(frozen=True, kw_only=True)
class Ablation(TrainingStudy):
    """Comparison of arms with the base.

    Attributes
    ----------
    arms
        Names from :data:`ARMS`; the base is always one of them. Processes that share a folder
        may take different arms, if all are in its plan.
    axes
        What is equal between the networks, from :data:`AXES`.

    Raises
    ------
    InputError
        If an arm or an axis is unknown.
    """

    arms: tuple[str, ...] = tuple(ARMS)
    axes: tuple[str, ...] = AXES

    name: ClassVar[str] = "ablation"
    VARIABLE: ClassVar[tuple[str, ...]] = ("folder", "seeds", "arms", "axes")

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, names, known in (("arm", self.arms, ARMS), ("axis", self.axes, AXES)):
            for name in names:
                if name not in known:
                    option = "--arms" if what == "arm" else "--axes"
                    hint = did_you_mean(name, known)
                    raise InputError(f"unknown {what} {name!r}", field=option, hint=hint)
        object.__setattr__(self, "arms", tuple(dict.fromkeys((BASE, *self.arms))))

    def measure(self) -> dict[str, NetworkPlan]:
        """Plan width and steps of every arm on both axes, by ``AXIS/ARM``."""
        layout, nside = self.grid
        samples = self.samples()
        wanted = count_parameters(config_of(BASE, nside, self.embed, layout))
        widths = {("time", arm): self.embed for arm in self.arms}
        for arm in self.arms:
            matched = self.embed if arm == BASE else matched_width(arm, nside, wanted, layout)
            widths["parameters", arm] = matched
        # A width that is the same on both axes is one network, measured once.
        networks = {f"{arm} {width}": (arm, width) for (_, arm), width in widths.items()}
        measured = measure_networks(
            {
                name: partial(
                    self.timed_trainer,
                    config_of(arm, nside, width, layout),
                    samples,
                    **ARMS[arm].training,
                )
                for name, (arm, width) in networks.items()
            }
        )
        base_steps = self.steps_in_time(measured[f"{BASE} {self.embed}"][1])
        plan: dict[str, NetworkPlan] = {}
        for (axis, arm), width in widths.items():
            parameters, seconds = measured[f"{arm} {width}"]
            plan[f"{axis}/{arm}"] = {
                "embed": width,
                "parameters": parameters,
                "steps": self.steps_in_time(seconds) if axis == "time" else base_steps,
                "step_seconds": round(seconds, 4),
            }
        return plan

    def design(self) -> list[Trial]:
        """Return a training with its verification per axis, arm and seed, one seed after another.

        Returns
        -------
        list of Trial

        Raises
        ------
        InputError
            If the folder's plan lacks an arm.
        """
        plan = self.plan()
        trials: dict[str, Trial] = {}
        for arm in self.arms:
            if f"time/{arm}" not in plan:
                raise InputError(
                    f"the study in {self.folder} was begun without {arm}",
                    field="--arms",
                    hint="name every arm at the start, or use another folder",
                )
        for seed in self.seeds:
            for axis in self.axes:
                for arm in self.arms:
                    where, network = f"{_axis(axis, arm)}/{arm}", plan[f"{axis}/{arm}"]
                    result = f"{where}/seed{seed}/sums.nc"
                    trials.setdefault(
                        result,
                        Trial(
                            f"{axis} {arm} seed {seed}",
                            result,
                            partial(self._train_and_verify, axis, arm, seed, network),
                            network["steps"] * network["step_seconds"],
                        ),
                    )
        return list(trials.values())

    def _train_and_verify(
        self, axis: str, arm: str, seed: int, network: NetworkPlan, folder: Path
    ) -> None:
        axis = _axis(axis, arm)
        out = folder / axis / arm / f"seed{seed}"
        layout, nside = self.grid
        config = config_of(arm, nside, network["embed"], layout)
        settings = self.settings(network["steps"], seed, **ARMS[arm].training)
        self.train_pear(out, config, settings, "float16")
        sums = {f"{axis} {arm} {seed}": self._verify(out / CHECKPOINT)}
        labels: dict[str, list[object]] = {"axis": [axis], "arm": [arm], "seed": [seed]}
        write_results(labelled_sums(sums, labels), out / "sums.nc")

    def _verify(self, model: Path) -> ScoreAccumulator:
        forecaster = PearForecaster(checkpoint.load(model))
        like = (forecaster.layout, forecaster.nside)
        analysis = Analysis(self.store, *like)
        climatology = Climatology.open(self.climatology, *like)
        design = EvaluationDesign.build(*like, self.inits(analysis.times), self.leads, ("global",))
        sums = verify(design.without_plots(), [forecaster], analysis, climatology, batch=8)
        return sums[forecaster.name].scores

    def report(self, results: xr.Dataset) -> xr.Dataset:
        """Compare each arm with the base on the seeds that both have; write table and plot.

        Parameters
        ----------
        results
            Sums of all trials.

        Returns
        -------
        xarray.Dataset
            (axis, arm, score, field, day) as :func:`pipelines.studies.comparison.compare`, with
            ``embed``, ``parameters``, ``steps`` and ``question`` of each arm.
        """
        plan, parts = self.plan(), []
        base = select_sums(results, axis="time", arm=BASE)
        for axis in AXES:
            for arm in self.arms:
                one = select_sums(results, axis=_axis(axis, arm), arm=arm)
                seeds = [seed for seed in self.seeds if seed in one and seed in base]
                if seeds:
                    tables = ([many[seed] for seed in seeds] for many in (one, base))
                    found = compare(*tables, axis=axis, arm=arm)
                    network = plan[f"{axis}/{arm}"]
                    facts = {
                        "embed": network["embed"],
                        "parameters": network["parameters"],
                        "steps": network["steps"],
                        "question": ARMS[arm].question,
                    }
                    cells = {name: (("axis", "arm"), [[fact]]) for name, fact in facts.items()}
                    parts.append(found.assign(cells))
        report = combine(parts, axis=AXES, arm=list(ARMS))
        if parts:
            report = report.sel(day=[day for day in DAYS if day in report["day"]])
            self.write_table(report)
            _draw(report, self.folder / f"{self.name}.png")
        return report


@dataclass(frozen=True, kw_only=True)
class MixingStudy(Ablation):
    """What blocks mix tokens by: attention, which is the base, and what may replace it."""

    arms: tuple[str, ...] = (BASE, "stencil", "spectral", "stencil_attention")

    name: ClassVar[str] = "mixing"

    @staticmethod
    def better_arms(report: xr.Dataset) -> list[str]:
        """Return the arms that are better than attention after equal time.

        Parameters
        ----------
        report
            As :meth:`report` returns it.

        Returns
        -------
        list of str
            Those whose 95 % interval of the difference in z500 ACC lies above zero, on the last
            of the days compared that the forecasts reach.

        Raises
        ------
        InputError
            If an arm has not been trained for equal time.
        """
        chosen = report.sel(axis="time", field="z500", score="acc").isel(day=-1)
        low = chosen["low"].sel(arm=[arm for arm in MixingStudy.arms if arm != BASE])
        missing = [str(arm) for arm in low["arm"].values[low.isnull().values]]
        if missing:
            raise InputError(
                f"not trained for equal time yet: {', '.join(missing)}",
                field="--check",
                hint="run the study without --dry-run and with --axes time",
            )
        return [str(arm) for arm in low["arm"].values[(low > 0).values]]


def _axis(axis: str, arm: str) -> str:
    """Return the axis under which a training is kept; the base is the same on both."""
    return "time" if arm == BASE else axis


def config_of(arm: str, nside: int, embed: int, layout: Layout | None = None) -> PearConfig:
    """Return the settings of an arm's network of a width."""
    one = ARMS[arm]
    outer = _heads(embed, one.head, paired=one.model.get("symmetry") == "c4h")
    heads = (outer, 2 * outer, 2 * outer, outer)
    changes = {"embed": embed, "heads": heads, "layout": layout or Layout.default(), **one.model}
    return PearConfig.small(nside, **changes)


def _heads(width: int, size: int, *, paired: bool) -> int:
    """Return the number of heads with about ``size`` features, even if the mirror pairs them."""
    counts = range(2 if paired else 1, width + 1, 2 if paired else 1)
    whole = (n for n in counts if width % n == 0)
    return min(whole, key=lambda n: abs(width / n - size), default=1)  # 1 fails in the settings


def count_parameters(config: PearConfig) -> int:
    """Return the number of learned parameters."""
    with torch.device("meta"):  # without drawing the weights
        return sum(p.numel() for p in Pear(config).parameters())


def matched_width(arm: str, nside: int, wanted: int, layout: Layout | None = None) -> int:
    """Return the width at which an arm has closest to the wanted number of parameters."""
    sizes: dict[int, int] = {}
    for width in range(WIDTH_STEP, 64 * WIDTH_STEP, WIDTH_STEP):
        sizes[width] = count_parameters(config_of(arm, nside, width, layout))
        if sizes[width] > wanted:
            break
    return min(sizes, key=lambda width: abs(sizes[width] - wanted))


def _draw(report: xr.Dataset, path: Path) -> None:
    """Draw the difference in z500 ACC between each arm and the base, one panel per day."""
    data = report.sel(field="z500", score="acc").drop_sel(arm=BASE)
    arms, days = data["arm"].values.tolist(), data["day"].values.tolist()
    size = (max(3.0 * len(days) + 1.5, 6.0), 0.5 * len(arms) + 2.0)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(days), squeeze=False, sharey=True)[0]
    for panel, day in zip(panels, days, strict=True):
        for offset, axis in zip((-0.13, 0.13), data["axis"].values, strict=False):
            part = data.sel(day=day, axis=axis)
            middle = part["difference"]
            panel.errorbar(
                middle,
                np.arange(len(arms)) + offset,
                xerr=[middle - part["low"], part["high"] - middle],
                fmt="o",
                markersize=4,
                capsize=2.5,
                color=_COLOURS[str(axis)],
                label=f"at equal {axis}",
            )
        panel.axvline(0.0, color="k", linewidth=0.6)
        panel.set(title=f"day {day}", xlabel="z500 ACC, arm minus base")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(arms)), arms)
    panels[0].set_ylim(len(arms) - 0.5, -0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    counts = f"{int(data['seeds'].max())} seeds, {int(data['inits'].max())} init times"
    figure.suptitle(f"Against {ARMS[BASE].question}\n{counts}; 95 % intervals", fontsize=9)
    figure.savefig(path, dpi=110)
