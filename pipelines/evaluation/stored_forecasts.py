"""Finished forecast stores as a forecaster, to score them without running a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.models.climate import OTHER_CLIMATE, Atmosphere, analysis_atmosphere
from pear.rollout import rollout
from pear.state import State
from pear.store.reader import open_store, stored_layout
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import Layout


class StoredForecasts:
    """Forecaster that reads forecast stores, one per init time.

    Parameters
    ----------
    paths
        Forecast stores of one model: one layout, grid and set of leads.
    name
        Label of the scores.

    Raises
    ------
    InputError
        If there are none, one is not a forecast store, they differ in layout, grid, model or
        step, or two have the same init time.
    """

    def __init__(self, paths: Sequence[Path], name: str = "pear") -> None:
        if not paths:
            raise InputError("no forecast stores to evaluate", field="--runs")
        self.name = name
        self._stores: dict[np.datetime64, xr.Dataset] = {}
        about = {_about(path) for path in paths}
        if len(about) > 1:
            raise InputError(
                "the runs differ in model, channels or grid",
                field="--runs",
                hint="evaluate the runs of one model at a time",
            )
        ((self.model, self.layout, self.nside),) = about
        for path in paths:
            data = open_store(path)
            init = as_utc(data["time"].values)[0]
            if init in self._stores:
                raise InputError(f"two runs start at {to_iso(init)}", field="--runs")
            self._stores[init] = data
        leads = [self._leads(init) for init in self._stores]
        self.time_step: np.timedelta64 = leads[0][0]
        self.steps = min(len(one) for one in leads)
        for one in leads:
            if not np.array_equal(one, self.time_step * np.arange(1, len(one) + 1)):
                raise InputError(
                    "the runs' lead times are not multiples of the first", field="--runs"
                )

    @property
    def inits(self) -> Times:
        """Init times of the stores, increasing."""
        return as_utc(sorted(self._stores))

    def other_climate(self, given: Atmosphere) -> str | None:
        """Describe how the forecasts differ from the climate of an analysis.

        Parameters
        ----------
        given
            Kind of atmosphere of the analysis.

        Returns
        -------
        str or None
            What a forecast says of itself, or that it is of another kind of atmosphere.
        """
        for data in self._stores.values():
            if OTHER_CLIMATE in data.attrs:
                return str(data.attrs[OTHER_CLIMATE])
            own = analysis_atmosphere(data.attrs)
            if own != given:
                return f"the forecasts are of {own} weather, and the analysis is {given}"
        return None

    def _leads(self, init: np.datetime64) -> np.ndarray[tuple[int], np.dtype[np.timedelta64]]:
        leads = self._stores[init]["prediction_timedelta"].values.astype("timedelta64[s]")
        return np.asarray(leads[leads > np.timedelta64(0, "s")])

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the stored states after each of the initial state's valid times.

        Parameters
        ----------
        initial
            Only its valid times are used.
        steps
            Number of states.

        Returns
        -------
        iterator of State

        Raises
        ------
        InputError
            If no store starts at one of them, or one is shorter than ``steps``.
        """
        inits = initial.valid_time
        for init in inits:
            if init not in self._stores:
                raise InputError(f"no run starts at {to_iso(init)}", field="--inits")
        if steps > self.steps:
            raise InputError(
                f"the shortest run has {self.steps} steps, not {steps}", field="--lead"
            )

        def step(state: State) -> State:
            return self._read(inits, state.valid_time + self.time_step)

        return rollout(step, initial, steps, time_step=self.time_step, context="stored forecast")

    def _read(self, inits: Times, valid: Times) -> State:
        parts = [
            self._stores[init].isel(time=0).sel(prediction_timedelta=time - init)
            for init, time in zip(inits, valid, strict=True)
        ]
        levels = list(self.layout.levels)
        surface = [[one[name].values for name in self.layout.surface] for one in parts]
        upper = [[one[n].sel(level=levels).values for n in self.layout.upper] for one in parts]
        cells = 12 * self.nside**2
        shape = (len(parts), len(self.layout.upper), len(levels), cells)
        return State.from_arrays(
            np.reshape(surface, (len(parts), -1, cells)),
            np.reshape(upper, shape),
            valid,
            self.layout,
        )


def _about(path: Path) -> tuple[str, Layout, int]:
    kind, layout, nside = stored_layout(path)
    if kind != "forecast":
        raise InputError(f"{path.stem} is not a forecast store", field="--runs")
    with open_store(path) as data:
        return str(data.attrs.get("model", "unknown")), layout, nside
