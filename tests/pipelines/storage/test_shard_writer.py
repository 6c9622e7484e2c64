"""Growing shards: what zarr reads back, and what a kill or a bad disk leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.store.reader import open_store
from pear.variables import Layout
from pipelines.storage.check import examine
from pipelines.storage.forecast_writer import ForecastWriter
from pipelines.storage.shard_writer import Shards, decode, encode

LAYOUT = Layout(("2m_temperature",), ("temperature", "geopotential"), (1000, 850, 500))
NSIDE, LEADS = 4, np.arange(4) * np.timedelta64(86_400, "s")
START = np.datetime64("2001-03-01", "s")


def step(index: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(index)
    cells = 12 * NSIDE**2
    surface, upper = random.normal(size=(1, cells)), random.normal(size=(2, 3, cells))
    return surface.astype("f4"), upper.astype("f4")


def writer(folder: Path) -> ForecastWriter:
    return ForecastWriter(folder / "run.zarr", LAYOUT, NSIDE, START, LEADS)


def shard(folder: Path) -> Path:
    return folder / ".run.zarr.steps" / "store" / "temperature" / "c" / "0" / "0" / "0" / "0"


def check(folder: Path) -> None:
    """The published store is the contract's, and holds every value bit for bit."""
    assert examine(folder / "run.zarr").healthy
    with open_store(folder / "run.zarr") as store:
        for index in range(LEADS.size):
            surface, upper = step(index)
            np.testing.assert_array_equal(store["2m_temperature"][0, index], surface[0])
            for row, name in enumerate(LAYOUT.upper):
                found = store[name][0, index].sel(level=list(LAYOUT.levels))
                np.testing.assert_array_equal(found, upper[row])
    assert [path.name for path in folder.iterdir()] == ["run.zarr"]


def test_a_field_goes_through_its_encoding_and_damage_shows() -> None:
    field = step(0)[0][0]
    chunk = encode(field)
    np.testing.assert_array_equal(decode(chunk), field)
    for place in (0, len(chunk) // 2, len(chunk) - 1):
        bad = bytearray(chunk)
        bad[place] ^= 4
        with pytest.raises(ValueError, match="checksum"):
            decode(bytes(bad))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (0, 1, 1, 2, 3)])
def test_steps_may_come_in_any_order_and_twice(tmp_path: Path, order: tuple[int, ...]) -> None:
    for index in order:
        writer(tmp_path).write_step(index, *step(index))
    writer(tmp_path).publish()
    check(tmp_path)


def test_what_a_kill_left_behind_the_last_whole_step_is_written_over(tmp_path: Path) -> None:
    for index in (0, 1):
        writer(tmp_path).write_step(index, *step(index))
    with shard(tmp_path).open("ab") as file:
        file.write(b"half a step, and more of it than the next one is long" * 1000)
    with (tmp_path / ".run.zarr.steps" / "journal").open("ab") as file:
        file.write(b'{"step": 2, "chunks": {"temper')
    again = writer(tmp_path)
    assert again.steps_done() == [0, 1]
    for index in (2, 3):
        again.write_step(index, *step(index))
    again.publish()
    check(tmp_path)


def test_a_step_that_went_bad_is_found_before_anything_is_published(tmp_path: Path) -> None:
    first = writer(tmp_path)
    for index in range(4):
        first.write_step(index, *step(index))
    kept = bytearray(shard(tmp_path).read_bytes())
    kept[len(kept) // 4 + len(kept) // 8] ^= 1  # in the second of four steps
    shard(tmp_path).write_bytes(kept)
    with pytest.raises(InputError, match="cannot be read back"):
        first.read_step(1)
    with pytest.raises(OSError, match=r"step 1 of run\.zarr does not read back"):
        first.publish()
    assert not (tmp_path / "run.zarr").exists()
    again = writer(tmp_path)
    assert again.steps_done() == [0, 2, 3]
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


def test_a_journal_is_all_that_is_needed_to_go_on(tmp_path: Path) -> None:
    files = {"t": tmp_path / "t"}
    Shards(tmp_path / "journal", files).append(5, {"t": [step(0)[0][0], step(1)[0][0]]})
    found = Shards(tmp_path / "journal", files)
    assert found.steps == [5]
    np.testing.assert_array_equal(found.read(5, "t")[1], step(1)[0][0])
