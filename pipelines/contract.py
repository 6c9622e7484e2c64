"""What a store looks like inside: attributes, coordinates, chunks and codecs, in one place.

Measured to open as is in xarray, xdggs (its three conventions), easygems, earthkit-plots and
healpy tools. ``cell_ids`` and ``crs`` must carry the attributes below and no others.
"""

from __future__ import annotations

import json
import platform
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numcodecs.blosc
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from pear import __version__
from pear.errors import InputError
from pear.sphere.grid import cells_of_nside
from pear.variables import BY_NAME, VARIABLES, Layout
from pipelines import metadata

numcodecs.blosc.use_threads = False  # several threads would write the same data in varying order

COORDINATES: Final = ("time", "prediction_timedelta", "level", "cell", "cell_ids", "crs")
COMPLETE: Final = "complete"
PROBABILITY: Final = "pear_probability_of"
"""Attribute of a store whose fields are probabilities: what they are probabilities of."""
TIME_UNITS: Final = "seconds since 1970-01-01"
LICENCE: Final = "CC-BY-4.0"
_SHARD_BYTES: Final = 100_000_000
_MOST_SHARD_TIMES: Final = 256
_TIME_CHUNK: Final = 8192
_DGGS_CONVENTION: Final = {
    "uuid": "7b255807-140c-42ca-97f6-7a1cfecdbc38",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/dggs/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/dggs/blob/v1/README.md",
    "name": "dggs",
    "description": "Discrete Global Grid Systems convention for zarr",
}


def refinement(nside: int) -> int:
    """HEALPix refinement level k of nside = 2^k."""
    return nside.bit_length() - 1


def stored_levels(layout: Layout) -> tuple[int, ...]:
    """Levels in the one order of all stores: from the top (50 hPa) down."""
    return tuple(sorted(layout.levels)) if layout.upper else ()


def channels(layout: Layout) -> tuple[str, ...]:
    """Names of the channels of a layout: ``variable`` or ``variable@level``."""
    return tuple(layout.surface) + tuple(
        f"{name}@{level}" for name in layout.upper for level in stored_levels(layout)
    )


def all_channels(levels: Sequence[int]) -> tuple[str, ...]:
    """Names on the channel axis of the completeness array: ``variable`` or ``variable@level``.

    All variables of the contract, present or not, so that a variable that is added to a store
    later does not change the shape of what readers are reading.
    """
    return tuple(row.name for row in VARIABLES if row.kind == "surface") + tuple(
        f"{row.name}@{level}" for row in VARIABLES if row.kind == "upper" for level in levels
    )


def shard_times(layout: Layout, nside: int) -> int:
    """Times per shard of an analysis so that the largest variable's shard has about 100 MB."""
    per_time = 4 * cells_of_nside(nside) * max(len(stored_levels(layout)), 1)
    return int(np.clip(round(_SHARD_BYTES / per_time), 1, _MOST_SHARD_TIMES))


