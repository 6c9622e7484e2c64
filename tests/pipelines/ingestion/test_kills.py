"""Ingestions that are killed or run out of disk lose nothing and resume bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.storage.atomic import writer_lock
from tests.fixtures import crashes


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory if possible, which is faster than a disk."""
    shm = Path("/dev/shm")  # noqa: S108
    if not os.access(shm, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shm, prefix="pear-test-") as folder:
        yield Path(folder)


KILLS = int(os.environ.get("PEAR_TEST_KILLS", "6"))


def run_trial(folder: Path, *arguments: object) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.fixtures.crashes", str(folder), *map(str, arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kill", "full"])
def test_a_fault_at_file_operations(kind: str, memory: Path) -> None:
    """Every 47th of about 280 operations that change the disk; the nightly test has all."""
    got = run_trial(memory / "w", kind, 47)
    assert got["operations"] > 200
    assert got["points"] >= 5
    assert got["as_expected"] == got["points"]
    assert (got["inconsistent"], got["not_resumed"]) == (0, 0)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["kill", "full"])
def test_a_fault_at_every_file_operation(kind: str, memory: Path) -> None:
    got = run_trial(memory / "w", kind, 1)
    assert got["points"] == got["operations"] >= 200
    assert got["as_expected"] == got["points"]
    assert (got["inconsistent"], got["not_resumed"]) == (0, 0)


@pytest.mark.slow
def test_killed_at_random_while_a_reader_reads(memory: Path) -> None:
    check_kills(run_trial(memory / "w", "random", KILLS, 1), KILLS)


@pytest.mark.nightly
def test_killed_over_a_real_series(memory: Path, shared: Path) -> None:
    """40 times of GFS in commits of two times each."""
    file = shared / "data" / "series" / "gfs_1p00_wind10m_6h_201810.nc"
    check_kills(run_trial(memory / "w", "random", 50, 3, file), 50)


@pytest.mark.nightly
def test_killed_200_times(memory: Path) -> None:
    check_kills(run_trial(memory / "w", "random", 200, 2), 200)


def check_kills(got: dict[str, int], kills: int) -> None:
    assert got["kills"] == kills
    assert got["rounds"] >= kills // 10  # it does get on between the kills
    assert got["reads"] >= kills
    assert (got["lost"], got["not_equal"], got["inconsistent_reads"]) == (0, 0, 0)


def _contend(path: str) -> str:
    try:
        ingest([crashes.dataset()], path, crashes.NSIDE)
    except InputError as error:
        return str(error)
    return ""


def test_two_ingestions_into_one_store(memory: Path) -> None:
    """The second is refused, or both are committed."""
    store = memory / "s.zarr"
    with writer_lock(store):
        assert "another process is writing" in _contend(str(store))
    with get_context("spawn").Pool(2) as pool:
        said = pool.map(_contend, [str(store)] * 2)
    assert all(text == "" or "another process is writing" in text for text in said)
    assert open_store(store).sizes["time"] == crashes.TIMES
    assert np.isfinite(open_store(store)["temperature"].values).all()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_really_full_disk(tmp_path: Path) -> None:
    """A small file system: a clear error, a readable store, and a resumed ingestion."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    try:
        store = disk / "s.zarr"
        crashes.work(store, 2)
        filler = disk / "filler"
        with pytest.raises(OSError, match=r"(?i)no space left"):
            filler.write_bytes(bytes(1_000_000))
        with pytest.raises(OSError, match=r"disk too full|(?i:no space left)"):
            crashes.work(store)
        assert open_store(store).load().sizes["time"] == 2
        filler.unlink()
        crashes.work(store)
        assert open_store(store).load().sizes["time"] == crashes.TIMES
    finally:
        subprocess.run(["umount", str(disk)], check=True)
