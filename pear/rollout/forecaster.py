"""Forecasters: the protocol, the base class of one-step models, and the rollout loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Protocol

import numpy as np

from pear.errors import InputError
from pear.rollout.dataset import DatasetForecaster
from pear.state import State
from pear.times import to_iso
from pear.variables import BY_NAME, Layout

MARGIN = 0.25
"""Fraction of a variable's valid range by which a forecast may leave that range.

The ranges of :mod:`pear.variables` bound observed values. A poor forecast exceeds them slightly
(humidity just below zero over a winter pole); an unstable one exceeds them by orders of magnitude
within one or two steps.
"""


class Forecaster(Protocol):
    """Forecast model that turns one state into a sequence of states."""

    @property
    def name(self) -> str:
        """Label of the scores."""
        ...

    @property
    def layout(self) -> Layout:
        """Channels of the states."""
        ...

    @property
    def nside(self) -> int:
        """HEALPix resolution of the states."""
        ...

    @property
    def time_step(self) -> np.timedelta64:
        """Time between two states."""
        ...

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states at ``t0 + time_step``, …, ``t0 + steps·time_step``, physical units.

        The initial state itself is not yielded; batch entries advance side by side.
        """
        ...


class OneStepForecaster(DatasetForecaster):
    """Base class of forecasters that apply one step again and again.

    Subclasses implement :meth:`step` and set the attributes of :class:`Forecaster`.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from pear.rollout import OneStepForecaster
    >>> from pear.state import State
    >>> from pear.variables import Layout
    >>> class Warming(OneStepForecaster):
    ...     name, layout, nside = "warming", Layout(("2m_temperature",), (), ()), 1
    ...     time_step = np.timedelta64(86_400, "s")
    ...
    ...     def step(self, state):
    ...         return state.advanced(state.surface + 1, state.upper, self.time_step)
    >>> surface, upper = torch.full((1, 1, 12), 280.0), torch.zeros(1, 0, 0, 12)
    >>> initial = State(surface, upper, np.datetime64("2001-01-01"), Warming.layout)
    >>> [float(state.surface.mean()) for state in Warming().iterate(initial, 3)]
    [281.0, 282.0, 283.0]
    """

    @property
    def context(self) -> str:
        """Label of the forecaster in error messages (default: its name)."""
        return self.name

    @property
    def correction_text(self) -> str:
        """What is done to the fields after each step of the model, in words."""
        return "none"

    @abstractmethod
    def step(self, state: State) -> State:
        """Return the state one step later, unchecked; batch entries advance side by side."""

    def differentiable_step(self, state: State) -> State:
        """Return the state of :meth:`step` with gradients by the state given, not by parameters.

        Parameters
        ----------
        state
            (batch, …), physical units.

        Raises
        ------
        InputError
            If the forecaster has no gradients, which is the default.
        """
        raise InputError(
            f"forecaster {self.name} has no gradients by its initial state",
            field="model",
            hint="use a model of PEAR",
        )

    def prepare(self, initial: State) -> State:
        """Return the initial state as :meth:`step` expects it.

        Parameters
        ----------
        initial
            (batch, …), physical units.

        Returns
        -------
        State
            The same values, on the device and in the dtype of the forecaster; InputError if the
            layout or the grid is not that of the forecaster.
        """
        check_fits(initial, self)
        return initial

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states one step apart after the initial one.

        An :class:`~pear.errors.InputError` names what does not fit, a value that is not finite,
        or one far outside the valid range of its variable.

        Parameters
        ----------
        initial
            (batch, …), physical units.
        steps
            Number of states to yield.

        Returns
        -------
        Iterator of State
            As :func:`rollout`.
        """
        return rollout(
            self.step,
            self.prepare(initial),
            steps,
            time_step=self.time_step,
            context=self.context,
        )


def check_fits(state: State, forecaster: Forecaster) -> None:
    """Check that a state has the layout and the grid of a forecaster.

    Raises
    ------
    InputError
        Naming the layout or nside expected and that of the state.

    Examples
    --------
    >>> import torch
    >>> from pear.rollout.forecaster import check_fits
    >>> from pear.rollout import Persistence
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface, upper = torch.full((1, 1, 12), 280.0), torch.zeros(1, 0, 0, 12)
    >>> state = State(surface, upper, np.datetime64("2001-01-01"), layout)
    >>> check_fits(state, Persistence(layout, nside=1))
    >>> check_fits(state, Persistence(layout, nside=2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pear.errors.InputError: persistence works at nside 2, the state is at ...
    """
    who = getattr(forecaster, "context", forecaster.name)
    layout = forecaster.layout
    if state.layout != layout:
        raise InputError(
            f"{who} reads {layout.names} on levels {layout.levels}, the state holds "
            f"{state.layout.names} on levels {state.layout.levels}",
            field="layout",
        )
    if state.nside != forecaster.nside:
        raise InputError(
            f"{who} works at nside {forecaster.nside}, the state is at nside {state.nside}",
            field="nside",
            hint="regrid or coarsen the state first",
        )


def rollout(
    model_step: Callable[[State], State],
    initial: State,
    steps: int,
    *,
    time_step: np.timedelta64,
    context: str = "forecast",
) -> Iterator[State]:
    """Apply a one-step model repeatedly and yield each state as soon as it is computed.

    Only the current state is held.

    Parameters
    ----------
    model_step
        Maps a state to the state one step later, physical units.
    initial
        State at t0; (batch, …) entries may have different valid times.
    steps
        Number of states to yield.
    time_step
        Time between two states.
    context
        Opens every error message.

    Returns
    -------
    Iterator of State
        Each checked: same layout and grid, valid time one step later, finite, within
        :data:`MARGIN` of the valid ranges.

    Raises
    ------
    InputError
        If ``steps`` is below 1; while iterating, if the initial state has values that are not
        finite or a step fails one of the checks.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from pear.rollout import rollout
    >>> from pear.state import State
    >>> from pear.variables import Layout
    >>> day, layout = np.timedelta64(86_400, "s"), Layout(("2m_temperature",), (), ())
    >>> surface, upper = torch.full((1, 1, 12), 280.0), torch.zeros(1, 0, 0, 12)
    >>> initial = State(surface, upper, np.datetime64("2001-01-01"), layout)
    >>> def persist(state):
    ...     return state.advanced(state.surface, state.upper, day)
    >>> [str(state.valid_time[0]) for state in rollout(persist, initial, 2, time_step=day)]
    ['2001-01-02T00:00:00', '2001-01-03T00:00:00']
    """
    if steps < 1:
        raise InputError(f"{context}: steps {steps} must be at least 1", field="steps")
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
    """Check that every value of a state is finite and physically plausible.

    Parameters
    ----------
    state
        (batch, variable, [level,] cell), physical units.
    context
        Opens the error message.
    margin
        Fraction of each valid range that may be exceeded.

    Returns
    -------
    State
        The state given.

    Raises
    ------
    InputError
        If a value is not finite, or outside its variable's range by more than the margin.

    Examples
    --------
    >>> import torch
    >>> from pear.rollout import check_physical
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface, upper = torch.full((1, 1, 12), 280.0), torch.zeros(1, 0, 0, 12)
    >>> state = State(surface, upper, np.datetime64("2001-01-01"), layout)
    >>> check_physical(state, "step 1") is state
    True
    >>> check_physical(state.map(lambda values: values * 10), "step 1")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pear.errors.InputError: step 1: 2m_temperature reaches 2800 K, far ...
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
                f"{context}: {where} reaches {bad:.6g} {BY_NAME[name].units}, far outside the "
                f"valid range [{low:g}, {high:g}]: the forecast is unstable",
                field=name,
            )
    return state
