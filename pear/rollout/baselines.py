"""The two forecasts that cost nothing: no score is shown without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pear.errors import InputError
from pear.rollout.forecaster import rollout
from pear.state import State
from pear.typing import Times
from pear.variables import Layout

ONE_DAY = np.timedelta64(86_400, "s")


class ClimatologyLike(Protocol):
    """What a climatology must answer; :class:`pear.store.climatology.Climatology` does."""

    @property
    def layout(self) -> Layout:
        """Channels of the fields."""
        ...

    @property
    def nside(self) -> int:
        """HEALPix resolution of the fields."""
        ...

    def at(self, valid_time: Times) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Expected fields (time, surface, cell) and (time, upper, level, cell), physical units."""
        ...


class Persistence:
    """Tomorrow as today: yields the initial fields, only the valid time moves.

    Parameters
    ----------
    layout, nside
        Of the states read and yielded.
    time_step
        Time between two yielded states.
    """

    name = "persistence"

    def __init__(self, layout: Layout, nside: int, time_step: np.timedelta64 = ONE_DAY) -> None:
        self.layout = layout
        self.nside = nside
        self.time_step = time_step

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield ``steps`` copies of the initial fields (views, not new memory)."""
        check_fits(initial, self.layout, self.nside, self.name)
        return rollout(
            lambda state: state.advanced(state.surface, state.upper, self.time_step),
            initial,
            steps,
            time_step=self.time_step,
            context=self.name,
        )


class ClimatologyForecaster:
    """What is usual at each valid time, whatever the initial state.

    Parameters
    ----------
    climatology
        Answers :meth:`ClimatologyLike.at` by valid time.
    time_step
        Time between two yielded states.
    """

    name = "climatology"

    def __init__(self, climatology: ClimatologyLike, time_step: np.timedelta64 = ONE_DAY) -> None:
        self.climatology = climatology
        self.layout = climatology.layout
        self.nside = climatology.nside
        self.time_step = time_step

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the climatology at each valid time, in the dtype and on the device of initial."""
        check_fits(initial, self.layout, self.nside, self.name)
        return rollout(self._step, initial, steps, time_step=self.time_step, context=self.name)

    def _step(self, state: State) -> State:
        surface, upper = self.climatology.at(state.valid_time + self.time_step)
        like = state.surface
        return state.advanced(
            torch.as_tensor(surface).to(like), torch.as_tensor(upper).to(like), self.time_step
        )


def check_fits(state: State, layout: Layout, nside: int, who: str) -> None:
    """Raise unless a state has the layout and grid that a forecaster reads.

    Raises
    ------
    InputError
        Naming what the forecaster reads and what it was given.
    """
    if state.layout != layout:
        raise InputError(
            f"{who} reads {layout.names} on levels {layout.levels}, the state holds "
            f"{state.layout.names} on levels {state.layout.levels}",
            field="layout",
        )
    if state.nside != nside:
        raise InputError(
            f"{who} works at nside {nside}, the state is at nside {state.nside}",
            field="nside",
            hint="regrid or coarsen the state first",
        )
