"""A data set whose scores are known, and one evaluation on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.evaluation.climatology import HarmonicFit, build_climatology
from pipelines.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate
from tests.fixtures.evaluation import LAYOUT, NSIDE, TEST, TRAIN, Fading, usual, write_analysis


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Paths of a test analysis and of a climatology of the true seasonal cycle."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_analysis(folder / "train.zarr", TRAIN, usual(TRAIN))
    build_climatology(folder / "train.zarr", folder / "usual.zarr", fit=HarmonicFit(1, bits=None))
    return write_analysis(folder / "test.zarr", TEST), folder / "usual.zarr"


@pytest.fixture
def analysis(paths: tuple[Path, Path]) -> Analysis:
    return Analysis(paths[0], LAYOUT, NSIDE)


@pytest.fixture(scope="session")
def climatology(paths: tuple[Path, Path]) -> Climatology:
    return Climatology.open(paths[1], LAYOUT, NSIDE)


@pytest.fixture(scope="session")
def evaluation(paths: tuple[Path, Path], climatology: Climatology) -> Evaluation:
    """The best possible forecaster of the data, three days ahead, from every init time."""
    options = EvaluationOptions(model="fading", lead_hours=72, regions=("global", "tropics"))
    return evaluate(Fading(), Analysis(paths[0], LAYOUT, NSIDE), climatology, options)
