"""The main job, as a person or a program runs it: one command, and what it leaves behind."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pear.variables import Layout

pytestmark = pytest.mark.slow
LEADS = range(1, 11)


def scores(summary: dict[str, Any], who: str, variable: str, level: int | None) -> dict[int, Any]:
    return {
        r["lead_days"]: r
        for r in summary["scores"]
        if (r["forecaster"], r["variable"], r["level"]) == (who, variable, level)
    }


def test_every_forecaster_field_and_lead_has_finite_scores(demo: Any) -> None:
    _, summary = demo
    keys = {(r["forecaster"], r["variable"], r["level"], r["lead_days"]) for r in summary["scores"]}
    assert keys == {
        (who, name, level, lead)
        for who in ("pear", "persistence", "climatology")
        for name, level in Layout.default().channels
        for lead in LEADS
    }
    assert len(summary["scores"]) == len(keys)
    for record in summary["scores"]:
        assert all(math.isfinite(record[k]) for k in ("acc", "rmse", "mae", "bias")), record


@pytest.mark.parametrize(
    ("variable", "level"),
    [("geopotential", 500), ("temperature", 850), ("mean_sea_level_pressure", None)],
)
def test_the_shipped_model_has_skill(demo: Any, variable: str, level: int | None) -> None:
    pear = scores(demo[1], "pear", variable, level)
    persistence = scores(demo[1], "persistence", variable, level)
    climatology = scores(demo[1], "climatology", variable, level)
    for lead in range(1, 6):
        assert pear[lead]["rmse"] < persistence[lead]["rmse"]
        assert pear[lead]["rmse"] < climatology[lead]["rmse"]
        assert pear[lead]["acc"] > persistence[lead]["acc"]
    # A field that grew better with lead, or did not change at all, would be a fault of the scores.
    assert pear[1]["rmse"] < pear[5]["rmse"] < pear[10]["rmse"]
    assert pear[1]["acc"] > pear[5]["acc"] > pear[10]["acc"]
    assert pear[1]["mae"] <= pear[1]["rmse"]


def test_maps_are_pictures(demo: Any) -> None:
    out, summary = demo
    assert len(summary["maps"]) == 24
    for path in summary["maps"]:
        assert Path(path).is_relative_to(out)
        with Image.open(path) as image:
            assert image.size[0] >= 800
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 100, "a blank map"


def test_what_is_there_is_not_done_again(demo: Any) -> None:
    out, summary = demo
    again = subprocess.run(
        [sys.executable, "-m", "service.cli", "demo", "--once", "--output", str(out), "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    second = json.loads(again.stdout)
    assert second["runs"] == summary["runs"]
    assert second["scores"] == summary["scores"]


def test_the_folder_is_served(demo: Any) -> None:
    out, summary = demo
    command = [sys.executable, "-m", "service.cli", "serve", "--data", str(out), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            url = _address(server)
            _wait_ready(url)
            with urllib.request.urlopen(f"{url}/v1/forecasts") as answer:
                document = json.load(answer)
            listed = document.get("forecasts") or document.get("items")
            assert {run["id"] for run in listed} >= set(summary["runs"])
            with urllib.request.urlopen(url) as answer:
                page = answer.read().decode()
            assert "<html" in page
            assert "simulated" in page.lower()
        finally:
            server.terminate()
            # Drained, then ended by the signal it was sent, as supervisors expect.
            assert server.wait(timeout=60) in (0, -signal.SIGTERM)


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    for line in server.stderr:
        if "http://" in line:
            return "http://" + line.split("http://", 1)[1].split()[0].rstrip("/")
    raise AssertionError("the server never said where it is")


def _wait_ready(url: str) -> None:
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("never ready")
