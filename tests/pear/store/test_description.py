"""What is said of a store: its times, grid, variables and gaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pear.store.description import describe, describe_times
from pear.variables import Layout
from pipelines.storage.analysis_writer import AnalysisWriter

LAYOUT = Layout(("2m_temperature",), ("geopotential",), (850, 500))
START = np.datetime64("2019-01-01T00", "s")
DAY = np.timedelta64(24, "h")
CELLS = 768


@pytest.mark.parametrize(
    ("days", "gaps", "step"),
    [([], 0, None), ([0], 0, None), ([0, 1, 2], 0, 24.0), ([0, 1, 2, 5], 1, 24.0)],
)
def test_time_axes(days: list[int], gaps: int, step: float | None) -> None:
    told = describe_times(START + DAY * np.array(days, dtype=int))
    assert (told["count"], len(told["gaps"]), told["step_hours"]) == (len(days), gaps, step)


def test_a_description_holds_grid_times_and_variables(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    random = np.random.default_rng(4)
    surface, upper = random.normal(size=(4, 1, CELLS)), random.normal(size=(4, 1, 2, CELLS))
    with AnalysisWriter(path, LAYOUT, 8) as writer:
        writer.append(START + np.array([0, 1, 2, 5]) * DAY / 4, surface, upper)
    told = describe(path)
    assert told["grid"]["nside"] == 8
    assert told["times"]["count"] == 4
    assert told["times"]["step_hours"] == 6
    assert told["times"]["gaps"] == [
        {"after": "2019-01-01T12:00:00Z", "before": "2019-01-02T06:00:00Z", "missing": 2}
    ]
    assert told["levels"] == [850, 500]
    assert told["variables"]["geopotential"]["units"] == "m2 s-2"
    assert told["completeness"]["complete"] is True
    json.dumps(told, allow_nan=False)


def test_a_gap_misses_at_least_one_time() -> None:
    uneven = np.datetime64("2001-01-01", "s") + np.array([0, 3600, 7200, 11_100, 14_400, 25_200])
    assert [gap["missing"] for gap in describe_times(uneven)["gaps"]] == [2]
