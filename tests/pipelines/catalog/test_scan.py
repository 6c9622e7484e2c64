"""The catalog follows the data folder, and a model that is added brings its measurements."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.diagnostics import equivariance_errors
from pipelines.catalog import Catalog
from pipelines.catalog.scan import add_model, refresh
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import DAY, LAYOUT, START, tiny_model, write_days, write_model


@pytest.fixture
def outside(data: DataFolder, catalog: Catalog, tmp_path: Path) -> Path:
    """Folder of a checkpoint that no catalog knows."""
    other = DataFolder.open(data.root)
    identity = write_model(other, tiny_model(seed=7))
    return Path(shutil.move(other.model(identity), tmp_path / "trained"))


def test_an_added_model_is_measured_once_and_is_one_however_often_it_is_added(
    data: DataFolder, catalog: Catalog, outside: Path
) -> None:
    before = {model.id for model in catalog.models.all()}
    model = add_model(data, catalog, outside, "ours")
    kept = data.model(model.id) / "equivariance.json"
    errors = equivariance_errors(checkpoint.load(outside).model)
    assert json.loads(kept.read_text()) == model.attributes["equivariance"] == errors
    assert (model.name, tuple(model.attributes["layout"]["levels"])) == ("ours", LAYOUT.levels)
    written = kept.stat().st_mtime_ns
    assert add_model(data, catalog, outside).id == model.id
    assert kept.stat().st_mtime_ns == written
    assert {one.id for one in catalog.models.all()} == before | {model.id}
    assert outside.is_dir(), "what was added is copied, not moved"
    assert not list(data.root.glob("models/.*")), "nothing half done is left"


def test_a_model_put_there_by_hand_is_entered_without_measurements(
    data: DataFolder, catalog: Catalog, outside: Path
) -> None:
    identity = checkpoint.load(outside).id
    shutil.copytree(outside, data.model(identity))
    refresh(data, catalog)
    (model,) = (one for one in catalog.models.all() if one.id == identity)
    assert "equivariance" not in model.attributes
    (data.model(identity) / "equivariance.json").write_text("{ half")
    refresh(data, catalog)
    assert identity in {one.id for one in catalog.models.all()}


def test_what_is_no_checkpoint_is_refused_by_name_and_leaves_nothing(
    data: DataFolder, catalog: Catalog, outside: Path, tmp_path: Path
) -> None:
    held = sorted(data.root.glob("models/*"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        add_model(data, catalog, tmp_path / "empty")
    weights = outside / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    with pytest.raises(InputError, match="trained"):
        add_model(data, catalog, outside)
    assert sorted(data.root.glob("models/*")) == held


def test_stores_are_entered_as_they_grow_and_half_ones_are_passed_over(
    data: DataFolder, catalog: Catalog
) -> None:
    write_days(data, "more", days=3, first=START + 9 * DAY)
    (data.analysis("half")).mkdir()
    (data.analysis("half") / "zarr.json").write_text("{")
    refresh(data, catalog)
    stores = {store.name: store for store in catalog.stores.all("analysis")}
    assert set(stores) == {"demo", "more"}
    assert stores["more"].attributes["complete_times"] == stores["more"].times == 3
    shutil.rmtree(data.analysis("more"))
    write_days(data, "more", days=5, first=START + 9 * DAY)
    refresh(data, catalog)
    assert {s.name: s.times for s in catalog.stores.all("analysis")}["more"] == 5
