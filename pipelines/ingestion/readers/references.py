"""References into other files, as kerchunk and VirtualiZarr write them: JSON, or Parquet files."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import fsspec
import numpy as np
import xarray as xr
from fsspec import AbstractFileSystem
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.reference import ReferenceFileSystem
from zarr.storage import FsspecStore

from pear.addresses import (
    is_address,
    open_filesystem,
    reading,
    storage_options,
    with_access,
    without_secrets,
)
from pear.errors import InputError
from pipelines.ingestion.readers.patient_store import (
    METADATA,
    ChangeCheck,
    PatientStore,
    fingerprint,
    open_decoded,
)
from pipelines.ingestion.remote_files import retry

_MOST_REFERENCES_BYTES: Final = 500_000_000
_RECORDS: Final = 64
_SEPARATORS: Final = re.compile(r"[./]")


@dataclass(frozen=True)
class References:
    """Opener of a file of references into other files, as kerchunk and VirtualiZarr write them.

    Attributes
    ----------
    path
        The JSON file.
    origin
        Its address, or its path.
    stamp
        Time of its last change, so that a changed file is opened again.
    """

    path: str
    origin: str
    stamp: int

    def open(self) -> xr.Dataset:
        """Open the dataset lazily, decoded; times stay numbers."""
        with reading(self.origin):
            return open_decoded(self._store())

    def check_changes(self) -> ChangeCheck:
        """Return what refuses references to other axes than they lead to now."""
        store = self._store()  # the file itself is a copy, or on disk

        def take() -> str:
            with reading(self.origin):
                return fingerprint(store)

        return ChangeCheck.start(without_secrets(self.origin), take)

    def _store(self) -> PatientStore:
        found = read_references(Path(self.path), self.origin)
        systems = _Systems()
        for url in {urlsplit(url).scheme: url for url in _targets(found)}.values():
            systems.add(url)
        return _store_of({"version": 1, "refs": found}, systems)


@dataclass(frozen=True)
class ParquetReferences:
    """Opener of a folder of references in Parquet files, which are read as they are used.

    Attributes
    ----------
    address
        The folder, or its address.
    anonymous
        Whether to ask without credentials.
    stamp
        Time of its last change, so that a changed folder is opened again.
    """

    address: str
    anonymous: bool = False
    stamp: int = 0

    def open(self) -> xr.Dataset:
        """Open the dataset lazily, decoded; times stay numbers."""
        with reading(self.address):
            return open_decoded(self._store())

    def check_changes(self) -> ChangeCheck:
        """Return what refuses other metadata or axes than there are now."""

        def take() -> str:
            with reading(self.address):
                return fingerprint(self._store())

        return ChangeCheck.start(without_secrets(self.address), take)

    def _store(self) -> PatientStore:
        if is_address(self.address):
            filesystem, root = open_filesystem(self.address, anonymous=self.anonymous)
        else:
            filesystem, root = fsspec.filesystem("file"), self.address
        systems = _Systems()
        records = _Records(filesystem, root.rstrip("/"), self.address, systems)
        return _store_of(records, systems)


class _Systems(dict[str | None, AbstractFileSystem]):
    """File systems of the targets of references, by scheme; None is that of paths."""

    def add(self, url: str) -> None:
        """Open the file system of a target, unless it is open."""
        scheme = urlsplit(url).scheme
        if (scheme or None) in self:
            return
        if scheme in ("", "file"):
            local = AsyncFileSystemWrapper(fsspec.filesystem("file"), asynchronous=True)
            self[scheme or None] = local
            return
        with reading(url):
            anonymous = with_access(url, partial(_look, url))[1]
        options = storage_options(url, anonymous=anonymous)
        self[scheme] = fsspec.filesystem(scheme, asynchronous=True, **options)


def _store_of(references: Mapping[str, Any], systems: _Systems) -> PatientStore:
    files = ReferenceFileSystem(fo=references, fs=dict(systems), asynchronous=True)
    files.fss = systems  # which references that are read later may add to
    return PatientStore(FsspecStore(files, read_only=True, path=""))


class _Records(Mapping[str, Any]):
    """References of Parquet files by key, as ReferenceFileSystem takes them.

    The files of an array hold the same number of chunks each, in the order of the chunks.

    Parameters
    ----------
    filesystem, root
        Where the folder is.
    origin
        The folder, or its address; relative targets lie beside it.
    systems
        Receives the file systems of the targets.
    """

    def __init__(
        self, filesystem: AbstractFileSystem, root: str, origin: str, systems: _Systems
    ) -> None:
        self._filesystem, self._root, self._systems = filesystem, root, systems
        self._shown = without_secrets(origin)
        # As of JSON references: relative targets lie beside the references.
        self._origin = origin.rstrip("/")
        try:
            document = json.loads(retry(partial(filesystem.cat_file, f"{root}/.zmetadata")))
            self._metadata: dict[str, Any] = document["metadata"]
            self._rows = int(document["record_size"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(".zmetadata", error) from error
        self._read = lru_cache(maxsize=_RECORDS)(self._read_record)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - bytes, or a list as JSON has it
        if key == ".zmetadata":
            whole = {"zarr_consolidated_format": 1, "metadata": self._metadata}
            return json.dumps(whole).encode()
        if key in self._metadata:
            return json.dumps(self._metadata[key]).encode()
        array, number = self._find(key)
        paths, offsets, sizes, raws = self._read(array, number // self._rows)
        row = number % self._rows
        if row >= len(paths):
            raise KeyError(key)
        if isinstance(raws[row], bytes | str):
            raw = raws[row]
            return raw if isinstance(raw, bytes) else raw.encode()
        if not (isinstance(paths[row], str) and paths[row]):
            raise KeyError(key)
        place = _whole([paths[row]], {}, self._origin)
        if _is_remote(self._origin) and _is_local(place[0]):
            refuse_local(self._shown)
        self._systems.add(place[0])
        offset, size = int(offsets[row]), int(sizes[row])
        return place if offset == size == 0 else [*place, offset, size]

    def __iter__(self) -> Iterator[str]:
        return iter(self._metadata)

    def __len__(self) -> int:
        return len(self._metadata)

    def _find(self, key: str) -> tuple[str, int]:
        """Return the array and the number of a chunk; raise KeyError for anything else."""
        array, _, chunk = key.rpartition("/")
        while array and f"{array}/.zarray" not in self._metadata:
            array, _, more = array.rpartition("/")
            chunk = f"{more}/{chunk}"
        about = self._metadata[f"{array}/.zarray"]
        counts = [
            math.ceil(length / size)
            for length, size in zip(about["shape"], about["chunks"], strict=True)
        ] or [1]
        place = [int(part) for part in _SEPARATORS.split(chunk) if part.isdigit()]
        if len(place) != len(counts) or any(
            at >= count for at, count in zip(place, counts, strict=True)
        ):
            raise KeyError(key)
        return array, int(np.ravel_multi_index(place, counts))

    def _read_record(self, array: str, record: int) -> tuple[Any, Any, Any, Any]:
        """Return the columns path, offset, size and raw of one file."""
        name = f"{array}/refs.{record}.parq"
        fastparquet = import_fastparquet(self._shown)
        try:
            content = self._filesystem.cat_file(f"{self._root}/{name}")
        except FileNotFoundError as error:
            raise KeyError(name) from error
        try:
            table = fastparquet.ParquetFile(io.BytesIO(content)).to_pandas()
            there = {column: table[column].to_numpy(dtype=object) for column in table.columns}
        except Exception as error:  # of many kinds, from a decoder of bytes
            raise self._damaged(name, error) from error
        empty = np.full(len(table), None, dtype=object)
        zero = np.zeros(len(table), dtype=object)
        defaults = {"path": empty, "offset": zero, "size": zero, "raw": empty}
        paths, offsets, sizes, raws = (there.get(key, value) for key, value in defaults.items())
        return paths, offsets, sizes, raws

    def _damaged(self, name: str, error: Exception) -> InputError:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return InputError(
            f"{self._shown} holds references of which {name} is damaged ({reason})",
            field="file",
            hint="write them again",
        )


def import_fastparquet(shown: str) -> Any:  # noqa: ANN401 - a module without types
    """Return the reader of Parquet files, or say how to install it.

    Parameters
    ----------
    shown
        Name of what it should read.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import fastparquet
    except ImportError as error:
        raise InputError(
            f"{shown} holds references in Parquet, which need fastparquet",
            field="file",
            hint='pip install "pear-weather[references]", or write them as JSON',
        ) from error
    return fastparquet


