"""Scores as the service reads them: files of this version and of earlier ones."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.metrics import ScoreAccumulator, verify_forecast
from pear.metrics.dataset import scores_to_dataset, scores_to_frame, scores_to_records
from pipelines.evaluation.scores import FILE, write_scores
from pipelines.storage.data_folder import DataFolder
from service.http.errors import ProblemError
from service.readers.scores import ScoreBoard, scorecard, select

ABOUT = {"model": "m1", "climatology": "usual", "lead_hours": 48}
CHANNELS = (("geopotential", 500), ("geopotential", 850), ("2m_temperature", None))


@pytest.fixture(scope="module")
def scores() -> xr.Dataset:
    """Scores of a model that errs half as much as persistence; the climatology has no ACC."""
    rng = np.random.default_rng(0)
    analysis, climatology = rng.normal(size=(2, 2, 3, 48))
    noise = rng.normal(size=(2, 3, 48))
    forecasts = {
        "pear": analysis + noise,
        "persistence": analysis + 2 * noise,
        "climatology": climatology,
    }
    sums: dict[str, ScoreAccumulator] = {
        name: verify_forecast(
            forecast,
            analysis,
            climatology,
            init=np.datetime64("2019-01-01"),
            leads=np.array([1, 2], dtype="timedelta64[D]"),
            channels=CHANNELS,
            regions={"global": np.ones(48), "tropics": np.arange(48) < 9},
        )
        for name, forecast in forecasts.items()
    }
    data = scores_to_dataset(sums).assign_attrs(ABOUT)
    data["rmse_low"], data["rmse_high"] = 0.9 * data["rmse"], 1.1 * data["rmse"]
    return data.assign_coords(time=next(iter(sums.values())).inits)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder.create(tmp_path)


def write(folder: DataFolder, name: str, data: xr.Dataset, stamp: int) -> None:
    path = folder.evaluation(name)
    path.mkdir(parents=True)
    write_scores(data, path / FILE)
    os.utime(path / FILE, (stamp, stamp))


def write_former(folder: DataFolder, name: str, data: xr.Dataset, *, table: bool) -> None:
    """Write scores as earlier versions did."""
    path = folder.evaluation(name)
    path.mkdir(parents=True)
    records = scores_to_records(data)
    for record in records:
        if record["note"] is None:
            del record["note"]
    if table:
        with (path / "scores.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, [*records[0], "note"])
            writer.writeheader()
            writer.writerows(records)
        for record in records:
            del record["rmse_low"], record["rmse_high"]
    document = {"id": name, **ABOUT, "inits": ["2019-01-01T00:00:00Z"], "scores": records}
    (path / "scores.json").write_text(json.dumps(document))


def plain(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k not in ("rmse_low", "rmse_high")} for r in records]


def test_earlier_files_give_the_same_records(folder: DataFolder, scores: xr.Dataset) -> None:
    write(folder, "now", scores, 3)
    write_former(folder, "table", scores, table=True)
    write_former(folder, "json", scores, table=False)
    board = ScoreBoard(folder)
    want = board.get("now")
    assert want.records == scores_to_records(scores)
    assert want.about["inits"] == ["2019-01-01T00:00:00Z"]
    assert want.about["regions"] == ["global", "tropics"]
    assert json.dumps(want.about)
    for found, expected in zip(board.get("table").records, want.records, strict=True):
        assert found == pytest.approx(expected)
    for found, expected in zip(plain(board.get("json").records), plain(want.records), strict=True):
        assert found == pytest.approx(expected)
    assert board.get("json").about["model"] == "m1"
    for metric in ("acc", "rmse", "bias"):
        card = scorecard(want.data, metric, "climatology", "global")
        former = scorecard(board.get("table").data, metric, "climatology", "global")
        for found, expected in zip(former, card, strict=True):
            assert found == pytest.approx(expected)


def test_the_newest_comes_first_and_damaged_files_are_skipped(
    folder: DataFolder, scores: xr.Dataset
) -> None:
    board = ScoreBoard(folder)
    with pytest.raises(ProblemError, match="no evaluation has finished yet"):
        board.get(None)
    write(folder, "old", scores, 1)
    write(folder, "new", scores.assign_attrs(model="m2"), 2)
    for name, file in (("half", FILE), ("broken", "scores.json"), ("wrong", "scores.json")):
        folder.evaluation(name).mkdir()
        (folder.evaluation(name) / file).write_text("[]" if name == "wrong" else '{"scores": [{')
    assert [each.id for each in board.all()] == ["new", "old"]
    assert board.get(None).id == "new"
    assert board.get(None, "m1").id == "old"
    with pytest.raises(ProblemError, match="no scores of evaluation 'odl'"):
        board.get("odl")
    assert board.all()[0] is board.all()[0], "read once"


def test_a_selection_keeps_what_agrees(scores: xr.Dataset) -> None:
    part = select(scores, metric="acc", variable="geopotential", level=500, region="tropics")
    frame = scores_to_frame(part)
    assert set(frame["forecaster"]) == {"pear", "persistence", "climatology"}
    assert set(frame["level"]) == {500}
    assert not {"rmse", "rmse_low", "mae"} & set(frame)
    assert len(scores_to_records(select(scores, baseline="persistence"))) == 2 * 3 * 2 * 2


def test_what_an_evaluation_does_not_have_is_refused_with_what_it_has(scores: xr.Dataset) -> None:
    """Never an empty answer, which would look like scores that are not there yet."""
    surface = scores.isel(channel=np.flatnonzero(scores["variable"] == "2m_temperature"))
    lonely = scores.drop_sel(forecaster="persistence")
    for data, asked, field, hint in (
        (scores, {"region": "topics"}, "region", "did you mean tropics?"),
        (scores, {"region": "q"}, "region", "known: global, tropics"),
        (scores, {"variable": "specific_humidity"}, "variable", "known: 2m_temp"),
        (scores, {"level": 501}, "level", "known: 500, 850"),
        (scores, {"variable": "2m_temperature", "level": 500}, "level", "omit it"),
        (surface, {"level": 500}, "level", "omit it"),
        (lonely, {"baseline": "persistence"}, "baseline", "known: climatology"),
        (scores.drop_vars("mae"), {"metric": "mae"}, "metric", "known: acc, rmse, bias"),
    ):
        with pytest.raises(InputError, match="the evaluation has no scores") as refused:
            select(data, **asked)
        assert refused.value.field == field
        assert (refused.value.hint or "").startswith(hint)
    for data, asked in (
        (scores, ("rmse", "persistence", "nowhere")),
        (lonely, ("rmse", "persistence", "global")),
        (scores.drop_vars("mae"), ("mae", "persistence", "global")),
    ):
        with pytest.raises(InputError, match="the evaluation has no scores"):
            scorecard(data, *asked)


def test_gains_are_shares_of_the_error_and_differences_of_correlations(scores: xr.Dataset) -> None:
    cells = scorecard(scores, "rmse", "persistence", "global")
    assert len(cells) == 3 * 2
    assert [cell["gain"] for cell in cells] == pytest.approx([0.5] * 6)
    assert {cell["level"] for cell in cells} == {500, 850, None}
    ours = scores["acc"].sel(forecaster="pear", region="global")
    found = [cell["gain"] for cell in scorecard(scores, "acc", "climatology", "global")]
    np.testing.assert_allclose(found, ours.transpose("channel", ...).values.ravel())


@pytest.mark.parametrize("damage", ["cut", "lost"])
def test_a_damaged_evaluation_is_named(
    data: DataFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    folder = DataFolder.create(tmp_path)
    target = folder.evaluation("evaluation-0123456789ab")
    shutil.copytree(data.evaluation(target.name), target)
    board = ScoreBoard(folder)
    assert [scores.id for scores in board.all()] == [target.name]
    (target / "scores.csv").write_text("")
    if damage == "cut":
        (target / "scores.json").write_text('{"scores": [')
    else:
        (target / "scores.json").unlink()
    assert board.all() == []
    assert list(board.damaged()) == [target.name]
    assert caplog.text.count("evaluation is damaged") == 1  # not at every request
    with pytest.raises(ProblemError, match="is damaged") as refused:
        board.get(target.name)
    assert refused.value.status == 503
