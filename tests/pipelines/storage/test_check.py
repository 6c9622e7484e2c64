"""The doctor finds every fault that is put into a store, and mends it without making data up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.store.reader import open_store
from pear.variables import Layout
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.storage.atomic import writer_lock
from pipelines.storage.check import check_store
from pipelines.storage.forecast_writer import ForecastWriter
from pipelines.storage.repair import repair_store
from tests.fixtures.crashes import NSIDE, TIMES, contents, dataset

T0 = np.datetime64("2001-01-01T00", "s")


def grow(store: Path) -> None:
    ingest([dataset()], store, 4, options=IngestOptions(shard_times=4, overviews=(NSIDE,)))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("doctor") / "s.zarr"
    grow(store)
    return store


@pytest.fixture
def store(healthy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(healthy, tmp_path / "s.zarr"))


def flip(file: Path, place: float = 0.5) -> None:
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x04
    file.write_bytes(bytes(data))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


SHARD = "temperature/c/0/0/0"
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit in a chunk": (lambda s: flip(s / SHARD, 0.3), "field"),
    "a flipped bit in the index of a shard": (lambda s: flip(s / SHARD, 0.999), "field"),
    "a truncated shard": (
        lambda s: (s / SHARD).write_bytes((s / SHARD).read_bytes()[:99]),
        "field",
    ),
    "a deleted shard": (lambda s: (s / SHARD).unlink(), "field"),
    "a lost variable": (lambda s: shutil.rmtree(s / "temperature" / "c"), "field"),
    "a shard of another variable": (
        lambda s: shutil.copy(s / "u_component_of_wind/c/1/0/0", s / "temperature/c/0/0/0"),
        "field",
    ),
    "a damaged mean": (lambda s: flip(s / f"nside{NSIDE}" / SHARD), "mean"),
    "a deleted mean": (lambda s: (s / f"nside{NSIDE}" / SHARD).unlink(), "mean"),
    "damaged cells": (lambda s: flip(s / "cell/c/0"), "grid"),
    "deleted cell ids": (lambda s: (s / "cell_ids/c/0").unlink(), "grid"),
    "damaged levels": (lambda s: flip(s / "level/c/0"), "grid"),
    "damaged times": (lambda s: flip(s / "time/c/0"), "time"),
    "deleted times": (lambda s: (s / "time/c/0").unlink(), "time"),
    "damaged completeness": (lambda s: flip(s / "complete/c/0/0"), "completeness"),
    "a changed attribute": (
        lambda s: edit(s / "temperature/zarr.json", '"units": "K"', '"units": "C"'),
        "metadata",
    ),
    "a changed attribute in the root": (
        lambda s: edit(s / "zarr.json", '"units": "K"', '"units": "C"'),
        "metadata",
    ),
    "a flipped digit in the root": (
        lambda s: edit(s / "zarr.json", '"refinement_level": 2', '"refinement_level": 3'),
        "metadata",
    ),
    "a broken root": (lambda s: (s / "zarr.json").write_text("{"), "metadata"),
    "a deleted root": (lambda s: (s / "zarr.json").unlink(), "metadata"),
    "a deleted array file": (lambda s: (s / "temperature/zarr.json").unlink(), "metadata"),
    "a leftover": (lambda s: (s / "temperature/.x.partial").write_text(""), "leftover"),
    "a staging folder": (lambda s: (s.parent / ".s.zarr.staging").mkdir(), "leftover"),
}
LOST = {
    "a flipped bit in a chunk",
    "a flipped bit in the index of a shard",
    "a truncated shard",
    "a deleted shard",
    "a lost variable",
    "a shard of another variable",
}


def test_a_healthy_store(healthy: Path) -> None:
    found = check_store(healthy)
    assert found.is_healthy, found.findings
    assert found.fields == 4 * TIMES
    json.dumps(found.to_dict())


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found_and_mended(fault: str, store: Path, healthy: Path) -> None:
    inflict, kind = FAULTS[fault]
    inflict(store)
    found = check_store(store)
    assert kind in {finding.kind for finding in found.findings}, found.findings
    after = repair_store(store)
    assert after.is_healthy, after.findings
    data = open_store(store).load()
    truth = open_store(healthy).load()
    lost = (data["complete"] == 0).values
    assert lost.any() == (fault in LOST)
    for name in truth.data_vars:
        got, want = data[name].values, truth[name].values
        assert np.array_equal(got[np.isfinite(got)], want[np.isfinite(got)])
        assert np.isnan(got).any() == (fault in LOST and name == "temperature")
    grow(store)  # the same files bring back what was lost
    again = open_store(store).load()
    for name in truth.data_vars:
        assert np.array_equal(again[name], truth[name])
    assert (again["complete"] == 1).all()
    assert check_store(store).is_healthy


def test_random_faults_in_any_file_are_all_noticed(store: Path, healthy: Path) -> None:
    """One bit anywhere; the push part of the thousand of the nightly test."""
    assert unnoticed(store, healthy, 40, 1) == []


@pytest.mark.nightly
def test_a_thousand_faults(store: Path, healthy: Path) -> None:
    assert unnoticed(store, healthy, 1000, 2) == []


def unnoticed(store: Path, healthy: Path, count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    files = sorted(p for p in healthy.rglob("*") if p.is_file())
    out = []
    for _ in range(count):
        source = files[rng.integers(len(files))]
        target = store / source.relative_to(healthy)
        data = bytearray(source.read_bytes())
        place = int(rng.integers(len(data)))
        data[place] ^= 1 << int(rng.integers(8))
        target.write_bytes(bytes(data))
        if check_store(store).is_healthy:
            out.append(f"{target} at {place}")
        target.write_bytes(source.read_bytes())
    assert contents(store) == contents(healthy)
    return out


def test_forecasts_are_examined_and_not_mended(tmp_path: Path) -> None:
    path = tmp_path / "f.zarr"
    layout = Layout(("2m_temperature",), ("temperature",), (850, 500))
    rng = np.random.default_rng(0)
    writer = ForecastWriter(path, layout, 2, T0, np.arange(3) * np.timedelta64(6, "h"))
    for index in range(3):
        writer.write_step(index, rng.normal(size=(1, 48)), rng.normal(size=(1, 2, 48)))
    writer.publish()
    assert check_store(path).is_healthy
    flip(next(p for p in (path / "temperature" / "c").rglob("*") if p.is_file()), 0.2)
    found = check_store(path)
    assert [f.kind for f in found.findings] == ["field"] * len(found.findings)
    assert found.findings
    assert not repair_store(path).is_healthy


def test_refusals(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store at"):
        check_store(tmp_path / "none")
    with writer_lock(store), pytest.raises(InputError, match="another process"):
        repair_store(store)
    (store / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="not a store written by PEAR"):
        open_store(store)
    (store / "cell" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="both the root's metadata"):
        repair_store(store)
