"""Times as texts: what is read, and what is refused instead of guessed."""

from __future__ import annotations

import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pear.errors import InputError
from pear.times import as_duration, as_utc, parse_time, to_iso

SPELLINGS = {
    "2023-11-05": "2023-11-05T00:00:00Z",
    "20231105": "2023-11-05T00:00:00Z",
    "20231105T06": "2023-11-05T06:00:00Z",
    "20231105T0630Z": "2023-11-05T06:30:00Z",
    " 2023-11-05T06:30 ": "2023-11-05T06:30:00Z",
    "2023-11-05 06:30:15": "2023-11-05T06:30:15Z",
    "2023-11-05t06:30z": "2023-11-05T06:30:00Z",
    "2023-11-05T06:30:15.000Z": "2023-11-05T06:30:15Z",
    "2023-11-05T02:00+02:00": "2023-11-05T00:00:00Z",
    "2023-11-05T00:00-0330": "2023-11-05T03:30:00Z",
    "0001-01-01": "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z": "9999-12-31T23:59:59Z",
}
INVALID = [
    *("now", "today", "yesterday", "NaT", "", " ", "Z", "2023", "2023-11", "202311", "23-11-05"),
    *("020231105", "20231105-01-01", "+2023-11-05", "-2023-11-05", "12023-11-05", "2023-13-01"),
    *("2023-02-29", "20230229", "0000-01-01", "2023-11-05T24:00", "2023-11-05T06:60", "2023-W05-1"),
    *("2023-309", "2023-11-05T06:00 CET", "2023-11-05T06:00ZZ", "2023/11/05", "05.11.2023", "1e9"),
    *(
        "2023-11-05T06:00:00.5",
        "1699142400",
        "".join(chr(0x660 + int(d)) for d in "20231105"),
        "0001-01-01T00:00+23:59",
    ),
    "9999-12-31T23:59:59-23:59",
]


@pytest.mark.parametrize(("text", "time"), SPELLINGS.items())
def test_spellings_of_a_time(text: str, time: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_iso(parse_time(text)) == time
        assert to_iso(as_utc([text])[0]) == time


@pytest.mark.parametrize("text", INVALID)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"invalid time .*expected e\.g\. 2001-03-01"):
        parse_time(text)
    with pytest.raises(InputError, match="invalid time"):
        as_utc(["2001-03-01", text])


def test_aware_datetimes_are_converted() -> None:
    east = datetime(2023, 11, 5, 2, tzinfo=timezone(timedelta(hours=2)))
    assert to_iso(east) == to_iso(datetime(2023, 11, 5, tzinfo=UTC)) == "2023-11-05T00:00:00Z"
    assert as_utc(np.array(["2001-01-01"], "datetime64[ns]")).dtype == "datetime64[s]"


def test_a_duration_beyond_all_calendars_is_refused() -> None:
    with pytest.raises(InputError, match="longer than 1000 years"):
        as_duration("99999999999999999999d")


OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(timezones=OFFSETS))
def test_any_time_of_the_calendar_is_read_or_refused(time: datetime) -> None:
    time = time.replace(microsecond=0)
    try:
        expected = time.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        with pytest.raises(InputError, match="invalid time"):
            parse_time(time.isoformat())
    else:
        assert parse_time(time.isoformat()) == np.datetime64(expected, "s")


@given(st.text(max_size=40))
def test_no_text_ends_in_another_error(text: str) -> None:
    with suppress(InputError):
        parse_time(text)
