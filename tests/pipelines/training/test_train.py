"""Training on a store: its checkpoint, fine-tuning, refusals, settings and the loss curve."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.rollout import PearForecaster
from pear.sphere.healpix import cells_of_nside
from pear.state import State
from pear.store.static_fields import read_static_fields
from pear.training import TrainingConfig
from pipelines.ingestion.static_fields import StaticCells, write_static_fields
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.training.train import CHECKPOINT, TrainingJob, plot_losses, read_settings, train
from tests.fixtures.training import CONFIG, LAYOUT, NSIDE, source

PERIODS = (("2001-01-01", "2001-01-30"), ("2001-02-01", "2001-02-09"))


def job(store: Path, **changes: object) -> TrainingJob:
    settings = TrainingConfig(steps=3, batch=2, autocast=False, validation_samples=2)
    return replace(TrainingJob(store, CONFIG, settings, *PERIODS, command="pear train"), **changes)


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    shares: list[float] = []
    train(job(store), out, progress=lambda advance=1, note="": shares.append(advance))
    assert sum(shares) == pytest.approx(1.0)
    return out


def test_the_checkpoint_tells_where_it_comes_from(trained: Path, store: Path) -> None:
    saved = checkpoint.load(trained / CHECKPOINT)
    history = saved.provenance
    assert saved.config == CONFIG
    assert history["data"]["store"] == "small.zarr"
    assert history["data"]["states"] == 30
    assert history["data"]["validation"] == list(PERIODS[1])
    assert history["training"]["steps"] == history["outcome"]["steps"] == 3
    assert history["command"] == "pear train"
    orography = read_static_fields(store, NSIDE)["orography"]
    np.testing.assert_allclose(saved.model.orography.numpy().ravel(), orography / 1000, rtol=1e-6)


def test_memory_limit_changes_nothing_but_where_states_are_held(
    trained: Path, store: Path, tmp_path: Path
) -> None:
    train(job(store, memory=0), tmp_path / "run")
    one, two = (checkpoint.load(path / CHECKPOINT) for path in (trained, tmp_path / "run"))
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach(), b.detach())


def test_fine_tuning_starts_from_a_checkpoint(trained: Path, store: Path, tmp_path: Path) -> None:
    initial = trained / CHECKPOINT
    tuned = train(job(store, initial=initial), tmp_path / "tuned").checkpoint
    assert tuned.provenance["initial"] == checkpoint.load(initial).provenance
    other = replace(CONFIG, embed=32)
    with pytest.raises(InputError, match="other model settings"):
        train(job(store, initial=initial, model=other), tmp_path / "other")


def test_fine_tuning_takes_the_static_fields_of_its_store(
    trained: Path, store: Path, tmp_path: Path
) -> None:
    initial = trained / CHECKPOINT
    same = train(job(store, initial=initial), tmp_path / "same").checkpoint
    assert same.provenance["channels"]["static"] == []
    other = tmp_path / "other.zarr"
    shutil.copytree(store, other)
    ground = 9.80665 * np.linspace(0.0, 3000.0, cells_of_nside(NSIDE))
    cells = StaticCells("geopotential_at_surface", "ground.nc", ground.astype(np.float32))
    write_static_fields(other, [cells])
    tuned = train(job(other, initial=initial), tmp_path / "tuned").checkpoint
    assert tuned.provenance["channels"]["static"] == ["orography"]
    height = tuned.model.orography.numpy().ravel()
    np.testing.assert_allclose(height, ground / 9806.65, rtol=1e-5, atol=1e-7)


def test_a_folder_with_a_training_is_not_overwritten(trained: Path, store: Path) -> None:
    with pytest.raises(InputError, match=r"has a training already; add --resume"):
        train(job(store), trained)
    assert train(job(store), trained, resume=True).result.step == 3


@pytest.mark.parametrize(
    ("period", "validation", "message"),
    [
        (("2001-01-01", "2001-02-01"), ("2001-02-01", "2001-02-09"), "overlap"),
        (None, ("2001-02-01", "2001-02-09"), "needs a training period"),
    ],
)
def test_a_model_is_not_selected_on_its_training_data(
    store: Path,
    period: tuple[str, str] | None,
    validation: tuple[str, str],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        job(store, period=period, validation=validation)


def test_settings_come_from_a_name_or_a_file(tmp_path: Path) -> None:
    assert read_settings(None) == (None, {})
    assert read_settings("small") == (PearConfig.small(), {})
    assert read_settings("published") == (PearConfig.published(), {"loss": "published"})
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"model": {"embed": 48, "wind": "face"}, "training": {"batch": 2}}))
    assert read_settings(str(path)) == (
        replace(PearConfig.small(), embed=48, wind="face"),
        {"batch": 2},
    )
    path.write_text(json.dumps({"model": "base"}))
    assert read_settings(str(path)) == (PearConfig.base(), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"loop": {}}', "no keys but model and training"),
        (None, "nor a file"),
    ],
)
def test_settings_that_cannot_be_read(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "recipe.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_settings(str(path))


def test_the_loss_curve_is_a_picture(trained: Path) -> None:
    assert plot_losses(trained).read_bytes().startswith(b"\x89PNG")


def test_a_six_hourly_model_learns_steps_of_six_hours(tmp_path: Path) -> None:
    data = source(60)
    times = data.times[0] + np.arange(60) * np.timedelta64(6 * 3600, "s")
    store = tmp_path / "six.zarr"
    with AnalysisWriter(store, LAYOUT, NSIDE) as writer:
        writer.append(times, data.surface, data.upper)
    forcings = ("sin_latitude", "cos_year", "cos_hour", "sin_hour")
    settings = TrainingConfig(steps=2, batch=2, autocast=False, validation_samples=2)
    found = {}
    for hours in (6, 24):
        model = replace(CONFIG, step_hours=hours, forcings=forcings)
        one = TrainingJob(store, model, settings, ("2001-01-01", "2001-01-12"))
        found[hours] = train(one, tmp_path / str(hours)).checkpoint
        assert checkpoint.load(tmp_path / str(hours) / CHECKPOINT).config.step_hours == hours
    # The waves move by their whole change of "a day" in six hours of this store.
    assert found[6].normaliser.upper_step_std.min() > 0
    assert not np.allclose(found[6].normaliser.upper_step_std, found[24].normaliser.upper_step_std)
    initial = State.from_store(store, times[1], LAYOUT)
    after = PearForecaster(found[6]).step(initial)
    assert after.valid_time[0] - times[1] == np.timedelta64(6, "h")
    assert found[6].provenance["data"]["hours"] == [0, 6, 12, 18]
