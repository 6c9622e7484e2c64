"""Datasets in the schema of the stores: built from arrays, and their layout."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from pear.sphere.healpix import nside_from_cells
from pear.store import schema
from pear.typing import Float32, TimesLike
from pear.variables import LEVELS, VARIABLES, Layout


def build_dataset(
    surface: Float32,
    upper: Float32,
    layout: Layout,
    times: TimesLike,
    leads: np.typing.ArrayLike | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Build the Dataset that a store with these fields would open as.

    Parameters
    ----------
    surface
        (time, [lead time, [member,]] surface variable, cell), physical units.
    upper
        (time, [lead time, [member,]] upper variable, level, cell), physical units.
    layout
        Names of the channels and levels.
    times
        (time,) valid times of analyses, init times of forecasts, UTC.
    leads
        (lead time,) ``timedelta64``; None for analyses.
    attributes
        Attributes of the Dataset beside or instead of the default ones.

    Returns
    -------
    xarray.Dataset
        (time, [prediction_timedelta, [number,]] level, cell), levels from the top down.
    """
    kind = "analysis" if leads is None else "forecast"
    nside = nside_from_cells(surface.shape[-1])
    dims = ("time",) if leads is None else ("time", "prediction_timedelta")
    members = None
    if surface.ndim == len(dims) + 3:
        dims, members = (*dims, "number"), surface.shape[len(dims)]
    order = [layout.levels.index(level) for level in schema.level_order(layout)]
    coordinates = schema.grid_coordinates(nside) | {"time": schema.time_coordinate(kind, times)}
    if layout.upper:
        coordinates["level"] = schema.level_coordinate(layout)
    if leads is not None:
        coordinates["prediction_timedelta"] = schema.lead_coordinate(leads)
    if members is not None:
        coordinates["number"] = schema.member_coordinate(members)
    data: dict[str, Any] = {}
    for place, name in enumerate(layout.surface):
        about = schema.variable_attributes(name, nside)
        data[name] = (*dims, "cell"), surface[..., place, :], about
    for place, name in enumerate(layout.upper):
        about = schema.variable_attributes(name, nside)
        values = upper[..., place, :, :]
        if order != list(range(len(order))):
            values = values[..., order, :]
        data[name] = (*dims, "level", "cell"), values, about
    about = schema.group_attributes(kind, nside, attributes or {})
    del about["coordinates"]  # xarray resolves it on opening
    return xr.Dataset(data, {name: tuple(each) for name, each in coordinates.items()}, about)


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
    """
    levels = [int(level) for level in dataset["level"].values] if "level" in dataset else []
    return make_layout({str(name) for name in dataset.data_vars}, levels)


def make_layout(names: Container[str], levels: Sequence[int]) -> Layout:
    """Return the layout of these variables and levels, in published order."""
    held = [row for row in VARIABLES if row.name in names]
    order = [level for level in LEVELS if level in levels]
    order += sorted((level for level in levels if level not in LEVELS), reverse=True)
    return Layout(
        tuple(row.name for row in held if row.kind == "surface"),
        tuple(row.name for row in held if row.kind == "upper"),
        tuple(order),
    )
