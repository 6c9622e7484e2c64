"""What a store looks like inside: attributes, coordinates, chunks and codecs, in one place.

Measured to open as is in xarray, xdggs (its three conventions), easygems, earthkit-plots and
healpy tools. ``cell_ids`` and ``crs`` must carry the attributes below and no others.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numcodecs.blosc
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from pear.store import metadata, schema
from pear.store.schema import (
    COMPLETE,
    PROBABILITY,
    all_channels,
    group_attributes,
    level_order,
    overview_name,
    variable_attributes,
)
from pear.variables import Layout
from pipelines.storage import metadata as write_metadata

numcodecs.blosc.use_threads = False  # several threads would write the same data in varying order
_TIME_CHUNK: Final = 8192


def create_group(
    path: Path, kind: str, layout: Layout, nside: int, extra: Mapping[str, Any]
) -> Any:
    """Make the root group with the coordinates that both kinds of store share."""
    attributes = group_attributes(kind, nside, extra)
    return _with_axes(
        zarr.create_group(LocalStore(path), zarr_format=3, attributes=attributes), layout, nside
    )


def create_overview(root: Any, kind: str, layout: Layout, nside: int) -> Any:
    """Make a sibling group for means over coarser cells; it opens like a store of its own."""
    title = f"{root.attrs['title']}: means over the cells of nside {nside}"
    attributes = group_attributes(kind, nside, {"title": title})
    if kind == "analysis":
        attributes["coordinates"] = "cell_ids crs"
    return _with_axes(root.create_group(overview_name(nside), attributes=attributes), layout, nside)


def _with_axes(group: Any, layout: Layout, nside: int) -> Any:
    add_cells(group, nside)
    if layout.upper:
        dims, levels, attributes = schema.level_coordinate(level_order(layout))
        coordinate(group, "level", levels, attributes, dims)
    return group


def consolidate(group: Any, sync: bool = True) -> None:
    """Write the root's consolidated metadata, sealed: what readers go by.

    ``sync`` brings each file to disk; a store that is synced whole before it gets its name needs
    none of that.
    """
    with warnings.catch_warnings():
        # Not yet part of the Zarr specification; a reader without it reads the arrays' own files.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(group.store)
    root = Path(group.store.root)
    write_metadata.write_group(root, metadata.read(root), sync)
    write_metadata.rewrite_child_metadata(root, sync)


def add_cells(group: Any, nside: int) -> None:
    """Write the coordinates of the grid into a group: cell, cell_ids and crs."""
    for name, (dims, values, attributes) in schema.grid_coordinates(nside).items():
        coordinate(group, name, values, attributes, dims)


def coordinate(
    group: Any,
    name: str,
    values: npt.NDArray[Any],
    attributes: dict[str, Any],
    dims: Sequence[str] | None = None,
    chunk: int | None = None,
) -> Any:
    """Write one small array whole; ``chunk`` leaves room for it to grow along its first axis."""
    shape = tuple(max(n, 1) for n in values.shape)
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=shape if chunk is None else (chunk, *shape[1:]),
        compressors=codecs(values.dtype.itemsize),
        fill_value=0,
        dimension_names=(name,) if dims is None else dims,
        attributes=attributes,
    )
    if values.size:
        array[...] = values
    return array


def time_coordinate(group: Any, kind: str, seconds: npt.NDArray[np.int64]) -> Any:
    """Write the time axis: seconds since 1970 as integers, which no later append can bend."""
    attributes = schema.time_coordinate(kind, seconds).attributes | schema.TIME_ENCODING
    chunk = _TIME_CHUNK if kind == "analysis" else None
    return coordinate(group, "time", seconds, attributes, chunk=chunk)


def lead_coordinate(group: zarr.Group, leads: npt.NDArray[np.timedelta64]) -> None:
    """Write the lead times, as integer seconds."""
    dims, values, attributes = schema.lead_coordinate(leads)
    encoded = values.astype(np.int64)
    coordinate(group, "prediction_timedelta", encoded, attributes | schema.LEAD_ENCODING, dims)


def completeness(group: Any, layout: Layout) -> Any:
    """Write the empty completeness array of an analysis, (time, channel)."""
    names = all_channels(level_order(layout))
    attributes = {
        "long_name": "1 where the field is present and has passed all checks",
        "flag_values": [0, 1],
        "flag_meanings": "missing complete",
        "channels": list(names),
    }
    empty = np.zeros((0, len(names)), dtype=np.uint8)
    return coordinate(group, COMPLETE, empty, attributes, ("time", "channel"), _TIME_CHUNK)


def data_variable(
    group: Any,
    name: str,
    nside: int,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    dims: tuple[str, ...],
) -> Any:
    """Make one float32 data variable; what is not written reads as NaN."""
    return group.create_array(
        name,
        shape=shape,
        dtype="float32",
        chunks=chunks,
        shards=shards,
        compressors=codecs(4),
        fill_value=float("nan"),
        dimension_names=dims,
        attributes=variable_attributes(name, nside, group.attrs.get(PROBABILITY)),
    )


def codecs(itemsize: int) -> list[Any]:
    """Shuffle and LZ4 (smaller and 4 times faster than plain zstd here), and a checksum."""
    blosc = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=itemsize)
    return [blosc, Crc32cCodec()]
