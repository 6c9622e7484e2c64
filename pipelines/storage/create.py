"""Creation of groups and arrays of a store by the schema of :mod:`pear.store.schema`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numcodecs.blosc
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from pear.store import metadata, schema
from pear.store.schema import COMPLETE, LEAD_TIME, PRELIMINARY
from pear.typing import Array, Times, TimesLike
from pear.variables import PROBABILITY, STATISTIC, Layout
from pear.variables.own import DEFINITIONS, definitions
from pipelines.storage.manifest import write_manifest
from pipelines.storage.metadata import rewrite_child_metadata, write_group

numcodecs.blosc.use_threads = False  # several threads would write the same data in varying order
_TIME_CHUNK: Final = 8192


def create_group(
    path: Path, kind: str, layout: Layout, nside: int, attributes: Mapping[str, Any]
) -> zarr.Group:
    """Create the root group with the coordinates of the grid and the levels."""
    wanted = schema.group_attributes(kind, nside, attributes)
    if (defined := definitions(layout.names)) is not None:
        wanted[DEFINITIONS] = defined
    group = zarr.create_group(LocalStore(path), zarr_format=3, attributes=wanted)
    return _with_axes(group, layout, nside)


def create_overview(root: zarr.Group, kind: str, layout: Layout, nside: int) -> zarr.Group:
    """Create a group for means over coarser cells; it opens like a store of its own."""
    title = f"{root.attrs['title']}: means over the cells of nside {nside}"
    kept = ("source", "history", "license", PROBABILITY, STATISTIC, schema.CELL_METHODS)
    inherited = {name: root.attrs[name] for name in kept if name in root.attrs}
    attributes = schema.group_attributes(kind, nside, {**inherited, "title": title})
    if kind == "analysis":
        attributes["coordinates"] = "cell_ids crs"
    group = root.create_group(schema.overview_name(nside), attributes=attributes)
    return _with_axes(group, layout, nside)


def _with_axes(group: zarr.Group, layout: Layout, nside: int) -> zarr.Group:
    for name, (dims, values, attributes) in schema.fixed_coordinates(layout, nside).items():
        fill = float("nan") if values.dtype.kind == "f" else 0
        coordinate(group, name, values, attributes, dims, fill=fill)
    return group


def consolidate(group: zarr.Group, *, sync: bool = True) -> None:
    """Write manifest, consolidated metadata of the root and their digest, which readers go by.

    Parameters
    ----------
    group
        Root group.
    sync
        Sync each file to disk; unnecessary for a store that is synced whole before it is renamed.
    """
    with warnings.catch_warnings():
        # Not part of the Zarr specification yet; other readers use the files of the arrays.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(group.store)
    root = Path(group.store.root)  # type: ignore[attr-defined]  # a LocalStore
    write_manifest(root, sync=sync)
    document = metadata.read(root)
    metadata.name_manifest(document)
    write_group(root, document, sync=sync)
    rewrite_child_metadata(root, sync=sync)


def coordinate(
    group: zarr.Group,
    name: str,
    values: Array,
    attributes: Mapping[str, Any],
    dims: Sequence[str] | None = None,
    *,
    chunk: int | None = None,
    fill: float = 0,
) -> None:
    """Write a small array as one chunk.

    Parameters
    ----------
    group
        Group of the array.
    name
        Name of the array.
    values
        Its values.
    attributes
        Its attributes.
    dims
        Names of its dimensions; default: its own name.
    chunk
        Length of a chunk along the first axis, for an array that will grow.
    fill
        What reads where a chunk is missing.
    """
    shape = tuple(max(n, 1) for n in values.shape)
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=shape if chunk is None else (chunk, *shape[1:]),
        compressors=_codecs(values.dtype.itemsize, "zstd" if values.dtype.kind == "f" else "lz4"),
        fill_value=fill,
        dimension_names=(name,) if dims is None else dims,
        attributes=dict(attributes),
        config={"write_empty_chunks": True},  # other readers take a lost chunk for zeros
    )
    if values.size:
        array[...] = values


def time_coordinate(group: zarr.Group, kind: str, times: TimesLike) -> None:
    """Write the time axis as integer seconds since 1970, which no append can change."""
    dims, values, attributes = schema.time_coordinate(kind, times)
    encoded, attributes = values.astype(np.int64), attributes | schema.TIME_ENCODING
    chunk = _TIME_CHUNK if kind == "analysis" else None
    coordinate(group, "time", encoded, attributes, dims, chunk=chunk)


def lead_coordinate(group: zarr.Group, leads: npt.NDArray[np.timedelta64]) -> None:
    """Write the lead times as integer seconds."""
    dims, values, attributes = schema.lead_coordinate(leads)
    encoded, attributes = values.astype(np.int64), attributes | schema.LEAD_ENCODING
    coordinate(group, "prediction_timedelta", encoded, attributes, dims)


def valid_time_coordinate(
    group: zarr.Group, times: Times, leads: npt.NDArray[np.timedelta64]
) -> None:
    """Write the valid times of a forecast as integer seconds since 1970."""
    dims, values, attributes = schema.valid_time_coordinate(times, leads)
    encoded, attributes = values.astype(np.int64), attributes | schema.TIME_ENCODING
    coordinate(group, schema.VALID_TIME, encoded, attributes, dims)


def completeness(group: zarr.Group, layout: Layout) -> None:
    """Write the empty completeness array of an analysis, (time, channel)."""
    names = schema.all_channels(schema.level_order(layout), layout.names)
    attributes = {
        "long_name": "1 where the field is present and has passed all checks",
        "channels": list(names),
    }
    empty = np.zeros((0, len(names)), dtype=np.uint8)
    coordinate(group, COMPLETE, empty, attributes, ("time", "channel"), chunk=_TIME_CHUNK)


def preliminary(group: zarr.Group) -> None:
    """Write the empty array of the times with preliminary data of an analysis, (time,).

    A lost chunk reads as 255, which is neither of the two values.
    """
    attributes = {
        "long_name": "1 where the data are preliminary, to be replaced by final data",
    }
    empty = np.zeros(0, dtype=np.uint8)
    coordinate(group, PRELIMINARY, empty, attributes, ("time",), chunk=_TIME_CHUNK, fill=255)


def lead_time(group: zarr.Group) -> None:
    """Write the empty array of the lead times of the states of an analysis, (time,), in seconds.

    A lost chunk reads as -1, which is not a lead time.
    """
    attributes = {
        "standard_name": "forecast_period",
        "long_name": "lead time of a state that is itself a forecast; 0 for an analysis",
        **schema.LEAD_ENCODING,
    }
    empty = np.zeros(0, dtype=np.int64)
    coordinate(group, LEAD_TIME, empty, attributes, ("time",), chunk=_TIME_CHUNK, fill=-1)


def data_variable(
    group: zarr.Group,
    name: str,
    nside: int,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    dims: tuple[str, ...],
) -> None:
    """Create a float32 data variable; what is not written reads as NaN."""
    group.create_array(
        name,
        shape=shape,
        dtype="float32",
        chunks=chunks,
        shards=shards,
        compressors=_codecs(4),
        fill_value=float("nan"),
        dimension_names=dims,
        attributes=schema.variable_attributes(name, nside, dict(group.attrs)),
    )


def _codecs(itemsize: int, name: Literal["lz4", "zstd"] = "lz4") -> list[BloscCodec | Crc32cCodec]:
    """Return shuffle and compression (fields: LZ4, see the comment), and a checksum."""
    # Of fields LZ4 is smaller and 4 times faster than zstd; latitudes and longitudes, which repeat
    # themselves, are half as large with zstd.
    blosc = BloscCodec(cname=name, clevel=5, shuffle="shuffle", typesize=itemsize)
    return [blosc, Crc32cCodec()]
