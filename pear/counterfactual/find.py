"""What would have had to be different: the smallest change of a state that brings an event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pear.counterfactual.chart import Chart
from pear.counterfactual.event import Event
from pear.counterfactual.figures import Coordinates, Figures, measure_change
from pear.counterfactual.quantity import Quantity
from pear.counterfactual.search import LARGEST, find_smallest
from pear.device import threads_for
from pear.rollout import OneStepForecaster, differentiable_rollout
from pear.state import State
from pear.times import HOUR, as_utc, to_iso
from pear.typing import TimesLike
from pear.variables import BY_NAME, Layout


class HasLayout(Protocol):
    """Anything of the channels of a layout."""

    @property
    def layout(self) -> Layout:
        """The channels."""
        ...


class Metric(Protocol):
    """Coordinates of changes of a state, in which the smallest is sought."""

    @property
    def size(self) -> int:
        """Number of coordinates."""
        ...

    def change(self, z: Tensor) -> Tensor:
        """Return the change (channel, cell), physical units, at coordinates (size,)."""
        ...


@dataclass(frozen=True)
class Cells:
    """Every cell for itself, in standard deviations weighted by mass: the adversarial contrast.

    Attributes
    ----------
    chart
        Chart whose scales and weights are used, and not its directions.
    """

    chart: Chart

    @property
    def size(self) -> int:
        """Number of channels times cells."""
        return int(self.chart.directions[0].numel())

    def change(self, z: Tensor) -> Tensor:
        """Return the change (channel, cell), physical units, at coordinates (size,)."""
        shaped = z.reshape(self.chart.directions.shape[1:])
        return shaped / self.chart.weighted(torch.ones_like(shaped))


@dataclass(frozen=True)
class Counterfactual:
    """The changed state, the change and what is to say of it.

    Attributes
    ----------
    initial
        (1, …), the changed initial state.
    change
        (channel, cell), its difference from the factual one, physical units.
    figures
        The numbers.
    """

    initial: State
    change: Tensor
    figures: Figures


def find_counterfactual(
    forecaster: OneStepForecaster,
    initial: State,
    chart: Chart,
    event: Event,
    *,
    longest: int,
    coordinates: Coordinates = "chart",
    tick: Callable[[], None] = lambda: None,
) -> Counterfactual:
    """Find the smallest change of an initial state that brings an event.

    An :class:`~pear.errors.InputError` says that the event does not fit the model or the forecast,
    happens in the factual forecast, is not reached, or needs |z| above 6.

    Parameters
    ----------
    forecaster
        With gradients, see :func:`pear.rollout.differentiable_rollout`.
    initial
        (1, …), physical units.
    chart
        Chart of the climate of the forecaster's training data.
    event
        The event.
    longest
        Length of the forecast, hours, at whose end an event without a lead time happens.
    coordinates
        ``cells`` ignores the chart's directions: an adversarial change, no weather.
    tick
        Called before each forecast of the search.

    Returns
    -------
    Counterfactual
        The event happens in the forecast from its ``initial``. Humidity and other amounts are not
        made negative.
    """
    chart.check_fits(forecaster.layout, forecaster.nside)
    step_hours = int(forecaster.time_step / HOUR)
    lead = event.lead(longest, step_hours)
    quantity = Quantity.build(event, forecaster.layout, forecaster.nside)
    start = forecaster.prepare(initial).check_finite("initial state").map(torch.clone)
    valid_time = start.valid_time[0] + np.timedelta64(lead, "h")
    metric: Metric = chart if coordinates == "chart" else Cells(chart)
    sign = 1.0 if event.threshold.above else -1.0
    threshold = _threshold(event, quantity, chart, valid_time)

    def function(z: Tensor) -> Tensor:
        there = _changed(start, metric.change(z))
        if z.requires_grad:
            *_, last = differentiable_rollout(forecaster, there, lead // step_hours)
        else:
            *_, last = forecaster.iterate(there, lead // step_hours)
        return sign * quantity.measure(last)

    with threads_for(forecaster.multiply_adds):
        found = find_smallest(
            function,
            metric.size,
            sign * threshold,
            dtype=start.surface.dtype,
            largest=LARGEST if coordinates == "chart" else inf,
            tick=tick,
        )
    with torch.no_grad():
        change = metric.change(found.z)
        there = _changed(start, change)
        raised = float((_stack(there) != _stack(start) + change).double().mean())
        if raised:
            change = _stack(there) - _stack(start)
    reached = sign * found.value
    figures = Figures(
        event=event.text,
        description=event.description,
        units=event.units,
        lead_hours=lead,
        valid_time=to_iso(valid_time),
        threshold=threshold,
        factual=sign * found.start,
        counterfactual=reached,
        coordinates=coordinates,
        length=found.length,
        probability=found.probability if coordinates == "chart" else None,
        converged=found.converged,
        gradients=found.gradients,
        evaluations=found.evaluations,
        raised=raised,
        **measure_change(change.cpu(), chart, quantity.cells),
        chart={
            "id": chart.id,
            "analysis": chart.source,
            "states": chart.states,
            "directions": chart.size,
            "share": chart.share,
            "period": list(chart.period),
        },
        notes=tuple(_notes(chart, start.valid_time[0], converged=found.converged)),
    )
    return Counterfactual(there, change, figures)


def _threshold(event: Event, quantity: Quantity, chart: Chart, valid_time: np.datetime64) -> float:
    """Return the value to pass, in the units of the event."""
    # Standard deviations are those of the linearised quantity in the chart: |∂J/∂z| at the
    # climatology of the valid time.
    given = event.threshold
    if not given.deviations:
        return given.value
    mean = chart.mean(valid_time).double()
    z = torch.zeros(chart.size, dtype=torch.float64, requires_grad=True)
    value = quantity.measure(_state(mean + chart.change(z), valid_time, chart))
    value.backward()  # type: ignore[no-untyped-call]
    deviation = 0.0 if z.grad is None else float(z.grad.norm())
    return value.item() + given.value * deviation


def _notes(chart: Chart, init_time: np.datetime64, *, converged: bool) -> Iterator[str]:
    if chart.warning is not None:
        yield chart.warning
    first, last = as_utc(list(chart.period))
    if first <= init_time <= last:
        yield (
            f"the init time lies in the period of the chart, {chart.period[0][:10]} to "
            f"{chart.period[1][:10]}: choose states that the chart has not seen"
        )
    if not converged:
        yield "the search stopped early: the change brings the event, a smaller one may do so too"


def _changed(start: State, change: Tensor) -> State:
    """Add a change (channel, cell) to a state; amounts are not taken below their floor."""
    wanted = _state(_stack(start) + change.to(start.surface), start.valid_time, start)
    layout = start.layout
    surface = _raised(wanted.surface, start.surface, layout.surface)
    return State(
        surface, _raised(wanted.upper, start.upper, layout.upper), start.valid_time, layout
    )


def _raised(fields: Tensor, before: Tensor, names: Sequence[str]) -> Tensor:
    """Return fields (1, variable, …) not below their floor, or what was below it already."""
    rows = []
    for name, values, there in zip(names, fields.unbind(1), before.unbind(1), strict=True):
        floor = BY_NAME[name].floor
        rows.append(values if floor is None else torch.maximum(values, there.clamp(max=floor)))
    return torch.stack(rows, dim=1) if rows else fields


def _stack(state: State) -> Tensor:
    """Return the fields (channel, cell) of a state of batch 1."""
    return torch.cat([state.surface[0], state.upper[0].flatten(0, 1)])


def _state(fields: Tensor, time: TimesLike, like: HasLayout) -> State:
    """Return fields (channel, cell) as a state of batch 1."""
    layout = like.layout
    split = len(layout.surface)
    shape = 1, len(layout.upper), len(layout.levels), fields.shape[-1]
    return State(fields[None, :split], fields[split:].reshape(shape), as_utc(time), layout)
