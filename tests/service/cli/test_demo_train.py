"""``pear demo --train`` in the small: its road from files to a checkpoint, and what it prints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pear import resources
from pear.errors import InputError
from pear.models import checkpoint
from service.cli import demo_train
from service.cli.demo_train import Training, side_by_side, train_own


def test_a_model_is_made_once_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def simulated(out: Path, plan: Training) -> None:  # the sample stands in for the engine
        out.mkdir(parents=True)
        for file in resources.path("sample").glob("*.nc"):
            (out / f"simulated_{file.name}").symlink_to(file)

    monkeypatch.setattr(demo_train, "_simulate", simulated)
    monkeypatch.setattr(demo_train, "LEAST_MINUTES", 0.02)
    seconds: dict[str, float] = {}
    long_ago = time.perf_counter() - 3600.0
    made = train_own(tmp_path, Training(days=60, minutes=5), long_ago, seconds)
    found = checkpoint.load(made)
    assert set(seconds) == {"simulate", "ingest own", "train"}
    assert found.provenance["command"] == "pear demo --train"
    assert found.provenance["training"]["minutes"] == 0.02
    assert found.config == checkpoint.load(resources.path("checkpoint")).config
    assert train_own(tmp_path, Training(), time.perf_counter(), {}) == made


def test_times_too_short_to_learn_in_are_refused() -> None:
    with pytest.raises(InputError, match="too short"):
        Training(minutes=1.0)
    with pytest.raises(InputError, match="too few"):
        Training(days=20)


def test_both_models_stand_beside_the_baselines() -> None:
    def row(forecaster: str, acc: float) -> dict[str, Any]:
        return {
            "forecaster": forecaster,
            "variable": "geopotential",
            "level": 500,
            "region": "global",
            "lead_days": 1.0,
            "acc": acc,
            "rmse": 1.0,
        }

    ours = [row("pear", 0.9), row("persistence", 0.6), row("climatology", 0.0)]
    shown = side_by_side(ours, [row("pear", 0.8), row("persistence", 0.6)], [("geopotential", 500)])
    assert [(r["forecaster"], r["acc"]) for r in shown] == [
        ("shipped", 0.9),
        ("trained here", 0.8),
        ("persistence", 0.6),
        ("climatology", 0.0),
    ]
