"""Zarr at an address and in Icechunk; references have a module of their own, files another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import xarray as xr
from zarr.storage import FsspecStore

from pear.addresses import (
    RemoteError,
    is_address,
    open_filesystem,
    reading,
    storage_options,
    with_access,
    without_secrets,
)
from pear.errors import InputError
from pipelines.ingestion.readers.hierarchy import inherit, list_groups
from pipelines.ingestion.readers.patient_store import (
    METADATA,
    ChangeCheck,
    PatientStore,
    Received,
    fingerprint,
    open_decoded,
)
from pipelines.ingestion.readers.references import (
    ParquetReferences,
    holds_records,
    refuse_local,
)
from pipelines.ingestion.remote_files import retry

_ICECHUNK: Final = ("repo", "refs/branch.main/ref.json")
_FILES: Final = (
    *(".nc", ".nc3", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5"),
    *(".grib", ".grib1", ".grib2", ".grb", ".grb2", ".zip", ".json"),
)


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
            root = open_decoded(store)
            return inherit(open_decoded(store, self.group), root) if self.group else root

    def require_listed(self) -> None:
        """Refuse a store that seems empty where that follows from what the server does not say.

        Raises
        ------
        InputError
            If it is on the web, and its metadata are not consolidated.
        """
        if urlsplit(self.address).scheme in ("http", "https"):
            raise InputError(
                f"{self.label} has no consolidated metadata, and no server of web pages lists its "
                "arrays",
                field="source",
                hint="consolidate them: zarr.consolidate_metadata(STORE)",
            )

    def check_changes(self, received: Received = lambda *_: None) -> ChangeCheck:
        """Return what refuses other metadata or axes than there are now."""
        groups = ("", self.group) if self.group else ("",)

        def take() -> str:
            with reading(self.address):
                return fingerprint(self._store(received), groups)

        return ChangeCheck.start(self.label, take)

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
    snapshot
        Identifier of the snapshot to read; empty for the newest.
    """

    address: str
    anonymous: bool = False
    snapshot: str = ""

    def at_newest(self) -> Icechunk:
        """Return the opener of what is the newest snapshot now, in every process."""
        with self._repository() as repository:
            return replace(self, snapshot=repository.lookup_branch("main"))

    def open(self) -> xr.Dataset:
        """Open the snapshot lazily, decoded; times stay numbers."""
        with self._repository() as repository:
            if self.snapshot:
                return open_decoded(repository.readonly_session(snapshot_id=self.snapshot).store)
            return open_decoded(repository.readonly_session("main").store)

    @contextmanager
    def _repository(self) -> Iterator[Any]:
        """Open the repository; errors in the block are one line, too."""
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
                refuse_local(shown)
            yield icechunk.Repository.open(storage, authorize_virtual_chunk_access=prefixes)
        except icechunk.IcechunkError as error:
            reason = without_secrets(str(error)).strip().splitlines()[0]
            raise InputError(
                f"{shown} cannot be opened as Icechunk: {reason}", field="source"
            ) from error


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


RemoteStore: TypeAlias = RemoteZarr | Icechunk | ParquetReferences


def find_store(address: str) -> RemoteStore | None:
    """Return the opener of a Zarr store at an address, or None if it is not one.

    An OSError says that the server fails.

    Parameters
    ----------
    address
        The address.

    Returns
    -------
    RemoteZarr, Icechunk, ParquetReferences or None
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

    with reading(address):
        store, _ = with_access(address, partial(_look_for_store, address))
    if store is None and suffix.startswith(".zarr"):
        raise RemoteError(
            f"{without_secrets(address)} has no Zarr store: neither {', '.join(METADATA[:-1])} "
            f"nor {METADATA[-1]}",
            field="source",
        )
    return store


def _look_for_store(address: str, *, anonymous: bool) -> RemoteStore | None:
    """Return the opener of the store at an address, by the first of its files that is there."""
    filesystem, path = open_filesystem(address, anonymous=anonymous)
    refused: Exception | None = None
    for names, opener in ((METADATA, RemoteZarr), (_ICECHUNK, Icechunk)):
        for name in names:
            try:
                content = retry(partial(filesystem.cat_file, f"{path.rstrip('/')}/{name}"))
            except (FileNotFoundError, IsADirectoryError):
                continue
            except PermissionError as error:
                refused = refused or error  # so do buckets that may not be listed
                continue
            if name == ".zmetadata" and holds_records(content):
                return ParquetReferences(address, anonymous)
            found: RemoteStore = opener(address, anonymous)
            return found
    if refused is not None:
        raise refused
    return None


def is_icechunk(folder: Path) -> bool:
    """Return whether a folder is an Icechunk repository."""
    return any((folder / name).exists() for name in _ICECHUNK)
