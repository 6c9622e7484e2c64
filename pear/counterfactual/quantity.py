"""What an event measures: one differentiable number of a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pear.counterfactual.event import Event
from pear.errors import InputError
from pear.metrics.regions import region_weights
from pear.sphere.healpix import cell_of, centres
from pear.state import State
from pear.typing import Bool, Float64
from pear.variables import STANDARD_GRAVITY, Layout

SPEED_AT_REST: Final = 1e-3
"""Added in squares to a wind, m/s, so that its speed has a gradient at rest."""
SOFTNESS: Final = {"pressure": 1.0, "blocking": 1.0}
"""Width of the soft minimum, in the units of the quantity."""
_LATITUDES: Final = (40.0, 60.0, 80.0)
_HALF_BOX: Final = 5.0
"""Half width of the boxes of a blocking, degrees of a great circle."""
_LARGEST_DROP: Final = 10.0
"""Least fall of z500 towards the pole that a blocking needs, m per degree (Tibaldi and Molteni)."""
_PASCAL: Final = 100.0


@dataclass(frozen=True)
class Quantity:
    """One number of a state, in the units of the event.

    Attributes
    ----------
    cells
        (cell,) True where the quantity looks.
    measure
        Maps a state (batch 1) to the number.
    """

    cells: Bool
    measure: Callable[[State], Tensor]

    @classmethod
    def build(cls, event: Event, layout: Layout, nside: int) -> Quantity:
        """Build the quantity of an event on a grid.

        An :class:`~pear.errors.InputError` names a field that the states lack, and a region
        without cells.

        Parameters
        ----------
        event
            The event.
        layout, nside
            Channels and grid of the states.

        Returns
        -------
        Quantity
            At a point: of the cell that contains it.

        Examples
        --------
        >>> import numpy as np
        >>> from pear.counterfactual.event import parse_event
        >>> layout = Layout(("2m_temperature",), (), ())
        >>> event = parse_event("t2m>305 at 59.3,18.1")
        >>> state = State.from_arrays(
        ...     np.full((1, 1, 48), 288.0), np.zeros((1, 0, 0, 48)), ["2001-07-01"], layout
        ... )
        >>> quantity = Quantity.build(event, layout, nside=2)
        >>> float(quantity.measure(state)), int(quantity.cells.sum())
        (288.0, 1)
        """
        channels = [_channel(layout, *channel) for channel in event.check_fits(layout).channels]
        if event.kind == "blocking":
            return _blocking(event, channels[0], nside)
        weights = _weights(event, nside)
        index = torch.from_numpy(np.flatnonzero(weights))
        share = torch.from_numpy(weights[weights > 0] / weights.sum())

        def mean(values: Tensor) -> Tensor:
            return (values[index.to(values.device)] * share.to(values)).sum()

        if event.kind == "wind":
            u, v = channels
            return cls(weights > 0, lambda state: mean(_speed(u(state), v(state))))
        if event.kind == "pressure":
            soft = SOFTNESS["pressure"]

            def least(state: State) -> Tensor:
                values = channels[0](state) / _PASCAL
                return soft_minimum(values[index.to(values.device)], soft)

            return cls(weights > 0, least)
        return cls(weights > 0, lambda state: mean(channels[0](state)))


def soft_minimum(values: Tensor, width: float) -> Tensor:
    """Return Σ x softmax(-x / width): between the least value and the mean, and differentiable.

    Parameters
    ----------
    values
        (n,).
    width
        Difference from the least value at which a value counts 1/e as much.

    Returns
    -------
    Tensor
        A number; the value itself where there is one.
    """
    return (values * torch.softmax(-values / width, dim=0)).sum()


def _blocking(event: Event, field: Callable[[State], Tensor], nside: int) -> Quantity:
    """Return the index of a blocking: z500 rises towards 60° N and falls sharply behind it."""
    # The lesser of GHGS = (z60 - z40) / 20° and -10 - GHGN, GHGN = (z80 - z60) / 20°, m per degree:
    # above 0 where a blocking is (Tibaldi and Molteni 1990), with boxes for the three latitudes.
    east, high = float(event.longitude or 0.0), _HALF_BOX
    boxes = []
    for latitude in _LATITUDES:
        wide = high / np.cos(np.deg2rad(latitude))
        south, north = latitude - high, latitude + high
        boxes.append(_box(f"box:{south}:{north}:{east - wide:.6f}:{east + wide:.6f}", nside, event))
    weights = torch.from_numpy(np.stack([box / box.sum() for box in boxes]))
    degrees, soft = _LATITUDES[1] - _LATITUDES[0], SOFTNESS["blocking"]

    def index(state: State) -> Tensor:
        values = field(state)
        low, middle, top = (weights.to(values) @ (values / STANDARD_GRAVITY)).unbind()
        south, north = (middle - low) / degrees, (top - middle) / degrees
        return soft_minimum(torch.stack([south, -_LARGEST_DROP - north]), soft)

    return Quantity(np.any(np.stack(boxes) > 0, axis=0), index)


def _channel(layout: Layout, name: str, level: int | None) -> Callable[[State], Tensor]:
    """Return a function that gives one field (cell,) of a state."""
    if level is None:
        place = layout.surface.index(name)
        return lambda state: state.surface[0, place]
    row, column = layout.upper.index(name), layout.levels.index(level)
    return lambda state: state.upper[0, row, column]


def _speed(u: Tensor, v: Tensor) -> Tensor:
    return (u.square() + v.square() + SPEED_AT_REST**2).sqrt()


def _weights(event: Event, nside: int) -> Float64:
    """Return the weight of every cell (cell,)."""
    if event.point is not None:
        weights = np.zeros(12 * nside * nside)
        weights[cell_of(*event.point, nside)] = 1.0
        return weights
    return _box(str(event.region), nside, event)


def _box(region: str, nside: int, event: Event) -> Float64:
    try:
        weights: Float64 = region_weights([region], *centres(nside))[0]
    except InputError as error:
        raise InputError(
            f"event {event.text!r} has a region that does not fit the grid: {error}",
            field="counterfactual",
            hint=f"choose a larger one: cells of nside {nside} are about {58.6 / nside:.2g}° wide",
        ) from error
    return weights
