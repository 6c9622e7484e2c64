"""Verification: forecast from many init times and sum the statistics of every lead time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from itertools import product
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.prefetch import prefetch
from pear.progress import ProgressCallback
from pear.rollout import ClimatologyForecaster, Ensemble, Forecaster
from pear.sphere.healpix import angular_power
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.times import as_utc, to_iso
from pear.typing import Float32, Times
from pipelines.evaluation.accumulators import EvaluationAccumulators, EvaluationDesign, References
from pipelines.evaluation.derived import with_derived


def verify(
    design: EvaluationDesign,
    forecasters: Sequence[Forecaster],
    analysis: Analysis,
    climatology: Climatology,
    *,
    inits: Times | None = None,
    batch: int = 4,
    tick: ProgressCallback | None = None,
) -> dict[str, EvaluationAccumulators]:
    """Forecast from init times and sum the statistics of every lead time.

    Init times are processed in order, ``batch`` side by side, so that each analysis time is read
    once and only the times that one batch needs stay in memory.

    Parameters
    ----------
    design
        Axes of the sums.
    forecasters
        All of one layout, grid and step; their names are the keys of the result. The mean of an
        ensemble is verified as a forecast, and its members by CRPS and spread.
    analysis
        Source of the initial states and of the fields to compare with.
    climatology
        Reference of the anomalies at the valid time; same layout and grid.
    inits
        The init times to process; default: all of the design.
    batch
        Number of forecasts that run side by side.
    tick
        Receives the number of init times done.

    Returns
    -------
    dict
        Sums of each forecaster, by name.
    """
    times = design.inits if inits is None else as_utc(inits)
    check_inputs(design, forecasters, analysis, climatology, times)
    sums = {
        f.name: EvaluationAccumulators.empty(
            design, times, members=f.size if isinstance(f, Ensemble) else 0
        )
        for f in forecasters
    }
    ensembles = [f for f in forecasters if isinstance(f, Ensemble)]
    single = [f for f in forecasters if not isinstance(f, Ensemble)]
    references = ReferenceReader(design, analysis, climatology)
    steps = len(design.leads)
    for start in range(0, len(times), batch):
        group = times[start : start + batch]
        references.forget_before(group[0])
        initial = references.initial_states(group)
        with ExitStack() as stack:
            streams = [(f, stack.enter_context(_ahead(f, initial, steps))) for f in single]
            for lead in design.leads:
                valid = [references.at(init, lead) for init in group]
                for forecaster, stream in streams:
                    fields = with_derived(next(stream).to_channels(), design.layout, design.derived)
                    for init, forecast, reference in zip(group, fields, valid, strict=True):
                        if isinstance(forecaster, ClimatologyForecaster):
                            # Its derived quantities are means of them, not those of mean fields.
                            forecast[len(design.layout.channels) :] = reference.derived_climatology
                        sums[forecaster.name].add(init, lead, forecast, reference)
        for ensemble, init in product(ensembles, group):
            with _ahead(ensemble, references.initial_states([init]), steps) as members:
                for lead, state in zip(design.leads, members, strict=True):
                    reference = references.at(init, lead)
                    fields = with_derived(state.to_channels(), design.layout, design.derived)
                    sums[ensemble.name].add(init, lead, fields, reference)
        if tick is not None:
            tick(len(group), f"init {to_iso(group[-1])[:10]}")
    return sums


def _ahead(forecaster: Forecaster, initial: State, steps: int) -> closing[Generator[State]]:
    """Return the states of a forecast; each is computed while the one before it is scored."""
    return closing(prefetch(forecaster.iterate(initial, steps), size=1))


def check_inputs(
    design: EvaluationDesign,
    forecasters: Sequence[Forecaster],
    analysis: Analysis,
    climatology: Climatology,
    inits: Times,
) -> None:
    """Check that everything fits together and that the analysis has every time needed.

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
        raise InputError("forecasters have different time steps", field="forecaster")
    if inits.size == 0 or np.any(np.diff(inits) <= np.timedelta64(0, "s")):
        raise InputError("init times must be strictly increasing, at least one", field="--init")
    offsets = np.concatenate([[np.timedelta64(0, "s")], design.leads])
    for init in inits:
        missing = np.flatnonzero(~np.isin(init + offsets, analysis.times))
        if missing.size:
            k = int(missing[0])
            what = "init time" if k == 0 else f"valid time of init {to_iso(init)}, step {k},"
            raise InputError(
                f"{what} {to_iso(init + offsets[k])} is not in analysis {analysis.name}, "
                f"which has {to_iso(analysis.times[0])} to {to_iso(analysis.times[-1])}",
                field="--init",
                hint="choose fewer init times or a shorter lead time",
            )


