"""The one pass over the data: roll out from every init time, sum what every score needs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.rollout import Ensemble, Forecaster
from pear.sphere.healpix import angular_power
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import Layout
from pipelines.evaluation.tables import EvaluationAccumulators, Plan

Fields = npt.NDArray[np.float32]


Beside = tuple[Fields, Fields, npt.NDArray[np.float64] | None]


"""Truth (channel, cell), climatology (channel, cell), spectrum of the truth (channel, degree)."""


def verify(
    plan: Plan,
    forecasters: Sequence[Forecaster],
    analysis: Analysis,
    climatology: Climatology,
    *,
    ensemble: Ensemble | None = None,
    inits: Times | None = None,
    batch: int = 4,
    tick: ProgressCallback | None = None,
) -> dict[str, EvaluationAccumulators]:
    """Forecast from init times and sum the statistics of every lead.

    Init times go through in order, ``batch`` side by side, so each analysis time is read once
    and only those of one batch's leads are held.

    Parameters
    ----------
    plan
        Axes of the tables.
    forecasters
        All of one layout, grid and step; their names are the keys of the answer.
    analysis
        Truth and source of the initial states.
    climatology
        Reference of the anomalies, at the valid time; same layout and grid.
    ensemble
        Verified as well: its mean as a forecast, and CRPS and spread of its members.
    inits
        The part of the plan's init times to do here; all if not given.
    batch
        Forecasts that run side by side.
    tick
        Called with the number of init times done.

    Raises
    ------
    InputError
        If a time is missing in the analysis, or a forecast leaves the atmosphere.
    """
    times = plan.inits if inits is None else as_utc(inits)
    check(plan, forecasters, analysis, climatology, times)
    tables = {f.name: EvaluationAccumulators.empty(plan, times) for f in forecasters}
    members = EvaluationAccumulators.empty(plan, times, ensemble=True)
    rows = plan.charted_rows()
    truth, usual = TimeCache(analysis.read), TimeCache(climatology_reader(climatology))
    spectrum = TimeCache(lambda time: angular_power(truth(time)[rows]))
    for start in range(0, len(times), batch):
        group = times[start : start + batch]
        for held in (truth, usual, spectrum):
            held.forget_before(group[0])
        initial = _initial(truth, group, plan.layout)
        if ensemble is not None:
            for init in group:
                around = partial(_beside, plan, truth, usual, spectrum, init)
                _verify_ensemble(ensemble, _initial(truth, [init], plan.layout), around, members)
        streams = [(tables[f.name], f.iterate(initial, len(plan.leads))) for f in forecasters]
        for lead in plan.leads:
            verifying = [_beside(plan, truth, usual, spectrum, t, lead) for t in group]
            for table, stream in streams:
                fields = next(stream).to_channels()
                for init, forecast, beside in zip(group, fields, verifying, strict=True):
                    table.add(init, lead, forecast, *beside)
        if tick is not None:
            tick(len(group), f"init {to_iso(group[-1])[:10]}")
    return tables if ensemble is None else {**tables, ensemble.name: members}


def _beside(
    plan: Plan,
    truth: TimeCache,
    usual: TimeCache,
    spectrum: TimeCache,
    init: np.datetime64,
    lead: np.timedelta64,
) -> Beside:
    """What a forecast is held against: truth, climatology, and where wanted truth's spectrum."""
    valid = init + lead
    charted = lead in plan.charted_leads and init in plan.spectral_inits and plan.charted
    return truth(valid), usual(valid), np.asarray(spectrum(valid)) if charted else None


def _verify_ensemble(
    ensemble: Ensemble,
    initial: State,
    around: Callable[[np.timedelta64], Beside],
    table: EvaluationAccumulators,
) -> None:
    """Roll all members out from one init time."""
    (init,) = initial.valid_time
    states = ensemble.iterate(initial, len(table.plan.leads))
    for lead, state in zip(table.plan.leads, states, strict=True):
        members, beside = state.to_channels(), around(lead)
        table.add_members(init, lead, members, beside[0])
        table.add(init, lead, members.mean(axis=0, dtype=np.float64), *beside)


def _initial(truth: TimeCache, group: Sequence[np.datetime64] | Times, layout: Layout) -> State:
    return State.from_channels(np.stack([truth(t) for t in group]), group, layout)


def check(
    plan: Plan,
    forecasters: Sequence[Forecaster],
    analysis: Analysis,
    climatology: Climatology,
    inits: Times,
) -> None:
    """Raise unless everything fits together and every time needed is in the analysis.

    Raises
    ------
    InputError
        Naming what differs, or the init time and the valid time that is missing.
    """
    first = forecasters[0]
    others: list[Forecaster | Analysis | Climatology] = [*forecasters[1:], analysis, climatology]
    for other in others:
        if other.layout != first.layout or other.nside != first.nside:
            raise InputError(
                f"{other.name} and {first.name} differ in channels or grid", field="forecaster"
            )
    if any(f.time_step != first.time_step for f in forecasters):
        raise InputError("forecasters with different steps share no leads", field="forecaster")
    if inits.size == 0 or np.any(np.diff(inits) <= np.timedelta64(0, "s")):
        raise InputError("init times must be strictly increasing, at least one", field="--inits")
    offsets = np.concatenate([[np.timedelta64(0, "s")], plan.leads])
    for init in inits:
        missing = np.flatnonzero(~np.isin(init + offsets, analysis.times))
        if missing.size:
            k = int(missing[0])
            what = "init time" if k == 0 else f"valid time of init {to_iso(init)}, step {k},"
            raise InputError(
                f"{what} {to_iso(init + offsets[k])} is not in analysis {analysis.name}, "
                f"which holds {to_iso(analysis.times[0])} to {to_iso(analysis.times[-1])}",
                field="--inits",
                hint="choose fewer init times or a shorter lead",
            )


Values = npt.NDArray[Any]


class TimeCache:
    """A reader of arrays by time that remembers what is still needed.

    Parameters
    ----------
    read
        Reads the array of one time, such as fields (channel, cell).
    limit_bytes
        Oldest fields are let go beyond this; reading them again is slow, never wrong.
    """

    def __init__(self, read: Callable[[np.datetime64], Values], limit_bytes: int = 2**30) -> None:
        self._read, self._limit = read, limit_bytes
        self._held: OrderedDict[np.datetime64, Values] = OrderedDict()
        self.reads = 0

    def __call__(self, time: np.datetime64) -> Values:
        """Return the array of a time."""
        if time not in self._held:
            self._held[time] = self._read(time)
            self.reads += 1
            size = self._held[time].nbytes
            while len(self._held) > 1 and len(self._held) * size > self._limit:
                self._held.popitem(last=False)
        return self._held[time]

    def forget_before(self, time: np.datetime64) -> None:
        """Let go of all times before this one."""
        for held in [t for t in self._held if t < time]:
            del self._held[held]


def climatology_reader(climatology: Climatology) -> Callable[[np.datetime64], Fields]:
    """Read a climatology as (channel, cell) at one valid time."""

    def read(time: np.datetime64) -> Fields:
        surface, upper = climatology.at(time)
        return np.concatenate([surface[0], upper[0].reshape(-1, upper.shape[-1])])

    return read
