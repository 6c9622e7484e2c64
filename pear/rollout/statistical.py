"""Statistical forecasts fitted on analyses: damped persistence and a linear inverse model.

Both are harder to beat than persistence and climatology at long lead times, where the best linear
forecast of an anomaly is a part of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pear.errors import InputError
from pear.rollout.baselines import ClimatologyLike
from pear.rollout.dataset import DatasetForecaster
from pear.rollout.forecaster import check_fits
from pear.state import State
from pear.times import as_utc
from pear.typing import Array, Float32, Float64, Times
from pear.variables import Layout


@dataclass(frozen=True)
class StatisticalFit:
    """What damped persistence and the linear inverse model learnt from analyses.

    Attributes
    ----------
    layout, nside, time_step
        Channels, grid and step.
    persisting
        (lead, channel, cell) part of an anomaly that is left after each lead time: the slope of the
        regression of the later anomaly on the earlier one.
    directions
        (direction, channel, cell) orthogonal patterns of anomalies over the scale.
    scale
        (channel,) standard deviation of the anomalies, physical units, over the root of the share
        of the channel's layer in the mass of a column.
    propagator
        (direction, direction) G = C(τ) C(0)⁻¹, with C the covariances of the coordinates of the
        patterns at lag 0 and at one step τ (Penland and Magorian 1993).
    about
        Analysis, period and number of states, for the attributes of scores.

    Examples
    --------
    >>> import numpy as np, pear
    >>> from pear.rollout.statistical import StatisticalFit
    >>> layout = pear.Layout(("2m_temperature",), (), ())
    >>> shape, day = (1, 12), np.timedelta64(86_400, "s")
    >>> fit = StatisticalFit(
    ...     layout, 1, day, np.full((3, *shape), 0.5), np.ones((1, *shape)), np.ones(1),
    ...     np.array([[0.5]]), {},
    ... )
    >>> fit.leads
    3
    """

    layout: Layout
    nside: int
    time_step: np.timedelta64
    persisting: Float32
    directions: Float32
    scale: Float32
    propagator: Float64
    about: dict[str, Any]

    @property
    def leads(self) -> int:
        """Number of lead times with a damping of their own."""
        return int(self.persisting.shape[0])


class _AnomalyForecaster(DatasetForecaster):
    """Base class of forecasts of the anomaly from a climatology, at any lead time at once."""

    def __init__(self, fit: StatisticalFit, climatology: ClimatologyLike) -> None:
        self.layout, self.nside, self.time_step = fit.layout, fit.nside, fit.time_step
        self.fit, self.climatology = fit, climatology
        if climatology.layout != fit.layout or climatology.nside != fit.nside:
            raise InputError(
                "the climatology and the fit differ in channels or grid", field="climatology"
            )

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states one step apart after the initial one.

        Parameters
        ----------
        initial
            (batch, …), physical units; an :class:`~pear.errors.InputError` says that it does not
            fit.
        steps
            Number of states.

        Returns
        -------
        Iterator of State
            Climatology of the valid time and what is left of the anomaly. A humidity may lie below
            zero, as the best linear forecast does.
        """
        check_fits(initial, self)
        self._check_steps(steps)
        return self._states(initial, steps)

    def _states(self, initial: State, steps: int) -> Iterator[State]:
        start = initial.valid_time
        anomaly = initial.to_channels() - climate_channels(self.climatology, start)
        for count, left in enumerate(self._anomalies(anomaly, steps), start=1):
            valid = start + count * self.time_step
            fields = climate_channels(self.climatology, valid) + left
            yield State.from_channels(fields.astype(np.float32), valid, self.layout)

    def _check_steps(self, steps: int) -> None:
        if steps < 1:
            raise InputError(f"{self.name}: steps {steps} must be at least 1", field="steps")

    @abstractmethod
    def _anomalies(self, anomaly: Float32, steps: int) -> Iterator[Array]:
        """Yield the anomaly (batch, channel, cell) after each step."""


