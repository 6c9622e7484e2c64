"""Coverages as CoverageJSON (OGC 21-069r2), GeoJSON (RFC 7946) and NetCDF, never with NaN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import numpy as np
import xarray as xr

from pear.store.schema import LATITUDE, LONGITUDE, level_coordinate
from pear.times import to_iso
from pear.typing import Array
from service.readers.forecasts import ForecastStore
from service.readers.label import Label
from service.readers.ogc.coverages import Block, Coverages, describe_parameter, standard_name_of
from service.readers.ogc.selection import CRS84
from service.readers.serialisers import dump_json, to_numbers

Format = Literal["CoverageJSON", "GeoJSON", "NetCDF"]
MEDIA_TYPES: Final[dict[Format, str]] = {
    "CoverageJSON": "application/prs.coverage+json",
    "GeoJSON": "application/geo+json",
    "NetCDF": "application/x-netcdf",
}
_ORIGIN: Final = ("run", "model", "init_time", "analysis", "climatology", "period")
_Writer = Callable[[Coverages, ForecastStore, dict[str, Any], Label], bytes]
_PRESSURE: Final = {
    "type": "VerticalCRS",
    "description": {"en": "Pressure, hPa, downwards"},
    "cs": {
        "csAxes": [
            {"name": {"en": "Pressure"}, "direction": "down", "unit": {"symbol": "hPa"}},
        ]
    },
}
_PLANE: Final = {"type": "GeographicCRS", "id": CRS84}
_TIME: Final = {"type": "TemporalRS", "calendar": "Gregorian"}


def serialise(
    found: Coverages,
    store: ForecastStore,
    header: dict[str, Any],
    label: Label,
    format: Format,  # noqa: A002
) -> bytes:
    """Return coverages in a format.

    Parameters
    ----------
    found
        The coverages.
    store
        The run.
    header
        What is said of the run.
    label
        What its values are.
    format
        One of :data:`MEDIA_TYPES`.

    Returns
    -------
    bytes
        The document or file.
    """
    writers: dict[Format, _Writer] = {
        "CoverageJSON": to_coverage_json,
        "GeoJSON": to_geojson,
        "NetCDF": to_netcdf,
    }
    return writers[format](found, store, header, label)


def _english(text: str) -> dict[str, str]:
    return {"en": text}


def to_coverage_json(
    found: Coverages, store: ForecastStore, header: dict[str, Any], label: Label
) -> bytes:
    """Return a collection: one coverage a point, line, area or grid, and a level of them.

    Points are ``PointSeries``, cells ``MultiPointSeries``, lines ``Trajectory`` at each time, and
    grids ``Grid`` with all levels.

    Returns
    -------
    bytes
        JSON.
    """
    makers = {"points": _point_series, "cells": _multi_point_series, "line": _trajectories}
    coverages = []
    for block in found.blocks:
        if found.grid is not None:
            coverages.append(_gridded(found, block))
        else:
            coverages += list(makers[found.shape](found, block))
    names = [name for block in found.blocks for name in block.names]
    kinds = {each["domain"]["domainType"] for each in coverages}
    document = {
        "type": "CoverageCollection",
        "domainType": kinds.pop(),
        "parameters": {name: describe_parameter(store, name, _english, label) for name in names},
        "coverages": coverages,
        "pear:run": header,
        "pear:interpolation": found.describe(),
        **({"pear:levels": levels} if (levels := found.describe_levels()) else {}),
    }
    return dump_json(document)


def _referencing(*axes: str) -> list[dict[str, Any]]:
    systems: list[dict[str, Any]] = [{"coordinates": ["x", "y"], "system": _PLANE}]
    if "z" in axes:
        systems.append({"coordinates": ["z"], "system": _PRESSURE})
    return [*systems, {"coordinates": ["t"], "system": _TIME}]


def _coverage(
    kind: str, axes: dict[str, Any], coordinates: tuple[str, ...], ranges: dict[str, Any]
) -> dict[str, Any]:
    domain = {
        "type": "Domain",
        "domainType": kind,
        "axes": axes,
        "referencing": _referencing(*coordinates),
    }
    return {"type": "Coverage", "domain": domain, "ranges": ranges}


def _range(values: Array, *axes: str) -> dict[str, Any]:
    return {
        "type": "NdArray",
        "dataType": "float",
        "axisNames": list(axes),
        "shape": list(values.shape),
        "values": to_numbers(values.ravel()),
    }


def _levels(block: Block) -> list[tuple[int, int | None]]:
    """Return position and pressure of each level; one without pressure where there are none."""
    return [(0, None)] if block.levels is None else list(enumerate(block.levels))


def _numbers(values: Array) -> list[float]:
    return [round(float(value), 6) for value in values]


def _point_series(found: Coverages, block: Block) -> Iterator[dict[str, Any]]:
    times = [to_iso(time) for time in found.times]
    for p in range(found.latitude.size):
        for index, level in _levels(block):
            axes: dict[str, Any] = {
                "x": {"values": [float(found.longitude[p])]},
                "y": {"values": [float(found.latitude[p])]},
                "t": {"values": times},
            }
            axes |= {} if level is None else {"z": {"values": [level]}}
            ranges = {
                name: _range(values[:, index, p], "t")
                for name, values in zip(block.names, block.values, strict=True)
            }
            yield _coverage("PointSeries", axes, tuple(axes), ranges)


def _multi_point_series(found: Coverages, block: Block) -> Iterator[dict[str, Any]]:
    times = [to_iso(time) for time in found.times]
    places = list(zip(_numbers(found.longitude), _numbers(found.latitude), strict=True))
    for index, level in _levels(block):
        height = () if level is None else (level,)
        coordinates = ["x", "y", *(() if level is None else ("z",))]
        axes = {
            "composite": {
                "dataType": "tuple",
                "coordinates": coordinates,
                "values": [[*place, *height] for place in places],
            },
            "t": {"values": times},
        }
        ranges = {
            name: _range(values[:, index], "t", "composite")
            for name, values in zip(block.names, block.values, strict=True)
        }
        yield _coverage("MultiPointSeries", axes, tuple(coordinates), ranges)


def _trajectories(found: Coverages, block: Block) -> Iterator[dict[str, Any]]:
    places = list(zip(_numbers(found.longitude), _numbers(found.latitude), strict=True))
    for number, time in enumerate(found.times):
        at = [time] * len(places) if found.passed is None else list(found.passed)
        for index, level in _levels(block):
            height = () if level is None else (level,)
            coordinates = ["t", "x", "y", *(() if level is None else ("z",))]
            tuples = [
                [to_iso(when), *place, *height] for when, place in zip(at, places, strict=True)
            ]
            axes = {
                "composite": {
                    "dataType": "tuple",
                    "coordinates": coordinates,
                    "values": tuples,
                }
            }
            ranges = {
                name: _range(values[number, index], "composite")
                for name, values in zip(block.names, block.values, strict=True)
            }
            yield _coverage("Trajectory", axes, tuple(coordinates), ranges)


def _gridded(found: Coverages, block: Block) -> dict[str, Any]:
    grid = found.grid
    if grid is None:
        raise ValueError("the coverages are not a grid")
    axes: dict[str, Any] = {
        "x": {"values": _numbers(grid.longitude)},
        "y": {"values": _numbers(grid.latitude)},
        "t": {"values": [to_iso(time) for time in found.times]},
    }
    names = ["t", "y", "x"]
    shape = [grid.latitude.size, grid.longitude.size]
    if block.levels is not None:
        axes["z"] = {"values": list(block.levels)}
        names.insert(1, "z")
        shape.insert(0, len(block.levels))
    ranges = {
        name: _range(values.reshape(len(found.times), *shape), *names)
        for name, values in zip(block.names, block.values, strict=True)
    }
    return _coverage("Grid", axes, tuple(axes), ranges)


def to_geojson(
    found: Coverages, store: ForecastStore, header: dict[str, Any], label: Label
) -> bytes:
    """Return features: a line, or points, at each level, with the values at all times in lists.

    Returns
    -------
    bytes
        JSON.
    """
    times = [to_iso(time) for time in found.times]
    features = []
    places = list(zip(_numbers(found.longitude), _numbers(found.latitude), strict=True))
    for block in found.blocks:
        for index, level in _levels(block):
            about: dict[str, Any] = {"parameter-name": list(block.names)}
            about |= {} if level is None else {"level": level}
            pairs = list(zip(block.names, block.values, strict=True))
            if found.shape == "line":
                for number, time in enumerate(times):
                    passed = (
                        {} if found.passed is None else {"times": list(map(to_iso, found.passed))}
                    )
                    values = {name: to_numbers(field[number, index]) for name, field in pairs}
                    line = {"type": "LineString", "coordinates": places}
                    features.append(_feature(line, {"datetime": time, **passed, **about, **values}))
                continue
            when = {"datetime": times[0] if len(times) == 1 else f"{times[0]}/{times[-1]}"}
            for p, place in enumerate(places):
                values = {name: to_numbers(field[:, index, p]) for name, field in pairs}
                point = {"type": "Point", "coordinates": place}
                features.append(_feature(point, {**when, "times": times, **about, **values}))
    names = [name for block in found.blocks for name in block.names]
    document = {
        "type": "FeatureCollection",
        "features": features,
        "parameters": {name: describe_parameter(store, name, str, label) for name in names},
        "pear:run": header,
        "pear:interpolation": found.describe(),
        **({"pear:levels": levels} if (levels := found.describe_levels()) else {}),
    }
    return dump_json(document)


def _feature(geometry: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def to_netcdf(
    found: Coverages, store: ForecastStore, header: dict[str, Any], label: Label
) -> bytes:
    """Return a NetCDF-3 file with CF's attributes, written without the library of NetCDF.

    The dimensions are time, level, and latitude and longitude of a grid, or ``place``.

    Returns
    -------
    bytes
        The file.
    """
    grid = found.grid
    horizontal = ("place",) if grid is None else ("latitude", "longitude")
    shape = (found.latitude.size,) if grid is None else (grid.latitude.size, grid.longitude.size)
    fields = {}
    for block in found.blocks:
        dims = (
            *(("time",) if found.passed is None else ()),
            *(() if block.levels is None else ("level",)),
            *horizontal,
        )
        for name, values in zip(block.names, block.values, strict=True):
            drop = (
                *(() if found.passed is None else (0,)),
                *((1,) if block.levels is None else ()),
            )
            kept = np.squeeze(values, axis=drop) if drop else values
            kept = kept.reshape(*kept.shape[:-1], *shape).astype(np.float32)
            standard_name = standard_name_of(store, name)
            about = {"long_name": label.name(name), "units": store.units(name)}
            about |= {"standard_name": standard_name} if standard_name else {}
            fields[name] = (dims, kept, about)
    lat, lon = (
        (found.latitude, found.longitude) if grid is None else (grid.latitude, grid.longitude)
    )
    axes = {"axis": "Y"}, {"axis": "X"}
    coordinates: dict[str, Any] = {
        "latitude": (horizontal[:1], lat, {**LATITUDE, **(axes[0] if grid else {})}),
        "longitude": (horizontal[-1:], lon, {**LONGITUDE, **(axes[1] if grid else {})}),
        "time": (
            ("time",) if found.passed is None else ("place",),
            (found.times if found.passed is None else found.passed).astype("datetime64[ns]"),
            {"standard_name": "time", "long_name": "valid time", "axis": "T"},
        ),
    }
    for block in found.blocks:
        if block.levels is not None:
            level = level_coordinate(block.levels)
            coordinates["level"] = (level.dims, level.values.astype(np.int32), level.attributes)
    about = {
        "Conventions": "CF-1.11",
        "title": str(header["title"]),
        "comment": str(header["note"]),
        "pear_interpolation": "; ".join(f"{key}: {word}" for key, word in found.describe().items()),
        **({"pear_levels": levels["description"]} if (levels := found.describe_levels()) else {}),
        **{f"pear_{name}": str(header[name]) for name in _ORIGIN if name in header},
    }
    dataset = xr.Dataset(fields, coordinates, about)
    for key, each in dataset.variables.items():
        each.encoding["_FillValue"] = None
        if key == "time":
            each.encoding |= {"units": "seconds since 1970-01-01", "dtype": "float64"}
    return bytes(dataset.to_netcdf(engine="scipy"))
