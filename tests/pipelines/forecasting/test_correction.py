"""The correction of a model in its runs: applied, switched off, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.correction import Correction, CorrectionConfig
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.state import State
from pear.store import metadata
from pear.variables import Layout
from pipelines.catalog import Catalog
from pipelines.catalog.scan import add_model
from pipelines.evaluation.distribute import EvaluationSources
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import START, perform, submit

LAYOUT = Layout(("2m_temperature",), ("temperature",), (850,))


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """A folder with noise as its analysis, and an untrained model that removes half of it."""
    folder = DataFolder.create(tmp_path / "data")
    noise = 285.0 + np.random.default_rng(0).normal(size=(1, 1, 192)).astype("f4")
    with AnalysisWriter(folder.analysis("demo"), LAYOUT, 4) as writer:
        writer.append(np.array([START]), noise, noise[:, None])
    config = PearConfig(
        nside=4, layout=LAYOUT, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4, forcings=()
    )
    correction = Correction(CorrectionConfig(degree=4), LAYOUT, 4)
    torch.manual_seed(0)
    normaliser = Normaliser.identity(LAYOUT)
    path = tmp_path / "m"
    checkpoint.save(path, Pear(config), normaliser, {}, correction=correction)
    return folder


def test_runs_apply_the_correction_unless_it_is_switched_off(
    data: DataFolder, tmp_path: Path
) -> None:
    with Catalog(data.catalog_url) as catalog:
        model = add_model(data, catalog, tmp_path / "m")
        assert model.attributes["correction"]["config"]["degree"] == 4
        runs = [submit(data, catalog, lead=24, **more) for more in ({}, {"correction": False})]
        assert runs[0].id != runs[1].id
        assert "correction" not in runs[0].options
        assert runs[1].options["correction"] is False
        spread = [
            perform(data, catalog, run)["2m_temperature"].std(axis=-1).ravel() for run in runs
        ]
    assert spread[0][1] < 0.6 * spread[0][0]
    assert spread[1][1] == pytest.approx(spread[1][0], rel=1e-5)  # an untrained network persists
    said = [metadata.read(data.forecast(run.id))["attributes"]["correction"] for run in runs]
    assert said[0].startswith("degrees to 4 times exp(-0.7 (l(l+1)/20)^4)")
    assert said[1] == "none: switched off"


def test_evaluations_score_what_is_forecast(data: DataFolder, tmp_path: Path) -> None:
    initial = State.from_store(data.analysis("demo"), START, LAYOUT)
    found = checkpoint.load(tmp_path / "m")
    for correct in (True, False):
        options = ForecastOptions(correction=correct)
        sources = EvaluationSources(
            data.analysis("demo"), data.climatology("none"), model=tmp_path / "m", options=options
        )
        one = sources._forecaster()
        assert isinstance(one, PearForecaster)
        want = PearForecaster(found, correct=correct).step(initial)
        torch.testing.assert_close(one.step(initial).surface, want.surface, rtol=0, atol=0)
