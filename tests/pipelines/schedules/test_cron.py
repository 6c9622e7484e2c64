"""Cron lines: when they are due, and which are refused."""

from __future__ import annotations

import random
from bisect import bisect_right
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from pear.errors import InputError
from pipelines.schedules.cron import last_due, next_due, parse_cron


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "after", "now", "expected"),
    [
        ("0 6 * * *", "2026-03-01T06:00", "2026-03-02T05:59", None),
        ("0 6 * * *", "2026-03-01T06:00", "2026-03-02T06:00", "2026-03-02T06:00"),
        ("0 6 * * *", "2026-03-01T05:59", "2026-03-01T06:00", "2026-03-01T06:00"),
        # An outage of three days counts as one, the latest.
        ("0 6 * * *", "2026-03-01T06:00", "2026-03-04T12:00", "2026-03-04T06:00"),
        ("*/5 * * * *", "2025-03-01T06:00", "2026-03-04T12:03", "2026-03-04T12:00"),
        # Leap day, end of the year, a clock that was set back.
        ("30 0 29 2 *", "2024-02-01T00:00", "2024-03-05T00:00", "2024-02-29T00:30"),
        ("0 0 1 1 *", "2025-12-31T23:59", "2026-01-01T00:00", "2026-01-01T00:00"),
        ("0 6 * * *", "2026-03-02T06:00", "2026-03-01T07:00", None),
        # 1 March 2026 is a Sunday: 0 and 7 in cron's count.
        ("0 6 * * 0", "2026-02-28T00:00", "2026-03-05T00:00", "2026-03-01T06:00"),
        ("0 6 * * 7", "2026-02-28T00:00", "2026-03-05T00:00", "2026-03-01T06:00"),
        ("0 6 * * 1-5", "2026-03-01T00:00", "2026-03-09T00:00", "2026-03-06T06:00"),
        ("0 6 * * */2", "2026-03-01T12:00", "2026-03-02T12:00", None),
        # Either the day of the month or the day of the week suffices, if both are restricted.
        ("0 0 13 * 5", "2026-11-26T00:00", "2026-11-28T00:00", "2026-11-27T00:00"),
        ("0 0 13 * 5", "2026-12-12T00:00", "2026-12-13T12:00", "2026-12-13T00:00"),
        ("0 0 1,15 * 1", "2026-11-26T00:00", "2026-11-30T00:00", "2026-11-30T00:00"),
        # Of any age.
        ("0 0 29 2 *", "2024-02-01T00:00", "2025-06-01T00:00", "2024-02-29T00:00"),
        ("0 0 29 2 *", "1896-03-01T00:00", "1904-02-28T00:00", None),
        ("0 0 29 2 *", "1600-03-01T00:00", "1904-02-28T00:00", "1896-02-29T00:00"),
        ("@yearly", "1990-01-01T00:00", "2026-01-01T00:00", "2026-01-01T00:00"),
        ("@Daily", "2026-03-01T00:00", "2026-03-09T12:00", "2026-03-09T00:00"),
        ("0 0 L * *", "2026-02-01T00:00", "2026-03-01T00:00", "2026-02-28T00:00"),
        ("0 6 * * mon", "2026-03-01T00:00", "2026-03-02T12:00", "2026-03-02T06:00"),
    ],
)
def test_when_a_line_is_due(line: str, after: str, now: str, expected: str | None) -> None:
    found = last_due(line, at(after), at(now))
    assert found == (None if expected is None else at(expected))


