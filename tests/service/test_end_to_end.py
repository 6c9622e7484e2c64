"""The whole way over HTTP with the real engine and a real, tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a client sees, from asking to reading; both processes end before the test looks."""
    folder = tmp_path_factory.mktemp("whole") / "data"
    env = dict(os.environ)
    make = "import pathlib, sys; from tests.fixtures import engine; "
    make += "engine.make_data_folder(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", make, str(folder)], check=True, env=env, timeout=120)
    script = [sys.executable, "-m", "tests.fixtures.end_to_end", str(folder)]
    done = subprocess.run(script, check=True, env=env, timeout=300, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_a_forecast_is_asked_for_watched_and_read(found: dict[str, Any]) -> None:
    assert found["asked"] == 202
    assert found["events"][-1] == "succeeded", found["run"]["reason"]
    assert found["run"]["progress"]["fraction"] == 1.0
    assert found["run"]["valid_until"] == "2001-03-06T00:00:00Z"
    assert found["again"] == 200, "the same request is the same run"
    series = found["point"]["points"][0]["series"]
    assert [(each["variable"], each["level"]) for each in series] == [
        ("2m_temperature", None),
        ("geopotential", 500),
    ]
    assert np.isfinite(np.array([each["values"] for each in series])).all()
    assert found["map"] == "image/png"
    assert found["page"] == 200


@pytest.mark.slow
def test_initial_conditions_are_the_days_of_the_analysis(found: dict[str, Any]) -> None:
    times = [each["init_time"] for each in found["initial"]]
    assert times == [f"2001-03-0{day}T00:00:00Z" for day in (4, 3, 2, 1)]
    assert all(each["complete"] for each in found["initial"]), found["initial"]


@pytest.mark.slow
def test_a_time_that_is_not_there_is_a_clear_refusal(found: dict[str, Any]) -> None:
    assert found["late"]["status"] == 422
    assert "2031-01-01" in found["late"]["detail"]


@pytest.mark.slow
def test_the_process_that_answers_never_loads_torch(found: dict[str, Any]) -> None:
    assert found["torch"] is False