def group_attributes(kind: str, nside: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the root group; ``extra`` may replace title, source, history and licence.

    Nothing here depends on the clock, so that a repeated run gives the same bytes.
    """
    return {
        "Conventions": "CF-1.13",
        "title": f"PEAR {kind}",
        "source": f"PEAR {__version__}",
        "history": f"written by PEAR {__version__}",
        "licence": LICENCE,
        "pear_kind": kind,
        "coordinates": "cell_ids crs" + (f" {COMPLETE}" if kind == "analysis" else ""),
        "libraries": {name: version(name) for name in ("numpy", "xarray", "zarr", "healpy")}
        | {"python": platform.python_version()},
        "zarr_conventions": [dict(_DGGS_CONVENTION)],
        "dggs": {
            "name": "healpix",
            "refinement_level": refinement(nside),
            "indexing_scheme": "nested",
            "spatial_dimension": "cell",
            "coordinate": "cell_ids",
            "compression": "none",
        },
        **extra,
    }


def variable_attributes(name: str, nside: int, probability: str | None = None) -> dict[str, Any]:
    """Attributes of one data variable; ``probability`` says of what it is one, if it is."""
    row = BY_NAME[name]
    about = {"standard_name": row.standard_name, "long_name": row.long_name, "units": row.units}
    if probability is not None:
        about = {"long_name": f"Probability of {probability}", "units": "1"}
    return {
        **about,
        "short_name": row.short_name,
        "grid_mapping": "crs",
        "ek_grid_spec": json.dumps({"grid": f"H{nside}", "order": "nested"}),
    }


def create_group(
    path: Path, kind: str, layout: Layout, nside: int, extra: Mapping[str, Any]
) -> Any:
    """Make the root group with the coordinates that both kinds of store share."""
    attributes = group_attributes(kind, nside, extra)
    return _with_axes(
        zarr.create_group(LocalStore(path), zarr_format=3, attributes=attributes), layout, nside
    )


def create_coarser(root: Any, kind: str, layout: Layout, nside: int) -> Any:
    """Make a sibling group for means over coarser cells; it opens like a store of its own."""
    title = f"{root.attrs['title']}: means over the cells of nside {nside}"
    attributes = group_attributes(kind, nside, {"title": title})
    if kind == "analysis":
        attributes["coordinates"] = "cell_ids crs"
    return _with_axes(root.create_group(coarser_name(nside), attributes=attributes), layout, nside)


def coarser_name(nside: int) -> str:
    """Name of the group with the means over coarser cells."""
    return f"nside{nside}"


def coarser_levels(root: Any) -> tuple[int, ...]:
    """Resolutions of the coarser groups of a store, finest first."""
    found = (re.fullmatch(r"nside(\d+)", name) for name in root.group_keys())
    return tuple(sorted((int(match[1]) for match in found if match), reverse=True))


def usual_coarser(nside: int) -> tuple[int, ...]:
    """Resolutions of the coarser groups unless others are asked for: a quarter, from 8 up."""
    return (nside // 4,) if nside >= 32 else ()


def check_coarser(coarser: Sequence[int], nside: int) -> None:
    """Refuse resolutions that are not powers of two below that of the store.

    Raises
    ------
    InputError
        Naming the first that is not.
    """
    for one in coarser:
        if one < 1 or one & (one - 1) or one >= nside:
            raise InputError(
                f"nside {one} is no coarser level of nside {nside}",
                field="--coarser",
                hint="give powers of two below it",
            )


def _with_axes(group: Any, layout: Layout, nside: int) -> Any:
    add_cells(group, nside)
    if layout.upper:
        levels = np.array(stored_levels(layout), dtype=np.int64)
        coordinate(
            group,
            "level",
            levels,
            {"standard_name": "air_pressure", "units": "hPa", "positive": "down"},
        )
    return group


def open_group(path: Path) -> Any:
    """Open the root group of a store to read, by its consolidated metadata."""
    return zarr.open_group(LocalStore(path, read_only=True), mode="r")


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
    metadata.write_group(root, metadata.read(root), sync)
    metadata.settle(root, sync)


def add_cells(group: Any, nside: int) -> None:
    """Write the grid into a group: cell, cell_ids and crs, exactly as other tools want them."""
    cells, k = np.arange(cells_of_nside(nside), dtype=np.int64), refinement(nside)
    coordinate(group, "cell", cells, {"standard_name": "healpix_index", "units": "1"})
    ids = {"grid_name": "healpix", "level": k, "indexing_scheme": "nested"}
    coordinate(group, "cell_ids", cells, ids, ("cell",))
    crs = {"grid_mapping_name": "healpix", "refinement_level": k, "indexing_scheme": "nested"}
    coordinate(group, "crs", np.array(0, dtype=np.int32), crs, ())


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
    name = "time" if kind == "analysis" else "forecast_reference_time"
    attributes = {
        "standard_name": name,
        "long_name": "valid time" if kind == "analysis" else "initial time of the forecast",
        "units": TIME_UNITS,
        "calendar": "proleptic_gregorian",
    }
    chunk = _TIME_CHUNK if kind == "analysis" else None
    return coordinate(group, "time", seconds, attributes, chunk=chunk)


def completeness(group: Any, layout: Layout) -> Any:
    """Write the empty completeness array of an analysis, (time, channel)."""
    names = all_channels(stored_levels(layout))
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
    shards: tuple[int, ...],
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
