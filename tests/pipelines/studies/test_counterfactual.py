"""The study of counterfactuals: exact claims, and how weather is put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pipelines.studies.counterfactual import CounterfactualStudy

ROW = {
    "asked": 1.0,
    "reached": 1.0,
    "length": 1.3,
    "gradients": 5.0,
    "size": 0.2,
    "near": 0.4,
    "smooth": 0.5,
    "noise": 9.0,
    "smaller": 20.0,
    "off": 0.99,
    "transfer": 0.3,
    **{
        f"{kind}_{key}": 0.5
        for kind in ("chart", "cells")
        for key in ("size", "near", "small_scales", "off_chart")
    },
}


def test_linear_dynamics_have_the_closed_form(tmp_path: Path) -> None:
    study = CounterfactualStudy(folder=tmp_path)
    assert [part.name for part in study.parts()] == ["linear", "gradient"]
    found = {finding.claim.key: finding for finding in study.find(dict(study._linear(print)))}
    assert found["exact"].met
    assert found["steps"].met
    assert found["size"].met is None  # not asked for


def test_weather_is_summed_up_by_medians_of_what_was_reached(tmp_path: Path) -> None:
    study = CounterfactualStudy(folder=tmp_path, analysis=tmp_path, inits=4)
    assert [part.name for part in study.parts()][2:] == [f"weather{d:02d}" for d in (2, 8, 14, 20)]
    results = {
        "weather02": ROW,
        "weather08": {**ROW, "size": 0.4, "gradients": 9.0},
        "weather14": {**ROW, "size": 0.3},
        "weather17": {"asked": 0.0, "reached": 0.0},
        "weather20": {"asked": 1.0, "reached": 0.0, "reason": "|z| = 7"},
    }
    found = study.measured(results)
    assert (found["reached"], found["size"], found["gradients"]) == (0.75, 0.3, 9.0)
    assert study.draw(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    nothing = study.measured({"weather20": results["weather20"]})
    assert nothing["reached"] == 0
    assert np.isnan(nothing["size"])
    assert not study.draw({"weather20": results["weather20"]}, tmp_path / "none.png")
    unmet = {finding.claim.key for finding in study.find(nothing) if finding.met is False}
    assert {"reached", "size"} <= unmet


def test_more_init_times_than_are_shipped_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="99 init times: 1 to 18 are shipped"):
        CounterfactualStudy(folder=tmp_path, analysis=tmp_path, inits=99).parts()


@pytest.mark.slow
def test_the_gradient_of_the_shipped_model(tmp_path: Path) -> None:
    study = CounterfactualStudy(folder=tmp_path)
    found = {finding.claim.key: finding for finding in study.find(dict(study._gradient(print)))}
    assert found["forecaster"].value == 0
    assert found["slope"].met
