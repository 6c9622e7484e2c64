"""Metadata documents of a store and their checksum."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from pear.store.manifest import DamagedStoreError

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

    Notes
    -----
    A file without a JSON object raises ValueError, a missing one OSError.
    """
    return parse((folder / META).read_bytes(), folder)


def parse(text: bytes, folder: Path) -> dict[str, Any]:
    """Read the metadata of a group or array from the bytes of its file.

    Parameters
    ----------
    text
        The bytes.
    folder
        Folder of the group or array, for the message.

    Returns
    -------
    dict
        The JSON document.

    Raises
    ------
    ValueError
        If it is not a JSON object.
    """
    document = json.loads(text)
    if isinstance(document, dict):
        return document
    raise ValueError(f"{folder / META} does not contain a JSON object")


def read_intact(root: Path) -> dict[str, Any]:
    """Read the metadata of a root group, which must agree with their digest if they have one.

    Parameters
    ----------
    root
        Folder of the store.

    Returns
    -------
    dict
        The JSON document.

    Raises
    ------
    DamagedStoreError
        If the file is missing or damaged.
    """
    try:
        document = read(root)
    except FileNotFoundError as error:
        raise DamagedStoreError(root, META, "is missing") from error
    except (OSError, ValueError) as error:
        raise DamagedStoreError(root, META, "is damaged") from error
    if not is_intact_or_unsigned(document):
        raise DamagedStoreError(root, META, "differs from its digest")
    return document


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


def require_root(path: Path) -> None:
    """Raise unless a folder has the metadata of a root group.

    Parameters
    ----------
    path
        Folder of the store.

    Raises
    ------
    DamagedStoreError
        If it has only those of arrays: the root's are lost.
    FileNotFoundError
        If it has none.
    """
    if (path / META).is_file():
        return
    if any(path.glob(f"*/{META}")):
        raise DamagedStoreError(path, META, "is missing")
    raise FileNotFoundError(f"{path} has no {META}")


def is_intact_or_unsigned(document: dict[str, Any]) -> bool:
    """Return whether the metadata of a group agree with their digest or never had one.

    Returns
    -------
    bool
        True for metadata without a digest.

    Examples
    --------
    >>> from pear.store.metadata import is_intact_or_unsigned
    >>> is_intact_or_unsigned({"attributes": {}})
    True
    >>> is_intact_or_unsigned({"attributes": {DIGEST: "0"}})
    False
    """
    return DIGEST not in document.get("attributes", {}) or is_intact(document)


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
