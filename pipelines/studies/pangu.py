"""PEAR against Pangu on a regular grid, trained alike at the same cost, scored on both grids.

The published claim is that equal area wins at longer lead times. Both networks see the same
weather from the same files, on grids with as many points. The cost is the same time or the same
number of steps: Pangu, whose windows are larger and whose grid is padded to whole windows, takes
longer for a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from pear.errors import InputError, did_you_mean
from pear.models import checkpoint
from pear.models.config import FORCINGS, PearConfig
from pear.models.pangu import Pangu, PanguConfig
from pear.rollout import PearForecaster
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.training import Samples, Trainer
from pear.training.statistics import fit_normaliser
from pipelines.studies.ablation import BASE, config_of
from pipelines.studies.comparison import (
    combine,
    compare,
    labelled_sums,
    select_sums,
    write_results,
)
from pipelines.studies.pangu_forecaster import (
    PanguForecaster,
    score_on_both_grids,
    train_pangu,
)
from pipelines.studies.study import (
    TIMED_STEPS,
    NetworkPlan,
    TrainingStudy,
    Trial,
    measure_networks,
    wait_for_lock,
)
from pipelines.training.latlon_dataset import LatLonStates, collect_states
from pipelines.training.train import CHECKPOINT

GRIDS: Final = ("cells", "points")
BUDGETS: Final[dict[str, str]] = {"time": "pangu", "steps": "pangu-steps"}
"""What both networks have the same of, and the name of the Pangu that is trained so."""


@dataclass(frozen=True, kw_only=True)
class PanguStudy(TrainingStudy):
    """Comparison of PEAR with Pangu of the same width.

    Attributes
    ----------
    sources
        The files that the store was made from.
    depths
        Blocks of the four stages of both networks.
    budgets
        Names from :data:`BUDGETS`; more may be added to a folder later.

    Raises
    ------
    InputError
        If a budget is unknown.
    """

    days: int = 10
    sources: tuple[Path, ...] = ()
    depths: tuple[int, ...] = (2, 2, 2, 2)
    budgets: tuple[str, ...] = tuple(BUDGETS)

    name: ClassVar[str] = "pangu"
    VARIABLE: ClassVar[tuple[str, ...]] = ("folder", "seeds", "sources", "budgets")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.budgets:
            if name not in BUDGETS:
                hint = did_you_mean(name, BUDGETS)
                raise InputError(f"unknown budget {name!r}", field="--budgets", hint=hint)

    @cached_property
    def networks(self) -> tuple[PearConfig, PanguConfig]:
        """Settings of both networks."""
        layout, nside = self.grid
        pear = replace(config_of(BASE, nside, self.embed, layout), depths=self.depths)
        pangu = PanguConfig.like(
            nside,
            layout=layout,
            embed=self.embed,
            heads=pear.heads,
            depths=self.depths,
            residual=True,
            forcings=tuple(FORCINGS),
            drop_path=0.0,
            masks=0,
        )
        return pear, pangu

    @cached_property
    def states(self) -> LatLonStates:
        """States on Pangu's grid, made from the sources by the first process that needs them."""
        pear, pangu = self.networks
        folder = self.folder / "latlon"
        folder.mkdir(parents=True, exist_ok=True)
        with wait_for_lock(self.folder / ".latlon.lock"):
            return collect_states(self.sources, folder, (pangu.rows, pangu.columns), pear.layout)

    def measure(self) -> dict[str, NetworkPlan]:
        """Plan the steps that each network can do in the same time."""
        cells, points = self.samples(), Samples.from_source(self.states.select(*self.period))
        measured = measure_networks(
            {
                "pear": partial(self.timed_trainer, self.networks[0], cells),
                "pangu": partial(self._timed_pangu, points),
            }
        )
        return {
            name: {
                "embed": self.embed,
                "parameters": parameters,
                "steps": self.steps_in_time(seconds),
                "step_seconds": round(seconds, 4),
            }
            for name, (parameters, seconds) in measured.items()
        }

    def _timed_pangu(self, samples: Samples) -> Trainer:
        network = Pangu(self.networks[1])
        for name in ("orography", "land_fraction"):  # values do not change the time
            network.set_static(**{name: np.zeros(self.states.grid.size)})
        settings, scratch = self.settings(TIMED_STEPS, 0), self.folder / "timing"
        return Trainer(network, fit_normaliser(samples), samples, None, settings, scratch)

    def design(self) -> list[Trial]:
        """Return the trainings of PEAR and of Pangu at every budget, then the verifications."""
        plan, trainings, verifications = self.plan(), [], []
        for seed in self.seeds:
            where = f"seed{seed}"
            document = f"{CHECKPOINT}/{checkpoint.DOCUMENT}"
            results = {"pear": f"{where}/pear/{document}"}
            steps = {"pear": plan["pear"]["steps"]}
            for budget in self.budgets:
                name = BUDGETS[budget]
                results[name] = f"{where}/{name}/{document}"
                steps[name] = plan["pangu" if budget == "time" else "pear"]["steps"]
            for name, result in results.items():
                cost = plan["pear" if name == "pear" else "pangu"]["step_seconds"]
                work = partial(self._train, name, seed, steps[name])
                trainings.append(
                    Trial(f"train {name} seed {seed}", result, work, steps[name] * cost)
                )
            for budget in self.budgets:
                name = BUDGETS[budget]
                verifications.append(
                    Trial(
                        f"score {name} seed {seed}",
                        f"{where}/{name}.nc",
                        partial(self._verify, budget, seed),
                        needs=(results["pear"], results[name]),
                    )
                )
        return trainings + verifications

    def _train(self, name: str, seed: int, steps: int, folder: Path) -> None:
        out, settings = folder / f"seed{seed}" / name, self.settings(steps, seed)
        pear, pangu = self.networks
        if name == "pear":
            self.train_pear(out, pear, settings)
        else:
            train_pangu(self.states.select(*self.period), pangu, settings, out, self.store)

    def _verify(self, budget: str, seed: int, folder: Path) -> None:
        out, (layout, nside) = folder / f"seed{seed}", self.grid
        pear = PearForecaster(checkpoint.load(out / "pear" / CHECKPOINT))
        trained = checkpoint.load_pangu(out / BUDGETS[budget] / CHECKPOINT)
        pangu = PanguForecaster(trained.model, trained.normaliser, self.states, nside)
        analysis = Analysis(self.store, layout, nside)
        climatology = Climatology.open(self.climatology, layout, nside)
        inits = self.inits(analysis.times)
        rows = score_on_both_grids(pangu, pear, analysis, climatology, inits, self.leads)
        labels: dict[str, list[object]] = {
            "grid": [grid for grid, _ in rows],
            "network": [network for _, network in rows],
            "budget": [budget] * len(rows),
            "seed": [seed] * len(rows),
        }
        named = {f"{budget} {grid} {name} {seed}": sums for (grid, name), sums in rows.items()}
        write_results(labelled_sums(named, labels), out / f"{BUDGETS[budget]}.nc")

    def report(self, results: xr.Dataset) -> xr.Dataset:
        """Compare PEAR with Pangu at each budget on each grid; write table and plot.

        Parameters
        ----------
        results
            Sums of all verifications.

        Returns
        -------
        xarray.Dataset
            (budget, grid, score, field, day) as :func:`pipelines.studies.comparison.compare`.
        """
        parts = []
        for budget, grid in product(self.budgets, GRIDS):
            pear, pangu = (
                select_sums(results, budget=budget, grid=grid, network=network)
                for network in ("pear", "pangu")
            )
            seeds = [seed for seed in self.seeds if seed in pear]
            if seeds:
                tables = ([many[seed] for seed in seeds] for many in (pear, pangu))
                parts.append(compare(*tables, budget=budget, grid=grid))
        report = combine(parts, budget=list(BUDGETS), grid=GRIDS)
        if parts:
            self.write_table(report)
            _draw(report, self.folder / f"{self.name}.png")
        return report


def _draw(report: xr.Dataset, path: Path) -> None:
    """Draw the difference of ACC by lead time: budgets down, fields across."""
    data = report.sel(score="acc")
    budgets, names = data["budget"].values, data["field"].values
    size = (3.2 * len(names), 0.4 + 2.8 * len(budgets))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(budgets), len(names), squeeze=False, sharex=True, sharey=True)
    for (row, column), panel in np.ndenumerate(panels):
        for grid, colour in zip(GRIDS, ("#14784f", "#3b6fb6"), strict=True):
            part = data.sel(budget=budgets[row], field=names[column], grid=grid)
            panel.plot(part["day"], part["difference"], color=colour, label=f"on {grid}")
            panel.fill_between(part["day"], part["low"], part["high"], color=colour, alpha=0.2)
        panel.axhline(0.0, color="k", linewidth=0.6)
        if row == 0:
            panel.set_title(names[column])
        if row == len(budgets) - 1:
            panel.set_xlabel("lead time, days")
        if column == 0:
            panel.set_ylabel(f"at equal {budgets[row]}")
    figure.suptitle("ACC, PEAR minus Pangu, with 95 % intervals", fontsize=10)
    panels[0, 0].legend()
    figure.savefig(path, dpi=110)
