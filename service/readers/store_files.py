"""Files of stores that are served as Zarr, found by key: the text of a request is never a path."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pear.errors import InputError, did_you_mean
from pear.sphere.healpix import nside_from_cells
from pear.store import manifest, metadata
from pear.store.fetched import fetch_chunk
from pear.store.manifest import Manifest
from pear.times import to_iso
from pear.variables import BY_NAME, PROBABILITY
from pear.variables.layout import find_derived_row
from pipelines.catalog import Catalog, NotFoundError
from pipelines.storage.data_folder import DataFolder
from service.http.errors import ProblemError

StoreKind = Literal["analysis", "climatology", "forecast"]
_CELL: Final = "cell"
_PERIOD: Final = ("period_start", "period_end")


@dataclass(frozen=True)
class StoreFiles:
    """Regular files of one store, as they were at one time.

    Attributes
    ----------
    root
        Folder of the store.
    files
        Path of each file by its key; hidden files and symbolic links are left out.
    chunks
        Keys of the chunks that the manifest names; empty without a manifest.
    nbytes
        Size of all files, of chunks also where they lie in object storage.
    """

    root: Path
    files: dict[str, Path] = field(repr=False)
    chunks: frozenset[str] = field(repr=False)
    nbytes: int

    def find(self, key: str, name: str) -> Path:
        """Return the file of a key.

        Parameters
        ----------
        key
            Key in the store, such as ``zarr.json``.
        name
            Name of the store, for messages.

        Returns
        -------
        Path
            A regular file of the store.

        Raises
        ------
        ProblemError
            404 if the store does not have the key, 503 if it should and the file is missing: a
            client would take 404 for a chunk that was never written, and read missing values.
        """
        file = self.files.get(key)
        if key in self.chunks and (file is None or not file.is_file()):
            file = self._fetch(key)
        if file is None and key not in self.chunks:
            raise ProblemError(
                404,
                f"the store of {name} does not have the key {key[:64]!r}",
                field="path",
                hint="zarr.json lists its groups and arrays",
            )
        if file is None or not file.is_file():
            raise ProblemError(
                503,
                f"{key} of {name} is missing on disk",
                field="path",
                hint="`pear check` checks and repairs stores",
                headers={"Retry-After": "30"},
            )
        return file

    def _fetch(self, key: str) -> Path | None:
        """Fetch a chunk that lies in object storage; None if it cannot be had."""
        try:
            return self.root / key if fetch_chunk(self.root, key) else None
        except (OSError, InputError):
            return None


@dataclass(frozen=True)
class StoreFacts:
    """What the metadata of a store say.

    Attributes
    ----------
    title, license
        As the store has them; an empty licence is not known.
    nside
        HEALPix resolution.
    dimensions
        Length of each dimension.
    variables
        Names of the fields, with their dimensions.
    period
        First and last day that a climatology was made from, UTC; None for other stores.
    """

    title: str
    license: str
    nside: int
    dimensions: dict[str, int]
    variables: dict[str, tuple[str, ...]]
    period: tuple[str, str] | None


@dataclass(frozen=True)
class ServedStore:
    """An analysis or climatology that is served.

    Attributes
    ----------
    kind, name
        Kind and name.
    root
        Folder.
    times
        Number of valid times; of a climatology None.
    first_time, last_time
        First and last valid time, UTC, ISO 8601; of a climatology those of its period.
    """

    kind: StoreKind
    name: str
    root: Path
    times: int | None
    first_time: str | None
    last_time: str | None


def list_files(root: Path, version: str | None = None) -> StoreFiles:
    """Return the files of a store.

    Parameters
    ----------
    root
        Folder of the store.
    version
        Whatever changes when the store does; default: state of its metadata and manifest.

    Returns
    -------
    StoreFiles
        Kept in memory for as long as the version is the same.
    """
    return _list_files(root, state_of(root) if version is None else version)


@lru_cache(maxsize=64)
def _list_files(root: Path, _version: str) -> StoreFiles:
    files, nbytes = {}, 0
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            path = Path(folder) / name
            if name.startswith(".") or path.is_symlink():
                continue
            with suppress(FileNotFoundError):  # replaced meanwhile
                nbytes += path.stat().st_size
                files[path.relative_to(root).as_posix()] = path
    try:
        entries = Manifest.read(root).files
    except (InputError, OSError):
        entries = {}
    nbytes += sum(entry.size for key, entry in entries.items() if key not in files)
    return StoreFiles(root, files, frozenset(entries), nbytes)


def state_of(root: Path) -> str:
    """Return the state of the two files that every change of a store renames."""
    return ",".join(_stamp(root / name) for name in (metadata.META, manifest.FILE))


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_mtime_ns}.{status.st_size}.{status.st_ino}"


def modified_at(root: Path) -> float:
    """Return when the metadata of a store were written, seconds since 1970; 0 without a store."""
    try:
        return (root / metadata.META).stat().st_mtime
    except OSError:
        return 0.0


def describe_store(root: Path) -> StoreFacts:
    """Return what the metadata of a store say.

    Parameters
    ----------
    root
        Folder of the store.

    Returns
    -------
    StoreFacts
        Kept in memory until the metadata change.

    Raises
    ------
    ProblemError
        503 if they cannot be read.
    """
    try:
        return _describe(root, _stamp(root / metadata.META))
    except (InputError, OSError, ValueError, KeyError, TypeError) as error:
        raise ProblemError(
            503,
            f"{root.stem} cannot be read: {type(error).__name__}",
            hint="`pear check` checks and repairs stores",
            headers={"Retry-After": "30"},
        ) from error


@lru_cache(maxsize=256)
def _describe(root: Path, _stamp: str) -> StoreFacts:
    document = metadata.read(root)
    attributes: dict[str, Any] = document["attributes"]
    arrays = {
        name: node
        for name, node in metadata.nodes(document).items()
        if node["node_type"] == "array" and "/" not in name
    }
    dimensions: dict[str, int] = {}
    for node in arrays.values():
        dimensions |= dict(zip(node.get("dimension_names") or (), node["shape"], strict=True))
    period = tuple(str(attributes.get(name, "")) for name in _PERIOD)
    share = PROBABILITY in attributes
    return StoreFacts(
        str(attributes.get("title") or root.stem),
        str(attributes.get("license") or attributes.get("licence") or ""),
        nside_from_cells(dimensions[_CELL]),
        dimensions,
        {
            name: tuple(node["dimension_names"])
            for name, node in arrays.items()
            if (name in BY_NAME or (share and find_derived_row(name)))
            and _CELL in node["dimension_names"]
        },
        (period[0], period[1]) if all(period) else None,
    )


def served_stores(folder: DataFolder, catalog: Catalog) -> list[ServedStore]:
    """Return the analyses of the catalog and the climatologies of the folder, by kind and name.

    Parameters
    ----------
    folder, catalog
        The data folder and its catalog.

    Returns
    -------
    list of ServedStore
        Those whose metadata are on disk.
    """
    found = [
        ServedStore(
            "analysis",
            store.name,
            folder.root / store.path,
            store.times,
            None if store.first_time is None else to_iso(store.first_time),
            None if store.last_time is None else to_iso(store.last_time),
        )
        for store in catalog.stores.all("analysis")
    ]
    # The catalog learns of climatologies only when it is made anew.
    found += [
        ServedStore("climatology", path.stem, path, None, None, None)
        for path in sorted((folder.root / "climatology").glob("[!.]*.zarr"))
    ]
    return [store for store in found if (store.root / metadata.META).is_file()]


def find_store(folder: DataFolder, catalog: Catalog, kind: StoreKind, name: str) -> ServedStore:
    """Return one analysis or climatology.

    Parameters
    ----------
    folder, catalog
        The data folder and its catalog.
    kind, name
        Kind and name.

    Returns
    -------
    ServedStore
        The store.

    Raises
    ------
    NotFoundError
        If there is none of this name.
    """
    known = {each.name: each for each in served_stores(folder, catalog) if each.kind == kind}
    if name not in known:
        hint = did_you_mean(name[:64], known) if known else "GET /v1/stores lists the stores"
        raise NotFoundError(f"no {kind} {name[:64]!r}", field="name", hint=hint)
    return known[name]
