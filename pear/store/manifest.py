"""Manifest of a store: its chunk files, with the size and the checksums of each.

A lost chunk reads as fill values, and a chunk of another time or store passes its own checksum. The
manifest says which files there are and which bytes are theirs. A store written before there were
manifests has none; then only the checksums inside the chunks are known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import SEEK_END, BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self
from zlib import crc32

import google_crc32c
import numpy as np

from pear.errors import InputError

FILE: Final = "crs/pear_files.json"
"""Path of the manifest in a store: beside an array, since Zarr warns of other files in a group."""
ATTRIBUTE: Final = "pear_files"
"""Attribute of a root group whose store has a manifest: the name of its file."""
CHECKSUM_BYTES: Final = 4
"""Each chunk, and the index of each shard, ends with its CRC-32C of four bytes."""

_EMPTY: Final = 2**64 - 1
_LARGEST_SEEK: Final = 2**62


class DamagedStoreError(InputError):
    """A file of a store is missing, or does not hold what was written.

    Parameters
    ----------
    root
        The store.
    file
        Path of the file in it, or the name of an array.
    problem
        What is wrong, as ``"is missing"``.

    Examples
    --------
    >>> from pear.store.manifest import DamagedStoreError
    >>> DamagedStoreError(Path("a.zarr"), "time/c/0", "is missing").message
    'a.zarr: time/c/0 is missing'
    """

    def __init__(self, root: Path, file: str, problem: str) -> None:
        hint = f"run `pear check {root} --repair`, or make the store again"
        super().__init__(f"{root}: {file} {problem}", field="store", hint=hint)
        self._parts = root, file, problem

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the arguments."""
        return type(self), self._parts


class Entry(NamedTuple):
    """What a file must be: its size in bytes, the CRC-32 of all of it, the CRC-32C of its ends.

    A file that ends with its CRC-32C has the same CRC-32C as any other, hence the two kinds.

    The ends are the last bytes of the file, and of a shard those of each chunk in it too: these are
    the checksums of the chunks, so that a few bytes tell whose they are.

    Examples
    --------
    >>> from pear.store.manifest import Entry
    >>> Entry.of(b"a chunk").size
    7
    """

    size: int
    checksum: int
    ends: int

    @classmethod
    def of(cls, content: bytes, index_bytes: int = 0) -> Self:
        """Return the entry of a file with this content.

        Parameters
        ----------
        content
            All bytes of the file.
        index_bytes
            Length of the index of a shard; 0 for a chunk.

        Returns
        -------
        Entry
            Size and checksums.
        """
        ends = checksum_of_ends(BytesIO(content), index_bytes)
        return cls(len(content), crc32(content), ends)


def checksum_of_ends(file: BinaryIO, index_bytes: int) -> int:
    """Return the CRC-32C of the ends of a file; see :class:`Entry`.

    Parameters
    ----------
    file
        The open file.
    index_bytes
        Length of the index of a shard; 0 for a chunk.

    Returns
    -------
    int
        32 bits.
    """
    file.seek(0, SEEK_END)
    file.seek(max(0, file.tell() - max(index_bytes, CHECKSUM_BYTES)))
    tail = file.read()
    ends = [tail[-CHECKSUM_BYTES:]]
    if index_bytes and len(tail) == index_bytes:
        table = np.frombuffer(tail[:-CHECKSUM_BYTES], dtype="<u8").reshape(-1, 2)
        for offset, length in table[table[:, 0] != _EMPTY].tolist():
            file.seek(min(offset + length, _LARGEST_SEEK) - CHECKSUM_BYTES)
            ends.append(file.read(CHECKSUM_BYTES))
    return checksum(b"".join(ends))


def index_bytes(array: Mapping[str, Any]) -> int:
    """Return the length of the index of a shard of an array.

    Parameters
    ----------
    array
        Metadata of the array.

    Returns
    -------
    int
        0 if its files are single chunks.
    """
    first = array["codecs"][0]
    if first["name"] != "sharding_indexed":
        return 0
    outer = array["chunk_grid"]["configuration"]["chunk_shape"]
    inner = first["configuration"]["chunk_shape"]
    chunks: int = prod(a // b for a, b in zip(outer, inner, strict=True))
    return 16 * chunks + CHECKSUM_BYTES


def checksum(content: bytes) -> int:
    """Return the CRC-32C of some bytes.

    Returns
    -------
    int
        32 bits.

    Examples
    --------
    >>> from pear.store.manifest import checksum
    >>> hex(checksum(b"123456789"))
    '0xe3069283'
    """
    return int(google_crc32c.value(content))


def has_own_checksum(content: bytes) -> bool:
    """Return whether some bytes end with the CRC-32C of those before, as every chunk does.

    Returns
    -------
    bool
        False also for fewer than four bytes.

    Examples
    --------
    >>> from pear.store.manifest import checksum, has_own_checksum
    >>> chunk = b"values" + checksum(b"values").to_bytes(4, "little")
    >>> has_own_checksum(chunk), has_own_checksum(b"V" + chunk[1:])
    (True, False)
    """
    body, end = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    return len(end) == CHECKSUM_BYTES and checksum(body) == int.from_bytes(end, "little")


@dataclass(frozen=True)
class Manifest:
    """Chunk files of a store.

    Attributes
    ----------
    files
        Path in the store to entry.
    pending
        Entries of files that a writer is just moving into place: each may be the file already.

    Examples
    --------
    >>> from pear.store.manifest import Entry, Manifest
    >>> manifest = Manifest({"time/c/0": Entry.of(b"a chunk")})
    >>> Manifest.parse(manifest.dump()) == manifest
    True
    """

    files: Mapping[str, Entry]
    pending: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read the manifest of a store.

        Parameters
        ----------
        root
            Folder of the store.

        Returns
        -------
        Manifest
            The manifest.

        Raises
        ------
        DamagedStoreError
            If the file is missing or is not what was written.
        """
        try:
            return cls.parse((root / FILE).read_bytes())
        except FileNotFoundError as error:
            raise DamagedStoreError(root, FILE, "is missing") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedStoreError(root, FILE, "is damaged") from error

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a manifest from the bytes of its file.

        Returns
        -------
        Manifest
            The manifest.

        Raises
        ------
        ValueError
            If they are not those that were written.
        """
        document = json.loads(text)
        if document.pop("sha256") != _digest(document):
            raise ValueError("the digest differs")
        found = {
            part: {str(name): Entry(*entry) for name, entry in document[part].items()}
            for part in ("files", "pending")
        }
        return cls(**found)

    def dump(self) -> bytes:
        """Return the bytes of the file.

        Returns
        -------
        bytes
            JSON with its own SHA-256.
        """
        document: dict[str, Any] = {
            "files": {name: list(entry) for name, entry in sorted(self.files.items())},
            "pending": {name: list(entry) for name, entry in sorted(self.pending.items())},
        }
        document["sha256"] = _digest(document)
        return json.dumps(document, indent=0).encode()

    def entries(self, file: str) -> list[Entry]:
        """Return what a file may be: nothing if it is not of the store.

        Returns
        -------
        list of Entry
            One, or two while a writer replaces the file.
        """
        return [part[file] for part in (self.files, self.pending) if file in part]

    def fits(self, file: str, content: bytes) -> bool:
        """Return whether a file may have this content.

        Returns
        -------
        bool
            False for a file that is not of the store.
        """
        known = [(entry.size, entry.checksum) for entry in self.entries(file)]
        return (len(content), crc32(content)) in known


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
