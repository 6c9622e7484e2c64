"""Files and locks that survive a kill."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import pytest

from pear.errors import InputError
from pipelines.storage import atomic
from pipelines.storage.atomic import (
    exchange,
    exclusive_lock,
    publish,
    remove_partial_files,
    require_space,
    shared_lock,
    temporary_parents,
    try_lock,
    write_atomically,
    writer_lock,
)


def test_a_write_that_fails_keeps_the_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    write_atomically(file, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    write_atomically(file, memoryview(b"newer"), sync=False)
    assert file.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [file]


def test_publishing_over_an_existing_folder_is_refused(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="exists already"):
        publish(tmp_path / "new", tmp_path / "old")
    publish(tmp_path / "new", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "other"]


@pytest.mark.parametrize("system", ["linux", "other"])
def test_two_folders_exchange_their_names(
    tmp_path: Path, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if system == "other":
        monkeypatch.setattr(atomic.ctypes, "CDLL", lambda *_, **__: object())
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "file").read_text() == "b"
    assert (tmp_path / "b" / "file").read_text() == "a"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    require_space(tmp_path, 1, reserve=0)
    with pytest.raises(OSError, match=r"disk too full: .* GB free") as refused:
        require_space(tmp_path, 10**18)
    assert refused.value.errno == errno.ENOSPC


def test_a_lock_is_held_once_and_its_file_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with try_lock(file) as first, try_lock(file) as second:
        assert first
        assert not second
    assert not file.exists()
    with try_lock(file) as again:
        assert again


def _hold(path: str, held: object, never: object) -> None:
    with try_lock(Path(path)):
        held.set()  # type: ignore[attr-defined]
        never.wait()  # type: ignore[attr-defined]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    held, never = spawn.Event(), spawn.Event()
    process = spawn.Process(target=_hold, args=(str(tmp_path / "lock"), held, never))
    process.start()
    assert held.wait(60)
    with try_lock(tmp_path / "lock") as locked:
        assert not locked
    process.kill()
    process.join()
    with try_lock(tmp_path / "lock") as locked:
        assert locked


def test_a_store_has_one_writer(tmp_path: Path) -> None:
    store = tmp_path / "new" / "folder" / "s.zarr"
    with writer_lock(store), pytest.raises(InputError, match="another process"), writer_lock(store):
        pass
    assert list(tmp_path.iterdir()) == [], "folders made for the lock are removed"


def test_readers_share_a_store_and_exclude_its_removal(tmp_path: Path) -> None:
    with shared_lock(tmp_path), shared_lock(tmp_path), exclusive_lock(tmp_path) as alone:
        assert not alone
    with exclusive_lock(tmp_path) as alone:
        assert alone
        with pytest.raises(InputError, match="is being removed"), shared_lock(tmp_path):
            pass
    with pytest.raises(InputError, match="no store at"), shared_lock(tmp_path / "none"):
        pass


def test_parents_in_use_are_kept(tmp_path: Path) -> None:
    with temporary_parents(tmp_path / "a" / "b"):
        (tmp_path / "a" / "file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


def test_partial_files_are_removed_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "c" / "0").mkdir(parents=True)
    for name in ("c/0/.x.partial", ".y.partial", "c/z"):
        (tmp_path / name).touch()
    assert remove_partial_files(tmp_path) == 2
    assert (tmp_path / "c" / "z").exists()
