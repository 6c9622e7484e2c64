"""Cron lines, read as Debian's cron reads them, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Final

from cronsim import CronSim, CronSimError

from pear.errors import InputError

_NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_HINT: Final = "write five fields, e.g. `30 6 * * *` for 06:30 UTC every day"
_SECOND: Final = timedelta(seconds=1)


@lru_cache(maxsize=256)
def parse_cron(line: str) -> str:
    """Check a cron line of five fields: minute, hour, day, month, day of week (0 and 7: Sunday).

    Fields are ``*``, numbers, names (``jan``, ``mon``), ranges, lists and steps; ``L`` is the last
    day of the month. Where both the day of the month and the day of the week are restricted,
    either suffices: ``0 0 13 * 5`` is every Friday and every 13th.

    Parameters
    ----------
    line
        Such as ``30 6 * * *``, 06:30 UTC every day, or a name such as ``@daily``.

    Returns
    -------
    str
        The line, with five fields.

    Raises
    ------
    InputError
        If the line is invalid or never due.
    """
    fields = line.split()
    wrong = f"invalid cron line {line[:64]!r}"
    if len(fields) == 1 and line.strip().startswith("@"):
        name = fields[0].lower()
        if name not in _NAMED:
            raise InputError(
                f"{wrong}: {name[:32]} is not a time",
                field="cron",
                hint="names: " + ", ".join(_NAMED),
            )
        return _NAMED[name]
    if len(fields) != 5:
        raise InputError(f"{wrong}: {len(fields)} fields", field="cron", hint=_HINT)
    try:
        next(CronSim(line, datetime.now(UTC)))
    except StopIteration as error:
        raise InputError(f"{wrong}: it is never due", field="cron", hint=_HINT) from error
    except (CronSimError, AssertionError, ValueError, OverflowError) as error:
        reason = str(error)[:1].lower() + str(error)[1:]
        raise InputError(f"{wrong}: {reason or 'bad field'}", field="cron", hint=_HINT) from error
    return " ".join(fields)


def last_due(line: str, after: datetime, now: datetime) -> datetime | None:
    """Return the latest time in (after, now] at which a line was due, or None.

    Parameters
    ----------
    line
        Cron line.
    after, now
        Interval of any length; all due times in it count as one.

    Returns
    -------
    datetime or None
        Aware, UTC.
    """
    start = now.astimezone(UTC).replace(microsecond=0) + _SECOND
    due = next(CronSim(parse_cron(line), start, reverse=True), None)
    return due if due is not None and due > after else None


def next_due(line: str, now: datetime) -> datetime | None:
    """Return the first time after ``now`` at which a line is due, or None."""
    return next(CronSim(parse_cron(line), now.astimezone(UTC)), None)


def upcoming(line: str, now: datetime, count: int) -> list[datetime]:
    """Return the next times after ``now`` at which a line is due.

    Parameters
    ----------
    line
        Cron line.
    now
        Aware.
    count
        Largest number of times.

    Returns
    -------
    list of datetime
        Aware, UTC, increasing.
    """
    return list(islice(CronSim(parse_cron(line), now.astimezone(UTC)), count))


def describe_cron(line: str) -> str:
    """Return a cron line in words: ``At 06:30 every day``."""
    return str(CronSim(parse_cron(line), datetime.now(UTC)).explain())
