"""Baseline forecasts that every score is shown beside: persistence and climatology."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pear.rollout.forecaster import OneStepForecaster
from pear.state import State
from pear.typing import Times
from pear.variables import Layout

ONE_DAY = np.timedelta64(86_400, "s")


class ClimatologyLike(Protocol):
    """Protocol of a climatology, as :class:`pear.store.climatology.Climatology` implements it."""

    @property
    def layout(self) -> Layout:
        """Channels of the fields."""
        ...

    @property
    def nside(self) -> int:
        """HEALPix resolution of the fields."""
        ...

    def at(self, valid_time: Times) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return mean fields (time, surface, cell) and (time, upper, level, cell)."""
        ...


class Persistence(OneStepForecaster):
    """Forecast the initial fields at every lead time.

    Parameters
    ----------
    layout, nside
        Channels and grid of the states.
    time_step
        Time between two yielded states.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from pear.rollout import Persistence
    >>> from pear.state import State
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface, upper = torch.full((1, 1, 12), 280.0), torch.zeros(1, 0, 0, 12)
    >>> initial = State(surface, upper, np.datetime64("2001-01-01"), layout)
    >>> *_, last = Persistence(layout, nside=1).iterate(initial, 10)
    >>> str(last.valid_time[0]), float(last.surface.mean())
    ('2001-01-11T00:00:00', 280.0)
    """

    name = "persistence"

    def __init__(self, layout: Layout, nside: int, time_step: np.timedelta64 = ONE_DAY) -> None:
        self.layout, self.nside, self.time_step = layout, nside, time_step

    def step(self, state: State) -> State:
        """Return the same fields one step later (views of the same memory)."""
        return state.advanced(state.surface, state.upper, self.time_step)

    def differentiable_step(self, state: State) -> State:
        """Return the same fields one step later."""
        return self.step(state)


class ClimatologyForecaster(OneStepForecaster):
    """Forecast the climatology of each valid time, whatever the initial state.

    Parameters
    ----------
    climatology
        Mean fields by valid time.
    time_step
        Time between two yielded states.

    Examples
    --------
    >>> import pear
    >>> from pear.rollout import ClimatologyForecaster
    >>> from pear import resources
    >>> climatology = pear.open_climatology(resources.path("climatology"), nside=4)
    >>> initial = pear.State.from_xarray(climatology.to_xarray("2006-11-01"), "2006-11-01")
    >>> following = next(ClimatologyForecaster(climatology).iterate(initial, steps=1))
    >>> expected, _ = climatology.at("2006-11-02")
    >>> bool((following.surface.numpy() == expected).all())
    True
    """

    name = "climatology"

    def __init__(self, climatology: ClimatologyLike, time_step: np.timedelta64 = ONE_DAY) -> None:
        self.climatology, self.time_step = climatology, time_step
        self.layout, self.nside = climatology.layout, climatology.nside

    def step(self, state: State) -> State:
        """Return the climatology one step later, in the dtype and on the device of the state."""
        fields = self.climatology.at(state.valid_time + self.time_step)
        surface, upper = (torch.as_tensor(part).to(state.surface) for part in fields)
        return state.advanced(surface, upper, self.time_step)
