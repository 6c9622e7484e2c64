"""Files of a store that nobody is to see yet: written aside, moved into place by the commit.

Beside a store ``NAME.zarr`` lies ``.NAME.zarr.staging`` while somebody writes to it. A shard that
is to get more times starts as a hard link to the one in the store; writing replaces the link, so
the store keeps the old bytes until the commit, and an abandoned write leaves it as it was.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import zarr
from zarr.storage import StorePath

from pipelines.files import DurableStore, sync_filesystem, sync_folder, write_atomically

META: Final = "zarr.json"


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
    at = staging / name / META
    metadata = json.loads((at if at.exists() else root / name / META).read_text())
    metadata["shape"][0] = stop
    length = int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])
    for index in range(start // length, (max(stop, start + 1) - 1) // length + 1):
        _link(root / name / "c" / str(index), staging / name / "c" / str(index))
    return zarr.Array.from_dict(StorePath(DurableStore(staging), name), metadata)


def _link(source: Path, target: Path) -> None:
    """Let a chunk (a file, or folders down to one file) stand in the staging folder as well."""
    if source.is_dir():
        for part in source.iterdir():
            _link(part, target / part.name)
    elif source.is_file() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)


def show(
    root: Path, staging: Path, parts: Iterable[tuple[str, int, int]], length: int,
    added: Sequence[str] = (),
) -> None:  # fmt: skip
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
    document = json.loads((root / META).read_text())
    arrays = document["consolidated_metadata"]["metadata"]
    for name in added:
        arrays[name] = json.loads((staging / name / META).read_text())
    for metadata in arrays.values():
        if metadata["node_type"] == "array" and metadata.get("dimension_names", [])[:1] == ["time"]:
            metadata["shape"][0] = length
    # zarr takes members of a group for one only if they stand side by side
    document["consolidated_metadata"]["metadata"] = dict(sorted(arrays.items()))
    write_atomically(root / META, _text(document))
    sync_folder(root)
    settle(root)


def settle(root: Path) -> None:
    """Bring the metadata of single groups and arrays in line with the root's, which counts.

    For readers that do not use the root's; also what is left to do for a writer that was killed
    just after its commit.
    """
    nodes = json.loads((root / META).read_text())["consolidated_metadata"]["metadata"]
    for name, metadata in nodes.items():
        wanted = dict(metadata)
        if metadata["node_type"] == "group":
            inside = {n.removeprefix(f"{name}/"): m for n, m in nodes.items()
                      if n.startswith(f"{name}/")}  # fmt: skip
            wanted["consolidated_metadata"] = {
                "kind": "inline", "must_understand": False, "metadata": inside,
            }  # fmt: skip
        file = root / name / META
        text = _text(wanted)
        if not file.exists() or file.read_bytes() != text:
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, text)


def _text(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()


def _move(root: Path, staging: Path, name: str, start: int, stop: int) -> None:
    at = staging / name / META
    metadata = json.loads((at if at.exists() else root / name / META).read_text())
    length = int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])
    for index in range(start // length, (stop - 1) // length + 1):
        source = staging / name / "c" / str(index)
        for file in [source] if source.is_file() else sorted(source.rglob("*")):
            if file.is_file():
                target = root / file.relative_to(staging)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)


def clear(staging: Path) -> None:
    """Forget what was not shown."""
    shutil.rmtree(staging, ignore_errors=True)
