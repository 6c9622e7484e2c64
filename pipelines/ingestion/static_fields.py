"""Writing of static fields: a store keeps the first surface geopotential and land-sea mask.

ERA5 files carry them as a geopotential without level and a land-sea mask. They are stored in the
group ``static`` on the cells of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import zarr
from zarr.storage import LocalStore

from pear.datasets.fields import regridding_weights
from pear.datasets.static import StaticField
from pear.sphere.regrid import apply
from pear.store.static_fields import GROUND, GROUP, LAND, stored_names
from pipelines.ingestion.options import Method
from pipelines.storage import create
from pipelines.storage.atomic import writer_lock

_ATTRIBUTES: Final = {
    GROUND: {"standard_name": "surface_geopotential", "units": "m2 s-2"},
    LAND: {"standard_name": "land_area_fraction", "units": "1"},
}


def write_static_fields(
    store: Path, fields: Sequence[StaticField], nside: int, method: Method = "bilinear"
) -> list[str]:
    """Write the first of each static field that a store lacks.

    A field with values outside its valid range raises InputError.

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

    Returns
    -------
    list of str
        Names of the fields that were written.
    """
    stored = set(stored_names(store))
    missing = {one.name: one for one in reversed(fields) if one.name not in stored}
    if not missing:
        return []
    with writer_lock(store):
        root = zarr.open_group(LocalStore(store), mode="r+", use_consolidated=False)
        group = root.require_group(GROUP)
        for name, one in sorted(missing.items()):
            weights = regridding_weights(one.grid, nside, method)
            cells = apply(weights, one.values().astype(np.float32))
            if name in group:
                del group[name]  # left by a writer that was killed before its commit
            attributes = {**_ATTRIBUTES[name], "grid_mapping": "crs", "source": one.source}
            create.coordinate(group, name, np.asarray(cells, "f4"), attributes, ("cell",))
        create.consolidate(root)
    return sorted(missing)
