"""A repair brings back everything that can be derived, and makes nothing up."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from pear.errors import InputError
from pear.store.reader import open_store
from pear.variables import Layout
from pipelines.storage import create, repair
from pipelines.storage.atomic import writer_lock
from pipelines.storage.check import check_store
from pipelines.storage.forecast_writer import ForecastWriter
from pipelines.storage.repair import repair_store
from tests.fixtures.crashes import contents
from tests.fixtures.faults import FAULTS, LOST, edit, flip, ingest_all

T0 = np.datetime64("2001-01-01T00", "s")


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_repaired(fault: str, store: Path, healthy: Path) -> None:
    FAULTS[fault][0](store)
    after = repair_store(store)
    assert after.is_healthy, after.findings
    data = open_store(store).load()
    before = open_store(healthy).load()
    lost = (data["complete"] == 0).values
    assert lost.any() == (fault in LOST)
    for name in before.data_vars:
        got, want = data[name].values, before[name].values
        assert np.array_equal(got[np.isfinite(got)], want[np.isfinite(got)])
        assert np.isnan(got).any() == (fault in LOST and name == "temperature")
    ingest_all(store)  # the same files bring back what was lost
    again = open_store(store).load()
    for name in before.data_vars:
        assert np.array_equal(again[name], before[name])
    assert (again["complete"] == 1).all()
    assert check_store(store).is_healthy
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_a_rewritten_store_keeps_attributes_and_static_fields(store: Path) -> None:
    root = zarr.open_group(LocalStore(store), mode="r+", use_consolidated=False)
    root.attrs.update({"title": "my analyses", "licence": "ODbL"})
    static = root.require_group("static")
    create.coordinate(static, "land_sea_mask", np.arange(48, dtype="f4"), {"units": "1"}, ("cell",))
    create.consolidate(root)
    assert check_store(store).is_healthy
    flip(store / "temperature/c/0/0/0", 0.3)
    assert repair_store(store).is_healthy
    assert open_store(store).attrs["title"] == "my analyses"
    assert open_store(store).attrs["licence"] == "ODbL"
    group = zarr.open_group(LocalStore(store), mode="r")
    assert np.array_equal(group["static/land_sea_mask"][:], np.arange(48))


def test_a_kill_during_a_repair_leaves_the_old_store(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(store / "temperature/c/0/0/0", 0.3)
    before = contents(store)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(repair, "exchange", die)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # nothing is tidied up
        with pytest.raises(KeyboardInterrupt):
            repair_store(store)
    assert contents(store) == before
    assert (store.parent / f".{store.name}.repair").is_dir()
    assert "leftover" in {finding.kind for finding in check_store(store).findings}
    assert repair_store(store).is_healthy
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def write_forecast(path: Path) -> Path:
    layout = Layout(("2m_temperature",), ("temperature",), (850, 500))
    random = np.random.default_rng(0)
    leads = np.arange(3) * np.timedelta64(6, "h")
    writer = ForecastWriter(path, layout, 2, T0, leads, {"run_id": "x"}, overviews=(1,))
    for index in range(3):
        writer.write_step(index, random.normal(size=(1, 48)), random.normal(size=(1, 2, 48)))
    return writer.publish()


FORECAST_FAULTS = {
    "a broken root": lambda s: (s / "zarr.json").write_text("{"),
    "a flipped digit in the root": lambda s: edit(
        s / "zarr.json", '"refinement_level": 1', '"refinement_level": 2'
    ),
    "deleted times": lambda s: (s / "time/c/0").unlink(),
    "damaged lead times": lambda s: flip(s / "prediction_timedelta/c/0"),
    "damaged levels": lambda s: flip(s / "level/c/0"),
    "a deleted mean": lambda s: (s / "nside1/temperature/c/0/1/0/0").unlink(),
}


@pytest.mark.parametrize("fault", FORECAST_FAULTS)
def test_a_forecast_whose_fields_are_whole_is_repaired(fault: str, tmp_path: Path) -> None:
    path = write_forecast(tmp_path / "f.zarr")
    before = open_store(path).load()
    FORECAST_FAULTS[fault](path)
    assert not check_store(path).is_healthy
    after = repair_store(path)
    assert after.is_healthy, after.findings
    after_repair = open_store(path).load()
    assert after_repair.equals(before)
    assert "run_id" in after_repair.attrs or "root" in fault


def test_a_forecast_with_a_damaged_field_is_left_as_it_is(tmp_path: Path) -> None:
    path = write_forecast(tmp_path / "f.zarr")
    assert check_store(path).is_healthy
    flip(path / "temperature/c/0/1/0/0", 0.2)
    before = contents(path)
    found = check_store(path)
    assert {finding.kind for finding in found.findings} == {"field"}
    assert repair_store(path).findings == found.findings
    assert contents(path) == before


def test_refusals(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store at"):
        repair_store(tmp_path / "none")
    with writer_lock(store), pytest.raises(InputError, match="another process"):
        repair_store(store)
    (store / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"s\.zarr: zarr\.json is damaged"):
        open_store(store)
    (store / "cell" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="both the root's metadata"):
        repair_store(store)
