"""What a roll-out leaves behind: chosen channels and leads of one forecast, or of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pear.rollout import perturbations
from pear.state import State
from pear.store.schema import PROBABILITY, default_overviews
from pear.variables import Layout
from pipelines.catalog import Model, Run
from pipelines.forecasting.options import ForecastOptions, Threshold
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter

Reduction = Callable[[State], State]


@dataclass(frozen=True)
class OutputSpec:
    """One store of a run: which state it keeps of each step.

    Attributes
    ----------
    suffix
        Added to the run's identity in the store's name; empty for the run's own store.
    title
        Of the store.
    reduce
        Makes the state to keep, batch 1, of the members.
    threshold
        If given, the share of the members above it is kept instead, of its field alone.
    """

    suffix: str
    title: str
    reduce: Reduction
    threshold: Threshold | None = None

    def layout(self, full: Layout, chosen: Layout) -> Layout:
        """Channels of the store, of those of the model and those chosen."""
        return chosen if self.threshold is None else self.threshold.layout(full)

    def about(self) -> dict[str, Any]:
        """Attributes of the store."""
        if self.threshold is None:
            return {"title": self.title}
        return {"title": self.title, PROBABILITY: self.threshold.words}

    def fields(self, members: State, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
        """Fields to keep: (surface, cell) and (upper, level, cell)."""
        if self.threshold is None:
            return _fields(self.reduce(members), layout)
        picked = _picked(members, layout)
        share = (perturbations.exceedance(part, self.threshold.value) for part in picked)
        surface, upper = (part.float().cpu().numpy() for part in share)
        return surface, upper


def planned(options: ForecastOptions, members: int) -> list[OutputSpec]:
    """List the stores of a run; the run's own comes last: where it is, all are."""
    if not options.ensemble:
        return [OutputSpec("", "PEAR forecast", _same)]
    quantiles = (
        OutputSpec(f".q{percent:02d}", f"PEAR ensemble, {percent} % quantile", _quantile(percent))
        for percent in options.quantiles
    )
    single = (
        OutputSpec(f".m{member:02d}", f"PEAR ensemble, member {member}", _member(member))
        for member in range(members if options.keep_members else 0)
    )
    above = (
        OutputSpec(f".p{index:02d}", f"PEAR ensemble, probability of {each.text}", _same, each)
        for index, each in enumerate(options.thresholds)
    )
    spread = OutputSpec(".spread", "PEAR ensemble, standard deviation", perturbations.spread)
    mean = OutputSpec("", f"PEAR ensemble, mean of {members}", perturbations.mean)
    return [spread, *quantiles, *above, *single, mean]


def _same(state: State) -> State:
    return state


def _quantile(percent: int) -> Reduction:
    return lambda members: perturbations.quantile(members, percent)


def _member(index: int) -> Reduction:
    return lambda members: perturbations.split_state(members, [1] * members.batch)[index]


class OutputWriter:
    """Writes the outputs of one run, step by step, and publishes them together.

    Parameters
    ----------
    data, run, model
        What is computed, and where it goes.
    full
        Channels of the states.
    members
        States in each step.
    total
        Steps of the run.
    """

    def __init__(
        self, data: DataFolder, run: Run, model: Model, full: Layout, members: int, total: int
    ) -> None:
        options = ForecastOptions.of(run.options)
        chosen = options.layout(full)
        self._kept = options.kept_steps(total, model.step_hours)
        self._outputs = planned(options, members)
        step = np.timedelta64(model.step_hours * 3600, "s")
        about = _about(run, model)
        self._writers = [
            ForecastWriter(
                data.forecast(run.id + output.suffix),
                output.layout(full, chosen),
                model.nside,
                run.init_time,
                np.array(self._kept) * step,
                {**about, **output.about()},
                default_overviews(model.nside),
            )
            for output in self._outputs
        ]
        self.whole = not options.ensemble and chosen == full and len(self._kept) == total + 1
        """Whether every step is kept whole, so that the roll-out can go on from the last one."""

    @property
    def main(self) -> ForecastWriter:
        """Writer of the run's own store."""
        return self._writers[-1]

    @property
    def published(self) -> bool:
        """Whether the run's store, and so all of them, is in its place."""
        return self.main.published

    def record(self, step: int, members: State) -> None:
        """Keep what is to be kept of a step; safe from a kill when it returns."""
        if step not in self._kept:
            return
        index = self._kept.index(step)
        for output, writer in zip(self._outputs, self._writers, strict=True):
            if not writer.published:
                writer.write_step(index, *output.fields(members, writer.layout))

    def holds(self, step: int) -> bool:
        """Whether every store has all that is to be kept up to a step."""
        wanted = {index for index, kept in enumerate(self._kept) if kept <= step}
        return all(wanted <= set(writer.steps_done()) for writer in self._writers)

    def publish(self) -> None:
        """Publish every store, the run's own last."""
        for writer in self._writers:
            writer.publish()


def _fields(state: State, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Take the channels of a layout out of a state of batch 1, as arrays."""
    surface, upper = (
        part[0].to(device="cpu", dtype=torch.float32).numpy() for part in _picked(state, layout)
    )
    return surface, upper


def _picked(state: State, layout: Layout) -> tuple[Tensor, Tensor]:
    """Take the channels of a layout: (batch, surface, cell) and (batch, upper, level, cell)."""
    full = state.layout
    if full == layout:
        return state.surface, state.upper
    rows = _places(layout.surface, full.surface)
    names, levels = _places(layout.upper, full.upper), _places(layout.levels, full.levels)
    return state.surface[:, rows], state.upper[:, names][:, :, levels]


def _places(wanted: Sequence[Any], held: Sequence[Any]) -> list[int]:
    return [held.index(item) for item in wanted]


def _about(run: Run, model: Model) -> dict[str, Any]:
    return {
        "source": f"PEAR model {model.id}, checkpoint sha256 {model.sha256}",
        "model": model.id,
        "model_sha256": model.sha256,
        "run_id": run.id,
        "initial_state": run.options["analysis"],
        "options": dict(run.options),
    }
