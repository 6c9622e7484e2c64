"""Times and spans as people write them, and the exit status of a bad input."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from pear.errors import InputError
from pear.times import parse_time, to_iso, year_phase
from service.cli import console
from service.cli.console import emit_json
from service.cli.options import (
    parse_duration,
    parse_list,
    parse_numbers,
    parse_period,
    parse_times,
)


@pytest.mark.parametrize(("text", "hours"), [("10d", 240), ("240h", 240), ("1 d", 24)])
def test_durations(text: str, hours: int) -> None:
    assert parse_duration(text).hours == hours


@pytest.mark.parametrize("text", ["", "0d", "10", "-1d", "d", "1w"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(InputError, match=r"invalid duration .*: expected e\.g\. 10d or 240h"):
        parse_duration(text)


def test_durations_are_written_as_they_are_read() -> None:
    assert [str(parse_duration(text)) for text in ("240h", "30h", "2d")] == ["10d", "30h", "2d"]


def test_time_ranges_include_both_ends() -> None:
    times = parse_times("2001-02-27..2001-03-02/1d")
    assert [to_iso(t)[:10] for t in times] == [
        "2001-02-27",
        "2001-02-28",
        "2001-03-01",
        "2001-03-02",
    ]
    assert len(parse_times("2001-02-27T00..2001-02-27T18/6h")) == 4
    assert len(parse_times("2001-02-27,2001-03-09T12:00Z")) == 2


@pytest.mark.parametrize("text", ["yesterday", "NaT", "", "2001-13-01"])
def test_invalid_times(text: str) -> None:
    with pytest.raises(InputError, match="invalid time"):
        parse_time(text)


def test_a_range_of_very_many_times_is_refused() -> None:
    with pytest.raises(InputError, match="limit 100000"):
        parse_times("0001-01-01..9999-12-31/1h")


@pytest.mark.parametrize("text", ["2001-03-02..2001-03-01", "2001-03-02..2001-03-01/6h"])
def test_a_range_must_not_run_backwards(text: str) -> None:
    with pytest.raises(InputError, match="ends before it starts"):
        parse_times(text)


def test_periods_need_two_times() -> None:
    assert (
        str(parse_period("2000-01-01..2004-12-31T18"))
        == "2000-01-01T00:00:00Z..2004-12-31T18:00:00Z"
    )
    with pytest.raises(InputError, match="invalid period '2000'"):
        parse_period("2000")


@pytest.mark.parametrize("text", ["2000-01-01..2000-01-31", "20000101..20000131 "])
def test_the_last_day_of_a_period_is_whole(text: str) -> None:
    first, last = parse_period(text)
    assert (to_iso(first), to_iso(last)) == ("2000-01-01T00:00:00Z", "2000-01-31T23:59:59Z")
    assert to_iso(parse_times(f"{text}/6h")[-1]) == "2000-01-31T00:00:00Z"


def test_lists() -> None:
    assert parse_list("t2m, z500") == ("t2m", "z500")
    assert parse_numbers("500,850") == (500, 850)
    with pytest.raises(InputError, match="invalid list 't2m,'"):
        parse_list("t2m,")
    with pytest.raises(InputError, match="expected whole numbers"):
        parse_numbers("high")


def test_year_phase_is_continuous_over_a_leap_day() -> None:
    days = np.arange("2004-02-25", "2004-03-05", dtype="datetime64[D]")
    steps = np.diff(year_phase(days))
    np.testing.assert_allclose(steps, 1 / 365.2425, rtol=1e-9)
    assert year_phase("2000-01-01")[0] == 0.0


def test_json_refuses_nan(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        emit_json({"x": float("nan")})
    emit_json({"x": 1})
    assert json.loads(capsys.readouterr().out) == {"x": 1}


def test_the_command_answers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip()
    assert not done.stderr


def test_a_bar_tells_the_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    written, now = io.StringIO(), [0.0]
    terminal = Console(file=written, force_terminal=True, width=120, get_time=lambda: now[0])
    monkeypatch.setattr(console, "console", terminal)
    with console.progress("ingest", 100) as tick:
        for _ in range(30):
            now[0] += 2.0
            tick(1, "2001-01-01")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    assert re.search(r"30/100 30/min 0:01:00 left 0:02:20", shown), shown[-200:]


def test_no_time_is_left_where_the_total_is_unknown() -> None:
    for total, expected in ((3, True), (None, False)):
        with console.console.capture() as captured, console.progress("steps", total) as tick:
            tick(1, "first")
        assert ("left" in captured.get()) is expected
