"""Zarr stores of servers: asked again after a fault that may pass, and compared afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import xarray as xr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from pear.addresses import RemoteError, is_transient
from pear.grib_library import import_before_xarray
from pear.store.ranged import RangedStore
from pipelines.ingestion.readers.zarr_chunks import WholeStore
from pipelines.ingestion.remote_files import TRIES, backoff_seconds

METADATA: Final = ("zarr.json", ".zmetadata", ".zgroup")
"""Keys of which a Zarr store has at least one."""
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


class _DigestingStore(PatientStore):
    """Store that remembers a digest of all that was read."""

    def __init__(self, store: Store, received: Received = lambda *_: None) -> None:
        super().__init__(store, received)
        self.digests: dict[tuple[str, str], bytes] = {}

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key."""
        found = await super().get(key, prototype, byte_range)
        content = b"" if found is None else hashlib.sha256(found.to_bytes()).digest()
        self.digests[key, str(byte_range)] = content
        return found


def open_decoded(store: Store, group: str = "") -> xr.Dataset:
    """Open a store lazily, decoded; times stay numbers, and a field without a chunk is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no consolidated metadata, odd fill values
        import_before_xarray()
        dataset: xr.Dataset = xr.open_zarr(
            WholeStore(store), chunks=None, decode_times=False, group=group or None
        )
        return dataset


def fingerprint(
    store: Store, groups: tuple[str, ...] = ("",), received: Received = lambda *_: None
) -> str:
    """Return a digest of the metadata and axes of a store.

    Parameters
    ----------
    store
        The store.
    groups
        Paths of the groups that are opened.
    received
        As :class:`PatientStore` takes it.

    Returns
    -------
    str
        Other than before if an array was appended to, resized or renamed, or its axes were
        written again.
    """
    digesting = _DigestingStore(store, received)
    for group in groups:
        open_decoded(digesting, group).close()
    total = hashlib.sha256()
    for (key, part), content in sorted(digesting.digests.items()):
        total.update(f"{key}\0{part}\0".encode() + content)
    return total.hexdigest()


@dataclass(frozen=True)
class ChangeCheck:
    """Refuses a store that is another than at the beginning.

    Attributes
    ----------
    label
        Name of the store in messages.
    take
        Returns its fingerprint.
    before
        Its fingerprint at the beginning.
    """

    label: str
    take: Callable[[], str]
    before: str

    @classmethod
    def start(cls, label: str, take: Callable[[], str]) -> Self:
        """Take the fingerprint of a store that is going to be read."""
        return cls(label, take, take())

    def __call__(self) -> None:
        """Take the fingerprint again; raise RemoteError if it differs."""
        if self.take() != self.before:
            raise RemoteError(
                f"{self.label} changed while it was read", field="source", hint="try again later"
            )
