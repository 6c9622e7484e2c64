"""The metadata files of a store: written whole, sealed with a digest, the root's counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pear.store.metadata import DIGEST, META, child_documents, digest, read
from pipelines.storage.atomic import write_atomically

"""Attribute of a group: SHA-256 of its metadata without this attribute."""


def write_group(folder: Path, document: dict[str, Any], sync: bool = True) -> None:
    """Replace the metadata of a group in one step, sealed; nothing is written if it is the same."""
    inside = document.get("consolidated_metadata")
    if inside is not None:
        # zarr takes members of a group for one only if they stand side by side
        inside["metadata"] = dict(sorted(inside["metadata"].items()))
    document["attributes"] = dict(document["attributes"]) | {DIGEST: digest(document)}
    write_if_new(folder, document, sync)


def write_if_new(folder: Path, document: dict[str, Any], sync: bool = True) -> None:
    """Replace the metadata of a group or an array in one step, if they differ."""
    text = json.dumps(document, indent=1).encode()
    file = folder / META
    if not file.exists() or file.read_bytes() != text:
        folder.mkdir(exist_ok=True)
        write_atomically(file, text, sync)


def rewrite_child_metadata(root: Path, sync: bool = True) -> None:
    """Bring the metadata of single groups and arrays in line with the root's, which counts.

    For readers that do not use the root's; also what is left to do for a writer that was killed
    just after its commit.
    """
    for name, document in child_documents(read(root)).items():
        if document["node_type"] == "group":
            write_group(root / name, document, sync)
        else:
            write_if_new(root / name, document, sync)
