"""Chunk files that a Zarr store lacks, for which the library answers the fill value."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata
from zarr.storage import WrapperStore

from pear.datasets.base import Scan, SourceVariable
from pear.datasets.static import static_name
from pear.datasets.xarray import ArrayReader
from pear.errors import InputError
from pear.store.ranged import PartwiseReads

__all__ = [
    "SoundStore",
    "WholeStore",
    "find_nameless",
    "refuse_missing_chunks",
    "require_current_metadata",
]

ZarrArray: TypeAlias = zarr.Array[ArrayV2Metadata] | zarr.Array[ArrayV3Metadata]
Flags: TypeAlias = npt.NDArray[np.bool_]
Place: TypeAlias = tuple[int, ...]
"""Position of a chunk along the axes of an array."""

_METADATA: Final = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")
_COMPARED: Final = (
    "shape",
    "chunks",
    "chunk_grid",
    "dtype",
    "data_type",
    "fill_value",
    "dimension_names",
    "attributes",
)
_BLOSC_HEADER: Final = 16
_EMPTY: Final = np.iinfo(np.uint64).max
_HINT: Final = "copy the store again, with all its files"


class SoundStore(PartwiseReads, WrapperStore[Store]):
    """Store that raises OSError for a chunk that Blosc wrote and that was cut short.

    The library reads on behind its end, and gives what lies there.

    Parameters
    ----------
    store
        The store.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._blosc: dict[str, bool] = {}

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key."""
        found = await super().get(key, prototype, byte_range)
        if found is None:
            return None
        folder, _, last = key.rpartition("/")
        if last in _METADATA:
            self._note(folder, last, found.to_bytes())
        elif not len(found):
            raise OSError(f"its chunk file {key} is empty")
        elif byte_range is None and self._is_blosc(key):
            head = found[:_BLOSC_HEADER].to_bytes()
            stated = int.from_bytes(head[12:16], "little")
            if len(head) < _BLOSC_HEADER or len(found) < stated:
                raise OSError(f"its chunk file {key} is cut short: {len(found)} of {stated} bytes")
        return found

    def _note(self, folder: str, last: str, content: bytes) -> None:
        """Remember which arrays are compressed by Blosc last."""
        with suppress(ValueError, AttributeError, TypeError):
            document = json.loads(content)
            if last == ".zmetadata":
                for name, inner in document["metadata"].items():
                    if name.endswith(".zarray"):
                        place = "/".join(filter(None, (folder, name.removesuffix("/.zarray"))))
                        self._blosc[place] = _ends_with_blosc(inner)
                return
            if last not in (".zarray", "zarr.json"):
                return  # attributes, read beside .zarray, say nothing of codecs
            self._blosc[folder] = _ends_with_blosc(document)
            inside = (document.get("consolidated_metadata") or {}).get("metadata", {})
            for name, inner in inside.items():
                self._blosc["/".join(filter(None, (folder, name)))] = _ends_with_blosc(inner)

    def _is_blosc(self, key: str) -> bool:
        parts = key.split("/")[:-1]
        folders = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
        return next((self._blosc[name] for name in folders if name in self._blosc), False)


def _ends_with_blosc(document: Mapping[str, Any]) -> bool:
    """Return whether the bytes of an array's chunks are what Blosc wrote."""
    compressor = document.get("compressor") or {}
    codecs = document.get("codecs") or []
    return "blosc" in (compressor.get("id"), codecs[-1].get("name") if codecs else None)


class WholeStore(SoundStore):
    """Store that raises OSError for a chunk of a field that is not there.

    Axes and static fields may lack chunks: writers leave out those of zeros alone, which the
    weather does not have.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key."""
        found = await super().get(key, prototype, byte_range)
        if found is None and _is_of_field(key):
            raise OSError(f"its chunk file {key} is missing")
        return found


def _is_of_field(key: str) -> bool:
    *folders, last = key.split("/")
    if last in _METADATA or not folders:
        return False
    numbers = [part for part in (*folders, *last.split(".")) if part.isdigit()]
    return len(numbers) > 1 and static_name(folders[0]) is None


def require_current_metadata(folder: Path, label: str) -> None:
    """Refuse a store whose consolidated metadata differ from those of its arrays.

    Readers go by the first, writers may change the second alone: appended times would be left out.

    Parameters
    ----------
    folder : Path
        The Zarr store.
    label : str
        Its name in messages.

    Raises
    ------
    InputError
        If an array differs in shape, chunks, type, fill value or attributes.
    """
    for name, stated, own in _stated_twice(folder):
        for key in _COMPARED:
            one, other = _differing(stated.get(key), own.get(key))
            if one != other:
                raise InputError(
                    f"{label}: {name} has {key} {one} by the consolidated metadata of the store "
                    f"and {other} by its own",
                    field=name,
                    hint="consolidate the metadata again: zarr.consolidate_metadata(STORE)",
                )


