"""The simulated analyses that come with the package."""

from __future__ import annotations

import xarray as xr

from pear import resources
from pear.datasets.regrid import regrid
from pear.grib_library import import_before_xarray

NSIDE = 16
"""Resolution of the shipped model."""


def sample_analysis(nside: int = NSIDE) -> xr.Dataset:
    """Return 25 days of simulated analyses, from 2006-11-01 at 00 UTC, one per day.

    They are made by the simulated atmosphere that the shipped model was trained on; they are not
    observations.

    Parameters
    ----------
    nside
        HEALPix resolution; the default is that of the shipped model.

    Returns
    -------
    xarray.Dataset
        (time, level, cell), lazy.

    Examples
    --------
    >>> analysis = sample_analysis()
    >>> dict(analysis.sizes)
    {'time': 25, 'cell': 3072, 'level': 13}
    """
    (file,) = resources.path("sample").glob("*.nc")
    import_before_xarray()
    return regrid(xr.open_dataset(file, decode_timedelta=False), nside)
