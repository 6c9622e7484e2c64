"""Time zones, dates and values of days in open-meteo's format."""

from __future__ import annotations

import numpy as np
import pytest

from pear.errors import InputError
from service.readers.open_meteo_answer import Block, Place, Zone, to_flatbuffers
from service.readers.open_meteo_times import (
    Period,
    aggregate,
    local_dates,
    parse_zone,
    require_daily,
)

TIMES = np.datetime64("2026-03-01", "s") + np.arange(9) * np.timedelta64(6, "h")


def test_dates_are_those_of_the_zone() -> None:
    zone = parse_zone("Australia/Sydney", TIMES[0])
    assert (zone.seconds, zone.abbreviation) == (39600, "AEDT")
    assert local_dates(TIMES[2:3], zone)[0] == np.datetime64("2026-03-01")
    assert local_dates(TIMES[3:4], zone)[0] == np.datetime64("2026-03-02")
    chosen = Period(start="2026-03-02", end="2026-03-02").choose(TIMES, zone)
    np.testing.assert_array_equal(np.flatnonzero(chosen), [3, 4, 5, 6])
    np.testing.assert_array_equal(np.flatnonzero(Period(days=1).choose(TIMES, zone)), [0, 1, 2])


@pytest.mark.parametrize("name", ["Nowhere", "../../etc/passwd", "", "Europe"])
def test_unknown_zones(name: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_zone(name, TIMES[0])
    assert caught.value.field == "timezone"


def test_days_are_whole_or_missing() -> None:
    values = np.arange(9.0)[:, None]
    days = local_dates(TIMES, Zone())
    expected = {"max": 3, "min": 0, "mean": 1.5, "sum": 6}
    for how, first in expected.items():
        found = aggregate(values, days, 4, how)
        assert found[0, 0] == first
        assert np.isnan(found[-1, 0]), "the last day has one time"
    assert require_daily((0, 6, 12)) == 6
    for leads in ((0, 24, 48), (0, 6, 24), (0,)):
        with pytest.raises(InputError, match="of days"):
            require_daily(leads)


def test_irregular_times_do_not_fit_into_flatbuffers() -> None:
    block = Block("hourly", TIMES[[0, 1, 3]], 21600, [("temperature_2m", "°C", np.zeros((3, 1)))])
    with pytest.raises(InputError, match="irregular"):
        to_flatbuffers([Place(0.0, 0.0)], [block], Zone())
