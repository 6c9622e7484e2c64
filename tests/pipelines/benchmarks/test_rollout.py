"""`pear bench rollout`: bare and written forecasts, and workers, on a tiny grid."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pear.errors import InputError
from pipelines.benchmarks.rollout import measure_rollout
from service.cli.app import app


@pytest.mark.slow
def test_bare_and_written_forecasts_and_workers_are_measured() -> None:
    words = "bench rollout --nside 8 --steps 2 --rounds 1 --runs 2 --threads 1 --json"
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["nside"], found["steps"], found["threads"]) == (8, 2, 1)
    assert found["ratio"] == pytest.approx(found["written_seconds"] / found["bare_seconds"])
    ratio = found["two_workers_rate"] / found["one_worker_rate"]
    assert found["speed_up"] == pytest.approx(ratio)
    assert found["first_step_seconds"] > 0
    assert found["parameters"] > 1e6


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"rounds": 0}, {"rounds": 21}, {"runs": 1}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="cannot be measured"):
        measure_rollout(**wrong)
