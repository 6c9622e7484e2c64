"""Counterfactuals along the data manifold (arXiv 2206.05075): exact parts, and weather.

In coordinates of a chart of the data the smallest change that brings an outcome stays data; cell by
cell it is adversarial noise, many times smaller and of small scales. On weather: the smallest
change of an initial state that warms Europe by three days later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Final, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pear import resources
from pear.counterfactual.chart import Chart, fit_chart
from pear.counterfactual.event import parse_event
from pear.counterfactual.figures import Coordinates, small_scale_share
from pear.counterfactual.find import Counterfactual, find_counterfactual
from pear.counterfactual.quantity import Quantity
from pear.counterfactual.search import MOST_ITERATIONS, HappensAlreadyError, find_smallest
from pear.datasets.sample import sample_analysis
from pear.errors import InputError
from pear.models import checkpoint
from pear.models.symmetries import distinct_elements
from pear.progress import ProgressCallback
from pear.rollout import PearForecaster, differentiable_rollout
from pear.state import State
from pear.store.analysis import Analysis
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values

PAPER: Final = "arXiv 2206.05075"
EVENT: Final = "mean:t850@45..60N,0..40E>+2sd day 3"
LEAD: Final = 72
_DAYS: Final = LEAD // 24
_FIRST_INIT, _LAST_INIT = 2, 20
_KELVIN: Final = 0.1
"""Step of the differences, in the event's units: large beside float32, small beside the weather."""
_SHOWN: Final = ("size", "near", "small_scales", "off_chart")


