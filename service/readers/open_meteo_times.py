"""Times of an answer in open-meteo's format: zone, dates, days and the present."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Array, Times
from service.readers.open_meteo_answer import Zone

DAY: Final = 86_400
_MOST_STEP_HOURS: Final = 6
"""Longest step of a run whose days have a highest and a lowest value."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Period:
    """Dates of an answer in its time zone; None where nothing was asked for.

    Attributes
    ----------
    start, end
        First and last date.
    days
        Number of dates from the first one of the run.
    past
        Number of dates before the first one of the run.
    """

    start: str | None = None
    end: str | None = None
    days: int | None = None
    past: int = 0

    def days_before(self, begin: np.datetime64) -> int:
        """Return how many days before the first time of a run are asked for, in any zone."""
        if self.start is None:
            return self.past
        day = np.timedelta64(1, "D")
        days = int((begin.astype("datetime64[D]") - _parse_date(self.start, "start_date")) / day)
        return days + 1 if days >= 0 else 0

    def first_date(self, begin: np.datetime64, zone: Zone) -> np.datetime64:
        """Return the first date of an answer, from that of the run's first time."""
        if self.start is not None:
            return _parse_date(self.start, "start_date")
        own: np.datetime64 = local_dates(np.array([begin]), zone)[0]
        return own - np.timedelta64(self.past, "D")

    def choose(self, times: Times, zone: Zone, begin: np.datetime64 | None = None) -> Array:
        """Return which times (time,) are in the period.

        Parameters
        ----------
        times
            (time,) UTC.
        zone
            Time zone of the dates.
        begin
            First time of the run, UTC (default: the first of the times). Those before it are left
            out unless the period begins on an earlier date.

        Returns
        -------
        ndarray
            (time,) bool.

        Raises
        ------
        InputError
            If a date is not one, the period ends after the run, or no time is in it.
        """
        begin = times[0] if begin is None else begin
        dates, own = local_dates(times, zone), local_dates(np.array([begin]), zone)[0]
        first = self.first_date(begin, zone)
        last = dates[-1] if self.end is None else _parse_date(self.end, "end_date")
        if self.days is not None:
            from_ = own if self.start is None else first
            most = int((dates[-1] - from_) / np.timedelta64(1, "D")) + 1
            if self.days > most >= 1:  # in open-meteo's words, which its clients show
                raise InputError(
                    f"Forecast days is invalid. Allowed range 1 to {most}. Given {self.days}.",
                    field="forecast_days",
                    hint=f"the run ends on {dates[-1]}",
                )
            last = from_ + np.timedelta64(self.days - 1, "D")
        if self.end is not None and first <= dates[-1] < last:
            raise InputError(
                f"Parameter 'end_date' is out of allowed range from {dates[0]} to {dates[-1]}",
                field="end_date",
                hint=f"{last} is not in the run; name another by run=",
            )
        chosen: Array = (dates >= first) & (dates <= last)
        if first >= own:
            chosen &= times >= begin
        if not chosen.any():
            raise InputError(
                f"the run has no times from {first} to {last}",
                field="start_date" if self.start is not None else "end_date",
                hint=f"it covers {dates[0]} to {dates[-1]}",
            )
        return chosen


def _parse_date(text: str, field: str) -> np.datetime64:
    try:
        if _DATE.fullmatch(text):
            return np.datetime64(dt.date.fromisoformat(text), "D")
    except ValueError:
        pass
    raise InputError(f"{text!r} is not a date", field=field, hint="write it as 2026-03-01")


def local_dates(times: Times, zone: Zone) -> Array:
    """Return the dates (time,) of UTC times in a zone."""
    local = times.astype("datetime64[s]") + np.timedelta64(zone.seconds, "s")
    dates: Array = local.astype("datetime64[D]")
    return dates


def parse_zone(name: str, first: np.datetime64) -> Zone:
    """Return a time zone by its name, with its offset at the first time of an answer.

    Parameters
    ----------
    name
        Name of the IANA database, or ``GMT``.
    first
        First valid time, UTC.

    Returns
    -------
    Zone
        With a fixed offset, as open-meteo has it.

    Raises
    ------
    InputError
        If the zone is unknown.

    Examples
    --------
    >>> parse_zone("Europe/Berlin", np.datetime64("2026-07-01")).seconds
    7200
    """
    if name in ("GMT", "UTC"):
        return Zone(name, name)
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f"unknown time zone {name[:64]!r}",
            field="timezone",
            hint="use a name such as Europe/Berlin, or GMT",
        ) from None
    moment = dt.datetime.fromisoformat(to_iso(first)).astimezone(zone)
    offset = moment.utcoffset() or dt.timedelta(0)
    return Zone(name, moment.tzname() or name, int(offset.total_seconds()))


def require_daily(leads: tuple[int, ...]) -> int:
    """Return the step of a run in hours, which must be short enough for values of days.

    Parameters
    ----------
    leads
        Lead times of the run, hours.

    Returns
    -------
    int
        Hours.

    Raises
    ------
    InputError
        If the steps are too long or differ: a day's extremes would be those of one or two instants.
    """
    steps = set(np.diff(leads).tolist())
    if len(steps) == 1 and max(steps) <= _MOST_STEP_HOURS:
        return int(steps.pop())
    step = max(steps, default=0)
    raise InputError(
        f"a run with steps of {step} h has no highest, lowest or mean values of days",
        field="daily",
        hint=f"use a model with steps of at most {_MOST_STEP_HOURS} h, or ask for hourly",
    )


def aggregate(values: Array, days: Array, per_day: int, how: str) -> Array:
    """Return one value of each day, NaN of days that are not whole.

    Parameters
    ----------
    values
        (time, point).
    days
        (time,) dates.
    per_day
        Times of a whole day.
    how
        ``max``, ``min``, ``mean`` or ``sum``.

    Returns
    -------
    ndarray
        (day, point).

    Examples
    --------
    >>> days = np.array(["2026-01-01", "2026-01-01", "2026-01-02"], "datetime64[D]")
    >>> aggregate(np.array([[1.0], [3.0], [5.0]]), days, 2, "max")
    array([[ 3.],
           [nan]])
    """
    methods: dict[str, Callable[..., Array]]
    methods = {"max": np.max, "min": np.min, "mean": np.mean, "sum": np.sum}
    reduce = methods[how]
    rows = []
    for day in np.unique(days):
        part = values[days == day]
        whole = len(part) == per_day
        rows.append(reduce(part, axis=0) if whole else np.full(values.shape[1:], np.nan))
    return np.stack(rows)