def holds_records(metadata: bytes) -> bool:
    """Return whether the text of a ``.zmetadata`` is that of references in Parquet files."""
    try:
        document = json.loads(metadata)
    except ValueError:
        return False
    return isinstance(document, dict) and "record_size" in document


def _look(address: str, *, anonymous: bool) -> None:
    filesystem, path = open_filesystem(address, anonymous=anonymous)
    retry(lambda: filesystem.info(path))


def read_references(path: Path, origin: str) -> dict[str, Any]:
    """Return references with whole addresses and no templates.

    Parameters
    ----------
    path
        The JSON file.
    origin
        Its address, or its path; relative targets lie beside it.

    Returns
    -------
    dict
        Key of a Zarr store to its text, or to the address, offset and length of its bytes.

    Raises
    ------
    InputError
        If the file is damaged, holds programs, or came from a server and names local files.
    """
    shown = without_secrets(origin)
    if path.stat().st_size > _MOST_REFERENCES_BYTES:
        raise InputError(f"{shown} is too long for references in JSON", field="source")
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{shown} is damaged JSON: {error}", field="file") from error
    refs = document.get("refs", document) if isinstance(document, dict) else None
    if not isinstance(refs, dict) or not any(key.endswith(METADATA) for key in refs):
        raise InputError(
            f"{shown} is JSON, but does not hold references to chunks of Zarr", field="file"
        )
    if document.get("gen"):
        raise InputError(
            f"{shown} holds rules that make references",
            field="source",
            hint="write them out, as kerchunk does without `gen`",
        )
    templates = document.get("templates") or {}
    found = {
        key: _whole(value, templates, origin) for key, value in refs.items() if value is not None
    }
    if _is_remote(origin) and any(map(_is_local, _targets(found))):
        refuse_local(shown)
    return found