@dataclass(frozen=True, kw_only=True)
class CounterfactualStudy(ClaimStudy):
    """Smallest changes in a chart and cell by cell, from several init times.

    Attributes
    ----------
    analysis
        Analysis store of a year or more, on whose states the chart is fitted; None leaves the
        weather out.
    inits
        Init times, of the days that ship with PEAR.
    """

    analysis: Path | None = None
    inits: int = 10

    name: ClassVar[str] = "counterfactual"
    help: ClassVar[str] = "Seek the smallest changes that bring an event, along the data and not."
    usual_time: ClassVar[str] = "10 s; 15 min with a store"
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim("exact", "linear dynamics: error of the closed form", "closed form", "at most", 1e-3),
        Claim("steps", "linear dynamics: steps", "closed form", "at most", 1.0, 1.0),
        Claim(
            "forecaster",
            "states with gradients minus the forecaster's",
            "definition",
            "at most",
            0.0,
            0.0,
        ),
        Claim(
            "slope",
            "gradient over 3 days against differences, relative",
            "definition",
            "at most",
            1e-2,
        ),
        Claim("reached", "share of init times with the event reached", PAPER, "at least", 0.9),
        Claim("gradients", "most gradients of a search", PAPER, "at most", float(MOST_ITERATIONS)),
        Claim("size", "size of the change over an anomaly's, median", PAPER, "at most", 0.3),
        Claim("near", "share of it within 4000 km, median", PAPER, "at least", 0.5),
        Claim("smooth", "its power beyond degree nside over that of the data", PAPER, "at most", 1),
        Claim("noise", "the same power, cells over chart", PAPER, "at least", 3.0),
        Claim("smaller", "size of the change, chart over cells", PAPER, "at least", 3.0, 8.0),
        Claim("off", "share of the change in cells that is off the chart", PAPER, "at least", 0.9),
        Claim(
            "transfer",
            "share of its effect in the mirrored network, chart minus cells",
            PAPER,
            "at least",
            0.0,
        ),
    )

    def parts(self) -> list[Part]:
        """Return the exact parts, and with a store one part for each init time."""
        parts = [Part("linear", self._linear), Part("gradient", self._gradient)]
        if self.analysis is None:
            return parts
        if not 1 <= self.inits <= _LAST_INIT - _FIRST_INIT:
            raise InputError(
                f"{self.inits} init times: 1 to {_LAST_INIT - _FIRST_INIT} are shipped",
                field="--inits",
            )
        places = np.linspace(_FIRST_INIT, _LAST_INIT, self.inits).astype(int)
        return parts + [
            Part(f"weather{place:02d}", partial(self._weather, int(place))) for place in places
        ]

    def measured(self, results: Mapping[str, Values]) -> dict[str, float]:
        """Return the value of each claim: over the init times medians, and the most gradients."""
        weather = [
            values
            for name, values in results.items()
            if name.startswith("weather") and values["asked"]  # it does not happen anyway
        ]
        rest = {name: each for name, each in results.items() if not name.startswith("weather")}
        found = super().measured(rest)
        if not weather:
            return found
        reached = [cast("dict[str, float]", each) for each in weather if each["reached"]]
        found["reached"] = len(reached) / len(weather)
        for key in ("size", "near", "smooth", "noise", "smaller", "off", "transfer"):
            found[key] = float(np.median([each[key] for each in reached])) if reached else np.nan
        found["gradients"] = max((each["gradients"] for each in reached), default=np.nan)
        return found

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw size, place, scale and distance from the chart of both kinds of change."""
        weather = [values for name, values in results.items() if name.startswith("weather")]
        rows = [cast("dict[str, float]", each) for each in weather if each["reached"]]
        if not rows:
            return False
        figure = Figure(figsize=(9, 3), layout="constrained")
        for axes, key in zip(figure.subplots(1, len(_SHOWN)), _SHOWN, strict=True):
            for column, kind in enumerate(("chart", "cells")):
                values = [row[f"{kind}_{key}"] for row in rows]
                axes.plot(np.full(len(values), column), values, "o", alpha=0.5)
            axes.set_xticks([0, 1], ["chart", "cells"])
            axes.set_xlim(-0.5, 1.5)
            axes.set_ylim(bottom=0)
            axes.set_title(key.replace("_", " "), fontsize=10)
        figure.savefig(path, dpi=120)
        return True

    def _linear(self, tick: ProgressCallback) -> Values:
        generator = torch.Generator().manual_seed(self.seed)
        slope = torch.randn(50, generator=generator, dtype=torch.float64)
        found = find_smallest(lambda z: z @ slope - 1, 50, 2.0, dtype=torch.float64)
        best = 3 * slope / slope.square().sum()
        error = float((found.z - best).norm() / best.norm())
        return {"exact": error, "steps": float(found.gradients - 1)}

    def _gradient(self, tick: ProgressCallback) -> Values:
        forecaster = self._forecaster
        state = self._initial(_FIRST_INIT).map(torch.clone)
        plain = list(forecaster.iterate(state, _DAYS))
        leaf = state.map(lambda values: values.clone().requires_grad_())
        graded = list(differentiable_rollout(forecaster, leaf, _DAYS))
        difference = max(
            float((one.upper - two.upper).abs().max())
            + float((one.surface - two.surface).abs().max())
            for one, two in zip((each.map(Tensor.detach) for each in graded), plain, strict=True)
        )
        quantity = Quantity.build(parse_event(EVENT), forecaster.layout, forecaster.nside)
        quantity.measure(graded[-1]).backward()  # type: ignore[no-untyped-call]
        if leaf.upper.grad is None:
            raise RuntimeError("the rollout has no gradient")
        # In standard deviations, so that the step is small for every variable.
        square = forecaster.checkpoint.normaliser.upper_std[..., None].square()
        direction = leaf.upper.grad * square
        expected = float((leaf.upper.grad * direction).sum())
        size = _KELVIN / expected

        def moved(step: float) -> float:
            upper = state.upper + step * direction
            there = State(state.surface, upper, state.valid_time, state.layout)
            *_, last = forecaster.iterate(there, _DAYS)
            return float(quantity.measure(last))

        slope = (moved(size) - moved(-size)) / (2 * size)
        return {"forecaster": difference, "slope": abs(slope - expected) / expected}

    def _weather(self, place: int, tick: ProgressCallback) -> Values:
        initial = self._initial(place)
        try:
            chart, cells = (self._find(initial, kind) for kind in ("chart", "cells"))
        except HappensAlreadyError:
            return {"asked": 0.0, "reached": 0.0}
        except InputError as error:
            return {"asked": 1.0, "reached": 0.0, "reason": str(error)}
        figures, noise = chart.figures, cells.figures
        values = {
            "asked": 1.0,
            "reached": 1.0,
            "length": figures.length,
            "gradients": float(figures.gradients),
            "size": figures.size,
            "near": figures.near,
            "smooth": figures.small_scales / self._data_scales(initial),
            "noise": noise.small_scales / figures.small_scales,
            "smaller": figures.size / noise.size,
            "off": noise.off_chart,
            "transfer": self._transfer(initial, chart) - self._transfer(initial, cells),
            "transfer_chart": self._transfer(initial, chart),
        }
        for key in _SHOWN:
            values |= {f"chart_{key}": getattr(figures, key), f"cells_{key}": getattr(noise, key)}
        return values

    def _find(self, initial: State, coordinates: str) -> Counterfactual:
        return find_counterfactual(
            self._forecaster,
            initial,
            self._chart,
            parse_event(EVENT),
            longest=LEAD,
            coordinates=cast("Coordinates", coordinates),
        )

    def _transfer(self, initial: State, found: Counterfactual) -> float:
        """Return the share of the effect of a change that the mirrored network shows."""
        other = self._mirrored
        quantity = Quantity.build(parse_event(EVENT), other.layout, other.nside)
        before, after = (
            float(quantity.measure(list(other.iterate(state, _DAYS))[-1]))
            for state in (initial, found.initial)
        )
        return (after - before) / (found.figures.counterfactual - found.figures.factual)

    def _data_scales(self, initial: State) -> float:
        """Return the share of the power beyond degree nside of the initial anomaly."""
        fields = torch.from_numpy(initial.to_channels()[0])
        anomaly = fields - self._chart.mean(initial.valid_time[0])
        return small_scale_share(self._chart.weighted(anomaly).double().numpy())

    def _initial(self, place: int) -> State:
        sample = sample_analysis()
        forecaster = self._forecaster
        time = sample["time"].values[place]
        return forecaster.prepare(
            State.from_xarray(sample, time, forecaster.layout, forecaster.nside)
        )

    @cached_property
    def _forecaster(self) -> PearForecaster:
        """The shipped network without its correction: the figures are those of a network."""
        return PearForecaster(checkpoint.load(resources.path("checkpoint")), correct=False)

    @cached_property
    def _mirrored(self) -> PearForecaster:
        """The shipped network in a symmetry that it does not keep: another one, trained alike."""
        found = self._forecaster.checkpoint
        element = distinct_elements(vars(found.config))[-1]
        return PearForecaster(found, group=(element,), correct=False)

    @cached_property
    def _chart(self) -> Chart:
        path = self.folder / "chart.safetensors"
        if path.is_file():
            return Chart.load(self.folder)
        forecaster = self._forecaster
        if self.analysis is None:
            raise RuntimeError("the study has no analysis")
        chart = fit_chart(Analysis(self.analysis, forecaster.layout, forecaster.nside))
        chart.save(self.folder)
        return chart
