"""Metadata files of a store, written atomically with a digest; the root's are authoritative."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pear.store.metadata import META, child_documents, read, sign
from pipelines.storage.atomic import write_atomically


def write_group(folder: Path, document: dict[str, Any], *, sync: bool = True) -> None:
    """Replace the metadata of a group and their digest, if they differ.

    Parameters
    ----------
    folder
        Folder of the group.
    document
        The metadata.
    sync
        Whether the file is on disk when this returns.
    """
    inside = document.get("consolidated_metadata")
    if inside is not None:
        # Zarr recognises the members of a group only if they stand side by side.
        inside["metadata"] = dict(sorted(inside["metadata"].items()))
    sign(document)
    write_document(folder, document, sync=sync)


def write_document(folder: Path, document: dict[str, Any], *, sync: bool = True) -> None:
    """Replace the metadata of a group or an array, if they differ."""
    text = json.dumps(document, indent=1).encode()
    file = folder / META
    if not file.exists() or file.read_bytes() != text:
        folder.mkdir(exist_ok=True)
        write_atomically(file, text, sync=sync)


def rewrite_child_metadata(root: Path, *, sync: bool = True) -> None:
    """Bring the metadata files of groups and arrays in line with the root's metadata.

    Readers that do not use the root's metadata need them. This is also what remains to be done for
    a writer that was killed just after its commit.

    Parameters
    ----------
    root
        Folder of the store.
    sync
        Whether the files are on disk when this returns.
    """
    for name, document in child_documents(read(root)).items():
        if document["node_type"] == "group":
            write_group(root / name, document, sync=sync)
        else:
            write_document(root / name, document, sync=sync)
