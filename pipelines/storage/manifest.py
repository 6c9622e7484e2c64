"""Writing of the manifest of a store, which readers go by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pear.store import metadata
from pear.store.manifest import (
    FILE,
    Entry,
    Manifest,
    checksum_of_ends,
    index_bytes,
)
from pipelines.storage.atomic import PARTIAL, write_atomically


def write_manifest(root: Path, *, sync: bool = True) -> None:
    """Write the manifest of the chunks that a store has now.

    Parameters
    ----------
    root
        Folder of the store.
    sync
        Whether the file is on disk when this returns.
    """
    known = settled_files(root)
    files = {name: _entry(root, name, known) for name in chunk_files(root)}
    _write(root, Manifest(files), sync=sync)


def announce(root: Path, staging: Path, names: Iterable[str]) -> Mapping[str, Entry]:
    """Tell readers that files of the staging folder are about to replace those of a store.

    Parameters
    ----------
    root, staging
        The store and its staging folder.
    names
        Paths of the files.

    Returns
    -------
    Mapping
        The entries of all files once they are in place, for :func:`settle`.
    """
    pending = {name: _read_entry(staging, name, root) for name in names}
    files = settled_files(root)
    if not _has_manifest(root):  # written before there were manifests
        files = {name: _entry(root, name, files) for name in chunk_files(root)}
    _write(root, Manifest(files, pending))
    return {**files, **pending}


def settle(root: Path, files: Mapping[str, Entry]) -> None:
    """Write the manifest after all files are in place."""
    _write(root, Manifest(files))


def settled_files(root: Path) -> dict[str, Entry]:
    """Return the entries of a store's manifest, of pending files those that are on disk.

    Parameters
    ----------
    root
        Folder of the store.

    Returns
    -------
    dict
        Path to entry; empty without a manifest or with a damaged one.
    """
    try:
        found = Manifest.read(root)
    except (OSError, ValueError):
        return {}
    arrived = {n: entry for n, entry in found.pending.items() if _matches(root, n, entry)}
    return {**found.files, **arrived}


def chunk_files(root: Path) -> list[str]:
    """Return the paths of all chunk files of a store."""
    found = []
    for folder, _, names in os.walk(root):
        inside = Path(folder).relative_to(root).as_posix()
        for name in names:
            path = name if inside == "." else f"{inside}/{name}"
            if "c" in path.split("/") and not name.endswith(PARTIAL):
                found.append(path)
    return sorted(found)


def _has_manifest(root: Path) -> bool:
    return metadata.manifest_of(metadata.read(root)) is not None


def _entry(root: Path, name: str, known: Mapping[str, Entry]) -> Entry:
    """Return the entry of a file, read only if it may have changed."""
    if name in known and _matches(root, name, known[name]):
        return known[name]
    return _read_entry(root, name)


def _read_entry(folder: Path, name: str, root: Path | None = None) -> Entry:
    # The metadata of an array that is not staged are those of the store.
    return Entry.of((folder / name).read_bytes(), _index_bytes(folder, name, root))


def _index_bytes(folder: Path, name: str, root: Path | None = None) -> int:
    parts = name.split("/")
    array = "/".join(parts[: parts.index("c")])
    staged = (folder / array / metadata.META).exists()
    return index_bytes(metadata.read((folder if staged or root is None else root) / array))


def _matches(root: Path, name: str, entry: Entry) -> bool:
    """Return whether a file has the size and the ends of an entry."""
    try:
        with (root / name).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            ends = checksum_of_ends(file, _index_bytes(root, name))
            return (size, ends) == (entry.size, entry.ends)
    except (OSError, ValueError):
        return False


def _write(root: Path, manifest: Manifest, *, sync: bool = True) -> None:
    text, file = manifest.dump(), root / FILE
    if not file.exists() or file.read_bytes() != text:
        write_atomically(file, text, sync=sync)
