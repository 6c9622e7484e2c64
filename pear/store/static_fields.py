"""Static fields of an analysis store: surface geopotential and land-sea mask.

ERA5 carries them as a geopotential without level and a land-sea mask. A store keeps the first of
each that is ingested, in its group ``static`` on the store's own cells.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from pear.resources.idealised import idealised_surface
from pear.sphere.healpix import coarsen, nside_from_cells
from pear.store import schema
from pear.typing import Float64
from pear.variables import STANDARD_GRAVITY

GROUP: Final = "static"
GROUND: Final = "geopotential_at_surface"
LAND: Final = "land_sea_mask"


def stored_names(store: Path) -> list[str]:
    """Return the names of the static fields that a store has."""
    group = schema.open_group(store)
    return [name for name in (GROUND, LAND) if f"{GROUP}/{name}" in group]


def read_static_fields(store: Path | None, nside: int) -> dict[str, Float64]:
    """Return the surface below an analysis, as the static forcing of a model.

    Fields that the store lacks, or has on coarser cells only, are those of
    :func:`pear.resources.idealised.idealised_surface`.

    Parameters
    ----------
    store
        Analysis store, or None for the idealised surface.
    nside
        Resolution wanted.

    Returns
    -------
    dict
        ``orography`` in metres and ``land_fraction`` in [0, 1], (cell,) means over each cell.

    Examples
    --------
    >>> from pear.store.static_fields import read_static_fields
    >>> fields = read_static_fields(None, nside=16)
    >>> sorted(fields), round(float(fields["land_fraction"].mean()), 2)
    (['land_fraction', 'orography'], 0.29)
    """
    fields = read_stored_static(store, nside) if store is not None else {}
    return fields if len(fields) == 2 else idealised_surface(nside) | fields


def read_stored_static(store: Path, nside: int) -> dict[str, Float64]:
    """Return the static fields that a store has on cells as fine as wanted.

    Parameters
    ----------
    store
        Analysis store.
    nside
        Resolution wanted.

    Returns
    -------
    dict
        Those of :func:`read_static_fields` that the store itself has.
    """
    group, fields = schema.open_group(store), {}
    for name in stored_names(store):
        values = np.asarray(schema.get_array(group, f"{GROUP}/{name}")[:], dtype=np.float64)
        if nside <= nside_from_cells(values.size):
            values = coarsen(values, nside)
            if name == GROUND:
                fields["orography"] = values / STANDARD_GRAVITY
            else:
                fields["land_fraction"] = values
    return fields
