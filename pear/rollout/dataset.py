"""Forecasts as Datasets: from analyses in a Dataset to forecasts in the schema of the stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import xarray as xr

from pear.datasets.regrid import is_healpix, regrid
from pear.device import threads_for
from pear.errors import InputError, did_you_mean
from pear.models.climate import analysis_atmosphere
from pear.progress import ProgressCallback, progress_callback
from pear.state import State
from pear.store.dataset import arrange_fields, build_dataset
from pear.store.schema import level_order
from pear.times import HOUR, as_duration, as_utc, to_iso
from pear.typing import DurationLike, Float32, Times, TimesLike
from pear.variables import SIMULATED, Layout, variable


class DatasetForecaster(ABC):
    """Base class of forecasters that start from a Dataset and return one.

    Attributes
    ----------
    name
        Label of the scores.
    layout, nside
        Channels and grid of the states.
    time_step
        Time between two states.
    multiply_adds
        Multiply-adds of a step of one state, by which threads are chosen.

    Examples
    --------
    >>> import pear
    >>> from pear.rollout.dataset import DatasetForecaster
    >>> analysis = pear.sample_analysis(nside=4)
    >>> layout = pear.Layout(("2m_temperature",), (), ())
    >>> persistence = pear.Persistence(layout, nside=4)
    >>> isinstance(persistence, DatasetForecaster)
    True
    >>> forecast = persistence.forecast(analysis, init="2006-11-01", lead="2d")
    >>> dict(forecast["2m_temperature"].sizes)
    {'time': 1, 'prediction_timedelta': 3, 'cell': 192}
    """

    name: str
    layout: Layout
    nside: int
    time_step: np.timedelta64
    multiply_adds: int = 0

    @abstractmethod
    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states one step apart after the initial one (batch 1), (member, …)."""

    def initial_members(self, initial: State) -> State:
        """Return the states from which :meth:`iterate` starts, (member, …)."""
        return initial

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the Datasets that :meth:`forecast` returns."""
        return {"title": f"Forecast by {self.name}"}

    def describe_initial(
        self, states: Sequence[State], source: xr.Dataset | None
    ) -> dict[str, str]:
        """Describe the initial states in attributes of the forecast, or refuse them.

        Parameters
        ----------
        states
            One (batch 1) for each init time.
        source
            Dataset they come from; None for given states, which do not say what they are.

        Returns
        -------
        dict
            Whether the atmosphere is simulated; models add what is unusual about the states.
        """
        simulated = source is not None and analysis_atmosphere(source.attrs) == "simulated"
        return {SIMULATED: "true"} if simulated else {}

    def forecast(
        self,
        initial: xr.Dataset | State,
        init: TimesLike | None = None,
        *,
        lead: DurationLike = "10d",
        variables: Sequence[str] | None = None,
        progress: bool | ProgressCallback = False,
    ) -> xr.Dataset:
        """Forecast from one or several init times.

        An :class:`~pear.errors.InputError` names what is wrong if the lead time does not fit the
        time step; if ``initial`` lacks an init time, a variable or a level, has values that are
        not finite or another grid; or if the forecast becomes unphysical.

        Parameters
        ----------
        initial
            Analyses: a Dataset on HEALPix, as :func:`pear.open_analysis` returns it; any global
            latitude-longitude Dataset with the model's variables, which is regridded as in an
            ingestion; or states, each of which is an init time.
        init
            Init times, UTC; default: the only time of ``initial``.
        lead
            Forecast length such as ``"10d"`` or ``"240h"``, a multiple of the time step.
        variables
            Variables to keep, by canonical name or alias; default: all.
        progress
            Print the progress on standard error, or call a function after each step.

        Returns
        -------
        xarray.Dataset
            (time, prediction_timedelta, [number,] level, cell), float32, in memory, in the schema
            of the forecast stores: ``time`` is the init time, the first lead time is 0, and
            the members of an ensemble lie along ``number``.
        """
        with threads_for(self.multiply_adds):
            return self._forecast(initial, init, lead, variables, progress)

    def _forecast(
        self,
        initial: xr.Dataset | State,
        init: TimesLike | None,
        lead: DurationLike,
        variables: Sequence[str] | None,
        progress: bool | ProgressCallback,  # noqa: FBT001 - of forecast, by name
    ) -> xr.Dataset:
        steps = count_steps(lead, self.time_step)
        layout = select_variables(self.layout, variables)
        states = _initial_states(initial, init, self.layout, self.nside)
        source = initial if isinstance(initial, xr.Dataset) else None
        about = {**self.attributes(), **self.describe_initial(states, source)}
        tick = progress_callback(len(states) * steps, progress=progress)
        fields: dict[str, Float32] = {}
        for row, state in enumerate(states):
            stream = chain([self.initial_members(state)], self.iterate(state, steps))
            for step, members in enumerate(stream):
                found = arrange_fields(*members.to_arrays(), members.layout)
                for name in layout.names:
                    values = found[name] if self.is_ensemble else found[name][0]
                    if name not in fields:
                        shape = (len(states), steps + 1, *values.shape)
                        fields[name] = np.empty(shape, dtype=np.float32)
                    fields[name][row, step] = values
                if step:
                    tick(1, f"init {to_iso(state.valid_time[0])}, step {step} of {steps}")
        inits = np.concatenate([state.valid_time for state in states])
        leads = np.arange(steps + 1) * self.time_step
        return build_dataset(fields, level_order(layout), inits, leads, about)

    is_ensemble = False
    """Whether states have several members, so that forecasts get a dimension ``number``."""


def count_steps(lead: DurationLike, time_step: np.timedelta64) -> int:
    """Return the number of steps that a forecast length takes.

    Parameters
    ----------
    lead
        Forecast length such as ``"10d"`` or ``"240h"``.
    time_step
        Time step of the model.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    InputError
        If the length is not a multiple of the time step.

    Examples
    --------
    >>> count_steps("10d", np.timedelta64(24, "h"))
    10
    """
    duration = as_duration(lead)
    steps, rest = divmod(duration, time_step)
    if rest or steps < 1:
        raise InputError(
            f"lead time {duration / HOUR:g} h is not a multiple of the {time_step / HOUR:g} h "
            "model step",
            field="lead",
            hint=f"use e.g. {max(1, int(steps)) * time_step / HOUR:g}h",
        )
    return int(steps)


def select_variables(layout: Layout, names: Sequence[str] | None) -> Layout:
    """Return the layout with some of its variables.

    Parameters
    ----------
    layout
        All variables.
    names
        Canonical names or aliases; None for all.

    Returns
    -------
    Layout
        In the order of ``layout``.

    Raises
    ------
    InputError
        If a name is unknown, is not in the layout, or there are none.

    Examples
    --------
    >>> select_variables(Layout.default(), ["t2m", "z"]).names
    ('2m_temperature', 'geopotential')
    """
    if names is None:
        return layout
    wanted = {variable(name).name for name in ([names] if isinstance(names, str) else names)}
    for name in sorted(wanted - set(layout.names)):
        raise InputError(
            f"the model does not forecast {name}",
            field="variables",
            hint=did_you_mean(name, layout.names),
        )
    if not wanted:
        raise InputError("variables is empty", field="variables", hint="omit it to keep all")
    upper = tuple(name for name in layout.upper if name in wanted)
    surface = tuple(name for name in layout.surface if name in wanted)
    return Layout(surface, upper, layout.levels if upper else ())


def _initial_states(
    initial: xr.Dataset | State, init: TimesLike | None, layout: Layout, nside: int
) -> list[State]:
    """Return one state (batch 1) for each init time."""
    if isinstance(initial, State):
        if init is not None and not np.array_equal(_parse_inits(init), initial.valid_time):
            raise InputError(
                f"the state is valid at {to_iso(initial.valid_time[0])}, not at {init}",
                field="init",
                hint="omit init, or give a Dataset with several times",
            )
        arrays = zip(*initial.to_arrays(), initial.valid_time, strict=True)
        return [State.from_arrays(s[None], u[None], t, initial.layout) for s, u, t in arrays]
    dataset = initial if is_healpix(initial) else regrid(initial, nside)
    times = as_utc(dataset["time"].values)
    if init is None and times.size != 1:
        raise InputError(
            f"the analyses have {times.size} times",
            field="init",
            hint=f"give an init time from {to_iso(times[0])} to {to_iso(times[-1])}",
        )
    inits = times if init is None else _parse_inits(init)
    if np.any(np.diff(inits) <= np.timedelta64(0, "s")):
        raise InputError("init times must be strictly increasing", field="init")
    return [State.from_xarray(dataset, time, layout, nside, name="analysis") for time in inits]


def _parse_inits(init: TimesLike) -> Times:
    texts = [init] if isinstance(init, str) else init
    if isinstance(texts, Sequence) and texts and isinstance(texts[0], str):
        init = [str(text).strip().removesuffix("Z") for text in texts]
    try:
        times = as_utc(init)
    except ValueError as error:
        raise InputError(
            f"invalid init time {init!r}: expected e.g. 2019-01-01 or 2019-01-01T06:00Z",
            field="init",
        ) from error
    if times.size == 0 or np.isnat(times).any():
        raise InputError(f"invalid init times {init!r}", field="init")
    return times
