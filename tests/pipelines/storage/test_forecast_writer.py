"""Steps of a forecast: what is read back, and what a kill or a damaged disk leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import xdggs
import zarr
from zarr.storage import LocalStore

from pear.errors import InputError
from pear.store.reader import open_store
from pear.variables import Layout
from pipelines.storage import create
from pipelines.storage.check import check_store
from pipelines.storage.forecast_writer import ForecastWriter

LAYOUT = Layout(("2m_temperature",), ("temperature", "geopotential"), (1000, 850, 500))
NSIDE, LEADS = 4, np.arange(4) * np.timedelta64(86_400, "s")
START = np.datetime64("2001-03-01", "s")
KILLS = int(os.environ.get("PEAR_TEST_KILLS", "6"))


def step(index: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(index)
    cells = 12 * NSIDE**2
    surface, upper = random.normal(size=(1, cells)), random.normal(size=(2, 3, cells))
    return surface.astype("f4"), upper.astype("f4")


def writer(folder: Path) -> ForecastWriter:
    return ForecastWriter(folder / "run.zarr", LAYOUT, NSIDE, START, LEADS)


def step_file(folder: Path, index: int) -> Path:
    store = folder / ".run.zarr.steps" / "store"
    return store.joinpath("temperature", "c", "0", str(index), "0", "0")


def check(folder: Path) -> None:
    """The published store is the contract's, and holds every value bit for bit."""
    assert check_store(folder / "run.zarr").is_healthy
    with open_store(folder / "run.zarr") as store:
        for index in range(LEADS.size):
            surface, upper = step(index)
            np.testing.assert_array_equal(store["2m_temperature"][0, index], surface[0])
            for row, name in enumerate(LAYOUT.upper):
                found = store[name][0, index].sel(level=list(LAYOUT.levels))
                np.testing.assert_array_equal(found, upper[row])
    assert [path.name for path in folder.iterdir()] == ["run.zarr"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (0, 1, 1, 2, 3)])
def test_steps_may_come_in_any_order_and_twice(tmp_path: Path, order: tuple[int, ...]) -> None:
    for index in order:
        writer(tmp_path).write_step(index, *step(index))
    writer(tmp_path).publish()
    check(tmp_path)


def test_half_a_step_that_a_kill_left_is_written_again(tmp_path: Path) -> None:
    for index in (0, 1, 2):
        writer(tmp_path).write_step(index, *step(index))
    step_file(tmp_path, 2).rename(step_file(tmp_path, 2).with_suffix(".0f.partial"))
    again = writer(tmp_path)
    assert again.steps_done() == [0, 1]
    with pytest.raises(InputError, match=r"step 2 of run\.zarr is not on disk"):
        again.read_step(2)
    for index in (2, 3):
        again.write_step(index, *step(index))
    again.publish()
    check(tmp_path)
    assert not list((tmp_path / "run.zarr").rglob("*.partial"))


