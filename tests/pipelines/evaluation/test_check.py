"""A whole data folder is checked: its catalog, stores, models and evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pear.models import checkpoint
from pear.variables import Layout
from pipelines.catalog import Catalog, Status
from pipelines.catalog.identity import run_id
from pipelines.catalog.rebuild import rebuild_catalog
from pipelines.catalog.scan import add_model
from pipelines.evaluation.check import check_evaluation, check_folder, check_model
from pipelines.storage.checksums import write_checksums
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from service.cli.app import app
from tests.fixtures.models import built, normaliser, tiny

INIT = np.datetime64("2001-01-01T00", "s")
EVALUATION = "evaluation-0123456789ab"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    """A data folder with a model, a finished run of 48 h and an evaluation."""
    monkeypatch.delenv("PEAR_CATALOG", raising=False)
    data = DataFolder.create(tmp_path / "data")
    config = tiny()
    statistics = normaliser(config.layout)
    checkpoint.save(tmp_path / "new", built(config), statistics, {"name": "tiny"})
    with Catalog(data.catalog) as catalog:
        model = add_model(data, catalog, tmp_path / "new")
        catalog.runs.restore(model.id, INIT, 48, {"analysis": "era5"})
    write_run(data, model.sha256, leads=(0, 24, 48))
    write_evaluation(data, model.id)
    return data


def write_run(data: DataFolder, sha256: str, leads: tuple[int, ...]) -> Path:
    options = {"analysis": "era5"}
    name = run_id(sha256, INIT, 48, options)
    about = {"model_sha256": sha256, "options": options, "run_id": name}
    layout = Layout(("2m_temperature",), ("temperature",), Layout.default().levels)
    hours = np.array(leads) * np.timedelta64(1, "h")
    writer = ForecastWriter(data.forecast(name), layout, 1, INIT, hours, about)
    for index in range(len(leads)):
        writer.write_step(index, np.full((1, 12), 280.0), np.full((1, 13, 12), 250.0))
    return writer.publish()


def write_evaluation(data: DataFolder, model: str) -> None:
    target = data.evaluation(EVALUATION)
    target.mkdir()
    document = {"model": model, "climatology": "era5", "scores": []}
    (target / "scores.json").write_text(json.dumps(document))
    write_checksums(target)
    with Catalog(data.catalog) as catalog:
        catalog.evaluations.restore(EVALUATION, model, {"climatology": "era5"}, 1)


def problems(data: DataFolder) -> list[str]:
    reports = check_folder(data)
    return [f"{each.kind} {f.where}: {f.detail}" for each in reports for f in each.findings]


def test_a_sound_folder(folder: DataFolder) -> None:
    assert problems(folder) == []
    kinds = [report.kind for report in check_folder(folder)]
    assert kinds == ["catalog", "model", "forecast", "evaluation"]


def test_command_line(folder: DataFolder) -> None:
    run = CliRunner().invoke
    sound = run(app, ["check", str(folder.root), "--json"])
    assert sound.exit_code == 0, sound.output
    assert json.loads(sound.stdout)["healthy"]
    for part in ("models", "evaluations"):
        (path,) = (folder.root / part).glob("[!.]*")
        found = json.loads(run(app, ["check", str(path), "--json"]).stdout)
        assert (found["kind"], found["healthy"]) == (part[:-1], True)
    (folder.evaluation(EVALUATION) / "scores.json").write_text("{}")
    ill = run(app, ["check", str(folder.root)])
    assert ill.exit_code == 1
    assert "scores.json: does not agree with its checksum" in ill.stdout


def test_each_damage_is_named(folder: DataFolder) -> None:
    (model,) = (folder.root / "models").glob("[!.]*")
    (model / "equivariance.json").write_text('{"R": 0.0}')
    assert problems(folder) == ["model equivariance.json: does not agree with its checksum"]
    write_checksums(model)
    (model / "model.safetensors").write_bytes(b"cut")
    write_checksums(model)  # a copy that was damaged before
    assert "was changed" in check_model(model).findings[0].detail
    (folder.evaluation(EVALUATION) / "scores.json").unlink()
    assert check_evaluation(folder.evaluation(EVALUATION)).findings[0].detail == "is missing"


def test_a_store_with_another_last_lead_time_than_the_run(folder: DataFolder) -> None:
    (path,) = (folder.root / "forecasts").glob("[!.]*.zarr")
    with Catalog(folder.catalog) as catalog:
        (model,) = catalog.models.all()
    path.rename(folder.scratch / "old")
    assert problems(folder) == [f"catalog {path.stem}: its store is missing"]
    write_run(folder, model.sha256, leads=(0, 24))
    assert problems(folder) == [f"catalog {path.stem}: its store ends at 24 h, the run at 48 h"]


def test_a_lost_catalog_is_named_and_made_anew(folder: DataFolder) -> None:
    folder.catalog.unlink()
    assert problems(folder) == ["catalog catalog.sqlite: is missing"]
    assert not folder.catalog.exists()
    entered, skipped = rebuild_catalog(folder)
    assert (entered["runs"], entered["evaluations"], skipped) == (1, 1, [])
    assert problems(folder) == []
    with Catalog(folder.catalog) as catalog:
        assert catalog.evaluations.get(EVALUATION).status is Status.SUCCEEDED
    assert rebuild_catalog(folder)[0]["evaluations"] == 0


def test_a_damaged_evaluation_is_named_and_not_entered(folder: DataFolder) -> None:
    folder.catalog.unlink()
    (folder.evaluation(EVALUATION) / "scores.json").write_text("{}")
    entered, skipped = rebuild_catalog(folder)
    assert entered["evaluations"] == 0
    assert "scores.json does not agree with its checksum" in skipped[0]


@pytest.mark.parametrize("axis", ["level", "time", "prediction_timedelta"])
@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_the_coordinates_of_a_forecast_are_restored(
    folder: DataFolder, axis: str, damage: str
) -> None:
    (path,) = (folder.root / "forecasts").glob("[!.]*.zarr")
    file = path / axis / "c" / "0"
    before = file.read_bytes()
    if damage == "lost":
        file.unlink()
    else:
        file.write_bytes(before[:-1] + b"x")
    assert problems(folder)
    result = CliRunner().invoke(app, ["check", str(path), "--repair"])
    assert result.exit_code == 0, result.output
    assert file.read_bytes() == before
