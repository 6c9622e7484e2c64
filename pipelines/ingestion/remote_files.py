"""Files of a server, kept for a while in a folder of bounded size.

A file is downloaded whole before it is read: its length is compared with the announced one, and
its entity tag before with that after. A download that breaks off goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time as clock
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, TypeVar
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from pear.addresses import (
    RemoteError,
    is_transient,
    open_filesystem,
    reading,
    with_access,
    without_secrets,
)
from pear.errors import InputError
from pipelines.storage.atomic import require_space, write_atomically

FOLDER: Final = "PEAR_CACHE_DIR"
LIMIT: Final = "PEAR_CACHE_GB"
DAYS: Final = "PEAR_CACHE_DAYS"
TRIES: Final = 5
_LIMIT_GB: Final = 20.0
_DAYS: Final = 7.0
_BLOCK: Final = 8 << 20
_STAMPS: Final = (
    "ETag",
    "etag",
    "generation",
    "content_md5",
    "Content-MD5",
    "Last-Modified",
    "LastModified",
    "last_modified",
    "mtime",
)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class RemoteFile:
    """What a server says of a file.

    Attributes
    ----------
    filesystem, path
        Where it lies.
    size
        Its length in bytes; None if the server does not tell.
    stamp
        Something that changes with it, such as its entity tag; empty if the server tells nothing.
    """

    filesystem: AbstractFileSystem
    path: str
    size: int | None
    stamp: str

    @classmethod
    def find(cls, address: str) -> RemoteFile:
        """Ask a server; raise RemoteError or OSError."""

        def ask(*, anonymous: bool) -> RemoteFile:
            filesystem, path = open_filesystem(address, anonymous=anonymous)
            found: Mapping[str, Any] = retry(lambda: filesystem.info(path))
            if found.get("type") == "directory":
                raise RemoteError(
                    f"{without_secrets(address)} is a folder, but not a Zarr store",
                    field="source",
                    hint="name one of its files, or all of them by *",
                )
            stamp = next((str(found[name]) for name in _STAMPS if found.get(name)), "")
            return cls(filesystem, path, found.get("size"), stamp)

        with reading(address):
            return with_access(address, ask)[0]


def retry(ask: Callable[[], _Result], *, seconds: float | None = None) -> _Result:
    """Ask a server again, with growing waits, while it fails for a reason that may pass."""
    wait = backoff_seconds() if seconds is None else seconds
    for attempt in range(TRIES - 1):
        try:
            return ask()
        except Exception as error:
            if not is_transient(error):
                raise
        clock.sleep(wait * 2**attempt)
    return ask()


def backoff_seconds() -> float:
    """Return the first wait after a failed request; ``PEAR_RETRY_SECONDS`` changes it."""
    return _number("PEAR_RETRY_SECONDS", 1.0)


def _number(name: str, default: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise InputError(f"{name}={text} is not a number above 0", field=name)
    return value


@dataclass
class FileCache:
    """Folder of downloaded files; those in use are kept, old ones make room for new ones.

    A context manager: files are in use until it ends.

    Attributes
    ----------
    folder
        Path of the folder.
    limit_bytes
        Most bytes of all files together.
    keep_seconds
        Time after which a file that was not used is removed.
    received
        Called with the number of bytes of each block that arrives.
    """

    folder: Path
    limit_bytes: int = int(_LIMIT_GB * 1e9)
    keep_seconds: float = _DAYS * 86_400
    received: Callable[[int], object] = lambda _: None
    _held: list[int] = field(default_factory=list)

    @classmethod
    def from_environment(cls) -> FileCache:
        """Return the folder of ``PEAR_CACHE_DIR``, else of the user's cache."""
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folder = Path(os.environ.get(FOLDER) or Path(base) / "pear" / "files")
        limit, days = int(_number(LIMIT, _LIMIT_GB) * 1e9), _number(DAYS, _DAYS)
        return cls(folder, limit, days * 86_400)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._held:
            os.close(self._held.pop())

    def fetch(self, address: str) -> Path:
        """Return the path of a copy of a file, which is downloaded unless it is here already.

        A RemoteError says that there is no such file, that access is refused, or that the file
        changes meanwhile, an OSError that the server fails or the disk is full.

        Parameters
        ----------
        address
            Address of the file.

        Returns
        -------
        Path
            The copy, which stays until the context ends.
        """
        shown = without_secrets(address)
        remote = RemoteFile.find(address)
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(address.encode()).hexdigest()[:24]
        target = self.folder / f"{name}.data"
        part = self.folder / f"{name}.part"
        with _lock(self.folder / f"{name}.lock"):  # another process may be downloading it
            if not self._is_current(target, remote):
                self._make_room(remote.size or 0, shown)
                with part.open("ab") as file:
                    self._download(address, remote, part, file)
                note = {"address": shown, "size": part.stat().st_size, "stamp": remote.stamp}
                write_atomically(target.with_suffix(".json"), json.dumps(note).encode(), sync=False)
                part.rename(target)
            os.utime(target)
            handle = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_SH)
            self._held.append(handle)
        return target

    @staticmethod
    def _is_current(target: Path, remote: RemoteFile) -> bool:
        """Return whether a copy is what the server has now."""
        try:
            note = json.loads(target.with_suffix(".json").read_bytes())
            size = target.stat().st_size
        except (OSError, ValueError):
            return False
        same = remote.stamp != "" and note.get("stamp") == remote.stamp
        return same and size == note.get("size") and remote.size in (None, size)

    def _download(self, address: str, remote: RemoteFile, part: Path, file: BinaryIO) -> None:
        """Write a remote file to a part, continuing an attempt with the same stamp."""
        shown = without_secrets(address)
        require_space(self.folder, (remote.size or 0) - file.tell())
        note = part.with_suffix(".part.json")
        before = note.read_text() if note.exists() else None
        if before != remote.stamp or not remote.stamp:
            file.truncate(0)
            file.seek(0)
        note.write_text(remote.stamp)
        idle = 0
        with reading(address):
            while remote.size is None or file.tell() < remote.size:
                have = file.tell()
                try:
                    self._continue(remote, file)
                except Exception as error:
                    file.flush()
                    idle = 0 if file.tell() > have else idle + 1
                    if not is_transient(error) or idle >= TRIES:
                        raise
                    clock.sleep(backoff_seconds() * 2**idle)
                    continue
                if remote.size is None:
                    break
                if file.tell() == have:
                    idle += 1
                    if idle >= TRIES:
                        break
        file.flush()
        size = file.tell()
        after = RemoteFile.find(address)
        if (after.size, after.stamp) != (remote.size, remote.stamp):
            file.truncate(0)
            raise RemoteError(
                f"{shown} changed while it was read", field="source", hint="try again later"
            )
        if remote.size is not None and size != remote.size:
            file.truncate(0)
            raise OSError(f"{shown} is cut short: {size} of {remote.size} bytes")
        note.unlink()

    def _continue(self, remote: RemoteFile, file: BinaryIO) -> None:
        """Append what follows of a remote file, as far as one request goes."""
        have = file.tell()
        if urlsplit(remote.path).scheme not in ("http", "https"):
            end = have + _BLOCK if remote.size is None else min(have + _BLOCK, remote.size)
            self._append(file, remote.filesystem.cat_file(remote.path, start=have, end=end))
            return
        sync(remote.filesystem.loop, self._stream, remote, file)

    async def _stream(self, remote: RemoteFile, file: BinaryIO) -> None:
        """Append what follows of a file on the web; all of it if the server ignores ranges."""
        filesystem, have = remote.filesystem, file.tell()
        options = dict(filesystem.kwargs)
        if have:
            options["headers"] = {**options.get("headers", {}), "Range": f"bytes={have}-"}
        session = await filesystem.set_session()
        async with session.get(filesystem.encode_url(remote.path), **options) as answer:
            if answer.status == 404:
                raise FileNotFoundError(remote.path)
            answer.raise_for_status()
            begins = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if have and not (answer.status == 206 and begins):
                file.truncate(0)
                file.seek(0)
            async for block in answer.content.iter_chunked(_BLOCK):
                self._append(file, block)

    def _append(self, file: BinaryIO, block: bytes) -> None:
        file.write(block)
        self.received(len(block))

    def _make_room(self, size: int, shown: str) -> None:
        """Remove files that were not used for long, then the least recently used ones."""
        if size > self.limit_bytes:
            raise InputError(
                f"{shown} has {size / 1e9:.1f} GB, the folder {self.folder} may hold "
                f"{self.limit_bytes / 1e9:.1f} GB",
                field="source",
                hint=f"set {LIMIT}, or download it yourself",
            )
        copies = []
        for path in self.folder.glob("*.data"):
            with suppress(FileNotFoundError):
                found = path.stat()
                copies.append((found.st_mtime, found.st_size, path))
        total = sum(length for _, length, _ in copies)
        oldest = clock.time() - self.keep_seconds
        for used, length, path in sorted(copies):
            if (used < oldest or total + size > self.limit_bytes) and _remove_unused(path):
                total -= length
        for left in (*self.folder.glob("*.part*"), *self.folder.glob("*.lock")):
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < oldest:
                    _remove_unused(left)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock file, which may be removed while nobody holds it."""
    while True:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                    continue
            except FileNotFoundError:
                continue
            os.utime(path)
            yield
            return


def _remove_unused(path: Path) -> bool:
    """Remove a copy unless a process reads it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            if path.suffix == ".data":
                path.with_suffix(".json").unlink(missing_ok=True)
    except (FileNotFoundError, BlockingIOError):
        return False
    return True
