"""What does not change, beside the analyses: the height of the ground and the share of land.

Files of ERA5 carry them as a geopotential without level and a land-sea mask. A store keeps the
first of each that is ingested, in its group ``static`` on the store's own cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import zarr
from zarr.storage import LocalStore

from pear.sphere.grid import coarsen, nside_from_cells
from pear.sphere.regrid import apply, bilinear_to_healpix, conservative_to_healpix
from pipelines import contract
from pipelines.files import writer_lock
from pipelines.sources.quantities import STANDARD_GRAVITY
from pipelines.sources.static import GROUND, LAND, Floats, Static

GROUP: Final = "static"
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
            contract.coordinate(group, name, np.asarray(cells, "f4"), attributes, ("cell",))
        contract.consolidate(root)
    return sorted(lacking)


def stored_names(store: Path) -> list[str]:
    """Names of the static fields that a store keeps."""
    group = contract.open_group(store)
    if GROUP not in group:
        return []
    return sorted(set(group[GROUP].array_keys()) & set(_ATTRIBUTES))


def stored(store: Path, nside: int) -> Mapping[str, Floats]:
    """Read what a store keeps, as a model wants it.

    Returns
    -------
    mapping
        ``orography`` in metres and ``land_fraction`` in [0, 1], each (cell,), means over the
        cells of ``nside``; without what the store lacks. Nothing if the store is coarser.
    """
    group, out = contract.open_group(store), {}
    for name in stored_names(store):
        if nside > nside_from_cells(group[GROUP][name].shape[0]):
            continue
        values = coarsen(np.asarray(group[GROUP][name][:], dtype=np.float64), nside)
        if name == GROUND:
            out["orography"] = values / STANDARD_GRAVITY
        else:
            out["land_fraction"] = values
    return out