_Values = TypeVar("_Values", bound=npt.NDArray[np.floating])


class TimeCache(Generic[_Values]):
    """Reader of arrays by time that caches the times still needed.

    Parameters
    ----------
    read
        Returns the array of one time, such as fields (channel, cell).
    limit_bytes
        Oldest arrays are dropped beyond this size; they can be read again.

    Attributes
    ----------
    reads
        Number of calls of ``read``.
    """

    def __init__(self, read: Callable[[np.datetime64], _Values], limit_bytes: int = 2**30) -> None:
        self._read, self._limit = read, limit_bytes
        self._cached: OrderedDict[np.datetime64, _Values] = OrderedDict()
        self.reads = 0

    def __call__(self, time: np.datetime64) -> _Values:
        """Return the array of a time."""
        if time not in self._cached:
            self._cached[time] = self._read(time)
            self.reads += 1
            size = self._cached[time].nbytes
            while len(self._cached) > 1 and len(self._cached) * size > self._limit:
                self._cached.popitem(last=False)
        return self._cached[time]

    def forget_before(self, time: np.datetime64) -> None:
        """Drop all times before this one."""
        for cached in [t for t in self._cached if t < time]:
            del self._cached[cached]


class ReferenceReader:
    """Cached reader of the fields that forecasts start from and are compared with.

    Parameters
    ----------
    design
        Says where spectra are wanted.
    analysis, climatology
        Same layout and grid.
    """

    def __init__(
        self, design: EvaluationDesign, analysis: Analysis, climatology: Climatology
    ) -> None:
        rows = design.plotted_rows
        self._design = design
        self._analysis = TimeCache(analysis.read)
        self._truth = self._analysis
        if design.derived:
            self._truth = TimeCache(
                lambda time: with_derived(self._analysis(time), design.layout, design.derived)
            )
        self._climatology = TimeCache(climatology_reader(climatology))
        self._spectrum = TimeCache(lambda time: angular_power(self._analysis(time)[rows]))

    def at(self, init: np.datetime64, lead: np.timedelta64) -> References:
        """Return the reference fields for one lead time of a forecast."""
        design, valid = self._design, init + lead
        plotted = lead in design.plotted_leads and init in design.spectral_inits
        spectrum = self._spectrum(valid) if plotted and design.plotted else None
        count = len(design.layout.channels)
        return References(self._truth(valid), self._climatology(valid), spectrum, count)

    def initial_states(self, inits: Sequence[np.datetime64] | Times) -> State:
        """Return the analyses of some init times as one batch."""
        fields = np.stack([self._analysis(init) for init in inits])
        return State.from_channels(fields, np.asarray(inits), self._design.layout)

    def forget_before(self, time: np.datetime64) -> None:
        """Drop all times before this one."""
        for cache in (self._analysis, self._truth, self._climatology, self._spectrum):
            cache.forget_before(time)


def climatology_reader(climatology: Climatology) -> Callable[[np.datetime64], Float32]:
    """Return a function that reads a climatology at one valid time, (channel, cell).

    Parameters
    ----------
    climatology
        Channels and derived quantities to read.

    Returns
    -------
    callable
        Rows of the layout, then those of the derived quantities.
    """

    def read(time: np.datetime64) -> Float32:
        surface, upper = climatology.at(time)
        parts = [surface[0], upper[0].reshape(-1, upper.shape[-1])]
        if climatology.derived:
            parts.append(climatology.derived_at(time)[0])
        return np.concatenate(parts)

    return read