@pytest.mark.parametrize(
    "line",
    [
        *("", "0 6 * *", "0 25 * * *", "a b c d e", "0 0 * * 8", "0 0 30 2 *", "0 0 31 4,6,9 *"),
        *("60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * 0 *"),
        *("*/0 * * * *", "5-1 * * * *", "-5 * * * *", "1, * * * *", "1.5 * * * *", "0 0 0 1 1 *"),
        *("@reboot", "@every 5m", "@", "@noon", "0 0 * * L", "0 0 * * 1#6", "0 0 * * monday"),
        *(
            "/ * * * *",
            "*/ * * * *",
            "1/2/3 * * * *",
            "1-2-3 * * * *",
            "0 0 ? * *",
            "* * * * *" * 99,
        ),
        *("\N{FULLWIDTH DIGIT ONE} * * * *", "\0 * * * *", "0 0 LW/x * *", "0 0 W * *"),
    ],
)
def test_invalid_lines_are_refused(line: str) -> None:
    with pytest.raises(InputError, match="invalid cron line") as caught:
        parse_cron(line)
    assert len(str(caught.value)) < 300


def test_the_next_due_time() -> None:
    assert next_due("0 6 * * *", at("2026-03-01T06:01")) == at("2026-03-02T06:00")
    assert next_due("0 6 * * *", at("2026-03-01T06:00")) == at("2026-03-02T06:00")
    assert next_due("0 0 13 * 5", at("2026-11-26T00:00")) == at("2026-11-27T00:00")


BOUNDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
NAMES = {
    "month": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    "weekday": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}


def random_field(source: random.Random, kind: str) -> tuple[str, set[int]]:
    """Return a field and the values that it means, made together and never parsed."""
    low, high = BOUNDS[kind]
    form = source.choice(["star", "step", "number", "list", "range", "range step", "name"])
    one, two = sorted(source.sample(range(low, high + 1), 2))
    step = source.randint(2, 6)
    match form:
        case "star":
            return "*", set(range(low, high + 1))
        case "step":
            return f"*/{step}", set(range(low, high + 1, step))
        case "list":
            rest, values = random_field(source, kind)
            return (f"{two},{rest}", values | {two}) if rest[0] != "*" else (rest, values)
        case "range":
            return f"{one}-{two}", set(range(one, two + 1))
        case "range step":
            return f"{one}-{two}/{step}", set(range(one, two + 1, step))
        case "name" if kind in NAMES:
            place = source.randrange(len(NAMES[kind]))
            written = source.choice([str.lower, str.upper, str.title])(NAMES[kind][place])
            return written, {place + low}
    return str(one), {one}


def all_due(fields: dict[str, tuple[str, set[int]]], first: datetime, days: int) -> list[datetime]:
    """Return every due time by looking at each day, as the manual page of cron describes it."""
    found = []
    weekdays = {day % 7 for day in fields["weekday"][1]}
    either = not any(fields[kind][0].startswith("*") for kind in ("day", "weekday"))
    for number in range(days):
        day = first + timedelta(days=number)
        of_month, of_week = day.day in fields["day"][1], day.isoweekday() % 7 in weekdays
        if day.month in fields["month"][1] and (
            of_month or of_week if either else of_month and of_week
        ):
            found += [
                day.replace(hour=hour, minute=minute)
                for hour in sorted(fields["hour"][1])
                for minute in sorted(fields["minute"][1])
            ]
    return found


@pytest.mark.parametrize("seed", range(60))
def test_lines_are_due_when_the_manual_of_cron_says(seed: int) -> None:
    source = random.Random(seed)
    fields = {kind: random_field(source, kind) for kind in BOUNDS}
    line = " ".join(fields[kind][0] for kind in BOUNDS)
    first, days = at("2023-01-01T00:00"), 4 * 365 + 1
    expected = all_due(fields, first, days)
    end = first + timedelta(days=days)
    if not expected:
        with suppress(InputError):  # never due, or in the fifth year
            assert next_due(line, first) is None or next_due(line, first) >= end
        return
    for _ in range(200):
        now = first + timedelta(minutes=source.randrange(days * 1440), seconds=source.randrange(60))
        after = bisect_right(expected, now)
        if after < len(expected):
            assert next_due(line, now) == expected[after], (line, now)
        wanted = expected[after - 1] if after else None
        assert last_due(line, first - timedelta(seconds=1), now) == wanted, (line, now)
