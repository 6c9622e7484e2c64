"""Derived quantities of Datasets on HEALPix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from pear.derived.quantities import Derived, find_derived, parse_quantity, require_derivable
from pear.errors import InputError
from pear.typing import Array
from pear.variables import holds_vectors


def derive(dataset: xr.Dataset, field: str) -> xr.DataArray:
    """Compute a quantity of a Dataset on HEALPix, or return a stored one.

    Parameters
    ----------
    dataset
        In the schema of the stores.
    field
        Such as ``ws10``, ``vo850``, ``relative_humidity_700`` or ``thickness_1000_500``.

    Returns
    -------
    xarray.DataArray
        (…, cell), float64 if it is derived; ``level`` is a scalar coordinate.

    Raises
    ------
    InputError
        If the name is unknown, a level or variable is missing, or the Dataset holds a statistic of
        an ensemble.

    Examples
    --------
    >>> import pear
    >>> from pear.derived import derive
    >>> speed = derive(pear.sample_analysis(nside=4), "ws10")
    >>> speed.name, speed.attrs["units"], bool((speed >= 0).all())
    ('10m_wind_speed', 'm s-1', True)
    """
    row, level = parse_quantity(field)
    names = [str(name) for name in dataset.data_vars]
    found = None if row.name in names else find_derived(row.name)
    channels = ((row.name, level),) if found is None else found.channels(level)
    if found is not None:
        require_derivable(found, names, "the dataset")
        if not holds_vectors(dataset.attrs):
            raise InputError(
                f"the dataset holds a statistic of an ensemble, from which {row.name} cannot be "
                "computed",
                field="field",
            )
    elif row.name not in names:
        raise InputError(
            f"the dataset has no {row.name}", field="field", hint="it has " + ", ".join(names)
        )
    parts = [_select(dataset, name, one, field) for name, one in channels]
    if found is not None and found.levels:
        parts = [part.drop_vars("level") for part in parts]
    return parts[0] if found is None else compute(found, parts)


def compute(found: Derived, parts: Sequence[xr.DataArray]) -> xr.DataArray:
    """Compute a quantity from its fields, at all their levels.

    Parameters
    ----------
    found
        The quantity.
    parts
        In the order of its channels; with a dimension or coordinate ``level`` in hPa.

    Returns
    -------
    xarray.DataArray
        With the dimensions of the fields, float64, lazy if they are.
    """
    core = [dim for dim in ("cell", "latitude", "longitude") if dim in parts[0].dims]
    is_upper = found.row.kind == "upper" and "level" in parts[0].coords
    pressure = 100.0 * parts[0]["level"].astype(float) if is_upper else xr.DataArray(0.0)

    def apply(pascal: Array, *fields: Array) -> Array:
        wide = [np.asarray(one, dtype=np.float64) for one in fields]
        return found.compute(wide, np.asarray(pascal)[(..., *[None] * len(core))])

    result: xr.DataArray = xr.apply_ufunc(
        apply,
        pressure.drop_vars(list(pressure.coords.keys() - {"level"})),
        *parts,
        input_core_dims=[[], *[core] * len(parts)],
        output_core_dims=[core],
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    row = found.row
    about = {"long_name": row.long_name, "units": row.units, "short_name": row.short_name}
    if row.standard_name:
        about["standard_name"] = row.standard_name
    about |= {k: v for k, v in parts[0].attrs.items() if k in ("grid_mapping", "ek_grid_spec")}
    return result.transpose(*parts[0].dims).rename(row.name).assign_attrs(about)


def _select(dataset: xr.Dataset, name: str, level: int | None, field: str) -> xr.DataArray:
    array = dataset[name]
    if level is None and "level" not in array.dims:
        return array
    if "level" not in array.coords:
        raise InputError(f"{name} has no levels", field="field", hint="omit the level")
    held = [int(one) for one in np.atleast_1d(array["level"].values)]
    if level is None or level not in held:
        what = f"{field} needs a level" if level is None else f"the dataset has no {level} hPa"
        raise InputError(what, field="field", hint=f"levels: {', '.join(map(str, held))}")
    return array.sel(level=level) if "level" in array.dims else array
