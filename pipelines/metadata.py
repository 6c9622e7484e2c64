"""The metadata files of a store: written whole, sealed with a digest, the root's counts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from pipelines.files import write_atomically

META: Final = "zarr.json"
DIGEST: Final = "pear_digest"
"""Attribute of a group: SHA-256 of its metadata without this attribute."""


def read(folder: Path) -> dict[str, Any]:
    """Metadata of the group or array in a folder.

    Raises
    ------
    OSError, ValueError
        If there is none, or it is no JSON object.
    """
    document = json.loads((folder / META).read_text())
    if not isinstance(document, dict):
        raise ValueError(f"{folder / META} holds no JSON object")
    return document


def nodes(root: dict[str, Any]) -> dict[str, Any]:
    """Metadata of all groups and arrays below, by path, as the root's metadata tell it."""
    found = root["consolidated_metadata"]["metadata"]
    return dict(found)


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


def digest(document: dict[str, Any]) -> str:
    """SHA-256 of metadata but for the digest in it."""
    attributes = {k: v for k, v in document.get("attributes", {}).items() if k != DIGEST}
    plain = json.dumps(document | {"attributes": attributes}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def intact(document: dict[str, Any]) -> bool:
    """Whether the metadata of a group are as they were written."""
    return bool(document.get("attributes", {}).get(DIGEST) == digest(document))


def settle(root: Path, sync: bool = True) -> None:
    """Bring the metadata of single groups and arrays in line with the root's, which counts.

    For readers that do not use the root's; also what is left to do for a writer that was killed
    just after its commit.
    """
    for name, document in members(read(root)).items():
        if document["node_type"] == "group":
            write_group(root / name, document, sync)
        else:
            write_if_new(root / name, document, sync)


def members(root: dict[str, Any]) -> dict[str, Any]:
    """What the metadata file of each group and array below should say, by path."""
    found = nodes(root)
    out = {}
    for name, metadata in found.items():
        document = dict(metadata)
        if metadata["node_type"] == "group":
            prefix = f"{name}/"
            inside = {n.removeprefix(prefix): m for n, m in found.items() if n.startswith(prefix)}
            document["consolidated_metadata"] = {
                "kind": "inline",
                "must_understand": False,
                "metadata": inside,
            }
        out[name] = document
    return out