def _whole(value: Any, templates: Mapping[str, str], origin: str) -> Any:  # noqa: ANN401 - JSON
    """Return a reference with its template filled in and its target's whole address."""
    if not (isinstance(value, list) and value and isinstance(value[0], str)):
        return value
    url = value[0]
    for name, text in templates.items():
        url = url.replace("{{" + name + "}}", text)
    if "{{" in url:
        raise InputError(
            f"{without_secrets(origin)} has the reference {value[0]!r}, a program",
            field="source",
            hint="write references without functions",
        )
    if not is_address(url) and not url.startswith("/"):
        base = origin.rpartition("/")[0]
        url = f"{base}/{url}" if base else url
    return [url, *value[1:]]


def _targets(refs: Mapping[str, Any]) -> Iterator[str]:
    for value in refs.values():
        if isinstance(value, list) and value:
            yield value[0]


def _is_remote(origin: str) -> bool:
    return is_address(origin) and not origin.startswith("file:")


def _is_local(url: str) -> bool:
    return urlsplit(url).scheme in ("", "file", "local")


def refuse_local(shown: str) -> NoReturn:
    """Raise InputError for references of a server to files of this machine."""
    raise InputError(
        f"{shown} came from a server and refers to files of this machine",
        field="source",
        hint="download it, if you trust it",
    )
