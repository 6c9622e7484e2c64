"""Stores that hosts without a common disk share through object storage.

``PEAR_STORE`` names a folder there. Whoever finishes a store sends it; who needs one fetches it. An
entry (a run with its statistics, an analysis, a climatology, a model, an evaluation) is whole or
not there at all: its index, ``index/KIND/NAME.json``, is written last and names the digests of
everything else. Objects have names that follow from their bytes, so none is ever replaced: a writer
that is killed leaves the entry as it was, and two writers of one entry do not disturb each other.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

from pear.errors import InputError
from pear.store import metadata
from pear.store.fetched import BASE, MARK, Mark, claim, object_name, read_object, write_whole
from pear.store.manifest import FILE, Manifest
from pipelines.storage.atomic import exchange, shared_lock, sync_filesystem, try_lock
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.metadata import rewrite_child_metadata
from pipelines.storage.remote import Remote, RemoteFile
from pipelines.storage.shared_index import (
    INDEX,
    KINDS,
    ZARR,
    Entry,
    Kind,
    Plan,
    file_name,
    index_of,
    make_plan,
    sha256_of,
    store_of,
)

VARIABLE: Final = "PEAR_STORE"
WORKER_DATA: Final = "PEAR_WORKER_DATA"
_CONNECTIONS: Final = 8
_TRIES: Final = 4
_PAUSE_SECONDS: Final = 1.0
_ABANDONED_SECONDS: Final = 3600.0
_WAIT_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class SharedStores:
    """Stores of a data folder and their copies in object storage.

    Attributes
    ----------
    data
        The data folder of this host.
    remote
        The folder in object storage.
    """

    data: DataFolder
    remote: Remote
    _seen: dict[str, RemoteFile] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, data: DataFolder) -> Self | None:
        """Return the shared stores that the environment names.

        Returns
        -------
        SharedStores or None
            None without ``PEAR_STORE``; InputError if it is not an address, holds credentials, or
            needs a package that is not installed.
        """
        address = os.environ.get(VARIABLE)
        return cls(data, _open(address)) if address else None

    def path(self, kind: Kind, name: str) -> Path:
        """Return the path of an entry in the data folder."""
        return _main(self.data, kind, name)

    def names(self, kind: Kind) -> list[str]:
        """Return the names of the entries of a kind."""
        files = self.remote.list_files(f"{INDEX}/{kind}")
        return sorted(name.removesuffix(".json") for name in files if name.endswith(".json"))

    def read(self, kind: Kind, name: str) -> Entry | None:
        """Return the index of an entry.

        Returns
        -------
        Entry or None
            None if there is none.

        Raises
        ------
        OSError
            If the server does not respond, or what it holds is not an index.
        """
        text = self.remote.read_bytes(index_of(kind, name))
        if text is None:
            return None
        try:
            return Entry.parse(text)
        except (ValueError, KeyError, AttributeError) as error:
            raise OSError(f"{self.remote.address}/{index_of(kind, name)}: {error}") from error

    # --- reading -------------------------------------------------------------------------------

    def ensure(self, kind: Kind, name: str) -> bool:
        """Fetch an entry that this folder does not have; one that never changes is asked once.

        Returns
        -------
        bool
            False if it is neither here nor there. OSError if the server does not respond.
        """
        return _main(self.data, kind, name).exists() or self.fetch(kind, name)

    def fetch(self, kind: Kind, name: str) -> bool:
        """Bring an entry of this folder to the version that is shared.

        Of a Zarr store come its metadata, and its chunks when they are read; of another folder all
        files. A store that is being written here, or was never sent, stays as it is.

        Parameters
        ----------
        kind, name
            The entry.

        Returns
        -------
        bool
            False if there is no such entry; OSError if the server does not respond or holds other
            bytes than the index says.
        """
        found = self.read(kind, name)
        if found is None:
            return False
        for store in found.stores:
            self._fetch_store(kind, store, found)
        return True

    def fetch_all(self, kinds: Iterable[Kind] = KINDS) -> list[str]:
        """Fetch all entries of some kinds; of those seen before, the ones whose index changed.

        Returns
        -------
        list of str
            What could not be fetched, and why; OSError if the server does not respond at all.
        """
        problems = []
        self._sweep()
        for kind in kinds:
            for file, found in self.remote.list_files(f"{INDEX}/{kind}").items():
                name = file.removesuffix(".json")
                seen = self._seen.get(f"{kind}/{name}")
                # A finished run never changes.
                is_known = kind == "forecasts" or (found.md5 is not None and seen == found)
                if is_known and _main(self.data, kind, name).exists():
                    continue
                try:
                    self.fetch(kind, name)
                    self._seen[f"{kind}/{name}"] = found
                except (OSError, InputError) as error:
                    problems.append(f"{kind}/{name}: {' '.join(str(error).split())}")
        return problems

    def _fetch_store(self, kind: Kind, store: str, found: Entry) -> None:
        path = self.data.root / store
        if path.parent != self.data.parts[kind] or path.name.startswith("."):
            raise OSError(f"{self.remote.address}: the index of {kind} names {store}")
        files, address = found.stores[store], f"{self.remote.address}/{store}"
        mark = Mark(address, found.version(store))
        if not _is_behind(path, mark):
            return
        contents = {file: self._read_file(store, file, sha256) for file, sha256 in files.items()}
        with _lock(self.data.scratch / f"fetch-{path.name}.lock"):
            if not _is_behind(path, mark):
                return  # another process of this host has done it
            if path.exists() and path.suffix == ZARR:
                self._renew(path, contents, mark)
            else:
                self._make(path, contents, mark)

    def _make(self, path: Path, contents: Mapping[str, bytes], mark: Mark) -> None:
        hidden = path.parent / f".{path.name}.{uuid.uuid4().hex}.fetch"
        try:
            for file, content in contents.items():
                (hidden / file).parent.mkdir(parents=True, exist_ok=True)
                (hidden / file).write_bytes(content)
            if path.suffix == ZARR:
                rewrite_child_metadata(hidden, sync=False)
            mark.write(hidden)
            sync_filesystem(hidden)
            if path.exists():
                exchange(hidden, path)
            else:
                hidden.rename(path)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)

    def _renew(self, path: Path, contents: Mapping[str, bytes], mark: Mark) -> None:
        """Bring the metadata of a store to another version; its root last, which readers go by."""
        with try_lock(path.parent / f".{path.name}.lock") as alone:
            if not alone or Mark.read(path) is None:
                return  # it is being written here
            write_whole(path / FILE, contents[FILE])
            write_whole(path / metadata.META, contents[metadata.META])
            rewrite_child_metadata(path, sync=False)
            mark.write(path)

    def _read_file(self, store: str, file: str, sha256: str) -> bytes:
        address = f"{self.remote.address}/{store}/{file_name(file, sha256)}"
        try:
            content = read_object(address)
        except InputError as error:  # of a version that has just been removed, or damaged
            raise OSError(str(error)) from error
        if sha256_of(content) != sha256:
            raise OSError(f"{self.remote.address}/{store}: {file} is not what was written")
        return content

    def _sweep(self) -> None:
        """Remove what a fetch that was killed has left."""
        oldest = time.time() - _ABANDONED_SECONDS
        for left in self.data.root.glob("*/.*.fetch"):
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < oldest:
                    shutil.rmtree(left, ignore_errors=True)

    # --- writing -------------------------------------------------------------------------------

    def claim(self, kind: Kind, name: str) -> None:
        """Bring a store to the shared version and fetch all of it, to write to it here.

        One that was written here before and could not be sent stays as it is.
        """
        self.fetch(kind, name)
        path = _main(self.data, kind, name)
        if path.exists():
            claim(path)

    def push(self, kind: Kind, name: str) -> str:
        """Send what an entry has and object storage lacks, and enter it; repeating it does nothing.

        Every chunk is compared with the manifest before it is sent. Objects go first, the index
        last. A server that fails is asked again for some seconds.

        Parameters
        ----------
        kind, name
            The entry.

        Returns
        -------
        str
            SHA-256 of the index. InputError if there is no such entry here, a file is damaged, or
            another host has changed the store meanwhile; OSError if the server fails.
        """
        for attempt in range(_TRIES - 1):
            with suppress(OSError):
                return self._push(kind, name)
            time.sleep(_PAUSE_SECONDS * 2**attempt)
        return self._push(kind, name)

    def _push(self, kind: Kind, name: str) -> str:
        paths = members(self.data, kind, name)
        before = self.read(kind, name)
        if all(Mark.read(path) is not None for path in paths) and before is not None:
            return sha256_of(before.dump())  # it came from there, or was sent
        with ExitStack() as locks:
            for path in paths:
                locks.enter_context(shared_lock(path))
            plans = {path.relative_to(self.data.root).as_posix(): make_plan(path) for path in paths}
            entry = Entry({store: plan.index for store, plan in plans.items()})
            for store in entry.stores:
                self._require_successor(store, entry, before)
            for store, plan in plans.items():
                self._send(store, plan)
            self.remote.put_bytes(entry.dump(), index_of(kind, name))
            for store, path in zip(entry.stores, paths, strict=True):
                Mark(f"{self.remote.address}/{store}", entry.version(store)).write(path)
                (path / BASE).unlink(missing_ok=True)
        for store in entry.stores:
            self._remove_former(store, entry, before)
        return sha256_of(entry.dump())

    def _require_successor(self, store: str, entry: Entry, before: Entry | None) -> None:
        """Raise if an analysis or climatology was changed by another host since it came from it."""
        if before is None or store not in before.stores or not store.endswith(ZARR):
            return
        base, shared = Mark.read(self.data.root / store, BASE), before.version(store)
        if store.startswith("forecasts/") or entry.version(store) == shared:
            return
        if base is None or base.version != shared:
            raise InputError(
                f"{store} was changed by another host: {self.remote.address} has other times",
                field=VARIABLE,
                hint="move the folder away, and ingest again what it had more",
            )

    def _send(self, store: str, plan: Plan) -> None:
        there = self.remote.list_files(store)
        missing = [
            name
            for name, file in plan.files.items()
            if name not in there or there[name].size != file.size
        ]

        def send(name: str) -> None:
            self.remote.put_bytes(plan.files[name].read(), f"{store}/{name}")

        with ThreadPoolExecutor(_CONNECTIONS, "send") as threads:
            for _ in threads.map(send, missing):
                pass

    def _remove_former(self, store: str, entry: Entry, before: Entry | None) -> None:
        """Remove objects that neither this version of a store needs nor the one before."""
        if not store.endswith(ZARR) or store.startswith("forecasts/"):
            return
        needed = set(make_plan(self.data.root / store).files)
        if before is not None and store in before.stores:
            files = before.stores[store]
            manifest = Manifest.parse(self._read_file(store, FILE, files[FILE]))
            needed |= {file_name(file, sha256) for file, sha256 in files.items()}
            needed |= {object_name(key, one) for key, one in manifest.files.items()}
        for name in self.remote.list_files(store):
            if name not in needed:
                self.remote.remove(f"{store}/{name}")

    def remove(self, kind: Kind, name: str) -> None:
        """Remove an entry; the index goes last, so that an interrupted removal is continued."""
        stores = dict.fromkeys([store_of(kind, name)])
        found = self.read(kind, name)
        stores |= dict.fromkeys(found.stores if found is not None else ())
        for store in stores:
            for file in self.remote.list_files(store):
                self.remote.remove(f"{store}/{file}")
        if found is not None:
            self.remote.remove(index_of(kind, name))

    def find_damage(self, kind: Kind, name: str) -> Iterator[tuple[str, str]]:
        """Yield the objects of an entry that are missing or not what was written, by reading all.

        Yields
        ------
        object, problem
            Path below the address, and what is wrong.
        """
        found = self.read(kind, name)
        if found is None:
            yield index_of(kind, name), "is missing"
            return
        for store, files in found.stores.items():
            for file, sha256 in files.items():
                try:
                    content = self._read_file(store, file, sha256)
                except (OSError, InputError) as error:
                    yield f"{store}/{file}", " ".join(str(error).split())
                    continue
                if file == FILE and store.endswith(ZARR):
                    yield from self._find_damaged_chunks(store, Manifest.parse(content))

    def _find_damaged_chunks(self, store: str, manifest: Manifest) -> Iterator[tuple[str, str]]:
        for key, entry in manifest.files.items():
            name = f"{store}/{object_name(key, entry)}"
            try:
                content = read_object(f"{self.remote.address}/{name}", entry.size)
            except (OSError, InputError) as error:
                yield name, " ".join(str(error).split())
            else:
                if not manifest.fits(key, content):
                    yield name, "is not what was written: its size or checksum differs"


def _is_behind(path: Path, mark: Mark) -> bool:
    """Return whether a folder is to be brought to a version: not if it is written here."""
    if not path.exists():
        return True
    here = Mark.read(path)
    if here is None:
        base = Mark.read(path, BASE)
        if base is None or base.version != _local_version(path):
            return False  # of this host, or changed here and not sent yet
        with suppress(FileNotFoundError):
            (path / BASE).rename(path / MARK)  # claimed, and not written
        here = base
    return here != mark


def _local_version(path: Path) -> str | None:
    """Return the version of a Zarr store as it is here; None if it cannot be read."""
    try:
        files = {file: sha256_of((path / file).read_bytes()) for file in (FILE, metadata.META)}
    except OSError:
        return None
    return Entry({"": files}).version("")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for another process of this host that holds it."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        with try_lock(path) as alone:
            if alone:
                yield
                return
        if time.monotonic() > until:
            raise OSError(errno.EAGAIN, "another process is still fetching it", str(path))
        time.sleep(_POLL_SECONDS)


def members(data: DataFolder, kind: Kind, name: str) -> list[Path]:
    """Return the folders of an entry that exist: of a run its statistics, and its own store last.

    Parameters
    ----------
    data
        The data folder.
    kind, name
        The entry.

    Returns
    -------
    list of Path
        At least one.

    Raises
    ------
    InputError
        If there is none.
    """
    main = _main(data, kind, name)
    if not main.is_dir():
        raise InputError(f"no {kind}/{name} in {data.root}", field="name")
    others = sorted(main.parent.glob(f"{name}.*{ZARR}")) if kind == "forecasts" else []
    return [*others, main]


def share(data: DataFolder, kind: Kind, name: str, *, changed: bool = False) -> str | None:
    """Send an entry to object storage, if the environment names one.

    Parameters
    ----------
    data
        The data folder.
    kind, name
        The entry.
    changed
        Whether the folder of a model or an evaluation was changed after it had been sent.

    Returns
    -------
    str or None
        SHA-256 of its index; None without shared stores. Errors are those of
        :meth:`SharedStores.push`.
    """
    shared = SharedStores.of(data)
    if shared is None:
        return None
    if changed:
        (shared.path(kind, name) / MARK).unlink(missing_ok=True)
    return shared.push(kind, name)


def open_worker_folder(root: str) -> DataFolder:
    """Return the data folder in which this process computes.

    Parameters
    ----------
    root
        That of the process which submitted the work.

    Returns
    -------
    DataFolder
        ``PEAR_WORKER_DATA``, where set: workers with shared stores may have a folder of their own,
        which is made if there is none.
    """
    own = os.environ.get(WORKER_DATA)
    if own:
        return DataFolder.create(own)
    return DataFolder.create(root) if os.environ.get(VARIABLE) else DataFolder.open(root)


def is_shared(path: Path) -> bool:
    """Return whether a folder has a copy in object storage, and need not have all its chunks."""
    return (path / MARK).is_file()


def _main(data: DataFolder, kind: Kind, name: str) -> Path:
    return data.root / store_of(kind, name)


@lru_cache(maxsize=4)
def _open(address: str) -> Remote:
    return Remote.open(address, impatient=True)