def test_a_damaged_step_is_found_before_anything_is_published(tmp_path: Path) -> None:
    first = writer(tmp_path)
    for index in range(4):
        first.write_step(index, *step(index))
    file = step_file(tmp_path, 1)
    kept = bytearray(file.read_bytes())
    kept[len(kept) // 4] ^= 1
    file.write_bytes(kept)
    with pytest.raises(InputError, match="cannot be read back"):
        first.read_step(1)
    resumed = writer(tmp_path)
    with pytest.raises(OSError, match=r"step 1 of run\.zarr does not read back"):
        resumed.publish()
    assert not (tmp_path / "run.zarr").exists()
    again = writer(tmp_path)
    assert again.steps_done() == resumed.steps_done() == [0, 2, 3]
    again.write_step(1, *step(1))
    again.publish()
    check(tmp_path)


def test_publishing_that_was_interrupted_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = writer(tmp_path)
    for index in range(4):
        first.write_step(index, *step(index))
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.storage.forecast_writer.publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            first.publish()
    writer(tmp_path).publish()
    check(tmp_path)


def test_runs_with_one_file_for_all_lead_times_stay_readable(tmp_path: Path) -> None:
    """The layout of stores written before: a shard holds a variable of the whole run."""
    made = writer(tmp_path)
    for index in range(4):
        made.write_step(index, *step(index))
    path = made.publish()
    group = zarr.open_group(LocalStore(path), mode="r+", use_consolidated=False)
    for name in LAYOUT.names:
        old = group[name]
        values, dims = old[...], old.metadata.dimension_names
        del group[name]
        chunk = (1,) * (len(dims) - 1) + (old.shape[-1],)
        create.data_variable(group, name, NSIDE, old.shape, chunk, old.shape, dims)
        group[name][...] = values
    create.consolidate(group)
    assert [file.name for file in (path / "temperature" / "c" / "0").iterdir()] == ["0"]
    check(tmp_path)
    surface, upper = writer(tmp_path).read_step(2)
    np.testing.assert_array_equal(surface, step(2)[0])
    np.testing.assert_array_equal(upper, step(2)[1])


def test_kills_of_a_rollout_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fixtures.crashes", tmp_path, "rollout", KILLS, 1]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"kills": KILLS, "lost": 0, "damaged": 0, "not_equal": 0}


def test_overviews_are_means_and_open_like_stores(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    made = ForecastWriter(path, LAYOUT, NSIDE, START, LEADS, overviews=(2, 1))
    for index in range(4):
        made.write_step(index, *step(index))
    made.publish()
    upper = np.stack([step(index)[1][0] for index in range(4)])
    for nside in (2, 1):
        data = open_store(path, nside=nside).isel(time=0)
        want = upper.reshape(4, 3, 12 * nside**2, -1).mean(-1)
        got = data["temperature"].sel(level=list(LAYOUT.levels))
        np.testing.assert_allclose(got, want, atol=1e-6)
        assert xdggs.decode(xr.open_zarr(path, group=f"nside{nside}")).dggs.grid_info.nside == nside
    assert check_store(path).is_healthy


def test_a_run_is_resumed_and_published_once(tmp_path: Path) -> None:
    first = writer(tmp_path)
    for index in (0, 1):
        first.write_step(index, *step(index))
    with pytest.raises(InputError, match="lacks 2 of 4 steps"):
        first.publish()
    again = writer(tmp_path)
    assert again.steps_done() == [0, 1]
    assert np.array_equal(again.read_step(1)[1], step(1)[1])
    for index in (2, 3):
        again.write_step(index, *step(index))
    assert not (tmp_path / "run.zarr").exists()
    again.publish()
    check(tmp_path)
    data = open_store(tmp_path / "run.zarr")
    assert data["temperature"].dims == ("time", "prediction_timedelta", "level", "cell")
    assert data["prediction_timedelta"].values.tolist() == LEADS.tolist()
    third = writer(tmp_path)
    assert third.published
    assert third.steps_done() == [0, 1, 2, 3]
    assert np.array_equal(third.read_step(3)[1], step(3)[1])
    assert third.publish() == tmp_path / "run.zarr"


def test_steps_of_another_run_are_discarded(tmp_path: Path) -> None:
    writer(tmp_path).write_step(0, *step(0))
    later = START + np.timedelta64(1, "D")
    other = ForecastWriter(tmp_path / "run.zarr", LAYOUT, NSIDE, later, LEADS)
    assert other.steps_done() == []


@pytest.mark.parametrize(
    ("fault", "word"),
    [("index", "is not in 0..3"), ("shape", "has shapes"), ("nan", "is not finite")],
)
def test_an_invalid_step_is_refused(tmp_path: Path, fault: str, word: str) -> None:
    surface, upper = step(0)
    if fault == "shape":
        upper = upper[:, :1]
    if fault == "nan":
        surface[0, 0] = np.nan
    made = writer(tmp_path)
    with pytest.raises(InputError, match=word):
        made.write_step(4 if fault == "index" else 0, surface, upper)
    assert made.steps_done() == []
