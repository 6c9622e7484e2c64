"""``pear models``: add and list."""

from __future__ import annotations

from pathlib import Path

import pytest

from pear import resources
from pear.models import checkpoint
from pipelines.storage.data_folder import DataFolder
from service.cli.models import model_id
from tests.fixtures.columns import write_columns, write_unbalanced
from tests.fixtures.command_line import CommandLine
from tests.fixtures.engine import normaliser, tiny_model
from tests.fixtures.other_models import install


def test_a_model_is_added_once(pear: CommandLine, data: DataFolder, tmp_path: Path) -> None:
    new = tmp_path / "new"
    saved = checkpoint.save(new, tiny_model(seed=5), normaliser(), {"name": "five"})
    added = pear("models", "add", str(new), "--name", "other", "--json", data=data).json
    assert added["id"] == saved.id
    assert pear("models", "add", str(new), "--json", data=data).json["id"] == saved.id
    listed = pear("models", "list", "--json", data=data).json
    assert [model["id"] for model in listed].count(saved.id) == 1


def test_the_model_of_the_package_is_added_by_name(
    pear: CommandLine, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pear.models.diagnostics.equivariance_errors", lambda _: {"R": 0.0})
    added = pear("models", "add", "shipped", "--json", data=data).json
    assert added["id"] == checkpoint.load(resources.path("checkpoint")).id


def test_the_model_of_the_package_is_named_wherever_a_model_is(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pear.models.diagnostics.equivariance_errors", lambda _: {"R": 0.0})
    shipped = checkpoint.load(resources.path("checkpoint")).id
    assert model_id(data, "shipped") == model_id(data, "shipped") == shipped
    assert data.model(shipped).is_dir()
    assert model_id(data, "other") == "other"


def test_a_damaged_or_missing_checkpoint_is_refused(
    pear: CommandLine, data: DataFolder, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    checkpoint.save(new, tiny_model(seed=5), normaliser(), {"name": "five"})
    (new / "model.safetensors").write_bytes(b"damaged")
    assert pear("models", "add", str(new), data=data).status == 2
    pear("models", "add", str(tmp_path / "missing"), data=data).refused("no checkpoint")


def test_a_forecaster_of_another_package_is_a_model(
    pear: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", monkeypatch)
    data = DataFolder.create(tmp_path / "data")
    assert "warming (warm-models 1.0)" in pear("models", "list", data=data).err
    added = pear("models", "add", "warming", "--json", data=data).json
    assert (added["name"], added["nside"]) == ("warming", 4)
    assert "warming (warm" not in pear("models", "list", data=data).err
    pear("models", "add", "broken", data=data).refused("no weights at /models")


def test_a_balance_is_added_to_the_correction_that_a_model_has(
    pear: CommandLine, tmp_path: Path
) -> None:
    plain = write_unbalanced(tmp_path / "plain")
    store = write_columns(tmp_path / "a.zarr")
    first, second = tmp_path / "first", tmp_path / "second"
    words = ["models", "correct", str(first), "--keep", "--hydrostatic", "--analysis", str(store)]
    pear("models", "correct", str(plain), "--no-bias", "--strength", "2", "-o", str(first))
    pear(*words, "-o", str(second), "--order", "3").refused("--order would change what --keep")
    assert not second.exists()
    made = pear(*words, "-o", str(second), "--json").json
    assert "hydrostatic balance restored" in made["correction"]
    correction = checkpoint.load(second).correction
    assert correction is not None
    assert correction.config.strength == 2.0
    assert correction.balance is not None
    assert bool(correction.balance.gain.any())
