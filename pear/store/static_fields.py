"""What does not change, beside the analyses: the height of the ground and the share of land.

Files of ERA5 carry them as a geopotential without level and a land-sea mask. A store keeps the
first of each that is ingested, in its group ``static`` on the store's own cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.sphere.healpix import coarsen, nside_from_cells
from pear.store import schema
from pear.variables import STANDARD_GRAVITY

Floats = npt.NDArray[np.float64]

GROUP: Final = "static"
GROUND: Final = "geopotential_at_surface"
LAND: Final = "land_sea_mask"


def stored_names(store: Path) -> list[str]:
    """Names of the static fields that a store keeps."""
    group = schema.open_group(store)
    if GROUP not in group:
        return []
    return sorted(set(group[GROUP].array_keys()) & {GROUND, LAND})


def stored(store: Path, nside: int) -> Mapping[str, Floats]:
    """Read what a store keeps, as a model wants it.

    Returns
    -------
    mapping
        ``orography`` in metres and ``land_fraction`` in [0, 1], each (cell,), means over the
        cells of ``nside``; without what the store lacks. Nothing if the store is coarser.
    """
    group, out = schema.open_group(store), {}
    for name in stored_names(store):
        if nside > nside_from_cells(group[GROUP][name].shape[0]):
            continue
        values = coarsen(np.asarray(group[GROUP][name][:], dtype=np.float64), nside)
        if name == GROUND:
            out["orography"] = values / STANDARD_GRAVITY
        else:
            out["land_fraction"] = values
    return out
