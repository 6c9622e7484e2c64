"""What does not change, beside the analyses: the height of the ground and the share of land.

Files of ERA5 carry them as a geopotential without level and a land-sea mask. A store keeps the
first of each that is ingested, in its group ``static`` on the store's own cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import zarr
from zarr.storage import LocalStore

from pear.datasets.static import Static
from pear.sphere.regrid import apply, bilinear_to_healpix, conservative_to_healpix
from pear.store.static_fields import GROUND, GROUP, LAND, stored_names
from pipelines.storage import create
from pipelines.storage.atomic import writer_lock

_ATTRIBUTES: Final = {
    GROUND: {"standard_name": "surface_geopotential", "units": "m2 s-2"},
    LAND: {"standard_name": "land_area_fraction", "units": "1"},
}


def keep(store: Path, found: Sequence[Static], nside: int, method: str = "bilinear") -> list[str]:
    """Write the first of each static field into a store that lacks it.

    Returns
    -------
    list of str
        Names that were written now.

    Raises
    ------
    InputError
        If a field is not what its name says, or another process writes to the store.
    """
    lacking = {one.name for one in found} - set(stored_names(store))
    if not lacking:
        return []
    weights = conservative_to_healpix if method == "conservative" else bilinear_to_healpix
    with writer_lock(store):
        root = zarr.open_group(LocalStore(store), mode="r+", use_consolidated=False)
        group = root.require_group(GROUP)
        for name in sorted(lacking):
            one = next(field for field in found if field.name == name)
            cells = apply(weights(one.grid, nside), one.values().astype(np.float32))
            if name in group:
                del group[name]  # left by a writer that died before its commit
            attributes = {**_ATTRIBUTES[name], "grid_mapping": "crs", "source": one.source}
            create.coordinate(group, name, np.asarray(cells, "f4"), attributes, ("cell",))
        create.consolidate(root)
    return sorted(lacking)
