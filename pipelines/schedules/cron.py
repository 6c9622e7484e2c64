"""Cron lines, read as cron reads them, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from apscheduler.triggers.cron import CronTrigger

from pear.errors import InputError

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WINDOWS: Final = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 400))
_INSTANT: Final = timedelta(microseconds=1)


@lru_cache(maxsize=256)
def parse_cron(line: str) -> CronTrigger:
    """Parse a cron line of five fields: minute, hour, day, month, day of week (0 and 7: Sunday).

    Parameters
    ----------
    line
        Such as ``30 6 * * *``, 06:30 UTC every day.

    Returns
    -------
    CronTrigger
        In UTC.

    Raises
    ------
    InputError
        If the line is invalid or never due.
    """
    fields = line.split()
    hint = "write five fields, e.g. `30 6 * * *` for 06:30 UTC every day"
    if len(fields) != 5:
        raise InputError(f"cron line {line!r} has {len(fields)} fields", field="cron", hint=hint)
    try:
        # APScheduler counts days of the week from Monday, cron from Sunday.
        trigger = CronTrigger.from_crontab(" ".join([*fields[:4], _weekdays(fields[4])]), UTC)
    except ValueError as error:
        raise InputError(f"invalid cron line {line!r}: {error}", field="cron", hint=hint) from error
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise InputError(f"cron line {line!r} is never due", field="cron", hint=hint)
    return trigger


def last_due(line: str, after: datetime, now: datetime) -> datetime | None:
    """Return the latest time in (after, now] at which a line was due, or None.

    Parameters
    ----------
    line
        Cron line.
    after, now
        Interval; all due times in it count as one.

    Returns
    -------
    datetime or None
        Aware, UTC.
    """
    trigger = parse_cron(line)
    for window in _WINDOWS:  # the latest is near, however long the interval
        latest = None
        start = max(after, now - window)
        time = trigger.get_next_fire_time(None, start + _INSTANT)
        while time is not None and time <= now:
            latest = time
            time = trigger.get_next_fire_time(time, time + _INSTANT)
        if latest is not None or start == after:
            return latest
    return None


def next_due(line: str, now: datetime) -> datetime | None:
    """Return the next time at which a line is due, or None."""
    time: datetime | None = parse_cron(line).get_next_fire_time(None, now)
    return time


def _weekdays(field: str) -> str:
    """Return the days of the week by name, which cron and APScheduler number differently."""
    if re.fullmatch(r"\*|[a-zA-Z,-]+", field):
        return field.lower()
    days: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"(?:\*|(\d)(?:-(\d))?)(?:/(\d))?", part)
        if match is None:
            raise ValueError(f"day of week {part!r}")
        first = 0 if match[1] is None else int(match[1])
        last = 6 if match[1] is None else int(match[2] or match[1])
        if last < first or last > 7:
            raise ValueError(f"day of week {part!r}")
        days |= {day % 7 for day in range(first, last + 1, int(match[3] or 1))}
    return ",".join(_DAYS[day] for day in sorted(days))
