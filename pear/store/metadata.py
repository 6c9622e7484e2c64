"""The metadata files of a store: written whole, sealed with a digest, the root's counts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

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


def digest(document: dict[str, Any]) -> str:
    """SHA-256 of metadata but for the digest in it."""
    attributes = {k: v for k, v in document.get("attributes", {}).items() if k != DIGEST}
    plain = json.dumps(document | {"attributes": attributes}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def intact(document: dict[str, Any]) -> bool:
    """Whether the metadata of a group are as they were written."""
    return bool(document.get("attributes", {}).get(DIGEST) == digest(document))


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
