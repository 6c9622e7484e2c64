"""Spread over skill kept beside a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pear import resources
from pear.errors import InputError
from pear.models.ensemble_defaults import DEFAULT_PERTURB_STEPS, DEFAULT_SCALE
from pear.models.spread_skill import (
    FILE,
    SpreadSkill,
    ensemble_options,
    read_spread_skill,
    record_spread_skill,
)
from pipelines.forecasting.options import ForecastOptions

MEASURED = SpreadSkill(
    {"perturbation_scale": 0.3, "perturb_steps": True},
    "sim",
    "2007-01-01T00:00:00Z",
    "2007-12-01T00:00:00Z",
    12,
    "global",
    6,
    (24, 48),
    {"z500": (1.35, 1.2), "t50": (0.5, 0.6)},
)


def test_a_measurement_replaces_that_of_the_same_options(tmp_path: Path) -> None:
    other = replace(MEASURED, options={"ensemble": "symmetry"}, inits=3)
    for each in (MEASURED, other, replace(MEASURED, inits=24)):
        record_spread_skill(tmp_path, each)
    options = ForecastOptions(members=9, seed=4).to_dict()
    found = read_spread_skill(tmp_path, options)
    assert found == replace(MEASURED, inits=24)
    assert read_spread_skill(tmp_path, {"ensemble": "symmetry"}) == other
    assert read_spread_skill(tmp_path, {**options, "length_km": 500}) is None
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_damaged_file_is_no_measurement(tmp_path: Path) -> None:
    assert read_spread_skill(tmp_path, {}) is None
    for text in ("{ half", "[1]", '[{"options": {}}]', '{"a": 1}'):
        (tmp_path / FILE).write_text(text)
        assert read_spread_skill(tmp_path, {}) is None
    with pytest.raises(InputError, match="no model at"):
        record_spread_skill(tmp_path / "none", MEASURED)


def test_the_default_members_of_the_shipped_model_are_measured() -> None:
    options = ForecastOptions(members=20).to_dict()
    assert ensemble_options(options) == {
        "perturbation_scale": DEFAULT_SCALE,
        "perturb_steps": DEFAULT_PERTURB_STEPS,
    }
    found = read_spread_skill(resources.path("checkpoint"), options)
    assert found is not None
    assert len(found.ratios) == 69
    for name in ("z500", "t850", "q700"):
        for hours in found.lead_hours:
            ratio = found.at(name, hours)
            assert ratio is not None
            assert 0.5 < ratio < 2, "nearly calibrated"
