"""HEALPix grids of stores of any origin, as their metadata state them."""

from __future__ import annotations

import xarray as xr


def is_healpix(dataset: xr.Dataset) -> bool:
    """Return whether a Dataset says that it is on HEALPix.

    Returns
    -------
    bool
        True for PEAR's stores, for a grid mapping ``healpix``, and for cell numbers of xdggs.

    Examples
    --------
    >>> from pear.datasets.healpix import is_healpix
    >>> mapping = xr.DataArray(0, attrs={"grid_mapping_name": "healpix", "healpix_nside": 8})
    >>> is_healpix(xr.Dataset({"crs": mapping})), is_healpix(xr.Dataset())
    (True, False)
    """
    stated = dataset.attrs.get("dggs")
    if isinstance(stated, dict) and stated.get("name") == "healpix":
        return True
    return any(
        "healpix" in (array.attrs.get("grid_mapping_name"), array.attrs.get("grid_name"))
        for array in dataset.variables.values()
    )


def describe_healpix(dataset: xr.Dataset) -> str:
    """Return the resolution and order of cells that a Dataset states.

    Returns
    -------
    str
        For messages.

    Examples
    --------
    >>> from pear.datasets.healpix import describe_healpix
    >>> about = {"grid_mapping_name": "healpix", "healpix_nside": 8, "healpix_order": "ring"}
    >>> describe_healpix(xr.Dataset({"crs": xr.DataArray(0, attrs=about)}))
    'healpix_nside 8, healpix_order ring'
    """
    stated: dict[str, str] = {}
    for array in dataset.variables.values():
        for key in ("healpix_nside", "healpix_order", "refinement_level", "indexing_scheme"):
            if key in array.attrs:
                stated.setdefault(key, str(array.attrs[key]))
    return ", ".join(f"{key} {value}" for key, value in stated.items()) or "order not stated"
