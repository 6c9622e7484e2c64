"""Files that survive a kill and a power cut: synced, replaced in one rename, locked for writers."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from pear.errors import InputError

PARTIAL: Final = ".partial"
"""Ending of every temporary file: what the sweeper may delete."""
_RESERVE_BYTES: Final = 1_000_000_000


def write_atomically(path: Path, data: Any, sync: bool = True) -> None:
    """Replace a file in one step: at any instant it holds the old bytes or the new ones.

    Parameters
    ----------
    path
        The file; its folder exists.
    data
        Bytes or anything with the buffer protocol.
    sync
        Whether the new bytes are on disk when this returns; without, a power cut may take both.
    """
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}{PARTIAL}"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Bring the entries of a folder (its renames) to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Bring everything written to the file system that holds ``path`` to disk."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot sync: {os.strerror(number)}", str(path))
    finally:
        os.close(descriptor)


def publish(hidden: Path, final: Path) -> None:
    """Give a finished folder its name: synced before, renamed in one step, synced after.

    Raises
    ------
    InputError
        If the name is taken.
    """
    if final.exists():
        raise InputError(f"{final} exists already", field="store", hint="choose another name")
    sync_filesystem(hidden)
    hidden.rename(final)
    sync_folder(final.parent)


def require_space(folder: Path, needed: int, reserve: int = _RESERVE_BYTES) -> None:
    """Check that twice ``needed`` bytes and a reserve are free before anything is written.

    Raises
    ------
    OSError
        ENOSPC, with what is free and what is needed.
    """
    free = shutil.disk_usage(folder).free
    if free < 2 * needed + reserve:
        raise OSError(
            errno.ENOSPC,
            f"disk too full: {free / 1e9:.1f} GB free, {(2 * needed + reserve) / 1e9:.1f} GB "
            "wanted (twice what will be written and a reserve)",
            str(folder),
        )


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold a lock file while the block runs; yields False, at once, if another process has it.

    The file is removed before the lock is let go; whoever locked a removed file tries again.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            yield False
            return
        if _is(handle, path):
            break
        os.close(handle)
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


@contextmanager
def temporary_parents(path: Path) -> Iterator[None]:
    """Make a folder and those above it; those of them that are empty in the end go again."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it is in use
                folder.rmdir()


@contextmanager
def writer_lock(store: Path) -> Iterator[None]:
    """Hold the one writer's place of a store; the operating system frees it when we die.

    Raises
    ------
    InputError
        If another process writes to the store now.
    """
    with (
        temporary_parents(store.parent),
        try_lock(store.parent / f".{store.name}.lock") as held,
    ):
        if not held:
            raise InputError(
                f"another process is writing to {store} now",
                field="store",
                hint="wait for it to end, or write to another store",
            )
        yield


@contextmanager
def shared_lock(store: Path) -> Iterator[None]:
    """Keep a finished store from being removed by a retention rule while the block runs.

    The lock is on the folder itself and shared by any number of readers; the operating system
    frees it when we die.

    Raises
    ------
    InputError
        If it is not there, or is being removed.
    """
    with ExitStack() as held:
        try:
            descriptor = os.open(store, os.O_RDONLY | os.O_CLOEXEC)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError) as error:
            raise InputError(f"{store} is not there, or is being removed", field="store") from error
        yield


@contextmanager
def exclusive_lock(store: Path) -> Iterator[bool]:
    """Hold a finished store against readers; yields False, at once, if somebody reads it."""
    descriptor = os.open(store, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path) -> int:
    """Delete temporary files that a dead writer left; call it with the writer's lock held."""
    count = 0
    for path in folder.rglob(f"*{PARTIAL}"):
        if path.is_file():
            path.unlink(missing_ok=True)
            count += 1
    return count