class DampedPersistence(_AnomalyForecaster):
    """Forecast the part of the initial anomaly that is left after each lead time.

    x(t+τ) = c(t+τ) + r(τ) (x(t) − c(t)), with r of each channel, cell and lead time.

    Parameters
    ----------
    fit
        What was learnt from analyses.
    climatology
        Mean fields by valid time.

    Examples
    --------
    >>> import pear
    >>> from pear import resources
    >>> from pear.rollout.statistical import DampedPersistence, StatisticalFit
    >>> climatology = pear.open_climatology(resources.path("climatology"), nside=1)
    >>> channels, day = len(climatology.layout.channels), np.timedelta64(86_400, "s")
    >>> fit = StatisticalFit(
    ...     climatology.layout, 1, day, np.zeros((2, channels, 12), np.float32),
    ...     np.ones((1, channels, 12), np.float32), np.ones(channels, np.float32),
    ...     np.zeros((1, 1)), {},
    ... )
    >>> initial = pear.State.from_xarray(climatology.to_xarray("2006-11-01"), "2006-11-01")
    >>> first, _ = DampedPersistence(fit, climatology).iterate(initial, 2)
    >>> expected, _ = climatology.at("2006-11-02")
    >>> bool((first.surface.numpy() == expected).all())
    True
    """

    name = "damped_persistence"

    def _check_steps(self, steps: int) -> None:
        super()._check_steps(steps)
        if steps > self.fit.leads:
            raise InputError(
                f"damped persistence was fitted for {self.fit.leads} lead times, not {steps}",
                field="steps",
                hint="fit it again for longer forecasts",
            )

    def _anomalies(self, anomaly: Float32, steps: int) -> Iterator[Array]:
        for step in range(steps):
            yield self.fit.persisting[step] * anomaly


class LinearInverseModel(_AnomalyForecaster):
    """Forecast the leading patterns of the anomaly by a linear model fitted on analyses.

    The anomaly is projected on empirical orthogonal functions; its coordinates z follow
    z(t+τ) = G z(t), so that the other patterns are forecast as zero (Penland and Magorian 1993).

    Parameters
    ----------
    fit
        What was learnt from analyses.
    climatology
        Mean fields by valid time.

    Examples
    --------
    >>> import pear
    >>> from pear import resources
    >>> from pear.rollout.statistical import LinearInverseModel, StatisticalFit
    >>> climatology = pear.open_climatology(resources.path("climatology"), nside=1)
    >>> channels, day = len(climatology.layout.channels), np.timedelta64(86_400, "s")
    >>> fit = StatisticalFit(
    ...     climatology.layout, 1, day, np.zeros((2, channels, 12), np.float32),
    ...     np.ones((1, channels, 12), np.float32), np.ones(channels, np.float32),
    ...     np.array([[0.5]]), {},
    ... )
    >>> initial = pear.State.from_xarray(climatology.to_xarray("2006-11-01"), "2006-11-01")
    >>> len(list(LinearInverseModel(fit, climatology).iterate(initial, 3)))
    3
    """

    name = "linear_inverse_model"

    def _anomalies(self, anomaly: Float32, steps: int) -> Iterator[Array]:
        rows = self.fit.directions.reshape(len(self.fit.directions), -1)
        scale = self.fit.scale[:, None]
        z = coordinates(anomaly / scale, rows)
        for _ in range(steps):
            z = z @ self.fit.propagator.T
            yield (z.astype(np.float32) @ rows).reshape(anomaly.shape) * scale


def coordinates(anomalies: Array, rows: Float32) -> Float64:
    """Return the coordinates of anomalies along orthogonal patterns.

    Parameters
    ----------
    anomalies
        (batch, …), over the scale.
    rows
        (direction, …) flattened patterns, orthogonal.

    Returns
    -------
    ndarray
        (batch, direction).

    Examples
    --------
    >>> from pear.rollout.statistical import coordinates
    >>> coordinates(np.array([[6.0, 1.0]]), np.array([[2.0, 0.0]], dtype=np.float32))
    array([[3.]])
    """
    norms = np.einsum("dx,dx->d", rows, rows, dtype=np.float64)
    flat = anomalies.reshape(len(anomalies), -1).astype(np.float32)
    return np.asarray((flat @ rows.T) / norms, dtype=np.float64)


def climate_channels(climatology: ClimatologyLike, times: Times) -> Float32:
    """Return the climatology of some valid times, (time, channel, cell), physical units."""
    surface, upper = climatology.at(times)
    return np.concatenate([surface, upper.reshape(len(upper), -1, upper.shape[-1])], axis=1)


