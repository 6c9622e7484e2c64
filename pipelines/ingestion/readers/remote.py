"""Zarr at an address, in Icechunk, and behind references (kerchunk); files are in remote_files."""

from __future__ import annotations

import asyncio
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, NoReturn, TypeAlias
from urllib.parse import urlsplit

import fsspec
import xarray as xr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.reference import ReferenceFileSystem
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore

from pear.addresses import (
    RemoteError,
    is_address,
    is_transient,
    open_filesystem,
    reading,
    storage_options,
    with_access,
    without_secrets,
)
from pear.errors import InputError
from pear.grib_library import import_before_xarray
from pear.store.ranged import RangedStore
from pipelines.ingestion.readers.hierarchy import inherit, list_groups
from pipelines.ingestion.readers.zarr_chunks import WholeStore
from pipelines.ingestion.remote_files import TRIES, backoff_seconds, retry

_METADATA: Final = ("zarr.json", ".zmetadata", ".zgroup")
_ICECHUNK: Final = ("repo", "refs/branch.main/ref.json")
_FILES: Final = (
    *(".nc", ".nc3", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5"),
    *(".grib", ".grib1", ".grib2", ".grb", ".grb2", ".zip", ".json"),
)
_MOST_REFERENCES_BYTES: Final = 500_000_000

Received: TypeAlias = Callable[[str, int], object]
"""Called with the key and the number of bytes of a value that arrives."""


class PatientStore(RangedStore):
    """Store that asks again after a fault that may pass, and counts the bytes that arrive.

    Parameters
    ----------
    store
        The store.
    received
        Called with the key and the number of bytes of each value.
    """

    def __init__(self, store: Store, received: Received = lambda *_: None) -> None:
        super().__init__(store)
        self._received = received

    def _with_store(self, store: Store) -> PatientStore:
        return type(self)(store, self._received)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key."""
        for attempt in range(TRIES):
            try:
                found = await super().get(key, prototype, byte_range)
            except Exception as error:
                if not is_transient(error) or attempt == TRIES - 1:
                    raise
                await asyncio.sleep(backoff_seconds() * 2**attempt)
            else:
                if found is not None:
                    self._received(key, len(found))
                return found
        raise AssertionError  # the last attempt returns or raises


@dataclass(frozen=True)
class RemoteZarr:
    """Opener of a Zarr store at an address.

    Attributes
    ----------
    address
        The address.
    anonymous
        Whether to ask without credentials.
    group
        Path of a group in it; empty for the root.
    """

    address: str
    anonymous: bool = False
    group: str = ""

    @property
    def label(self) -> str:
        """Name of the store in messages."""
        return without_secrets(self.address)

    def in_group(self, group: str) -> RemoteZarr:
        """Return the opener of a group."""
        return replace(self, group=group)

    def groups(self) -> list[str]:
        """Return the paths of all groups below the root."""
        with reading(self.address):
            return list_groups(self._store(lambda *_: None))

    def open(self, received: Received = lambda *_: None) -> xr.Dataset:
        """Open the store lazily, decoded; times stay numbers."""
        with reading(self.address):
            store = self._store(received)
            root = _open(store)
            return inherit(_open(store, self.group), root) if self.group else root

    def _store(self, received: Received) -> PatientStore:
        options = storage_options(self.address, anonymous=self.anonymous)
        store = FsspecStore.from_url(self.address, storage_options=options, read_only=True)
        return PatientStore(store, received)


@dataclass(frozen=True)
class Icechunk:
    """Opener of the branch ``main`` of an Icechunk repository.

    Attributes
    ----------
    address
        A folder, or an address in S3 or Google's storage.
    anonymous
        Whether to ask without credentials.
    """

    address: str
    anonymous: bool = False

    def open(self) -> xr.Dataset:
        """Open the newest snapshot lazily, decoded; times stay numbers."""
        shown = without_secrets(self.address)
        try:
            import icechunk
        except ImportError as error:
            raise InputError(
                f"{shown} is an Icechunk repository, which needs icechunk",
                field="source",
                hint='pip install "pear-weather[icechunk]"',
            ) from error
        parts = urlsplit(self.address)
        place: dict[str, Any] = {"bucket": parts.netloc, "prefix": parts.path.strip("/")}
        place["anonymous" if self.anonymous else "from_env"] = True
        if parts.scheme in ("s3", "s3a"):
            url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            storage = icechunk.s3_storage(
                **place,
                endpoint_url=url,
                allow_http=bool(url and url.startswith("http://")),
                force_path_style=url is not None,
            )
        elif parts.scheme in ("gs", "gcs"):
            storage = icechunk.gcs_storage(**place)
        elif is_address(self.address):
            raise InputError(
                f"{shown}: Icechunk is read from folders, s3:// and gs://", field="source"
            )
        else:
            storage = icechunk.local_filesystem_storage(self.address)
        try:
            config = icechunk.Repository.fetch_config(storage)
            prefixes = dict.fromkeys((config and config.virtual_chunk_containers) or {})
            if is_address(self.address) and any(p.startswith("file:") for p in prefixes):
                _refuse_local(shown)
            repository = icechunk.Repository.open(storage, authorize_virtual_chunk_access=prefixes)
            return _open(repository.readonly_session("main").store)
        except icechunk.IcechunkError as error:
            reason = without_secrets(str(error)).strip().splitlines()[0]
            raise InputError(
                f"{shown} cannot be opened as Icechunk: {reason}", field="source"
            ) from error


@dataclass(frozen=True)
class References:
    """Opener of a file of references into other files, as kerchunk and VirtualiZarr write them.

    Attributes
    ----------
    path
        The JSON file.
    origin
        Its address, or its path.
    stamp
        Time of its last change, so that a changed file is opened again.
    """

    path: str
    origin: str
    stamp: int

    def open(self) -> xr.Dataset:
        """Open the dataset lazily, decoded; times stay numbers."""
        shown = without_secrets(self.origin)
        found = read_references(Path(self.path), self.origin)
        schemes = {urlsplit(url).scheme: url for url in _targets(found)}
        systems: dict[str | None, Any] = {}
        for scheme, url in schemes.items():
            if scheme in ("", "file"):
                system = AsyncFileSystemWrapper(fsspec.filesystem("file"), asynchronous=True)
                systems[scheme or None] = system
                continue
            with reading(url):
                anonymous = with_access(url, partial(_look, url))[1]
            options = storage_options(url, anonymous=anonymous)
            systems[scheme] = fsspec.filesystem(scheme, asynchronous=True, **options)
        with reading(shown):
            files = ReferenceFileSystem(
                fo={"version": 1, "refs": found}, fs=systems, asynchronous=True
            )
            return _open(PatientStore(FsspecStore(files, read_only=True, path="")))


def _open(store: Store, group: str = "") -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no consolidated metadata, odd fill values
        import_before_xarray()
        dataset: xr.Dataset = xr.open_zarr(
            WholeStore(store), chunks=None, decode_times=False, group=group or None
        )
        return dataset


def _look(address: str, *, anonymous: bool) -> None:
    filesystem, path = open_filesystem(address, anonymous=anonymous)
    retry(lambda: filesystem.info(path))


def expand(address: str) -> list[str]:
    """Return the addresses that a pattern such as ``s3://bucket/2026/*.nc`` stands for.

    Parameters
    ----------
    address
        Address, or anything else, which is returned as it is.

    Returns
    -------
    list of str
        In the order of their names.

    Raises
    ------
    RemoteError
        If no file fits.
    """
    parts = urlsplit(address)
    if not is_address(address) or parts.scheme in ("http", "https", "file") or "*" not in address:
        return [address]

    def ask(*, anonymous: bool) -> list[str]:
        filesystem, path = open_filesystem(address, anonymous=anonymous)
        found = retry(partial(filesystem.glob, path))
        return [f"{parts.scheme}://{name}" for name in sorted(found)]

    with reading(address):
        names, _ = with_access(address, ask)
    if not names:
        raise RemoteError(f"no file fits {without_secrets(address)}", field="source")
    return names


def find_store(address: str) -> RemoteZarr | Icechunk | None:
    """Return the opener of a Zarr store at an address, or None if it is not one.

    An OSError says that the server fails.

    Parameters
    ----------
    address
        The address.

    Returns
    -------
    RemoteZarr, Icechunk or None
        None for an address of a file.

    Raises
    ------
    RemoteError
        If access is refused, or the address ends with ``.zarr`` and has no such store.
    """
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    if suffix in _FILES or urlsplit(address).query:
        return None
    if "::" in address:
        return RemoteZarr(address)  # chained file systems of fsspec

    def ask(*, anonymous: bool) -> RemoteZarr | Icechunk | None:
        filesystem, path = open_filesystem(address, anonymous=anonymous)
        refused: Exception | None = None
        for names, opener in ((_METADATA, RemoteZarr), (_ICECHUNK, Icechunk)):
            for name in names:
                try:
                    retry(partial(filesystem.cat_file, f"{path.rstrip('/')}/{name}"))
                except (FileNotFoundError, IsADirectoryError):
                    continue
                except PermissionError as error:
                    refused = refused or error  # so do buckets that may not be listed
                    continue
                found: RemoteZarr | Icechunk = opener(address, anonymous)
                return found
        if refused is not None:
            raise refused
        return None

    with reading(address):
        store, _ = with_access(address, ask)
    if store is None and suffix.startswith(".zarr"):
        raise RemoteError(
            f"{without_secrets(address)} has no Zarr store: neither {', '.join(_METADATA[:-1])} "
            f"nor {_METADATA[-1]}",
            field="source",
        )
    return store


def is_icechunk(folder: Path) -> bool:
    """Return whether a folder is an Icechunk repository."""
    return any((folder / name).exists() for name in _ICECHUNK)


def read_references(path: Path, origin: str) -> dict[str, Any]:
    """Return references with whole addresses and no templates.

    Parameters
    ----------
    path
        The JSON file.
    origin
        Its address, or its path; relative targets lie beside it.

    Returns
    -------
    dict
        Key of a Zarr store to its text, or to the address, offset and length of its bytes.

    Raises
    ------
    InputError
        If the file is damaged, holds programs, or came from a server and names local files.
    """
    shown = without_secrets(origin)
    if path.stat().st_size > _MOST_REFERENCES_BYTES:
        raise InputError(f"{shown} is too long for references in JSON", field="source")
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{shown} is damaged JSON: {error}", field="file") from error
    refs = document.get("refs", document) if isinstance(document, dict) else None
    if not isinstance(refs, dict) or not any(key.endswith(_METADATA) for key in refs):
        raise InputError(
            f"{shown} is JSON, but does not hold references to chunks of Zarr", field="file"
        )
    if document.get("gen"):
        raise InputError(
            f"{shown} holds rules that make references",
            field="source",
            hint="write them out, as kerchunk does without `gen`",
        )
    templates = document.get("templates") or {}
    found = {
        key: _whole(value, templates, origin) for key, value in refs.items() if value is not None
    }
    local = not is_address(origin) or origin.startswith("file:")
    if not local and any(urlsplit(url).scheme in ("", "file", "local") for url in _targets(found)):
        _refuse_local(shown)
    return found


def _whole(value: Any, templates: Mapping[str, str], origin: str) -> Any:  # noqa: ANN401 - JSON
    """Return a reference with its template filled in and its target's whole address."""
    if not (isinstance(value, list) and value and isinstance(value[0], str)):
        return value
    url = value[0]
    for name, text in templates.items():
        url = url.replace("{{" + name + "}}", text)
    if "{{" in url:
        raise InputError(
            f"{without_secrets(origin)} has the reference {value[0]!r}, a program",
            field="source",
            hint="write references without functions",
        )
    if not is_address(url) and not url.startswith("/"):
        base = origin.rpartition("/")[0]
        url = f"{base}/{url}" if base else url
    return [url, *value[1:]]


def _targets(refs: Mapping[str, Any]) -> Iterator[str]:
    for value in refs.values():
        if isinstance(value, list) and value:
            yield value[0]


def _refuse_local(shown: str) -> NoReturn:
    raise InputError(
        f"{shown} came from a server and refers to files of this machine",
        field="source",
        hint="download it, if you trust it",
    )
