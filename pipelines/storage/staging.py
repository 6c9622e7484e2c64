"""Files of a store that nobody is to see yet: written aside, moved into place by the commit.

Beside a store ``NAME.zarr`` lies ``.NAME.zarr.staging`` while somebody writes to it. A shard that
is to get more times starts as a hard link to the one in the store; writing replaces the link, so
the store keeps the old bytes until the commit, and an abandoned write leaves it as it was. All of
it is synced at once before it is moved: a power cut cannot take what was acknowledged before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore, StorePath

from pear.store import metadata
from pipelines.storage import metadata as write_metadata
from pipelines.storage.atomic import sync_filesystem, sync_folder


def staging_folder(store: Path) -> Path:
    """Folder of what is written to a store and not shown yet."""
    return store.parent / f".{store.name}.staging"


def staged_array(root: Path, staging: Path, name: str, start: int, stop: int) -> Any:
    """Open an array as if it had ``stop`` times, to write those from ``start`` on aside.

    What the store holds in the same files is read through; nothing in ``root`` changes.

    Parameters
    ----------
    root, staging
        The store and the folder beside it.
    name
        Array with time as its first axis.
    """
    document = _array(root, staging, name)
    document["shape"][0] = stop
    length = _shard_length(document)
    for index in range(start // length, (max(stop, start + 1) - 1) // length + 1):
        _link(root / name / "c" / str(index), staging / name / "c" / str(index))
    return zarr.Array.from_dict(StorePath(LocalStore(staging), name), document)


def _array(root: Path, staging: Path, name: str) -> dict[str, Any]:
    """Metadata of an array, which may be new and lie aside."""
    aside = (staging / name / metadata.META).exists()
    return metadata.read((staging if aside else root) / name)


def _shard_length(document: dict[str, Any]) -> int:
    return int(document["chunk_grid"]["configuration"]["chunk_shape"][0])


def _link(source: Path, target: Path) -> None:
    """Let a chunk (a file, or folders down to one file) stand in the staging folder as well."""
    if source.is_dir():
        for part in source.iterdir():
            _link(part, target / part.name)
    elif source.is_file() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)


def show(
    root: Path,
    staging: Path,
    parts: Iterable[tuple[str, int, int]],
    length: int,
    added: Sequence[str] = (),
) -> None:
    """Commit: chunks to disk and into place, then the one rename that tells the length, to disk.

    Parameters
    ----------
    parts
        (array, start, stop) of the times to show; shards beyond them stay aside.
    length
        Number of times of the store from now on.
    added
        Variables that are new.
    """
    sync_filesystem(staging)
    for name, start, stop in parts:
        _move(root, staging, name, start, stop)
    sync_filesystem(root)
    document = metadata.read(root)
    arrays = metadata.nodes(document)
    for name in added:
        arrays[name] = metadata.read(staging / name)
    for node in arrays.values():
        if node["node_type"] == "array" and node.get("dimension_names", [])[:1] == ["time"]:
            node["shape"][0] = length
    document["consolidated_metadata"]["metadata"] = arrays
    write_metadata.write_group(root, document)
    sync_folder(root)
    write_metadata.rewrite_child_metadata(root)


def _move(root: Path, staging: Path, name: str, start: int, stop: int) -> None:
    length = _shard_length(_array(root, staging, name))
    for index in range(start // length, (stop - 1) // length + 1):
        source = staging / name / "c" / str(index)
        for file in [source] if source.is_file() else sorted(source.rglob("*")):
            if file.is_file():
                target = root / file.relative_to(staging)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)


def rewrite(root: Path, staging: Path, name: str, start: int, values: Any) -> None:
    """Replace whole files of an array, whatever is in them, each in one step.

    Parameters
    ----------
    start
        First position along the first axis; a multiple of the shard length.
    values
        Everything from there to the end of the array or of a shard.
    """
    clear(staging / name)
    document = metadata.read(root / name)
    array = zarr.Array.from_dict(StorePath(LocalStore(staging), name), document)
    if values.ndim:
        array[start : start + values.shape[0]] = values
    else:
        array[...] = values
    sync_filesystem(staging)
    for file in sorted((staging / name).rglob("*")):
        if file.is_file():
            target = root / file.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


def clear(staging: Path) -> None:
    """Forget what was not shown."""
    shutil.rmtree(staging, ignore_errors=True)
