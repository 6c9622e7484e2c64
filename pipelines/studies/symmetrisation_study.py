"""Members trained with and without augmentation, averaged over the group and over each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.studies.ablation import BASE, config_of
from pipelines.studies.comparison import combine, compare, select_sums, write_results
from pipelines.studies.study import NetworkPlan, TrainingStudy, Trial, measure_networks
from pipelines.studies.symmetrisation import (
    WAYS,
    common_error,
    ensemble_error,
    exactness,
    measure,
)
from pipelines.training.train import CHECKPOINT

KINDS: Final[dict[str, dict[str, object]]] = {"augmented": {"augmentation": "c4h"}, "plain": {}}
"""Kinds of members, and the training settings that make the difference."""
EXACT_DAYS: Final = 3
EXACT_INITS: Final = 2
_COLOURS: Final = ("#14784f", "#b6533b", "#3b6fb6", "#7a5ba8")
_STYLES: Final = {"averaged": ":", "ensemble": "-", "both": "--"}


@dataclass(frozen=True, kw_only=True)
class SymmetrisationStudy(TrainingStudy):
    """Equivariance and skill of averages over the group and over members.

    Attributes
    ----------
    model
        Trained model to measure as well.
    """

    every: int = 10
    minutes: float = 1.0
    seeds: tuple[int, ...] = tuple(range(8))
    embed: int = 64
    model: Path | None = None

    name: ClassVar[str] = "symmetrisation"
    VARIABLE: ClassVar[tuple[str, ...]] = ("folder", "seeds", "model")

    @cached_property
    def config(self) -> PearConfig:
        """Settings of the members' network."""
        layout, nside = self.grid
        return config_of(BASE, nside, self.embed, layout)

    def measure(self) -> dict[str, NetworkPlan]:
        """Plan the steps of a training; all members have the same network."""
        make = partial(self.timed_trainer, self.config, self.samples(), **KINDS["augmented"])
        parameters, seconds = measure_networks({"member": make})["member"]
        return {
            "member": {
                "embed": self.embed,
                "parameters": parameters,
                "steps": self.steps_in_time(seconds),
                "step_seconds": round(seconds, 4),
            }
        }

    def design(self) -> list[Trial]:
        """Return the trainings, both kinds of a seed first, and one measurement of each kind.

        A measurement belongs to a number of members, or to a given model: another number or
        model makes another one.

        Returns
        -------
        list of Trial
        """
        plan = self.plan()["member"]
        document = f"{CHECKPOINT}/{checkpoint.DOCUMENT}"
        trials = [
            Trial(
                f"train {kind} seed {seed}",
                f"{kind}/seed{seed}/{document}",
                partial(self._train, kind, seed, plan["steps"]),
                plan["steps"] * plan["step_seconds"],
            )
            for seed in self.seeds
            for kind in KINDS
        ]
        if self.model is not None:
            label = checkpoint.load(self.model).id
            work = partial(self._measure, "given", f"measured/given-{label}.nc")
            trials.append(Trial("measure given", f"measured/given-{label}.nc", work))
        for kind in KINDS:
            result = f"measured/{kind}-{len(self.seeds)}.nc"
            needs = tuple(f"{kind}/seed{seed}/{document}" for seed in self.seeds)
            work = partial(self._measure, kind, result)
            trials.append(Trial(f"measure {kind}", result, work, needs=needs))
        return trials

    def _train(self, kind: str, seed: int, steps: int, folder: Path) -> None:
        settings = self.settings(steps, seed, **KINDS[kind])
        self.train_pear(folder / kind / f"seed{seed}", self.config, settings)

    def _measure(self, kind: str, result: str, folder: Path) -> None:
        paths = [folder / kind / f"seed{seed}" / CHECKPOINT for seed in self.seeds]
        if kind == "given" and self.model is not None:
            paths = [self.model]
        models = [checkpoint.load(path) for path in paths]
        like = (models[0].config.layout, models[0].config.nside)
        analysis = Analysis(self.store, *like)
        climatology = Climatology.open(self.climatology, *like)
        inits = self.inits(analysis.times)
        days = min(EXACT_DAYS, self.days)
        exact = exactness(models[0], analysis, inits[:EXACT_INITS], days)
        # exactness works on float64 copies; the members forecast in float32.
        found = measure(models, analysis, climatology, inits, self.days)
        names = {way: f"{kind} {way}" for way in WAYS}
        found = found.assign_coords(
            forecaster=list(names.values()),
            models=("forecaster", [kind] * len(WAYS)),
            way=("forecaster", list(WAYS)),
            seed=("forecaster", [len(models)] * len(WAYS)),
            member=np.arange(len(models)),
            other=np.arange(len(models)),
        )
        # Errors stand along the same dimension; NaN where a way has none.
        gram = found["gram"].expand_dims(forecaster=[names["single"]])
        exact = exact.rename(way="forecaster")
        exact = exact.assign_coords(
            forecaster=[names[str(way)] for way in exact["forecaster"].values]
        )
        write_results(found.assign(gram=gram, exact=exact), folder / result)

    def report(self, results: xr.Dataset) -> xr.Dataset:
        """Compare the averages with single networks; write tables and plot.

        Parameters
        ----------
        results
            Sums and errors of all measurements.

        Returns
        -------
        xarray.Dataset
            (models, way, score, field, day) as :func:`pipelines.studies.comparison.compare`;
            ``error`` of the mean of some members with its range over subsets, ``low_error`` to
            ``high_error``, the ``expected`` error of one member over √members, and the error in
            ``common``, (models, members, day); ``exact`` (models, way, element, exact_day).
        """
        if not results.sizes:
            return xr.Dataset()
        kinds = list(dict.fromkeys(results["models"].values.tolist()))
        scores, errors, exact = [], [], []
        for kind in kinds:
            part = results.isel(forecaster=np.flatnonzero(results["models"] == kind))
            part = part.swap_dims(forecaster="way")
            gram = part["gram"].sel(way="single").dropna("member", how="all")
            gram = gram.dropna("other", how="all")
            errors.append(_errors(gram).expand_dims(models=[kind]))
            kept = part["exact"].sel(way=["single", "averaged"]).reset_coords(drop=True)
            exact.append(kept.rename(day="exact_day").expand_dims(models=[kind]).to_dataset())
            (single,) = select_sums(results, models=kind, way="single").values()
            # The mean of a single member is the member itself.
            for way in WAYS if gram.sizes["member"] > 1 else WAYS[:2]:
                (one,) = select_sums(results, models=kind, way=way).values()
                scores.append(compare([one], [single], models=kind, way=way))
        table = combine(scores, models=kinds, way=WAYS)
        falls = combine(errors, models=kinds)
        self.write_table(table, "symmetrisation-scores")
        self.write_table(falls, "symmetrisation-errors")
        _draw(table, falls, self.folder / f"{self.name}.png")
        falls = falls.rename(low="low_error", high="high_error")
        return combine([table, falls, *exact], models=kinds, way=WAYS)


