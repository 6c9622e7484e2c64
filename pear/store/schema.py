"""What a store looks like inside: attributes, coordinates, chunks and codecs, in one place.

Measured to open as is in xarray, xdggs (its three conventions), easygems, earthkit-plots and
healpy tools. ``cell_ids`` and ``crs`` must carry the attributes below and no others.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numcodecs.blosc
import numpy as np
import zarr
from zarr.storage import LocalStore

from pear import __version__
from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside
from pear.variables import BY_NAME, VARIABLES, Layout

numcodecs.blosc.use_threads = False  # several threads would write the same data in varying order


COORDINATES: Final = ("time", "prediction_timedelta", "level", "cell", "cell_ids", "crs")


COMPLETE: Final = "complete"


PROBABILITY: Final = "pear_probability_of"


"""Attribute of a store whose fields are probabilities: what they are probabilities of."""


TIME_UNITS: Final = "seconds since 1970-01-01"


LICENCE: Final = "CC-BY-4.0"


_SHARD_BYTES: Final = 100_000_000


_MOST_SHARD_TIMES: Final = 256


_DGGS_CONVENTION: Final = {
    "uuid": "7b255807-140c-42ca-97f6-7a1cfecdbc38",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/dggs/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/dggs/blob/v1/README.md",
    "name": "dggs",
    "description": "Discrete Global Grid Systems convention for zarr",
}


def refinement_level(nside: int) -> int:
    """HEALPix refinement level k of nside = 2^k."""
    return nside.bit_length() - 1


def level_order(layout: Layout) -> tuple[int, ...]:
    """Levels in the one order of all stores: from the top (50 hPa) down."""
    return tuple(sorted(layout.levels)) if layout.upper else ()


def channels(layout: Layout) -> tuple[str, ...]:
    """Names of the channels of a layout: ``variable`` or ``variable@level``."""
    return tuple(layout.surface) + tuple(
        f"{name}@{level}" for name in layout.upper for level in level_order(layout)
    )


def all_channels(levels: Sequence[int]) -> tuple[str, ...]:
    """Names on the channel axis of the completeness array: ``variable`` or ``variable@level``.

    All variables of the contract, present or not, so that a variable that is added to a store
    later does not change the shape of what readers are reading.
    """
    return tuple(row.name for row in VARIABLES if row.kind == "surface") + tuple(
        f"{row.name}@{level}" for row in VARIABLES if row.kind == "upper" for level in levels
    )


def times_per_shard(layout: Layout, nside: int) -> int:
    """Times per shard of an analysis so that the largest variable's shard has about 100 MB."""
    per_time = 4 * cells_of_nside(nside) * max(len(level_order(layout)), 1)
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
            "refinement_level": refinement_level(nside),
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


def overview_name(nside: int) -> str:
    """Name of the group with the means over coarser cells."""
    return f"nside{nside}"


def overviews(root: Any) -> tuple[int, ...]:
    """Resolutions of the coarser groups of a store, finest first."""
    found = (re.fullmatch(r"nside(\d+)", name) for name in root.group_keys())
    return tuple(sorted((int(match[1]) for match in found if match), reverse=True))


def default_overviews(nside: int) -> tuple[int, ...]:
    """Resolutions of the coarser groups unless others are asked for: a quarter, from 8 up."""
    return (nside // 4,) if nside >= 32 else ()


def check_overviews(coarser: Sequence[int], nside: int) -> None:
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


def open_group(path: Path) -> Any:
    """Open the root group of a store to read, by its consolidated metadata."""
    return zarr.open_group(LocalStore(path, read_only=True), mode="r")
