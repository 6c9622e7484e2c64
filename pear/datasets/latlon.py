"""Regridding of Datasets from HEALPix to regular latitude-longitude grids."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import sparse

from pear.datasets.fields import Method
from pear.datasets.regrid import has_nested_cells
from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.sphere.regrid import (
    apply,
    apply_wind,
    healpix_to_latlon_bilinear,
    healpix_to_latlon_conservative,
)
from pear.sphere.vectors import cell_frames, grid_frames
from pear.store.schema import COMPLETE, LATITUDE, LONGITUDE
from pear.typing import Float32
from pear.variables import holds_vectors, wind_partner
from pear.variables import wind_pairs as known_winds

_OF_CELLS: Final = ("dggs", "zarr_conventions", "coordinates", "regridding_method")
_SPHERE: Final = {
    "grid_mapping_name": "latitude_longitude",
    "earth_radius": 6_371_229.0,
    "long_name": "latitude and longitude on a sphere",
}
"""The grid mapping; the radius is that of ECMWF's models, the sphere of ERA5."""
_DIMENSIONS: Final = ("latitude", "longitude")


def to_latlon(dataset: xr.Dataset, step: float = 1.0, *, method: Method = "bilinear") -> xr.Dataset:
    """Regrid a Dataset from HEALPix to a regular global latitude-longitude grid.

    Both components of a wind are regridded together, as one vector; so a Dataset with one of them
    must have the other. The rows at the poles show the one wind there along each meridian.
    Standard deviations, quantiles and probabilities of an ensemble are not vectors and are
    regridded one by one.

    Parameters
    ----------
    dataset
        On HEALPix cells in nested order, such as an analysis or a forecast.
    step
        Grid spacing in degrees; must divide 180.
    method
        ``bilinear`` interpolates between cell centres; ``conservative`` takes area means over the
        boxes around the points.

    Returns
    -------
    xarray.Dataset
        Dimension ``cell`` becomes ``latitude`` (from north to south, poles included) and
        ``longitude`` (from 0). Computed at once, or lazily if the Dataset has dask arrays.

    Raises
    ------
    InputError
        If the Dataset is not on HEALPix, the step does not divide 180, or one component of a wind
        is missing.

    Examples
    --------
    >>> import pear
    >>> analysis = pear.sample_analysis().isel(time=[0])[["2m_temperature"]]
    >>> dict(to_latlon(analysis, step=10).sizes)
    {'time': 1, 'latitude': 19, 'longitude': 36}
    """
    if not has_nested_cells(dataset):
        raise InputError(
            "the dataset is not on nested HEALPix cells along a dimension 'cell'",
            field="dataset",
            hint="bring data of others there with pear.datasets.regrid.regrid",
        )
    rows = 180.0 / step if step > 0 else 0.0
    if rows < 2 or abs(rows - round(rows)) > 1e-6:
        raise InputError(f"a step of {step:g} degrees does not divide 180", field="step")
    winds = wind_pairs(dataset)
    grid = global_grid(round(rows) + 1, 2 * round(rows))
    nside = nside_from_cells(dataset.sizes["cell"])
    weights = _weights(nside, grid, method, vector=False)
    fields = dataset.drop_vars([name for name in dataset.coords if _describes_cells(dataset, name)])
    out = _regrid_scalars(
        fields.drop_vars([name for pair in winds for name in pair]), weights, grid
    )
    if winds:
        weights = _weights(nside, grid, method, vector=True)
    for pair in winds:
        out = out.assign(_regrid_wind(fields, pair, weights, grid))
    out = out[[name for name in dataset.data_vars if name in out]]
    for array in out.data_vars.values():
        array.attrs.pop("ek_grid_spec", None)
        array.encoding.pop("coordinates", None)
        array.attrs["grid_mapping"] = "crs"
    out.attrs = _attributes(dataset.attrs, step, method)
    return out.assign_coords(_axes(grid.lat, grid.lon))


def _describes_cells(dataset: xr.Dataset, name: Hashable) -> bool:
    """Return whether a coordinate belongs to the store or its cells, not to the fields."""
    return "cell" in dataset[name].dims or name in ("crs", COMPLETE, "channel")


