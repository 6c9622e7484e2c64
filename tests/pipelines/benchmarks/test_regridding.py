"""`pear bench regrid`: the same result as xarray, both measured, and the sum for forty years."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from service.cli.app import app


def test_regrid_and_ingestion_are_measured_and_sized() -> None:
    words = "bench regrid --rows 37 --columns 72 --fields 3 --nside 8 --times 2 --repetitions 1"
    done = CliRunner().invoke(app, [*words.split(), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["regrid"]["largest_difference"] < 1e-6
    assert found["regrid"]["speedup"] > 0
    work, size = found["ingestion"], found["forty_years"]
    assert work["fields"] == 2 * 2 * 13
    assert work["ratio"] == pytest.approx(work["ingesting"] / work["reading"])
    assert size["fields"] == 14_610 * 4 * 69
    assert size["worker_hours"] == pytest.approx(work["ingesting_cpu"] / 52 * size["fields"] / 3600)
    assert size["hours"]["8"] == pytest.approx(size["worker_hours"] / 8)
    assert size["terabytes_written"] == pytest.approx(size["fields"] * 768 * 4 * 0.75 / 1e12)
