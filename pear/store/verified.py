"""Zarr store that hands out only the files that were written, and names the one that is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from io import SEEK_END
from pathlib import Path
from typing import Any, Final, NoReturn

from zarr.abc.store import ByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from pear.store import fetched, manifest, metadata
from pear.store.manifest import DamagedStoreError, Entry, Manifest

_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.02
_DIFFERS: Final = "is damaged: its checksum differs"
_MAY_BE_ZERO: Final = ("crs", "hour", "number", "prediction_timedelta")
"""Arrays of one value of stores without a manifest that hold zero, which was not written then."""
_MAY_BE_ALL_ZERO: Final = ("complete", "preliminary", "source_lead_time", "lead_time")
"""Arrays that may be zero everywhere, which other programs do not write."""


class VerifiedStore(LocalStore):
    """Store on the local disk, read only, whose files must be those of its manifest.

    The root's metadata must agree with their digest. A chunk must be there, as long as it was and
    with the checksums it had; of a store without a manifest, it must be there unless missing
    values are allowed (a fill value of NaN), and agree with its own checksum.

    A chunk of a store that lies in object storage too (:mod:`pear.store.fetched`) is fetched where
    it is not on this disk; an OSError says that it could not be.

    Parameters
    ----------
    root
        Folder of the store.
    read_only
        As Zarr asks for it; nothing else is supported.

    Raises
    ------
    DamagedStoreError
        On reading a file that is lost or damaged; names it and the remedy.

    Examples
    --------
    >>> import zarr
    >>> from pear import resources
    >>> from pear.store.verified import VerifiedStore
    >>> group = zarr.open_group(VerifiedStore(resources.path("climatology")), mode="r")
    >>> int(group["level"][0])
    50
    """

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._known: tuple[dict[str, Any], Manifest | None] | None = None
        self._is_fetched = fetched.Mark.read(self.root) is not None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the manifest out: another process reads its own."""
        return self.__dict__ | {"_known": None}

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of a file, or a part of them, after they were checked."""
        for attempt in range(_TRIES):
            found = await super().get(key, prototype, byte_range)
            problem = self._problem(key, found, byte_range)
            if problem is None:
                if found is not None and self._is_fetched and _is_chunk(key):
                    fetched.note_read(self.root / key)
                return found
            if _is_chunk(key) and await asyncio.to_thread(fetched.fetch_chunk, self.root, key):
                continue
            # A writer may have replaced the file since the manifest was read: read both again.
            self._known = None
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS)
        raise DamagedStoreError(self.root, key, problem or "is damaged")

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype | None = None,
        **_: object,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield parts of a file one by one, each checked.

        New versions of Zarr would join neighbouring chunks of a shard into one part, which has no
        checksum of its own, and would hide an error in a group of errors.

        Yields
        ------
        tuple of (int, Buffer)
            Number of the part and its bytes.

        Raises
        ------
        BaseExceptionGroup
            Of one FileNotFoundError, if there is no such file, as Zarr's own method says it.
        """
        for number, byte_range in enumerate(byte_ranges):
            found = await self.get(key, prototype, byte_range)
            if found is None:
                raise BaseExceptionGroup(key, [FileNotFoundError(key)])
            yield ((number, found),)

    def get_sync(self, *_: object, **__: object) -> NoReturn:
        """Refuse the reads of Zarr's synchronous pipeline, which would come unchecked."""
        raise RuntimeError(
            "stores of PEAR are read with Zarr's own pipeline, whose reads are checked; unset "
            "codec_pipeline.path in zarr.config"
        )

    def _problem(
        self, key: str, found: Buffer | None, byte_range: ByteRequest | None
    ) -> str | None:
        if key == metadata.META:
            return self._root_problem(found)
        if not _is_chunk(key):
            return None
        root, files = self._read_known()
        if found is None:
            if files is not None:
                return "is missing" if key in files.files else None
            return None if _may_be_absent(self.root, root, key) else "is missing"
        content = found.to_bytes()
        if byte_range is not None and not isinstance(byte_range, SuffixByteRequest):
            # A part of a shard, whose index was checked before: a chunk with its own checksum.
            return None if manifest.has_own_checksum(content) else _DIFFERS
        if files is None:
            return None if _is_sound(self.root, root, key, content) else _DIFFERS
        entries = files.entries(key)
        if not entries:
            return "is not a file of the store"
        if byte_range is None:
            same = files.fits(key, content)
        else:
            same = manifest.has_own_checksum(content) and any(
                _matches(self.root / key, entry, len(content)) for entry in entries
            )
        return None if same else "is not what was written: its size or checksum differs"

    def _root_problem(self, found: Buffer | None) -> str | None:
        if found is None:
            return None  # zarr says that the store is missing
        try:
            document = metadata.parse(found.to_bytes(), self.root)
        except ValueError:
            return "is damaged"
        whole = metadata.is_intact_or_unsigned(document) or metadata.is_copy(self.root, document)
        return None if whole else "differs from its digest"

    def _read_known(self) -> tuple[dict[str, Any], Manifest | None]:
        if self._known is None:
            root = metadata.read_intact(self.root)
            named = metadata.manifest_of(root) is not None
            named = named and not metadata.is_copy(self.root, root)
            self._known = root, Manifest.read(self.root) if named else None
        return self._known


def _matches(path: Path, entry: Entry, index_bytes: int) -> bool:
    """Return whether a shard has the size and the ends of an entry."""
    try:
        with path.open("rb") as file:
            return (
                file.seek(0, SEEK_END) == entry.size
                and manifest.checksum_of_ends(file, index_bytes) == entry.ends
            )
    except OSError:
        return False


def _is_chunk(key: str) -> bool:
    return "c" in key.split("/")[:-1] or key.split("/")[-1] == "c"


def _array_metadata(path: Path, root: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the metadata of the array of a chunk."""
    parts = key.split("/")
    name = "/".join(parts[: parts.index("c")])
    try:
        return dict(metadata.nodes(root)[name])
    except (KeyError, TypeError):  # not consolidated
        return metadata.read(path / name)


def _may_be_absent(path: Path, root: dict[str, Any], key: str) -> bool:
    """Return whether a chunk of a store without a manifest may never have been written."""
    document = _array_metadata(path, root, key)
    if document.get("fill_value") == "NaN":
        return True  # missing values are NaN, which no reader passes over
    name = key.split("/")[0]
    if name in _MAY_BE_ALL_ZERO and metadata.is_copy(path, root):
        return True
    return name in _MAY_BE_ZERO and document.get("shape") in ([], [1])


def _is_sound(path: Path, root: dict[str, Any], key: str, content: bytes) -> bool:
    """Return whether a chunk agrees with its own checksum; Zarr checks the parts of a shard."""
    codecs = [each["name"] for each in _array_metadata(path, root, key).get("codecs", [])]
    own = codecs[-1:] == ["crc32c"]
    return manifest.has_own_checksum(content) if own else True
