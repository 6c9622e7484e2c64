"""Output stores of a forecast run: chosen channels and lead times of the ensemble's statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from pear.derived import Derived
from pear.models.climate import INITIAL_STATE_NOTE, OTHER_CLIMATE
from pear.models.correction import CORRECTION
from pear.models.spread_skill import ATTRIBUTE as SPREAD_SKILL
from pear.models.spread_skill import UNKNOWN, read_spread_skill
from pear.rollout import (
    Ensemble,
    ensemble_mean,
    ensemble_quantile,
    ensemble_spread,
    exceedance_probability,
    split_state,
)
from pear.state import State
from pear.store.schema import (
    CELL_METHODS,
    PROBABILITY,
    STATISTIC,
    default_overviews,
    open_group,
)
from pear.typing import Float32
from pear.variables import MEMBERS, SIMULATED, Layout
from pipelines.catalog import Model, Run
from pipelines.forecasting.climate import describe_difference, describe_initial_state
from pipelines.forecasting.options import ForecastOptions, Threshold
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter

Reduction = Callable[[State], State]
T = TypeVar("T")


@dataclass(frozen=True)
class OutputSpec:
    """One output store of a run.

    Attributes
    ----------
    suffix
        Added to the run id in the store's name; empty for the run's own store.
    title
        Title of the store.
    reduce
        Computes the state to keep, batch 1, from the members.
    threshold
        If given, the probability of exceeding it is kept instead, of its field alone.
    statistic
        Name of what is computed of each field by itself, so that the components of a wind are
        those of a vector no longer; None for a state of the atmosphere.
    cell_methods
        What the conventions of netCDF call the statistic, where they have a word for it.
    """

    suffix: str
    title: str
    reduce: Reduction
    threshold: Threshold | None = None
    statistic: str | None = None
    cell_methods: str | None = None

    def layout(self, full: Layout, chosen: Layout) -> Layout:
        """Return the channels of the store.

        Parameters
        ----------
        full
            Channels of the model.
        chosen
            Channels that the run keeps.

        Returns
        -------
        Layout
            The chosen channels, or that of the threshold.
        """
        return chosen if self.threshold is None else self.threshold.layout(full)

    def attributes(self) -> dict[str, str]:
        """Return the attributes of the store."""
        about = {"title": self.title}
        if self.threshold is not None:
            about[PROBABILITY] = self.threshold.description
        elif self.statistic is not None:
            about[STATISTIC] = self.statistic
        if self.cell_methods is not None:
            about[CELL_METHODS] = self.cell_methods
        return about

    def fields(self, members: State, layout: Layout) -> tuple[Float32, Float32]:
        """Compute the fields to keep.

        Parameters
        ----------
        members
            (member, …).
        layout
            Channels of the store.

        Returns
        -------
        surface, upper
            (surface, cell) and (upper, level, cell).
        """
        if self.threshold is None:
            parts = [part[0] for part in _select(self.reduce(members), layout)]
        else:
            value, derived = self.threshold.value, self.threshold.derived
            found = (
                _select(members, layout) if derived is None else _derive(derived, members, layout)
            )
            parts = [exceedance_probability(part, value) for part in found]
        surface, upper = (part.to(device="cpu", dtype=torch.float32).numpy() for part in parts)
        return surface, upper


def plan_outputs(options: ForecastOptions, members: int) -> list[OutputSpec]:
    """List the output stores of a run.

    Parameters
    ----------
    options
        Options of the forecast.
    members
        Size of the ensemble.

    Returns
    -------
    list of OutputSpec
        The run's own store last: once it is published, all are.
    """
    if not options.is_ensemble:
        title = (
            "PEAR forecast" if options.counterfactual is None else "PEAR counterfactual forecast"
        )
        return [OutputSpec("", title, _identity)]
    return [
        OutputSpec(
            ".spread",
            "PEAR ensemble, standard deviation",
            ensemble_spread,
            statistic="spread",
            cell_methods="realization: standard_deviation",
        ),
        *(
            OutputSpec(
                f".q{percent:02d}",
                f"PEAR ensemble, {percent} % quantile",
                partial(ensemble_quantile, percent=percent),
                statistic=f"{percent} % quantile",
                cell_methods="realization: median" if percent == 50 else None,
            )
            for percent in options.quantiles
        ),
        *(
            OutputSpec(
                f".p{index:02d}", f"PEAR ensemble, probability of {each.text}", _identity, each
            )
            for index, each in enumerate(options.thresholds)
        ),
        *(
            OutputSpec(
                f".m{member:02d}", f"PEAR ensemble, member {member}", partial(_member, member)
            )
            for member in range(members if options.keep_members else 0)
        ),
        OutputSpec(
            "",
            f"PEAR ensemble, mean of {members}",
            ensemble_mean,
            cell_methods="realization: mean",
        ),
    ]


def _identity(state: State) -> State:
    return state


def _member(index: int, members: State) -> State:
    return split_state(members, [1] * members.batch)[index]


class OutputWriter:
    """Writer of all output stores of one run, step by step.

    Parameters
    ----------
    data
        The data folder.
    run, model
        The run and its model.
    ensemble
        Whose members are written.
    total
        Steps of the run.
    about
        Further attributes of the stores.

    Attributes
    ----------
    keeps_everything
        True if every step is kept whole, so that a run resumes from its own store.
    """

    def __init__(
        self,
        data: DataFolder,
        run: Run,
        model: Model,
        ensemble: Ensemble,
        total: int,
        about: Mapping[str, Any],
    ) -> None:
        options = ForecastOptions.from_dict(run.options)
        full, members = ensemble.layout, ensemble.size
        chosen = options.layout(full)
        self._kept = options.kept_steps(total, model.step_hours)
        self._outputs = plan_outputs(options, members)
        step = np.timedelta64(model.step_hours * 3600, "s")
        common = _attributes(run, model) | describe_source(data, run) | dict(about)
        texts = dict.fromkeys(group.forecaster.correction_text for group in ensemble.groups)
        common[CORRECTION] = " | ".join(texts)
        if options.is_ensemble:
            common[MEMBERS] = members
            measured = read_spread_skill(data.root / model.path, run.options)
            common[SPREAD_SKILL] = UNKNOWN if measured is None else measured.text
        difference = describe_difference(data, model, full, run.options["analysis"], run.init_time)
        if difference is not None:
            common[OTHER_CLIMATE] = difference
        note = describe_initial_state(data, model, full, run.options["analysis"], run.init_time)
        if note is not None:
            common[INITIAL_STATE_NOTE] = note
        self._writers = [
            ForecastWriter(
                data.forecast(run.id + output.suffix),
                output.layout(full, chosen),
                model.nside,
                run.init_time,
                np.array(self._kept) * step,
                {**common, **output.attributes()},
                default_overviews(model.nside),
            )
            for output in self._outputs
        ]
        self.keeps_everything = (
            not options.is_ensemble and chosen == full and len(self._kept) == total + 1
        )

    @property
    def main(self) -> ForecastWriter:
        """Writer of the run's own store."""
        return self._writers[-1]

    @property
    def published(self) -> bool:
        """True if the run's own store, and so every store, is published."""
        return self.main.published

    def write(self, step: int, members: State) -> None:
        """Write the outputs of a step; they survive a kill once this returns.

        Parameters
        ----------
        step
            Step of the run, 0 for the initial state.
        members
            (member, …).
        """
        if step not in self._kept:
            return
        index = self._kept.index(step)
        for output, writer in zip(self._outputs, self._writers, strict=True):
            if not writer.published:
                writer.write_step(index, *output.fields(members, writer.layout))

    def has_all_until(self, step: int) -> bool:
        """Return whether every store has all steps to keep up to and including this one."""
        wanted = {index for index, kept in enumerate(self._kept) if kept <= step}
        return all(wanted <= set(writer.steps_done()) for writer in self._writers)

    def publish(self) -> None:
        """Publish every store, the run's own last."""
        for writer in self._writers:
            writer.publish()


