"""Cron lines: when they are due, and which are refused."""

from __future__ import annotations

from datetime import UTC, datetime

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
        ("0 6 * * mon", "2026-03-01T00:00", "2026-03-02T12:00", "2026-03-02T06:00"),
    ],
)
def test_when_a_line_is_due(line: str, after: str, now: str, expected: str | None) -> None:
    found = last_due(line, at(after), at(now))
    assert found == (None if expected is None else at(expected))


@pytest.mark.parametrize(
    "line", ["", "0 6 * *", "0 25 * * *", "a b c d e", "0 0 * * 8", "0 0 30 2 *"]
)
def test_invalid_lines_are_refused(line: str) -> None:
    with pytest.raises(InputError, match="cron line"):
        parse_cron(line)


def test_the_next_due_time() -> None:
    assert next_due("0 6 * * *", at("2026-03-01T06:01")) == at("2026-03-02T06:00")
