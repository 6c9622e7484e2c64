"""Time series at points as JSON, CSV and CoverageJSON; missing values are null, never NaN."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any, Final

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

    def named(each: Series) -> str:
        return each.variable if each.level is None else f"{each.variable}_{each.level}hPa"

    parameters = {
        named(each): {
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
                named(each): {
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


def to_numbers(values: Array) -> list[float | None]:
    """Round to the precision of float32, seven digits; non-finite values become None."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values.tolist()]
