"""The roll-out as a generator of states, and the protocol that every forecaster keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Protocol

import numpy as np

from pear.errors import InputError
from pear.state import State
from pear.times import to_iso
from pear.variables import BY_NAME, Layout

MARGIN = 0.25
"""Share of a variable's valid range that a forecast may leave it by.

The ranges of :mod:`pear.variables` bound observed weather. A forecast that is merely poor
oversteps them a little (humidity just below zero over a winter pole); one that has blown up
oversteps them by orders of magnitude within a step or two.
"""


class Forecaster(Protocol):
    """Anything that turns one state into the states that follow it.

    Attributes
    ----------
    name
        The word under which scores are filed, such as ``"pear"``.
    layout
        Channels of the states read and yielded.
    nside
        HEALPix resolution of the states read and yielded.
    time_step
        Time between two yielded states.
    """

    @property
    def name(self) -> str: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def nside(self) -> int: ...
    @property
    def time_step(self) -> np.timedelta64: ...

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states at ``t0 + step``, …, ``t0 + steps·step`` in physical units.

        The initial state itself is not yielded; batch entries advance side by side.
        """
        ...


def rollout(
    model_step: Callable[[State], State],
    initial: State,
    steps: int,
    *,
    time_step: np.timedelta64,
    context: str = "forecast",
) -> Iterator[State]:
    """Apply a one-step model again and again, yielding each state as soon as it is known.

    Parameters
    ----------
    model_step
        Maps a state to the state one step later, physical units.
    initial
        State at t0; (batch, …) entries may have different valid times.
    steps
        Number of states to yield.
    time_step
        Time between two states; every yielded state must be exactly this much later.
    context
        Who forecasts, for error messages.

    Yields
    ------
    State
        Checked: same layout and grid, valid time one step on, finite, within :data:`MARGIN` of
        the valid ranges. Only the current state is held.

    Raises
    ------
    InputError
        If the initial state has values that are not finite, or a step breaks one of the rules.
    """
    if steps < 1:
        raise InputError(f"{context}: {steps} steps asked for, at least 1 needed", field="steps")
    return _roll(model_step, initial, steps, time_step, context)


def _roll(
    model_step: Callable[[State], State],
    initial: State,
    steps: int,
    time_step: np.timedelta64,
    context: str,
) -> Iterator[State]:
    state = initial.check_finite(f"{context}: initial state")
    for index in range(1, steps + 1):
        where = f"{context}: step {index} of {steps}"
        following = model_step(state)
        if following.layout != state.layout or following.upper.shape != state.upper.shape:
            raise InputError(f"{where} changed the layout, the grid or the batch", field="state")
        due = state.valid_time + time_step
        if not np.array_equal(following.valid_time, due):
            raise InputError(
                f"{where} is valid at {to_iso(following.valid_time[0])}, must be {to_iso(due[0])}",
                field="valid_time",
            )
        state = check_physical(following, where)
        yield state


def check_physical(state: State, context: str, margin: float = MARGIN) -> State:
    """Return the state, or raise if it holds anything that cannot be a forecast.

    Parameters
    ----------
    state
        (batch, variable, [level,] cell), physical units.
    context
        Opens the error message.
    margin
        Share of each valid range that may be overstepped.

    Raises
    ------
    InputError
        If a value is not finite, or lies outside its variable's range by more than the margin.
    """
    for name, level, least, most in state.extremes():
        low, high = BY_NAME[name].valid_range
        slack = margin * (high - low)
        if not (isfinite(least) and isfinite(most)):
            state.check_finite(context)
        if least < low - slack or most > high + slack:
            bad = least if least < low - slack else most
            where = name if level is None else f"{name} at {level} hPa"
            raise InputError(
                f"{context}: {where} reaches {bad:.6g} {BY_NAME[name].units}, far outside "
                f"[{low:g}, {high:g}]: the forecast has left the atmosphere",
                field=name,
            )
    return state
