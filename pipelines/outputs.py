"""What a roll-out leaves behind: chosen channels and leads of one forecast, or of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pear.rollout import perturbation
from pear.state import State
from pear.variables import Layout
from pipelines.catalog import Model, Run
from pipelines.contract import usual_coarser
from pipelines.datafolder import DataFolder
from pipelines.options import Options
from pipelines.store import ForecastWriter

Reduction = Callable[[State], State]


@dataclass(frozen=True)
class Output:
    """One store of a run: which state it keeps of each step.

    Attributes
    ----------
    suffix
        Added to the run's identity in the store's name; empty for the run's own store.
    title
        Of the store.
    reduce
        Makes the state to keep, batch 1, of the members.
    """

    suffix: str
    title: str
    reduce: Reduction


def planned(options: Options, members: int) -> list[Output]:
    """List the stores of a run; the run's own comes last: where it is, all are."""
    if not options.ensemble:
        return [Output("", "PEAR forecast", lambda state: state)]
    quantiles = (
        Output(f".q{percent:02d}", f"PEAR ensemble, {percent} % quantile", _quantile(percent))
        for percent in options.quantiles
    )
    single = (
        Output(f".m{member:02d}", f"PEAR ensemble, member {member}", _member(member))
        for member in range(members if options.keep_members else 0)
    )
    spread = Output(".spread", "PEAR ensemble, standard deviation", perturbation.spread)
    mean = Output("", f"PEAR ensemble, mean of {members}", perturbation.mean)
    return [spread, *quantiles, *single, mean]


def _quantile(percent: int) -> Reduction:
    return lambda members: perturbation.quantile(members, percent)


def _member(index: int) -> Reduction:
    return lambda members: perturbation.parted(members, [1] * members.batch)[index]


class Recorder:
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
        options = Options.of(run.options)
        self._full, self._layout = full, options.layout(full)
        self._kept = options.kept_steps(total, model.step_hours)
        self._outputs = planned(options, members)
        step = np.timedelta64(model.step_hours * 3600, "s")
        about = _about(run, model)
        self._writers = [
            ForecastWriter(
                data.forecast(run.id + output.suffix), self._layout, model.nside, run.init_time,
                np.array(self._kept) * step, {**about, "title": output.title},
                usual_coarser(model.nside),
            )
            for output in self._outputs
        ]  # fmt: skip
        self.whole = not options.ensemble and self._layout == full and len(self._kept) == total + 1
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
        """Keep what is to be kept of a step; on disk when it returns."""
        if step not in self._kept:
            return
        index = self._kept.index(step)
        for output, writer in zip(self._outputs, self._writers, strict=True):
            if not writer.published:
                writer.write_step(index, *_fields(output.reduce(members), self._layout))

    def publish(self) -> None:
        """Publish every store, the run's own last."""
        for writer in self._writers:
            writer.publish()


def _fields(state: State, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Take the channels of a layout out of a state of batch 1, as arrays."""
    full = state.layout
    surface = state.surface[0].to(device="cpu", dtype=torch.float32).numpy()
    upper = state.upper[0].to(device="cpu", dtype=torch.float32).numpy()
    if full == layout:
        return surface, upper
    rows = _places(layout.surface, full.surface)
    names, levels = _places(layout.upper, full.upper), _places(layout.levels, full.levels)
    return surface[rows], upper[names][:, levels]


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
