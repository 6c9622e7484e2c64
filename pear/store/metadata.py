"""Metadata documents of a store and their checksum."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

META: Final = "zarr.json"
"""Name of the metadata file of a group or array."""
DIGEST: Final = "pear_digest"
"""Attribute of a group: SHA-256 of its metadata without this attribute."""


def read(folder: Path) -> dict[str, Any]:
    """Read the metadata of the group or array in a folder.

    Parameters
    ----------
    folder
        Folder of the group or array.

    Returns
    -------
    dict
        The JSON document.

    Raises
    ------
    ValueError
        If the file does not contain a JSON object. A missing file raises OSError.
    """
    document = json.loads((folder / META).read_text())
    if isinstance(document, dict):
        return document
    raise ValueError(f"{folder / META} does not contain a JSON object")


def nodes(root: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of all groups and arrays below the root, by path.

    Returns
    -------
    dict
        Path to metadata document.

    Examples
    --------
    >>> from pear.store.metadata import nodes
    >>> nodes({"consolidated_metadata": {"metadata": {"time": {"node_type": "array"}}}})
    {'time': {'node_type': 'array'}}
    """
    return dict(root["consolidated_metadata"]["metadata"])


def digest(document: dict[str, Any]) -> str:
    """Return the SHA-256 of a document without the digest in it.

    Returns
    -------
    str
        64 hexadecimal digits, independent of the order of keys.

    Examples
    --------
    >>> from pear.store.metadata import digest
    >>> document = {"attributes": {"title": "PEAR analysis"}}
    >>> signed = {"attributes": document["attributes"] | {DIGEST: digest(document)}}
    >>> digest(signed) == digest(document)
    True
    """
    attributes = {k: v for k, v in document.get("attributes", {}).items() if k != DIGEST}
    plain = json.dumps(document | {"attributes": attributes}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def is_intact(document: dict[str, Any]) -> bool:
    """Return whether the metadata of a group agree with their digest.

    Returns
    -------
    bool
        False also where there is no digest.

    Examples
    --------
    >>> from pear.store.metadata import DIGEST, digest, is_intact
    >>> document = {"attributes": {"title": "PEAR analysis"}}
    >>> document["attributes"][DIGEST] = digest(document)
    >>> is_intact(document), is_intact(document | {"zarr_format": 2})
    (True, False)
    """
    return bool(document.get("attributes", {}).get(DIGEST) == digest(document))


def child_documents(root: dict[str, Any]) -> dict[str, Any]:
    """Return the documents that the groups and arrays below the root should have, by path.

    Returns
    -------
    dict
        Path to metadata document; that of a group includes the metadata of its own nodes.

    Examples
    --------
    >>> from pear.store.metadata import child_documents
    >>> found = {"nside4": {"node_type": "group"}, "nside4/time": {"node_type": "array"}}
    >>> documents = child_documents({"consolidated_metadata": {"metadata": found}})
    >>> documents["nside4"]["consolidated_metadata"]["metadata"]
    {'time': {'node_type': 'array'}}
    """
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
