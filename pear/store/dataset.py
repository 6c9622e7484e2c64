"""Datasets in the schema of the stores: built from arrays, and their layout."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import xarray as xr

from pear.sphere.healpix import nside_from_cells
from pear.store import schema
from pear.typing import Float32, TimesLike
from pear.variables import (
    BY_NAME,
    LEVELS,
    PROBABILITY,
    VARIABLES,
    Layout,
    ProbabilityLayout,
)
from pear.variables.layout import find_derived_row
from pear.variables.own import DEFINITIONS, adopt_definitions, definitions


def build_dataset(
    fields: Mapping[str, Any],
    levels: Sequence[int],
    times: TimesLike,
    leads: npt.ArrayLike | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Build the Dataset that a store with these fields would open as.

    Parameters
    ----------
    fields
        By canonical name: (time, [lead time, [member,]] [level,] cell), physical units. Arrays or
        lazily indexed arrays of xarray; not copied.
    levels
        Pressure levels in hPa along the level axis, from the top down.
    times
        (time,) valid times of analyses, init times of forecasts, UTC.
    leads
        (lead time,) ``timedelta64``; None for analyses.
    attributes
        Attributes of the Dataset beside or instead of the default ones.

    Returns
    -------
    xarray.Dataset
        (time, [prediction_timedelta, [number,]] level, cell).

    Examples
    --------
    >>> import numpy as np
    >>> from pear.store.dataset import build_dataset
    >>> data = build_dataset({"temperature": np.zeros((1, 2, 48))}, [500, 850], "2019-01-01")
    >>> data["temperature"].dims, data["temperature"].units, data.attrs["pear_kind"]
    (('time', 'level', 'cell'), 'K', 'analysis')
    """
    kind = "analysis" if leads is None else "forecast"
    name, first = next(iter(fields.items()))
    nside, upper = nside_from_cells(first.shape[-1]), BY_NAME[name].kind == "upper"
    coordinates = schema.grid_coordinates(nside) | {"time": schema.time_coordinate(kind, times)}
    dims: tuple[str, ...] = ("time",)
    if leads is not None:
        dims = (*dims, "prediction_timedelta")
        coordinates["prediction_timedelta"] = schema.lead_coordinate(leads)
        coordinates[schema.VALID_TIME] = schema.valid_time_coordinate(
            coordinates["time"].values, coordinates["prediction_timedelta"].values
        )
    if first.ndim == len(dims) + upper + 2:
        coordinates["number"] = schema.member_coordinate(first.shape[len(dims)])
        dims = (*dims, "number")
    if any(BY_NAME[name].kind == "upper" for name in fields):
        coordinates["level"] = schema.level_coordinate(levels)
    about = schema.group_attributes(kind, nside, attributes or {})
    del about["coordinates"]  # xarray resolves it on opening, and that of each variable
    data = {
        name: (
            (*dims, "level", "cell") if BY_NAME[name].kind == "upper" else (*dims, "cell"),
            values,
            {
                key: value
                for key, value in schema.variable_attributes(name, nside, about).items()
                if key != "coordinates"
            },
        )
        for name, values in fields.items()
    }
    if (defined := definitions(fields)) is not None:
        about[DEFINITIONS] = defined
    return xr.Dataset(data, {name: tuple(each) for name, each in coordinates.items()}, about)


def arrange_fields(surface: Float32, upper: Float32, layout: Layout) -> dict[str, Float32]:
    """Return the fields of a state by name, levels from the top down, as stores hold them.

    Parameters
    ----------
    surface
        (…, surface variable, cell).
    upper
        (…, upper variable, level, cell).
    layout
        Names of the channels and levels.

    Returns
    -------
    dict
        (…, cell) and (…, level, cell); views where the levels are in order already.

    Examples
    --------
    >>> import numpy as np
    >>> from pear.store.dataset import arrange_fields
    >>> layout = Layout(("2m_temperature",), ("temperature",), (850, 500))
    >>> fields = arrange_fields(np.zeros((1, 48)), np.arange(2.0)[None, :, None], layout)
    >>> fields["2m_temperature"].shape, fields["temperature"].ravel()  # 500 hPa comes first
    ((48,), array([1., 0.]))
    """
    order = [layout.levels.index(level) for level in schema.level_order(layout)]
    where = slice(None) if order == sorted(order) else order
    fields = {name: surface[..., place, :] for place, name in enumerate(layout.surface)}
    return fields | {
        name: upper[..., place, :, :][..., where, :] for place, name in enumerate(layout.upper)
    }


def dataset_layout(dataset: xr.Dataset) -> Layout:
    """Return the layout of a Dataset in the schema of the stores.

    Parameters
    ----------
    dataset
        Analyses, forecasts or a climatology with canonical variable names.

    Returns
    -------
    Layout
        Variables in the order of :data:`pear.VARIABLES`, levels in published order.

    Examples
    --------
    >>> import pear
    >>> from pear.store.dataset import dataset_layout
    >>> dataset_layout(pear.sample_analysis(nside=2)) == pear.Layout.default()
    True
    """
    adopt_definitions({str(k): v for k, v in dataset.attrs.items()}, "the dataset")
    levels = [int(level) for level in dataset["level"].values] if "level" in dataset else []
    names = {str(name) for name in dataset.data_vars}
    return make_layout(names, levels, is_probability=PROBABILITY in dataset.attrs)


def make_layout(
    names: Collection[str], levels: Sequence[int], *, is_probability: bool = False
) -> Layout:
    """Return the layout of these variables and levels, in published order.

    Parameters
    ----------
    names
        Names of variables; others, such as those of coordinates, are passed over.
    levels
        Pressure levels in hPa.
    is_probability
        True for a store of probabilities, which may be those of derived quantities.

    Returns
    -------
    Layout
        Levels from the ground up.

    Examples
    --------
    >>> from pear.store.dataset import make_layout
    >>> make_layout({"temperature", "2m_temperature"}, [500, 850])
    Layout(surface=('2m_temperature',), upper=('temperature',), levels=(850, 500))
    """
    held = [row for row in VARIABLES if row.name in names]
    derived = [row for name in sorted(names) if is_probability and (row := find_derived_row(name))]
    order = [level for level in LEVELS if level in levels]
    order += sorted((level for level in levels if level not in LEVELS), reverse=True)
    kind = ProbabilityLayout if derived else Layout
    held += derived
    return kind(
        tuple(row.name for row in held if row.kind == "surface"),
        tuple(row.name for row in held if row.kind == "upper"),
        tuple(order),
    )