def fit_persistence(
    read: Callable[[np.datetime64], Float32],
    times: Times,
    step: np.timedelta64,
    leads: int,
) -> Float32:
    """Return the part of an anomaly that is left after each lead time.

    Parameters
    ----------
    read
        Returns the anomaly (channel, cell) of a time.
    times
        Times of the analyses, increasing; pairs that a gap parts are left out.
    step
        Time between two lead times.
    leads
        Number of lead times.

    Returns
    -------
    ndarray
        (lead, channel, cell) Σ a(t) a(t+τ) / Σ a(t)² over all pairs; 0 where a never changes.

    Raises
    ------
    InputError
        If no two times lie so far apart.

    Examples
    --------
    >>> from pear.rollout.statistical import fit_persistence
    >>> day = np.timedelta64(86_400, "s")
    >>> times = np.datetime64("2001-01-01", "s") + day * np.arange(9)
    >>> halves = {time: np.full((1, 1), 2.0**-k) for k, time in enumerate(times)}
    >>> fit_persistence(halves.__getitem__, times, day, 2).ravel()
    array([0.5 , 0.25], dtype=float32)
    """
    held: dict[np.datetime64, Float32] = {}
    together: Float64 | None = None
    for time in as_utc(times):
        now = np.asarray(read(time), dtype=np.float64)
        if together is None:
            together, alone = (np.zeros((leads, *now.shape)) for _ in range(2))
            pairs = np.zeros(leads, dtype=np.int64)
        for lead in range(leads):
            earlier = held.get(time - (lead + 1) * step)
            if earlier is not None:
                together[lead] += earlier * now
                alone[lead] += np.square(earlier, dtype=np.float64)
                pairs[lead] += 1
        held[time] = now.astype(np.float32)
        for old in [each for each in held if each <= time - leads * step]:
            del held[old]
    if together is None or not pairs.all():
        missing = 1 if together is None else int(np.argmin(pairs)) + 1
        hours = missing * step / np.timedelta64(1, "h")
        raise InputError(
            f"the analyses have no two times {hours:g} h apart",
            field="baselines",
            hint="fit the baselines on whole years",
        )
    found = np.divide(together, alone, out=np.zeros_like(together), where=alone > 0)
    return found.astype(np.float32)


def fit_propagator(z: Float64, times: Times, step: np.timedelta64) -> Float64:
    """Return G = C(τ) C(0)⁻¹ of coordinates that follow z(t+τ) = G z(t).

    Parameters
    ----------
    z
        (time, direction).
    times
        Their times; pairs that a gap parts are left out.
    step
        τ.

    Returns
    -------
    ndarray
        (direction, direction).

    Raises
    ------
    InputError
        If fewer pairs than directions lie one step apart.

    Examples
    --------
    >>> from pear.rollout.statistical import fit_propagator
    >>> day = np.timedelta64(86_400, "s")
    >>> times = np.datetime64("2001-01-01", "s") + day * np.arange(4)
    >>> fit_propagator(np.array([[8.0], [4.0], [2.0], [1.0]]), times, day)
    array([[0.5]])
    """
    times = as_utc(times)
    rows = np.flatnonzero(np.isin(times + step, times))
    if rows.size < z.shape[1]:
        raise InputError(
            f"{rows.size} pairs of analyses one step apart do not determine a linear model of "
            f"{z.shape[1]} patterns",
            field="baselines",
            hint="fit the baselines on whole years",
        )
    earlier, later = z[rows], z[np.searchsorted(times, times[rows] + step)]
    solution = np.linalg.lstsq(earlier, later, rcond=None)[0]
    return np.asarray(solution.T, dtype=np.float64)


def anomaly_reader(
    read: Callable[[np.datetime64], Float32], climatology: ClimatologyLike
) -> Callable[[np.datetime64], Float32]:
    """Return a function that reads the anomaly (channel, cell) of a time."""

    def anomaly(time: np.datetime64) -> Float32:
        usual: Float32 = climate_channels(climatology, np.array([time]))[0]
        return np.asarray(read(time) - usual, dtype=np.float32)

    return anomaly


def statistical_forecasters(
    fit: StatisticalFit | None, climatology: ClimatologyLike
) -> Sequence[DampedPersistence | LinearInverseModel]:
    """Return the forecasters of a fit; none without one."""
    if fit is None:
        return ()
    return DampedPersistence(fit, climatology), LinearInverseModel(fit, climatology)
