"""Day-of-year climatologies: harmonics, calendar days, smoothing and 29 February.

Everything is linear in sums over the training times, so that parts of a record can be summed
separately and merged. :mod:`pipelines.evaluation.climatology` applies it to stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.times import as_utc, year_phase
from pear.typing import Float64, Int64, Times, TimesLike

DAYS: Final = 366
"""Calendar days, numbered as in a leap year: 29 February is slot 59, 1 March slot 60."""
LEAP_SLOT: Final = 59
WINDOW: Final = 61
"""Days around each day that enter the smoothed climatology."""
SIGMA: Final = 10.0
"""Standard deviation of the Gaussian weights in days; the window ends at three of them."""
_MAX_CONDITION: Final = 1e3


def calendar_slot(times: TimesLike) -> Int64:
    """Return the calendar day of each time, the same slot for the same date in every year.

    Parameters
    ----------
    times
        One or several times, UTC.

    Returns
    -------
    ndarray
        (time,) 0…365. In a common year 1 March follows 28 February directly: slot 60 after 58.

    Examples
    --------
    >>> calendar_slot(["2019-02-28", "2019-03-01", "2020-02-29"])
    array([58, 60, 59])
    """
    t = as_utc(times)
    year = t.astype("datetime64[Y]")
    day = (t.astype("datetime64[D]") - year.astype("datetime64[D]")).astype(np.int64)
    number = year.astype(np.int64) + 1970
    leap = (number % 4 == 0) & ((number % 100 != 0) | (number % 400 == 0))
    return np.asarray(day + (~leap & (day >= LEAP_SLOT)), dtype=np.int64)


def hour_of_day(times: TimesLike) -> Int64:
    """Return the hour of the day of each time.

    Parameters
    ----------
    times
        One or several times, UTC.

    Returns
    -------
    ndarray
        (time,) 0…23.

    Raises
    ------
    InputError
        If a time is not on the hour.

    Examples
    --------
    >>> from pear.store.day_of_year import hour_of_day
    >>> hour_of_day(["2019-01-01T06:00", "2020-02-29T18:00"])
    array([ 6, 18])
    """
    t = as_utc(times)
    seconds = (t - t.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64)
    if np.any(seconds % 3600):
        raise InputError(f"time {t[seconds % 3600 != 0][0]}Z is not on the hour", field="time")
    return np.asarray(seconds // 3600, dtype=np.int64)


def day_weights(window: int = WINDOW, sigma: float = SIGMA) -> Float64:
    """Return the weight of each calendar day's samples in the climatology of each calendar day.

    Parameters
    ----------
    window
        Number of days, centred; 1 gives the plain mean of the calendar day.
    sigma
        Standard deviation of the Gaussian, days.

    Returns
    -------
    ndarray
        (day, day), circular over the year. Row 59 of the plain mean is the leap-day rule:
        29 February pools the samples of 28 February, 29 February and 1 March, because it has at
        most a quarter of its neighbours' samples, and none at all in most single years.

    Raises
    ------
    InputError
        If the window is even, not positive or longer than a year.

    Examples
    --------
    >>> from pear.store.day_of_year import day_weights
    >>> weights = day_weights()
    >>> weights.shape, bool((weights == weights.T).all()), int((weights[0] > 0).sum())
    ((366, 366), True, 61)
    """
    if window < 1 or window % 2 == 0 or window > DAYS - 1:
        raise InputError(f"window of {window} days must be odd, 1 to 365", field="window")
    distance = np.abs(np.arange(DAYS)[:, None] - np.arange(DAYS))
    distance = np.minimum(distance, DAYS - distance)
    weights = np.where(distance <= window // 2, np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
    if window == 1:
        weights[LEAP_SLOT, LEAP_SLOT - 1 : LEAP_SLOT + 2] = 1.0
    return weights


def harmonic_basis(times: TimesLike, harmonics: int) -> Float64:
    """Return the basis of the harmonic fit: 1, cos 2πkφ, sin 2πkφ for k = 1…harmonics.

    φ is :func:`pear.times.year_phase`, which is continuous in time, so that 29 February needs no
    rule.

    Parameters
    ----------
    times
        One or several times, UTC.
    harmonics
        Number of harmonics of the year.

    Returns
    -------
    ndarray
        (time, 1 + 2·harmonics).

    Examples
    --------
    >>> from pear.store.day_of_year import harmonic_basis
    >>> harmonic_basis(["2019-01-01", "2019-07-02T12:00"], harmonics=1).round(2)
    array([[ 1.  ,  1.  ,  0.01],
           [ 1.  , -1.  , -0.  ]])
    """
    angle = 2 * np.pi * year_phase(times)[:, None] * np.arange(1, harmonics + 1)
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(len(angle), 2 * harmonics)
    return np.concatenate([np.ones((len(angle), 1)), waves], axis=1)


@dataclass(frozen=True)
class HarmonicSums:
    """Normal equations of a least-squares fit by harmonics, one per hour of the day.

    Attributes
    ----------
    hours
        (hour,) hours of the day, increasing.
    gram
        (hour, term, term), Σ B Bᵀ.
    moment
        (hour, term, …), Σ B x.

    Examples
    --------
    >>> from pear.store.day_of_year import HarmonicSums
    >>> times = as_utc(np.arange("2001-01-01", "2003-01-01", dtype="datetime64[D]"))
    >>> cosine = harmonic_basis(times, 1)[:, 1]
    >>> sums = HarmonicSums.from_samples(times, 280.0 + 3.0 * cosine, 1, np.array([0]))
    >>> sums.solve().round(6) + 0.0
    array([[280.,   3.,   0.]])
    """

    hours: Int64
    gram: Float64
    moment: Float64

    @classmethod
    def from_samples(
        cls, times: Times, values: npt.ArrayLike, harmonics: int, hours: Int64
    ) -> HarmonicSums:
        """Return the sums of a block of times, values (time, …) in physical units."""
        basis = harmonic_basis(times, harmonics)
        x = np.asarray(values, dtype=np.float64)
        member = hour_of_day(times)[None] == hours[:, None]
        gram = np.einsum("ht,tp,tq->hpq", member, basis, basis)
        moment = np.stack([np.tensordot(basis[m].T, x[m], axes=1) for m in member])
        return cls(hours, gram, moment)

    def merge(self, other: HarmonicSums) -> HarmonicSums:
        """Return the sums of two blocks; the fit does not depend on the order but for rounding."""
        return HarmonicSums(self.hours, self.gram + other.gram, self.moment + other.moment)

    def solve(self) -> Float64:
        """Solve the normal equations.

        Returns
        -------
        ndarray
            Coefficients of the fit, (hour, term, …).

        Raises
        ------
        InputError
            If the times do not cover the year well enough to determine the harmonics.
        """
        out = np.empty_like(self.moment)
        for index, (gram, moment) in enumerate(zip(self.gram, self.moment, strict=True)):
            count = gram[0, 0]
            condition = np.linalg.cond(gram / count) if count else np.inf
            if not condition < _MAX_CONDITION:
                terms = gram.shape[0]
                raise InputError(
                    f"{int(count)} times at {self.hours[index]} UTC cannot determine "
                    f"{(terms - 1) // 2} harmonics of the year",
                    field="times",
                    hint="use whole years of analyses or fewer harmonics",
                )
            flat = np.linalg.solve(gram, moment.reshape(gram.shape[0], -1))
            out[index] = flat.reshape(moment.shape)
        return out


@dataclass(frozen=True)
class DaySums:
    """Sums of the samples of consecutive calendar days.

    Attributes
    ----------
    first
        Slot of the first day.
    total
        (day, …), Σ x.
    count
        (day,) number of samples.

    Examples
    --------
    >>> from pear.store.day_of_year import DaySums
    >>> one = DaySums.from_samples(np.array([0, 1, 1]), [1.0, 2.0, 4.0], first=0, last=2)
    >>> both = one.merge(one)
    >>> both.total, both.count
    (array([ 2., 12.]), array([2, 4]))
    """

    first: int
    total: Float64
    count: Int64

    @classmethod
    def from_samples(cls, slots: Int64, values: npt.ArrayLike, first: int, last: int) -> DaySums:
        """Return the sums of samples (time, …) of the days from ``first`` to before ``last``."""
        x = np.asarray(values, dtype=np.float64)
        days = np.arange(first, last)
        total = np.stack([x[slots == day].sum(axis=0) for day in days])
        return cls(first, total, np.array([(slots == day).sum() for day in days]))

    def merge(self, other: DaySums) -> DaySums:
        """Return the sums of two blocks of samples of the same days, in any order."""
        return DaySums(self.first, self.total + other.total, self.count + other.count)
