"""Metadata documents of a store and their checksum."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from pear.errors import InputError
from pear.store import manifest
from pear.store.manifest import DamagedStoreError
from pear.typing import StrPath

META: Final = "zarr.json"
"""Name of the metadata file of a group or array."""
DIGEST: Final = "pear_digest"
"""Beside the consolidated metadata of a group: SHA-256 of its metadata without this entry.

Stores of the first version have it among the attributes, which other programs copy into their
files; so do copies of such stores.
"""
INSIDE: Final = "consolidated_metadata"


def store_path(path: StrPath) -> Path:
    """Return the path of a store.

    Parameters
    ----------
    path
        As a user gives it.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    InputError
        If it is empty, which would be the current folder.

    Examples
    --------
    >>> from pear.store.metadata import store_path
    >>> store_path("")
    Traceback (most recent call last):
    pear.errors.InputError: the path of a store is empty: ''; give its folder
    """
    if not str(path).strip():
        raise InputError(
            f"the path of a store is empty: {str(path)!r}", field="store", hint="give its folder"
        )
    return Path(path)


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
    if not is_intact_or_unsigned(document) and not is_copy(root, document):
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
    unsigned = dict(document)
    for part in ("attributes", INSIDE):
        found = document.get(part)
        if found is not None:
            unsigned[part] = {key: value for key, value in found.items() if key != DIGEST}
    plain = json.dumps(unsigned, sort_keys=True)
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
    >>> document["attributes"][DIGEST] = digest(document)  # as the first version wrote it
    >>> is_intact(document), is_intact(document | {"zarr_format": 2})
    (True, False)
    """
    return signature(document) == digest(document)


def signature(document: dict[str, Any]) -> str | None:
    """Return the digest that stands in the metadata of a group.

    Returns
    -------
    str or None
        None if there is none.

    Examples
    --------
    >>> from pear.store.metadata import signature
    >>> signature({"attributes": {}, "consolidated_metadata": {"pear_digest": "0"}})
    '0'
    """
    return _entry(document, DIGEST)


def sign(document: dict[str, Any]) -> None:
    """Put the digest of the metadata of a group into them.

    Parameters
    ----------
    document
        The metadata; changed in place.

    Examples
    --------
    >>> from pear.store.metadata import is_intact, sign
    >>> document = {"attributes": {}, "consolidated_metadata": {"metadata": {}}}
    >>> sign(document)
    >>> is_intact(document), document["attributes"]
    (True, {})
    """
    attributes = dict(document.get("attributes", {}))
    attributes.pop(DIGEST, None)
    document["attributes"] = attributes
    if INSIDE in document:
        document[INSIDE] = {**document[INSIDE], DIGEST: digest(document)}
    else:
        document["attributes"] = {**attributes, DIGEST: digest(document)}


def manifest_of(document: dict[str, Any]) -> str | None:
    """Return the name of the manifest of a store by the metadata of its root.

    Returns
    -------
    str or None
        None if the store has none.

    Examples
    --------
    >>> from pear.store.metadata import manifest_of
    >>> manifest_of({"attributes": {"pear_files": "crs/pear_files.json"}})
    'crs/pear_files.json'
    """
    return _entry(document, manifest.ATTRIBUTE)


def name_manifest(document: dict[str, Any]) -> None:
    """Say in the metadata of a root group that its store has a manifest.

    Parameters
    ----------
    document
        The metadata; changed in place.

    Examples
    --------
    >>> from pear.store.metadata import manifest_of, name_manifest
    >>> document = {"attributes": {}, "consolidated_metadata": {"metadata": {}}}
    >>> name_manifest(document)
    >>> manifest_of(document)
    'crs/pear_files.json'
    """
    attributes = dict(document.get("attributes", {}))
    attributes.pop(manifest.ATTRIBUTE, None)
    document["attributes"] = attributes
    document[INSIDE] = {**document[INSIDE], manifest.ATTRIBUTE: manifest.FILE}


def is_copy(root: Path, document: dict[str, Any]) -> bool:
    """Return whether another program wrote a store, as xarray does with a Dataset that it opened.

    Parameters
    ----------
    root
        Folder of the store.
    document
        The metadata of its root group.

    Returns
    -------
    bool
        True without digest and manifest. A copy of a store of the first version has both among its
        attributes, but the digest is that of the original, and the manifest was not copied.

    Examples
    --------
    >>> from pear.store.metadata import is_copy, sign
    >>> document = {"attributes": {"pear_kind": "forecast"}, "consolidated_metadata": {}}
    >>> copied = is_copy(Path("forecast.zarr"), document)
    >>> sign(document)
    >>> copied, is_copy(Path("forecast.zarr"), document)
    (True, False)
    """
    if signature(document) is None:
        return manifest_of(document) is None
    attributes = document.get("attributes", {})
    return (
        {DIGEST, manifest.ATTRIBUTE} <= set(attributes)
        and not (root / manifest.FILE).exists()
        and not is_intact(document)
    )


def _entry(document: dict[str, Any], name: str) -> str | None:
    for part in (INSIDE, "attributes"):
        found = (document.get(part) or {}).get(name)
        if found is not None:
            return str(found)
    return None


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
    return signature(document) is None or is_intact(document)


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
