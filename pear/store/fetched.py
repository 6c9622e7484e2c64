"""Chunks of stores that lie in object storage, fetched when they are read.

A folder with a mark holds the metadata and the manifest of a store. Its chunks are in object
storage, each under its path and the entry that the manifest has of it, so that an object is never
replaced. What is fetched is kept beside the metadata, as if it had been there, until the limit is
reached: then the chunks that were not read for longest are removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from pear.addresses import impatient_options, open_filesystem, reading
from pear.errors import InputError
from pear.store.manifest import Entry, Manifest

MARK: Final = ".pear_remote.json"
"""Name of the mark in a folder whose contents lie in object storage too."""
BASE: Final = ".pear_remote_base.json"
"""Name that the mark gets while a store is written here: what it was before."""
LIMIT: Final = "PEAR_STORE_CACHE_BYTES"
_DEFAULT_LIMIT: Final = 20_000_000_000
_LOCK: Final = ".pear_remote.lock"
_PARTIAL: Final = ".partial"
_TRIES: Final = 2
_PAUSE_SECONDS: Final = 0.5
_TIMEOUT_SECONDS: Final = 20.0
_SLOWEST: Final = 500_000.0
"""Bytes per second of a connection that is still waited for."""
_SHARE: Final = 20
"""A process looks for room whenever it has fetched this part of the limit."""
_fetched_bytes = 0
_counting = threading.Lock()


class StoreUnavailableError(OSError):
    """Object storage does not respond in time, or holds other bytes than were sent.

    Examples
    --------
    >>> from pear.store.fetched import StoreUnavailableError
    >>> issubclass(StoreUnavailableError, OSError)
    True
    """


@dataclass(frozen=True)
class Mark:
    """What a folder says of its copy in object storage.

    Attributes
    ----------
    address
        Address of the copy.
    version
        SHA-256 of what the folder was made from.

    Examples
    --------
    >>> from pear.store.fetched import Mark
    >>> Mark("s3://bucket/pear/forecasts/a.zarr", "0f").version
    '0f'
    """

    address: str
    version: str

    @classmethod
    def read(cls, root: Path, name: str = MARK) -> Self | None:
        """Read the mark of a folder.

        Parameters
        ----------
        root
            The folder.
        name
            Name of the file.

        Returns
        -------
        Mark or None
            None if there is none: all of the store is on this disk.
        """
        try:
            document = json.loads((root / name).read_bytes())
            return cls(str(document["address"]), str(document["version"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, root: Path) -> None:
        """Put the mark into a folder."""
        write_whole(root / MARK, json.dumps(asdict(self)).encode())


def object_name(key: str, entry: Entry) -> str:
    """Return the name of a chunk in object storage.

    Parameters
    ----------
    key
        Path of the chunk in its store.
    entry
        What the manifest has of it.

    Returns
    -------
    str
        The path, and the entry in hexadecimal digits: other bytes have another name.

    Examples
    --------
    >>> from pear.store.fetched import object_name
    >>> from pear.store.manifest import Entry
    >>> object_name("time/c/0", Entry(12, 255, 16))
    'time/c/0.c-000000ff-00000010'
    """
    return f"{key}.{entry.size:x}-{entry.checksum:08x}-{entry.ends:08x}"


def read_object(address: str, size: int = 0) -> bytes:
    """Return the bytes of an object, within a bounded time.

    Parameters
    ----------
    address
        Its address.
    size
        About its size, bytes: larger ones may take longer.

    Returns
    -------
    bytes
        All of it. RemoteError if there is no such object, or access is refused; OSError if the
        server fails or does not respond in time.
    """
    with reading(address):
        filesystem, path = open_filesystem(address, **impatient_options(address))
        if getattr(filesystem, "async_impl", False):
            from fsspec.asyn import sync

            timeout = _TIMEOUT_SECONDS + size / _SLOWEST
            return bytes(sync(filesystem.loop, filesystem._cat_file, path, timeout=timeout))
        return bytes(filesystem.cat_file(path))


def fetch_chunk(root: Path, key: str) -> bool:
    """Fetch a chunk of a store from object storage, if the one on this disk is not what it must be.

    Parameters
    ----------
    root
        Folder of the store.
    key
        Path of the chunk in it.

    Returns
    -------
    bool
        False if there is nothing to fetch: the store is of this disk alone, or the manifest does
        not know the chunk, or it is here already.

    Raises
    ------
    StoreUnavailableError
        If the server does not respond, or holds other bytes than the manifest says.
    """
    mark = Mark.read(root)
    if mark is None:
        return False
    entry = Manifest.read(root).files.get(key)
    if entry is None or _is_here(root / key, entry):
        return False
    address = f"{mark.address}/{object_name(key, entry)}"
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            content = read_object(address, entry.size)
        except InputError as error:
            # Not for the reader to mend: the store was removed, or the server's rights changed.
            raise StoreUnavailableError(f"{root.name}: no {key}: {error}") from error
        except OSError as error:
            if attempt + 1 == _TRIES:
                raise StoreUnavailableError(f"{root.name}: no {key}: {error}") from error
            continue
        if Entry.of(content)[:2] == entry[:2]:
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            write_whole(root / key, content)
            _count(root.parent.parent, len(content))
            return True
    raise StoreUnavailableError(
        f"{root.name}: {key} at {mark.address} is not what was written: its bytes differ"
    )


def note_read(path: Path) -> None:
    """Note that a chunk was read: it is kept longer than those that were not."""
    with suppress(OSError):
        os.utime(path)


def missing_chunks(root: Path) -> list[str]:
    """Return the chunks that the manifest of a marked store names and this disk lacks."""
    if Mark.read(root) is None:
        return []
    return [key for key in Manifest.read(root).files if not (root / key).is_file()]


@contextmanager
def complete(root: Path) -> Iterator[None]:
    """Hold all chunks of a store on this disk while the block runs.

    Programs that read the files of a store, and not its values, need them all. A store without a
    mark is here as a whole.

    Parameters
    ----------
    root
        Folder of the store.

    Yields
    ------
    None
        While nothing is removed. Errors are those of :func:`fetch_chunk`.
    """
    if Mark.read(root) is None:
        yield
        return
    with _cache_lock(root.parent.parent, alone=False):
        for key in Manifest.read(root).files:
            fetch_chunk(root, key)
        yield


def claim(root: Path) -> None:
    """Take the mark of a store away, to write to it here; all its chunks are fetched before.

    Parameters
    ----------
    root
        Folder of the store. The mark stays under another name, as what the store was before.
    """
    with complete(root):
        if (root / MARK).exists():
            (root / MARK).rename(root / BASE)


def cache_limit() -> int:
    """Return how many bytes of fetched chunks a data folder may hold.

    Returns
    -------
    int
        ``PEAR_STORE_CACHE_BYTES``, or 20 GB.

    Raises
    ------
    InputError
        If the setting is not a number of bytes.
    """
    text = os.environ.get(LIMIT) or str(_DEFAULT_LIMIT)
    try:
        limit = int(float(text))
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise InputError(f"{LIMIT} is {text!r}", field=LIMIT, hint="give a number of bytes")
    return limit


def make_room(data: Path, limit: int | None = None) -> int:
    """Remove the fetched chunks of a data folder that were not read for longest.

    Parameters
    ----------
    data
        The data folder; its stores lie two levels below.
    limit
        Bytes that may stay; default: :func:`cache_limit`.

    Returns
    -------
    int
        Bytes that were removed; 0 while a reader holds a store as a whole.
    """
    limit = cache_limit() if limit is None else limit
    removed = 0
    with _cache_lock(data, alone=True) as locked:
        if not locked:
            return 0
        chunks = []
        for mark in data.glob(f"*/*.zarr/{MARK}"):
            for path in mark.parent.rglob("*"):
                if "c" in path.relative_to(mark.parent).parts:
                    with suppress(FileNotFoundError):
                        found = path.stat()
                        if path.is_file():
                            chunks.append((found.st_mtime, found.st_size, path))
        total = sum(size for _, size, _ in chunks)
        for _, size, path in sorted(chunks):
            if total - removed <= limit:
                break
            with suppress(FileNotFoundError):
                path.unlink()
                removed += size
    return removed


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step; a power cut may lose it, and then it is fetched again."""
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}{_PARTIAL}"
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _is_here(path: Path, entry: Entry) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return Entry.of(content)[:2] == entry[:2]


def _count(data: Path, size: int) -> None:
    """Look for room after a part of the limit has been fetched by this process."""
    global _fetched_bytes
    limit = cache_limit()
    with _counting:
        _fetched_bytes += size
        if _fetched_bytes < limit // _SHARE:
            return
        _fetched_bytes = 0
    make_room(data, limit)


@contextmanager
def _cache_lock(data: Path, *, alone: bool) -> Iterator[bool]:
    """Hold the lock of removals: shared by those who need whole stores, or alone if nobody does."""
    descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
