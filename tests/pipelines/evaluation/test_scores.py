"""The Dataset of scores and its files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.metrics import score
from pear.metrics.dataset import sums_from_dataset
from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.scores import METRICS, read_scores


@pytest.fixture(scope="module")
def folder(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scores") / evaluation.id
    evaluation.write(path, plots=False)
    return path


def test_intervals_contain_their_score(evaluation: Evaluation) -> None:
    data = evaluation.scores
    assert ((data["rmse_low"] <= data["rmse"]) & (data["rmse"] <= data["rmse_high"])).all()
    skilful = data.sel(forecaster=["pear", "persistence"])
    assert (skilful["acc_low"] <= skilful["acc_per_init"]).all()
    assert (skilful["acc_per_init"] <= skilful["acc_high"]).all()
    first, other = data.sel(forecaster="pear"), data.sel(forecaster="persistence")
    gap, low, high = (other[f"rmse_difference{end}"] for end in ("", "_low", "_high"))
    np.testing.assert_allclose(gap, first["rmse"] - other["rmse"])
    assert ((low <= gap) & (gap <= high)).all()
    # Paired: both meet the same weather, so the difference is known better than either score.
    day = {"region": "global", "channel": "t2m", "prediction_timedelta": np.timedelta64(1, "D")}
    assert ((high - low) < other["rmse_high"] - other["rmse_low"]).sel(day)
    assert first["rmse_difference"].isnull().all()


def test_the_file_returns_the_scores(evaluation: Evaluation, folder: Path) -> None:
    data = read_scores(folder)
    scores = [name for name, array in data.items() if "region" in array.dims and name != "sums"]
    assert data.attrs.keys() - evaluation.scores.attrs.keys() == {"Conventions", "title", "history"}
    xr.testing.assert_identical(
        data[scores].assign_attrs(evaluation.scores.attrs).drop_attrs(deep=False),
        evaluation.scores[scores].drop_attrs(deep=False),
    )
    assert evaluation.scores.attrs.items() <= data.attrs.items()
    small = read_scores(folder, scores_only=True)
    assert set(small) == set(scores)
    with pytest.raises(InputError, match="no scores at"):
        read_scores(folder.parent)


def test_any_score_can_be_computed_from_the_sums(evaluation: Evaluation, folder: Path) -> None:
    found = sums_from_dataset(read_scores(folder))
    assert list(found) == ["pear", "persistence", "climatology"]
    for name, sums in found.items():
        for metric in METRICS:
            want = (
                evaluation.scores[metric]
                .sel(forecaster=name)
                .transpose("prediction_timedelta", "channel", "region")
            )
            np.testing.assert_allclose(score(sums, metric), want, rtol=1e-4, atol=1e-3)


def test_the_table_has_one_row_per_score(evaluation: Evaluation, folder: Path) -> None:
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(evaluation.records)
    assert float(rows[7]["rmse"]) == evaluation.records[7]["rmse"]
    assert (rows[0]["level"], rows[0]["model"]) == ("", "fading")
    assert rows[0]["rmse_difference"] == ""
    for row in rows:
        assert float(row["rmse_low"]) <= float(row["rmse"]) <= float(row["rmse_high"])
        assert float(row["acc_low"]) <= float(row["acc_per_init"]) <= float(row["acc_high"])
