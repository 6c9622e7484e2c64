"""Time series at points as JSON, CSV, CoverageJSON and NetCDF; in text missing values are null."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any, Final

import numpy as np
import xarray as xr

from pear.sphere.healpix import centres
from pear.times import to_iso
from pear.typing import Array
from service.http.disclaimer import DISCLAIMER
from service.readers.forecasts import ForecastStore
from service.readers.label import Label
from service.readers.points import Points, Series

_CSV_COLUMNS: Final = (
    *("run", "init_time", "valid_time", "lead_hours", "latitude", "longitude"),
    *("variable", "level", "units", "value", "statistic", "atmosphere"),
)


def run_header(store: ForecastStore, model: str, created_at: str, label: Label) -> dict[str, Any]:
    """Return what every response contains about its run."""
    return {
        "run": store.run,
        "model": model,
        "init_time": to_iso(store.init_time),
        "created_at": created_at,
        "grid": grid_of(store),
        **label.fields(),
        "note": DISCLAIMER,
    }


def grid_of(store: ForecastStore) -> dict[str, Any]:
    """Return the description of the grid of a store, JSON values."""
    return {"name": "HEALPix", "nside": store.nside, "order": "nested"}


def dump_json(document: object) -> bytes:
    """Return compact JSON in UTF-8; NaN and infinities are a ValueError."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def to_json(
    header: dict[str, Any],
    store: ForecastStore,
    points: Points,
    series: list[Series],
    label: Label,
) -> bytes:
    """Serialise time series as JSON."""
    lat, lon = centres(store.nside)
    document = {
        **header,
        "interpolation": points.interpolation,
        "lead_hours": list(store.lead_hours),
        "valid_times": [to_iso(time) for time in store.valid_times],
        "points": [
            {
                "latitude": float(points.latitude[p]),
                "longitude": float(points.longitude[p]),
                "cell": int(points.cell[p]),
                "cell_latitude": round(float(lat[points.cell[p]]), 5),
                "cell_longitude": round(float(lon[points.cell[p]]), 5),
                "series": [
                    {
                        "variable": each.variable,
                        "long_name": label.name(each.variable),
                        "level": each.level,
                        "units": each.units,
                        "values": to_numbers(each.values[:, p]),
                    }
                    for each in series
                ],
            }
            for p in range(points.cell.size)
        ],
    }
    return dump_json(document)


def to_csv(store: ForecastStore, points: Points, series: list[Series], label: Label) -> bytes:
    """Serialise time series as CSV, one value per line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    init = to_iso(store.init_time)
    for p in range(points.cell.size):
        place = (float(points.latitude[p]), float(points.longitude[p]))
        for each in series:
            for lead, valid, value in zip(
                store.lead_hours, store.valid_times, to_numbers(each.values[:, p]), strict=True
            ):
                what = (each.variable, each.level, each.units)
                when = (store.run, init, to_iso(valid), lead)
                words = (label.statistic, label.atmosphere)
                writer.writerow((*when, *place, *what, value, *words))
    return text.getvalue().encode()


def to_coverage(
    header: dict[str, Any],
    store: ForecastStore,
    points: Points,
    series: list[Series],
    label: Label,
) -> bytes:
    """Serialise time series as CoverageJSON (OGC 21-069r2): a collection of ``PointSeries``."""
    parameters = {
        _name_of(each): {
            "type": "Parameter",
            "description": {"en": label.describe(each.variable, each.level)},
            "observedProperty": {"label": {"en": label.describe(each.variable, each.level)}},
            "unit": {"symbol": each.units},
        }
        for each in series
    }
    times = [to_iso(time) for time in store.valid_times]
    coverages = [
        {
            "type": "Coverage",
            "domain": {
                "type": "Domain",
                "domainType": "PointSeries",
                "axes": {
                    "x": {"values": [float(points.longitude[p])]},
                    "y": {"values": [float(points.latitude[p])]},
                    "t": {"values": times},
                },
            },
            "ranges": {
                _name_of(each): {
                    "type": "NdArray",
                    "dataType": "float",
                    "axisNames": ["t"],
                    "shape": [len(times)],
                    "values": to_numbers(each.values[:, p]),
                }
                for each in series
            },
        }
        for p in range(points.cell.size)
    ]
    systems = [
        {
            "coordinates": ["x", "y"],
            "system": {
                "type": "GeographicCRS",
                "id": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
            },
        },
        {"coordinates": ["t"], "system": {"type": "TemporalRS", "calendar": "Gregorian"}},
    ]
    document = {
        "type": "CoverageCollection",
        "domainType": "PointSeries",
        "parameters": parameters,
        "referencing": systems,
        "coverages": coverages,
        "pear:run": header,
    }
    return dump_json(document)


def to_netcdf(
    header: dict[str, Any],
    store: ForecastStore,
    points: Points,
    series: list[Series],
    label: Label,
) -> bytes:
    """Serialise time series as NetCDF-3 by the CF conventions, 1.11: stations and their times."""
    # Written by SciPy in memory: HDF5 is not thread-safe, and answers are made in threads.
    data = xr.Dataset(
        {
            _name_of(each): (
                ("station", "time"),
                each.values.T.astype(np.float32),
                {
                    "long_name": label.describe(each.variable, each.level),
                    "units": each.units,
                    "coordinates": "latitude longitude",
                },
            )
            for each in series
        },
        {
            "time": ("time", store.valid_times, {"standard_name": "time"}),
            "forecast_reference_time": (
                (),
                store.init_time,
                {"standard_name": "forecast_reference_time"},
            ),
            "latitude": (
                "station",
                points.latitude,
                {"standard_name": "latitude", "units": "degrees_north"},
            ),
            "longitude": (
                "station",
                points.longitude,
                {"standard_name": "longitude", "units": "degrees_east"},
            ),
        },
        {
            "Conventions": "CF-1.11",
            "featureType": "timeSeries",
            **{name: value for name, value in header.items() if isinstance(value, str)},
            "interpolation": points.interpolation,
            "nside": store.nside,
        },
    )
    seconds = {"units": "seconds since 1970-01-01", "dtype": "float64", "_FillValue": None}
    encoding: dict[str, dict[str, Any]] = dict.fromkeys(
        ("time", "forecast_reference_time"), seconds
    )
    encoding |= {name: {"_FillValue": None} for name in ("latitude", "longitude")}
    return bytes(data.to_netcdf(engine="scipy", format="NETCDF3_64BIT", encoding=encoding))


def _name_of(each: Series) -> str:
    """Return the name of a series where all are in one document."""
    return each.variable if each.level is None else f"{each.variable}_{each.level}hPa"


def to_numbers(values: Array) -> list[float | None]:
    """Round to the precision of float32, seven digits; non-finite values become None."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values.tolist()]