def _differing(stated: object, own: object) -> tuple[str, str]:
    """Return two values of one key as text; of mappings the entries in which they differ."""
    if isinstance(stated, dict) and isinstance(own, dict):
        keys = sorted(
            key for key in {*stated, *own} if _text(stated.get(key)) != _text(own.get(key))
        )
        stated = {key: stated[key] for key in keys if key in stated}
        own = {key: own[key] for key in keys if key in own}
    return _text(stated), _text(own)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _stated_twice(folder: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the documents of each array in the consolidated metadata, and its own."""
    second, third = (_read_json(folder / name) for name in (".zmetadata", "zarr.json"))
    for key, stated in (second.get("metadata") or {}).items():
        name, _, kind = key.rpartition("/")
        if kind == ".zattrs" and (folder / name / ".zarray").is_file():
            yield name, {"attributes": stated}, {"attributes": _read_json(folder / key)}
        elif kind == ".zarray":
            yield name, stated, _read_json(folder / key)
    inside = (third.get("consolidated_metadata") or {}).get("metadata") or {}
    for name, stated in inside.items():
        if stated.get("node_type") == "array":
            yield name, stated, _read_json(folder / name / "zarr.json")


def find_nameless(folder: Path) -> str | None:
    """Return the path of an array of a Zarr store that does not name its dimensions.

    Parameters
    ----------
    folder : Path
        The Zarr store.

    Returns
    -------
    str or None
        The first in order of their names; None if all do.
    """
    for path in sorted(folder.rglob(".zarray")):
        if "_ARRAY_DIMENSIONS" not in _read_json(path.with_name(".zattrs")):
            return path.parent.relative_to(folder).as_posix()
    for path in sorted(folder.rglob("zarr.json")):
        about = _read_json(path)
        if about.get("node_type") == "array" and about.get("shape"):
            names = about.get("dimension_names") or [None]
            if None in names:
                return path.parent.relative_to(folder).as_posix()
    return None


def _read_json(path: Path) -> dict[str, Any]:
    """Return a document; empty if there is none, which Zarr says itself where it needs one."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def refuse_missing_chunks(folder: Path, scan: Scan) -> None:
    """Mark fields of which a chunk file is missing, and add the fault to the scan.

    Parameters
    ----------
    folder : Path
        The Zarr store.
    scan : Scan
        Its contents.
    """
    group = zarr.open_group(folder, mode="r")
    for index, variable in enumerate(scan.variables):
        array = group[variable.name]
        if not (isinstance(variable.reader, ArrayReader) and isinstance(array, zarr.Array)):
            continue
        missing = list(_missing(folder / variable.name, array))
        if not missing:
            continue
        first = array.metadata.encode_chunk_key(_file_of(array, missing[0]))
        count = f"{len(missing)} of {math.prod(_grid(array))}"
        fault = f"{variable.name} lacks {count} chunks (the first is {first})"
        other = _unknown_file(folder / variable.name, array)
        if other is not None:
            fault += f", but has a file {other}, which its metadata do not name"
        elif _is_nan(array.fill_value):  # read as missing values, which are refused where wanted
            scan.note(fault)
            reader = replace(variable.reader, lacks=fault)
            scan.variables[index] = replace(variable, reader=reader)
            continue
        scan.fault(InputError(f"{scan.source}: {fault}", field=variable.name, hint=_HINT))
        scan.variables[index] = _without(variable, variable.reader, array, missing)
    # Without variables, a fault of the scan may only follow from an axis.
    for name in sorted(_axes(scan, group) if scan.variables else _own_axes(group)):
        axis = group[name]
        if not isinstance(axis, zarr.Array):
            continue
        lost = list(_missing(folder / name, axis))
        # One value alone is left out by writers where it equals the fill value.
        if len(lost) > (min(axis.chunks[0], axis.shape[0]) == 1):
            first = axis.metadata.encode_chunk_key(_file_of(axis, lost[0]))
            text = f"{scan.source}: its axis {name} lacks chunks (the first is {first})"
            # First, since fields at a time that comes twice only follow from it.
            scan.faults.insert(0, InputError(text, field=name, hint=_HINT))


def _axes(scan: Scan, group: zarr.Group) -> set[str]:
    """Return the names of the axes of all variables that are stored."""
    names: set[str] = set()
    for variable in scan.variables:
        if isinstance(variable.reader, ArrayReader):
            axes = variable.reader.axes
            names |= {str(axis) for axis in (*axes.points, axes.time, axes.level)}
            order = variable.reader.order
            names |= set() if order is None else {str(order.ids)}
    return {name for name in names if name in group and group[name].ndim == 1}  # type: ignore[union-attr]


def _own_axes(group: zarr.Group) -> set[str]:
    """Return the names of the arrays that are the axes of others."""
    arrays = dict(group.arrays())
    used = {str(n) for a in arrays.values() if a.ndim > 1 for n in _dimension_names(a)}
    return {name for name in used & set(arrays) if arrays[name].ndim == 1}


def _is_nan(value: object) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _grid(array: ZarrArray) -> Place:
    """Return the number of chunks along each axis."""
    pairs = zip(array.shape, array.chunks, strict=True)
    return tuple(-(-length // chunk) for length, chunk in pairs)


def _file_of(array: ZarrArray, chunk: Place) -> Place:
    """Return the position of the file that holds a chunk: its shard, or itself."""
    shards = array.shards or array.chunks
    return tuple(c * n // s for c, n, s in zip(chunk, array.chunks, shards, strict=True))


def _missing(folder: Path, array: ZarrArray) -> Iterator[Place]:
    """Yield the chunks of an array that are not in its folder."""
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    indices: dict[Place, Flags | None] = {}
    for chunk in product(*map(range, _grid(array))):
        place = _file_of(array, chunk)
        key = array.metadata.encode_chunk_key(place)
        if key not in files:
            yield chunk
        elif array.shards is not None:
            if place not in indices:
                indices = {place: _read_shard_index(folder / key, array)}
            held = indices[place]
            per_shard = [s // c for s, c in zip(array.shards, array.chunks, strict=True)]
            inner = tuple(c % n for c, n in zip(chunk, per_shard, strict=True))
            if held is not None and not held.reshape(per_shard)[inner]:
                yield chunk


def _unknown_file(folder: Path, array: ZarrArray) -> str | None:
    """Return the first file of an array that is not one of its chunks, such as a misnamed one."""
    known = {
        array.metadata.encode_chunk_key(_file_of(array, chunk))
        for chunk in product(*map(range, _grid(array)))
    }
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    names = (one for one in found if not Path(one).name.startswith(".") and one != "zarr.json")
    return min((one for one in names if one not in known), default=None)


def _read_shard_index(path: Path, array: ZarrArray) -> Flags | None:
    """Return which chunks a shard holds; None if its index has an unusual encoding."""
    codecs = getattr(array.metadata, "codecs", ())
    codec = next((one for one in codecs if isinstance(one, ShardingCodec)), None)
    if codec is None or array.shards is None:
        return None
    usual = all(isinstance(one, BytesCodec | Crc32cCodec) for one in codec.index_codecs)
    count = math.prod(s // c for s, c in zip(array.shards, array.chunks, strict=True))
    n_bytes = 16 * count
    checksum = 4 * any(isinstance(one, Crc32cCodec) for one in codec.index_codecs)
    size = path.stat().st_size
    if not usual:
        return None
    if size < n_bytes + checksum:
        return np.zeros(count, dtype=bool)
    at_end = codec.index_location.value == "end"
    with path.open("rb") as file:
        file.seek(size - n_bytes - checksum if at_end else 0)
        pairs = np.frombuffer(file.read(n_bytes), "<u8").reshape(count, 2)
    return np.asarray(pairs[:, 0] != _EMPTY)


def _without(
    variable: SourceVariable, reader: ArrayReader, array: ZarrArray, missing: list[Place]
) -> SourceVariable:
    """Return a variable without the fields of which a chunk is missing."""
    dims = list(_dimension_names(array))
    present = variable.present.copy()
    for chunk in missing:
        rows = np.ones(present.shape, dtype=bool)
        if reader.axes.time in dims:
            axis = dims.index(reader.axes.time)
            rows &= (np.array(reader.positions) // array.chunks[axis] == chunk[axis])[:, None]
        if reader.axes.level in dims and reader.levels:
            axis = dims.index(reader.axes.level)
            rows &= np.array(reader.levels) // array.chunks[axis] == chunk[axis]
        present &= ~rows
    return replace(variable, present=present)


def _dimension_names(array: ZarrArray) -> tuple[str | None, ...]:
    names = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.get("_ARRAY_DIMENSIONS", ())
    return tuple(names)  # type: ignore[arg-type]
