"""Plots of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.plots import draw_plots


def test_plots_are_drawn(evaluation: Evaluation, tmp_path: Path) -> None:
    for path in draw_plots(evaluation.scores, tmp_path, "a test"):
        with Image.open(path) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(10**6) or []) > 30, path.name
    names = {"acc", "rmse", "scorecard", "spectra", "error_maps"}
    assert {p.stem for p in tmp_path.iterdir()} == names


def test_an_ensemble_gets_a_plot(evaluation: Evaluation, tmp_path: Path) -> None:
    data = evaluation.scores.copy()
    for name in ("crps", "spread", "rmse_of_mean"):
        data[name] = data["mae"].where(data["forecaster"] == "persistence")
    drawn = draw_plots(data, tmp_path, "a test")
    assert "ensemble" in {path.stem for path in drawn}
    assert np.isnan(data["crps"].sel(forecaster="pear")).all()
