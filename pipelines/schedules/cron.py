"""When a schedule is due: cron lines, read as cron reads them, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from apscheduler.triggers.cron import CronTrigger

from pear.errors import InputError

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WINDOWS = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 400))


@lru_cache(maxsize=256)
def trigger(line: str) -> CronTrigger:
    """Read a cron line of five fields: minute, hour, day, month, day of week (0 and 7: Sunday).

    Raises
    ------
    InputError
        If it is none, or can never be due.
    """
    fields = line.split()
    hint = "write five fields, such as `30 6 * * *` for 06:30 UTC every day"
    if len(fields) != 5:
        raise InputError(f"cron line {line!r} has {len(fields)} fields", field="cron", hint=hint)
    try:
        # APScheduler counts days of the week from Monday; cron counts from Sunday.
        made = CronTrigger.from_crontab(" ".join([*fields[:4], _weekdays(fields[4])]), UTC)
    except ValueError as error:
        raise InputError(
            f"cron line {line!r} cannot be read: {error}", field="cron", hint=hint
        ) from error
    if made.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise InputError(f"cron line {line!r} is never due", field="cron", hint=hint)
    return made


def due(line: str, after: datetime, now: datetime) -> datetime | None:
    """Return the latest time in (after, now] at which a line was due; None if it was not.

    All that was missed in between counts as one.
    """
    made = trigger(line)
    for window in _WINDOWS:  # the latest is near, however long the silence was
        latest = None
        start = max(after, now - window)
        fire = made.get_next_fire_time(None, start + timedelta(microseconds=1))
        while fire is not None and fire <= now:
            latest = fire
            fire = made.get_next_fire_time(fire, fire + timedelta(microseconds=1))
        if latest is not None or start == after:
            return latest
    return None


def following(line: str, now: datetime) -> datetime | None:
    """Return the next time at which a line is due."""
    moment: datetime | None = trigger(line).get_next_fire_time(None, now)
    return moment


def _weekdays(field: str) -> str:
    """Days of the week as names, so that nobody counts them differently."""
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
