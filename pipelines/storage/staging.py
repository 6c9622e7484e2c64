"""Staging: files of a store are written aside and moved into place by the commit.

Beside a store ``NAME.zarr`` lies ``.NAME.zarr.staging`` while a writer is active. A shard that gets
more times starts as a hard link to the one in the store. Writing replaces the link, so the store
keeps the old bytes until the commit, and an abandoned write changes nothing. All of it is synced
before it is moved: a power cut cannot take what was acknowledged before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore, StorePath

from pear.store import metadata
from pipelines.storage.atomic import sync_filesystem, sync_folder
from pipelines.storage.manifest import announce, settle
from pipelines.storage.metadata import rewrite_child_metadata, write_group


def staging_folder(store: Path) -> Path:
    """Return the folder of what has been written to a store and is not committed yet."""
    return store.parent / f".{store.name}.staging"


def staged_array(root: Path, staging: Path, name: str, start: int, stop: int) -> zarr.Array[Any]:
    """Open an array to write the times from ``start`` to ``stop`` aside.

    Times that the store holds in the same files are read through; nothing in ``root`` changes.

    Parameters
    ----------
    root, staging
        The store and its staging folder.
    name
        Path of an array with time as its first axis.
    start, stop
        Positions of the times; the array has ``stop`` times.

    Returns
    -------
    Array
        The array in the staging folder.
    """
    document = _document(root, staging, name)
    document["shape"][0] = stop
    for index in _shards(document, start, max(stop, start + 1)):
        _link(root / name / "c" / index, staging / name / "c" / index)
    return zarr.Array.from_dict(StorePath(LocalStore(staging), name), document)


def commit(
    root: Path,
    staging: Path,
    parts: Iterable[tuple[str, int, int]],
    length: int,
    added: Iterable[str] = (),
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Move shards into place, then set the number of times in one rename; all of it synced.

    Parameters
    ----------
    root, staging
        The store and its staging folder.
    parts
        (array, start, stop) of the times to commit; other staged shards stay aside.
    length
        Number of times of the store from now on.
    added
        Paths of new variables.
    attributes
        New values of attributes of the root.
    """
    sync_filesystem(staging)
    moved = [
        file
        for name, start, stop in parts
        for index in _shards(_document(root, staging, name), start, stop)
        for file in _files(staging / name / "c" / index)
    ]
    names = [file.relative_to(staging).as_posix() for file in moved]
    files = announce(root, staging, names)
    for file, name in zip(moved, names, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        file.replace(root / name)
    sync_filesystem(root)
    document = metadata.read(root)
    metadata.name_manifest(document)
    arrays = metadata.nodes(document)
    for name in added:
        arrays[name] = metadata.read(staging / name)
    for node in arrays.values():
        if node["node_type"] == "array" and node.get("dimension_names", [])[:1] == ["time"]:
            node["shape"][0] = length
    document["consolidated_metadata"]["metadata"] = arrays
    document["attributes"] |= attributes or {}
    write_group(root, document)
    sync_folder(root)
    settle(root, files)
    rewrite_child_metadata(root)


def discard(staging: Path) -> None:
    """Remove what has not been committed."""
    shutil.rmtree(staging, ignore_errors=True)


def _document(root: Path, staging: Path, name: str) -> dict[str, Any]:
    """Return the metadata of an array; that of a new one lies in the staging folder."""
    is_new = (staging / name / metadata.META).exists()
    return metadata.read((staging if is_new else root) / name)


def _shards(document: dict[str, Any], start: int, stop: int) -> list[str]:
    """Return the names of the shards that hold some times."""
    length = int(document["chunk_grid"]["configuration"]["chunk_shape"][0])
    return [str(index) for index in range(start // length, (stop - 1) // length + 1)]


def _link(source: Path, target: Path) -> None:
    """Link a chunk (a file, or folders down to one file) into the staging folder."""
    if source.is_dir():
        for part in source.iterdir():
            _link(part, target / part.name)
    elif source.is_file() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)


def _files(chunk: Path) -> list[Path]:
    """Return the files of a chunk (a file, or folders down to one file)."""
    found = [chunk] if chunk.is_file() else sorted(chunk.rglob("*"))
    return [file for file in found if file.is_file()]
