"""What shared storage holds: the entries, their indices, and the objects of a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, get_args

from pear.errors import InputError
from pear.store import metadata
from pear.store.fetched import object_name
from pear.store.manifest import FILE, DamagedStoreError, Manifest
from pipelines.storage.data_folder import check_name
from pipelines.storage.manifest import settled_files

Kind = Literal["analyses", "climatology", "models", "forecasts", "evaluations"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
INPUTS: Final[tuple[Kind, ...]] = ("models", "analyses", "climatology")
"""Kinds that work begins with."""
INDEX: Final = "index"
_FORMAT: Final = 1
ZARR: Final = ".zarr"


@dataclass(frozen=True)
class Entry:
    """Index of what belongs together.

    Attributes
    ----------
    stores
        Path in the data folder → file → SHA-256: of a Zarr store its root metadata and its
        manifest, of another folder all files. That which makes the entry visible is the last.
    """

    stores: Mapping[str, Mapping[str, str]]

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read an index; raises ValueError if it is not one."""
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError("not an index of this version")
        found = {
            str(store): {str(file): str(digest) for file, digest in files.items()}
            for store, files in document["stores"].items()
        }
        if not found:
            raise ValueError("an index without stores")
        return cls(found)

    def dump(self) -> bytes:
        """Return the bytes of the file."""
        return json.dumps({"format": _FORMAT, "stores": self.stores}, indent=1).encode()

    def version(self, store: str) -> str:
        """Return what changes whenever a store does."""
        return sha256_of(json.dumps(self.stores[store], sort_keys=True).encode())


@dataclass(frozen=True)
class OutgoingFile:
    """A file to send: where it is, or its bytes, and what its bytes must be."""

    path: Path
    size: int
    manifest: Manifest | None = None
    key: str = ""
    content: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes; DamagedStoreError if they are not what was written."""
        if self.content is not None:
            return self.content
        content = self.path.read_bytes()
        if self.manifest is not None and not self.manifest.fits(self.key, content):
            root = Path(str(self.path).removesuffix(f"/{self.key}"))
            raise DamagedStoreError(root, self.key, "is not what was written")
        return content


@dataclass(frozen=True)
class Plan:
    """Objects of a store by name, and what its index says."""

    files: Mapping[str, OutgoingFile]
    index: Mapping[str, str]


def make_plan(path: Path) -> Plan:
    """Return what of a store or folder is sent, and what its index says."""
    return _plan_store(path) if path.suffix == ZARR else _plan_folder(path)


def _plan_store(path: Path) -> Plan:
    root = metadata.read_intact(path)
    if metadata.manifest_of(root) is None or not (path / FILE).is_file():
        raise InputError(
            f"{path} has no list of its files, and cannot be shared",
            field="store",
            hint=f"run `pear check {path} --repair`, which gives it one",
        )
    manifest = Manifest(settled_files(path))
    files = {
        object_name(key, entry): OutgoingFile(path / key, entry.size, manifest, key)
        for key, entry in manifest.files.items()
    }
    index = {}
    contents = {FILE: manifest.dump(), metadata.META: (path / metadata.META).read_bytes()}
    for file, content in contents.items():
        index[file] = sha256_of(content)
        files[file_name(file, index[file])] = OutgoingFile(
            path / file, len(content), content=content
        )
    return Plan(files, index)


def _plan_folder(path: Path) -> Plan:
    files, index = {}, {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and not any(part.startswith(".") for part in name.split("/")):
            content = file.read_bytes()
            index[name] = sha256_of(content)
            files[file_name(name, index[name])] = OutgoingFile(file, len(content), content=content)
    return Plan(files, index)


def store_of(kind: Kind, name: str) -> str:
    """Return the path of an entry's own store in the data folder."""
    suffix = "" if kind in ("models", "evaluations") else ZARR
    return f"{kind}/{check_name(name)}{suffix}"


def index_of(kind: Kind, name: str) -> str:
    """Return the path of the index of an entry."""
    return f"{INDEX}/{kind}/{check_name(name)}.json"


def file_name(file: str, sha256: str) -> str:
    """Return the name of the object that holds a file of these bytes."""
    return f"{file}.{sha256[:16]}"


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()
