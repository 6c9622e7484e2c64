"""Fields of a Dataset on HEALPix at a point."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import xarray as xr

from pear.datasets.latlon import wind_pairs
from pear.sphere.healpix import cell_of, interpolation_weights, nside_from_cells
from pear.sphere.vectors import Frames, carry, cell_frames, keep_speed, wind_weights
from pear.typing import Float32, Float64

PointMethod = Literal["nearest", "bilinear"]


def select_point(
    dataset: xr.Dataset, lat: float, lon: float, method: PointMethod = "nearest"
) -> xr.Dataset:
    """Return the fields of a Dataset on HEALPix at a point.

    Winds are vectors: eastward and northward are those at the point, not those at the centres of
    the cells, from which they differ near the poles.

    Parameters
    ----------
    dataset
        On HEALPix cells in nested order.
    lat, lon
        Degrees north in [-90, 90] and degrees east, any turn of the circle.
    method
        ``nearest`` takes the cell that contains the point, ``bilinear`` interpolates between the
        four nearest centres.

    Returns
    -------
    xarray.Dataset
        Without the dimension ``cell``. If one component of a wind is missing, an InputError.

    Examples
    --------
    >>> import pear
    >>> from pear.datasets.points import select_point
    >>> point = select_point(pear.sample_analysis(nside=4), 60.2, 24.9, "bilinear")
    >>> sorted(point.sizes)
    ['level', 'time']
    """
    nside = nside_from_cells(dataset.sizes["cell"])
    at = np.array([lat]), np.array([lon])
    kept = dataset.drop_vars("crs", errors="ignore")
    if method == "nearest":
        cells, weight = cell_of(*at, nside), np.ones(1)
        fields = kept.isel(cell=int(cells[0]))
    else:
        index, weights = interpolation_weights(*at, nside)
        parts = xr.DataArray(weights[:, 0].astype(np.float32), dims="cell")
        plain = kept.isel(cell=index[:, 0]).drop_vars(["cell", "cell_ids"], errors="ignore")
        fields = plain.map(lambda field: field.dot(parts, dim="cell").assign_attrs(field.attrs))
        fields = fields.assign_attrs(dataset.attrs)
        index, weights = wind_weights(*at, nside)
        cells, weight = index[:, 0], weights[:, 0]
    resolve = partial(
        _resolve,
        source=cell_frames(nside).take(cells),
        target=Frames.at(*at),
        weight=weight,
    )
    for pair in wind_pairs(dataset):
        components = [
            dataset[name].isel(cell=cells).drop_vars("crs", errors="ignore") for name in pair
        ]
        resolved = xr.apply_ufunc(
            resolve,
            *components,
            input_core_dims=[["cell"]] * 2,
            output_core_dims=[[], []],
            dask="parallelized",
            output_dtypes=[np.float32] * 2,
            dask_gufunc_kwargs={"allow_rechunk": True},
        )
        for name, wind in zip(pair, resolved, strict=True):
            fields[name] = wind.assign_attrs(dataset[name].attrs)
    return fields.assign_coords(latitude=lat, longitude=lon)


def _resolve(
    u: Float32, v: Float32, *, source: Frames, target: Frames, weight: Float64
) -> tuple[Float32, Float32]:
    """Return winds at the point from those of its cells (…, cell)."""
    found = carry(u, v, source, target, lambda xyz: (xyz * weight).sum(axis=-1, keepdims=True))
    if weight.size == 1:
        found = keep_speed(found, (u, v))
    east, north = (part[..., 0].astype(np.float32) for part in found)
    return east, north
