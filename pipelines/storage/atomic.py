"""Files that survive a kill and a power cut: synced, replaced in one rename, locked for writers."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pear.errors import InputError

PARTIAL: Final = ".partial"
"""Suffix of temporary files, as Zarr uses it: a writer may delete those of its predecessors."""
_RESERVE_BYTES: Final = 1_000_000_000
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of the Linux headers


def write_atomically(path: Path, data: bytes | memoryview, *, sync: bool = True) -> None:
    """Replace a file in one step: at any time it holds the old bytes or the new ones.

    Parameters
    ----------
    path
        The file; its folder exists.
    data
        The new bytes.
    sync
        Whether the new bytes are on disk when this returns; otherwise a power cut may lose both.
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
    """Sync the entries of a folder (its renames) to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Sync everything on the file system that holds ``path`` to disk."""
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
    """Rename a finished folder to its final name; synced before and after.

    Parameters
    ----------
    hidden
        The folder.
    final
        Its final path.

    Raises
    ------
    InputError
        If the final path exists.
    """
    if final.exists():
        raise InputError(f"{final} exists already", field="store", hint="choose another name")
    sync_filesystem(hidden)
    hidden.rename(final)
    sync_folder(final.parent)


def link_tree(source: Path, target: Path) -> None:
    """Make a second folder of the same files by hard links; it must not exist.

    Every file of a store is replaced and never rewritten, so a change of one leaves the other as
    it is.

    Parameters
    ----------
    source
        The folder.
    target
        The new folder, on the same file system.
    """
    shutil.copytree(
        source, target, copy_function=os.link, ignore=shutil.ignore_patterns(f"*{PARTIAL}")
    )


def exchange(first: Path, second: Path) -> None:
    """Exchange the names of two folders of one parent, in one step where the system can (Linux).

    Elsewhere ``second`` is absent for an instant; a kill then leaves it under a hidden name.

    Parameters
    ----------
    first, second
        The folders.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = os.fsencode(first), os.fsencode(second)
    if (
        renameat2 is None
        or renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) != 0
    ):
        aside = second.parent / f".{second.name}.{uuid.uuid4().hex}"
        second.rename(aside)
        first.rename(second)
        aside.rename(first)
    sync_folder(second.parent)


def is_writable(path: Path) -> bool:
    """Return whether this process may write a file, or into a folder.

    Parameters
    ----------
    path
        An existing file or folder.

    Returns
    -------
    bool
        False on a read-only file system too, whoever asks.
    """
    mode = os.W_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def require_space(folder: Path, needed: int, reserve: int = _RESERVE_BYTES) -> None:
    """Raise unless twice the needed bytes and a reserve are free.

    Parameters
    ----------
    folder
        Folder on the disk.
    needed
        Bytes that will be written.
    reserve
        Bytes that must stay free.

    Raises
    ------
    OSError
        ENOSPC, with the free and the required space.
    """
    free, required = shutil.disk_usage(folder).free, 2 * needed + reserve
    if free < required:
        raise OSError(
            errno.ENOSPC,
            f"disk too full: {free / 1e9:.1f} GB free, {required / 1e9:.1f} GB required (twice "
            "what will be written and a reserve)",
            str(folder),
        )


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock file while the block runs; the kernel releases it on a kill.

    The file is removed before the lock is released. Whoever locks a removed file tries again.

    Parameters
    ----------
    path
        The lock file.

    Yields
    ------
    bool
        False, immediately, if another process holds the lock.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            yield False
            return
        if _same_inode(handle, path):
            break
        os.close(handle)
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _same_inode(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


@contextmanager
def temporary_parents(path: Path) -> Iterator[None]:
    """Create a folder and its parents; afterwards, remove those of them that are empty."""
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
    """Hold the lock of the only writer of a store; the kernel releases it on a kill.

    Parameters
    ----------
    store
        The store, which need not exist.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    InputError
        If another process writes to the store.
    """
    with (
        temporary_parents(store.parent),
        try_lock(store.parent / f".{store.name}.lock") as locked,
    ):
        if not locked:
            raise InputError(
                f"another process is writing to {store}",
                field="store",
                hint="wait for it to end, or write to another store",
            )
        yield


@contextmanager
def shared_lock(store: Path) -> Iterator[None]:
    """Protect a finished store from removal while the block runs.

    The lock is on the folder itself and shared by any number of readers; the kernel releases it on
    a kill.

    Parameters
    ----------
    store
        The store.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    InputError
        If the store does not exist or is being removed.
    """
    try:
        descriptor = os.open(store, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise InputError(f"no store at {store}", field="store") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(f"{store} is being removed", field="store") from error
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_lock(store: Path) -> Iterator[bool]:
    """Lock a finished store against readers while the block runs.

    Parameters
    ----------
    store
        The store.

    Yields
    ------
    bool
        False, immediately, if a reader holds a lock.
    """
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
    """Delete temporary files, with the writer's lock held; return their number."""
    partial = [file for file in folder.rglob(f"*{PARTIAL}") if file.is_file()]
    for file in partial:
        file.unlink(missing_ok=True)
    return len(partial)