def _attributes(
    attributes: Mapping[Any, Any], step: float, method: Method
) -> dict[Hashable, object]:
    """Return the attributes of a Dataset on another grid, which its title and history name."""
    kept = {name: value for name, value in attributes.items() if name not in _OF_CELLS}
    grid = f"a latitude-longitude grid of {step:g} degrees"
    how = f"regridded to {grid}, {method}"
    title = re.sub(r",? (regridded to|on) HEALPix", "", str(attributes.get("title", "")))
    named = {"title": f"{title}, on {grid}"} if title else {}
    before = str(attributes.get("history", ""))
    return kept | named | {"history": f"{before}; {how}" if before else how}


def wind_pairs(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Return the pairs of wind components in a Dataset.

    Parameters
    ----------
    dataset
        On HEALPix cells.

    Returns
    -------
    list of tuple
        Names of the eastward and the northward component; none for a statistic by component.

    Raises
    ------
    InputError
        If one component is there without the other.

    Examples
    --------
    >>> import pear
    >>> wind_pairs(pear.sample_analysis(nside=4)[["10m_u_component_of_wind"]])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pear.errors.InputError: 10m_u_component_of_wind cannot be regridded without ...
    """
    if not holds_vectors(dataset.attrs):
        return []
    held = [pair for pair in known_winds() if any(name in dataset for name in pair)]
    for pair in held:
        for name in pair:
            if name not in dataset:
                raise InputError(
                    f"{wind_partner(name)} cannot be regridded without {name}: a wind is a vector",
                    field="dataset",
                    hint=f"keep {name} beside it, and drop it afterwards",
                )
    return held


def _weights(nside: int, grid: LatLonGrid, method: Method, *, vector: bool) -> sparse.csr_array:
    if method == "bilinear":
        return healpix_to_latlon_bilinear(nside, grid, vector=vector)
    return healpix_to_latlon_conservative(nside, grid, vector=vector)


def _options(grid: LatLonGrid, fields: int) -> dict[str, Any]:
    """Return how ``apply_ufunc`` treats functions of some fields on cells, with as many results."""
    sizes = dict(zip(_DIMENSIONS, grid.shape, strict=True))
    return {
        "input_core_dims": [["cell"]] * fields,
        "output_core_dims": [list(sizes)] * fields,
        "keep_attrs": True,
        "dask": "parallelized",
        "output_dtypes": [np.float32] * fields,
        "dask_gufunc_kwargs": {"output_sizes": sizes, "allow_rechunk": True},
    }


def _regrid_scalars(fields: xr.Dataset, weights: sparse.csr_array, grid: LatLonGrid) -> xr.Dataset:
    def interpolate(values: Float32) -> Float32:
        out: Float32 = apply(weights, values).reshape(*values.shape[:-1], *grid.shape)
        return out

    regridded: xr.Dataset = xr.apply_ufunc(interpolate, fields, **_options(grid, 1))
    return regridded


def _regrid_wind(
    fields: xr.Dataset, pair: Sequence[str], weights: sparse.csr_array, grid: LatLonGrid
) -> dict[str, xr.DataArray]:
    source = cell_frames(nside_from_cells(fields.sizes["cell"]))
    target = grid_frames(grid)

    def interpolate(u: Float32, v: Float32) -> tuple[Float32, Float32]:
        shape = (*u.shape[:-1], *grid.shape)
        east, north = apply_wind(weights, u, v, source, target)
        return east.reshape(shape), north.reshape(shape)

    components = [fields[name] for name in pair]
    regridded = xr.apply_ufunc(interpolate, *components, **_options(grid, 2))
    return {
        name: one.assign_attrs(before.attrs)
        for name, one, before in zip(pair, regridded, components, strict=True)
    }


def _axes(lat: npt.NDArray[Any], lon: npt.NDArray[Any]) -> Mapping[str, Any]:
    whole = {"_FillValue": None}  # xarray gives floats one; coordinates have no missing values
    return {
        "latitude": xr.Variable("latitude", lat, {**LATITUDE, "axis": "Y"}, whole),
        "longitude": xr.Variable("longitude", lon, {**LONGITUDE, "axis": "X"}, whole),
        "crs": ((), np.int32(0), dict(_SPHERE)),
    }
