"""Scores by hour of day."""

from __future__ import annotations

import numpy as np
import pytest

from pear.metrics import ScoreAccumulator
from pear.metrics.dataset import sums_to_dataset
from pear.metrics.hours import hourly_records, scores_by_hour

LEADS = np.array([6, 18, 24], "timedelta64[h]")


def table(inits: list[str], bias: dict[int, float]) -> ScoreAccumulator:
    """Forecasts whose error depends on the hour of the day at which they are valid."""
    times = np.array(inits, "datetime64[s]")
    sums = ScoreAccumulator(times, LEADS, (("2m_temperature", None),))
    for time in times:
        for lead in LEADS:
            hour = int((time + lead).astype("datetime64[h]").astype(int)) % 24
            forecast = np.full((1, 48), 280.0 + bias.get(hour, 0.0))
            sums.add(time, lead, forecast, np.full((1, 48), 280.0), np.full((1, 48), 279.0))
    return sums


def test_an_error_of_the_night_is_found_at_its_hour() -> None:
    inits = ["2019-01-01T00", "2019-01-02T00", "2019-01-02T12"]
    data = sums_to_dataset({"pear": table(inits, {6: 2.0})})
    found = {
        (each["init_hour"], each["valid_hour"]): (each["bias"], each["init_times"])
        for each in hourly_records(data)
    }
    assert set(found) == {(0, 6), (0, 18), (0, 0), (12, 18), (12, 6), (12, 12)}
    for (init, valid), (bias, count) in found.items():
        assert bias == pytest.approx(2.0 if valid == 6 else 0.0, abs=1e-9)
        assert count == (2 if init == 0 else 1)


def test_one_hour_has_no_table() -> None:
    data = sums_to_dataset({"pear": table(["2019-01-01T12", "2019-01-02T12"], {})})
    assert scores_by_hour(data) is None
    assert hourly_records(data) == []