def _select(state: State, layout: Layout) -> tuple[Tensor, Tensor]:
    """Select the channels of a layout: (batch, surface, cell) and (batch, upper, level, cell)."""
    full = state.layout
    if full == layout:
        return state.surface, state.upper
    rows = _positions(layout.surface, full.surface)
    names, levels = _positions(layout.upper, full.upper), _positions(layout.levels, full.levels)
    return state.surface[:, rows], state.upper[:, names][:, :, levels]


def _derive(found: Derived, members: State, layout: Layout) -> tuple[Tensor, Tensor]:
    """Derive the one channel of a layout from each member, float64: shapes as of _select."""
    ((_, at),) = layout.channels
    names, levels = members.layout.upper, members.layout.levels
    fields = [
        members.surface[:, members.layout.surface.index(name)]
        if level is None
        else members.upper[:, names.index(name), levels.index(level)]
        for name, level in found.channels(at)
    ]
    values = torch.from_numpy(found.of([field.cpu().numpy() for field in fields], at))
    return (
        values[:, None].expand(-1, len(layout.surface), -1),
        values[:, None, None].expand(-1, len(layout.upper), len(layout.levels), -1),
    )


def _positions(wanted: Sequence[T], present: Sequence[T]) -> list[int]:
    return [present.index(item) for item in wanted]


def describe_source(data: DataFolder, run: Run) -> dict[str, str]:
    """Return what the store of a run takes over from the analysis that it starts from.

    Parameters
    ----------
    data
        The data folder.
    run
        The run.

    Returns
    -------
    dict
        Whether the atmosphere is simulated, and the source and the licence of the analysis; what
        it does not say is left out.
    """
    attributes = open_group(data.analysis(run.options["analysis"])).attrs
    kept = {"source": "initial_state_source", "license": "license"}
    found = {new: str(attributes[old]) for old, new in kept.items() if old in attributes}
    return found | ({SIMULATED: "true"} if SIMULATED in attributes else {})


def _origin(model: Model) -> str:
    """Return what computed the forecast."""
    if "forecaster" in model.attributes:
        return f"{model.attributes['forecaster']} of {model.attributes['provenance']['package']}"
    return f"PEAR model {model.id}, checkpoint sha256 {model.sha256}"


def _attributes(run: Run, model: Model) -> dict[str, Any]:
    return {
        "source": _origin(model),
        "model": model.id,
        "model_sha256": model.sha256,
        "run_id": run.id,
        "initial_state": run.options["analysis"],
        "options": dict(run.options),
    }