def _errors(gram: xr.DataArray) -> xr.Dataset:
    """Compute the errors of ensembles of each size, (members, day)."""
    values = gram.transpose("time", "prediction_timedelta", "member", "other").values
    sizes, days = range(1, values.shape[-1] + 1), range(values.shape[1])
    found = np.array([[ensemble_error(values[:, day], n) for day in days] for n in sizes])
    expected = found[0, :, 0] / np.sqrt(np.array(sizes))[:, None]
    common = [common_error(values[:, day]) for day in days]
    dims = ("members", "day")
    return xr.Dataset(
        {
            "error": (dims, found[..., 0]),
            "low": (dims, found[..., 1]),
            "high": (dims, found[..., 2]),
            "expected": (dims, expected),
            "common": ("day", common),
        },
        {"members": list(sizes), "day": [day + 1 for day in days]},
    )


def _draw(scores: xr.Dataset, errors: xr.Dataset, path: Path) -> None:
    """Draw the errors by ensemble size, and the change of ACC and RMSE of z500."""
    figure = Figure(figsize=(12.5, 3.9), layout="constrained")
    left, *others = figure.subplots(1, 3)
    for kind, colour in zip(errors["models"].values, _COLOURS, strict=False):
        _draw_errors(left, errors.sel(models=kind, day=1).dropna("members"), colour)
        for panel, score in zip(others, ("acc", "rmse"), strict=True):
            _draw_scores(panel, scores.sel(models=kind, field="z500", score=score), colour)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="members",
        title="Equivariance error, one day",
        ylabel="rms, 1 = a day's change",
    )
    counts = errors["members"].values.tolist()
    left.set_xticks(counts, [str(count) for count in counts])
    left.minorticks_off()
    others[0].set(title="z500 ACC minus a single network's", xlabel="lead time, days")
    others[1].set(title="z500 RMSE over a single network's", xlabel="lead time, days")
    for panel in (left, *others):
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def _draw_errors(panel: Axes, data: xr.Dataset, colour: str) -> None:
    name, members = str(data["models"].item()), data["members"]
    panel.plot(members, data["error"], "o-", color=colour, label=name, markersize=4)
    if data.sizes["members"] > 1:
        panel.fill_between(members, data["low"], data["high"], color=colour, alpha=0.2, lw=0)
        panel.plot(members, data["expected"], ":", color=colour, label=f"{name}: one / √n")


def _draw_scores(panel: Axes, data: xr.Dataset, colour: str) -> None:
    for way, style in _STYLES.items():
        if way not in data["way"] or data["value"].sel(way=way).isnull().all():
            continue
        part = data.sel(way=way)
        shift, scale = (1.0, part["reference"]) if part["score"] == "rmse" else (0.0, 1.0)
        low, middle, high = (shift + part[name] / scale for name in ("low", "difference", "high"))
        panel.plot(
            part["day"], middle, style, color=colour, label=f"{data['models'].item()}, {way}"
        )
        panel.fill_between(part["day"], low, high, color=colour, alpha=0.12, lw=0)
