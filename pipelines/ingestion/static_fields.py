"""Writing of static fields: a store keeps the first surface geopotential and land-sea mask.

ERA5 files carry them as a geopotential without level and a land-sea mask. They are stored in the
group ``static`` on the cells of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from pear.datasets.fields import regrid_field
from pear.datasets.static import StaticField
from pear.errors import InputError
from pear.store.static_fields import GROUND, GROUP, LAND, stored_names
from pipelines.ingestion.options import Method
from pipelines.storage import create
from pipelines.storage.atomic import writer_lock

_ATTRIBUTES: Final = {
    GROUND: {"standard_name": "surface_geopotential", "units": "m2 s-2"},
    LAND: {"standard_name": "land_area_fraction", "units": "1"},
}


@dataclass(frozen=True)
class StaticCells:
    """A static field on the cells of a store.

    Attributes
    ----------
    name, source : str
        Canonical name, and file or address.
    cells : (cell,) array
        The values.
    """

    name: str
    source: str
    cells: npt.NDArray[np.float32]


def read_static_fields(
    store: Path,
    fields: Sequence[StaticField],
    nside: int,
    method: Method = "bilinear",
    refuse: Callable[[StaticField, InputError], None] | None = None,
) -> list[StaticCells]:
    """Read the first usable of each static field that a store lacks.

    Parameters
    ----------
    store : Path
        An analysis store.
    fields : sequence of StaticField
        Static fields of the sources.
    nside : int
        Resolution of the store.
    method : {"bilinear", "conservative"}
        Regridding method.
    refuse : callable, optional
        Receives a faulty field and its fault; default: the fault is raised.

    Returns
    -------
    list of StaticCells
        What :func:`write_static_fields` is to write.

    Raises
    ------
    InputError
        If a field cannot be read or has values outside its valid range.
    """
    known = set(stored_names(store)) if store.is_dir() else set()
    out = []
    for one in fields:
        if one.name in known:
            continue
        try:
            values = one.values().astype(np.float32)
        except InputError as fault:
            if refuse is None:
                raise
            refuse(one, fault)
            continue
        cells = regrid_field((values, None), one.grid, nside, method, one.name)
        out.append(StaticCells(one.name, one.source, cells))
        known.add(one.name)
    return out


def write_static_fields(store: Path, fields: Sequence[StaticCells]) -> list[str]:
    """Write static fields to a store.

    Parameters
    ----------
    store : Path
        An analysis store.
    fields : sequence of StaticCells
        Fields that it lacks.

    Returns
    -------
    list of str
        Names of the fields that were written.
    """
    if not fields:
        return []
    with writer_lock(store):
        root = zarr.open_group(LocalStore(store), mode="r+", use_consolidated=False)
        group = root.require_group(GROUP)
        for one in sorted(fields, key=lambda each: each.name):
            name = one.name
            if name in group:
                del group[name]  # left by a writer that was killed before its commit
            attributes = {**_ATTRIBUTES[name], "grid_mapping": "crs", "source": one.source}
            create.coordinate(group, name, one.cells, attributes, ("cell",))
        create.consolidate(root)
    return sorted(one.name for one in fields)
