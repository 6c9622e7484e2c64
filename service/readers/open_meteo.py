"""Forecasts in the format of open-meteo.com, so that its clients can read PEAR's runs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from pear.derived import parse_quantity
from pear.errors import InputError, did_you_mean
from pear.sphere.healpix import centres
from pear.times import to_iso
from pear.variables import STANDARD_GRAVITY
from service.http.disclaimer import DISCLAIMER
from service.readers.forecasts import ForecastStore
from service.readers.points import Points, Series
from service.readers.serialisers import dump_json
from service.readers.timeline import Timeline

_SURFACE: Final = {
    "temperature_2m": "2m_temperature",
    "dew_point_2m": "2m_dewpoint_temperature",
    "relative_humidity_2m": "2m_relative_humidity",
    "wind_speed_100m": "100m_wind_speed",
    "wind_direction_100m": "100m_wind_direction",
    "pressure_msl": "mean_sea_level_pressure",
    "surface_pressure": "surface_pressure",
    "cloud_cover": "total_cloud_cover",
    "precipitation": "total_precipitation_6hr",
    "sea_surface_temperature": "sea_surface_temperature",
    "wind_speed_10m": "10m_wind_speed",
    "wind_direction_10m": "10m_wind_direction",
    "wind_u_component_10m": "10m_u_component_of_wind",
    "wind_v_component_10m": "10m_v_component_of_wind",
}
_UPPER: Final = {
    "temperature": "temperature",
    "geopotential_height": "geopotential",
    "specific_humidity": "specific_humidity",
    "relative_humidity": "relative_humidity",
    "dew_point": "dewpoint_temperature",
    "wind_speed": "wind_speed",
    "wind_direction": "wind_direction",
    "wind_u_component": "u_component_of_wind",
    "wind_v_component": "v_component_of_wind",
}
_SPEEDS: Final = {
    "kmh": ("km/h", 3.6),
    "ms": ("m/s", 1.0),
    "mph": ("mp/h", 2.236936),
    "kn": ("kn", 1.943844),
}
DEFAULT: Final = "temperature_2m,pressure_msl,wind_speed_10m,wind_direction_10m"


@dataclass(frozen=True)
class Column:
    """One column of a response: shown = stored · scale + offset.

    Attributes
    ----------
    name
        Name of the variable at open-meteo.
    variable, level
        The same in PEAR.
    units
        Unit of the shown values.
    scale, offset
        Conversion from the stored unit.
    """

    name: str
    variable: str
    level: int | None
    units: str
    scale: float
    offset: float


def parse_hourly(text: str, store: ForecastStore, speed: str, temperature: str) -> list[Column]:
    """Parse the parameter ``hourly``.

    Returns
    -------
    list of Column
        In the order of the request, without duplicates.

    Raises
    ------
    InputError
        If the list is too long or has an unknown name.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 64:
        raise InputError(f"{len(parts)} variables in hourly, limit 64", field="hourly")
    return [_column(part, store, speed, temperature) for part in dict.fromkeys(parts)]


def _column(name: str, store: ForecastStore, speed: str, temperature: str) -> Column:
    match = re.fullmatch(r"([a-z_]+)_(\d{1,4})hPa", name)
    variable = _UPPER.get(match[1]) if match else _SURFACE.get(name)
    if variable is None:
        known = [*_SURFACE, *(f"{each}_500hPa" for each in _UPPER)]
        raise InputError(
            "unknown variable in hourly", field="hourly", hint=did_you_mean(name, known)
        )
    level = int(match[2]) if match else None
    store.select(variable, level)
    return Column(name, variable, level, *_units(variable, speed, temperature))


def _units(variable: str, speed: str, temperature: str) -> tuple[str, float, float]:
    if variable.endswith("temperature"):
        return ("°F", 1.8, -459.67) if temperature == "fahrenheit" else ("°C", 1.0, -273.15)
    if variable in ("mean_sea_level_pressure", "surface_pressure"):
        return "hPa", 0.01, 0.0
    if variable == "total_precipitation_6hr":
        return "mm", 1000.0, 0.0
    if variable == "total_cloud_cover":
        return "%", 100.0, 0.0
    if variable == "geopotential":
        return "m", 1 / STANDARD_GRAVITY, 0.0
    if variable == "specific_humidity":
        return "g/kg", 1000.0, 0.0
    if variable.endswith("humidity"):
        return "%", 1.0, 0.0
    if variable.endswith("direction"):
        return "°", 1.0, 0.0
    units, scale = _SPEEDS[speed]
    return units, scale, 0.0


def _describe_time(columns: list[Column], timeline: Timeline) -> dict[str, object]:
    """Return what an answer says about hours that sums cover, and about interpolated values."""
    label: dict[str, object] = {}
    sums = {
        column.name: timeline.every_hours or hours
        for column in columns
        if (hours := parse_quantity(column.variable)[0].accumulated_hours) is not None
    }
    if sums:
        label["accumulation_hours"] = sums
    divided = any(timeline.is_divided(hours) for hours in _sum_hours(columns))
    if timeline.is_interpolated or divided:
        each = [(column.name, column.variable, column.level) for column in columns]
        label["time_interpolation"] = timeline.describe(each)
    return label


def _sum_hours(columns: list[Column]) -> list[int]:
    hours = (parse_quantity(column.variable)[0].accumulated_hours for column in columns)
    return [each for each in hours if each is not None]


def to_open_meteo(
    store: ForecastStore,
    points: Points,
    columns: list[Column],
    series: list[Series],
    header: dict[str, str],
    timeline: Timeline,
    *,
    unix_time: bool,
) -> bytes:
    """Serialise time series in open-meteo's format.

    Parameters
    ----------
    store
        The forecast.
    points
        The points.
    columns, series
        The columns, and the values of each.
    header
        Entries about the run.
    timeline
        Lead times of the values; ``time_interpolation`` says where and how they are interpolated.
    unix_time
        Write times as seconds since 1970 instead of ISO 8601.

    Returns
    -------
    bytes
        JSON: one object for one point, a list for several.
    """
    latitude, longitude = centres(store.nside)
    valid = timeline.valid_times(store.init_time)
    times: list[str] | list[int] = [to_iso(time)[:16] for time in valid]
    if unix_time:
        times = [int(seconds) for seconds in valid.astype(np.int64)]
    units = {"time": "unixtime" if unix_time else "iso8601"}
    units |= {column.name: column.units for column in columns}
    label = _describe_time(columns, timeline)
    documents = []
    for p, cell in enumerate(points.cell):
        hourly: dict[str, object] = {"time": times}
        for column, each in zip(columns, series, strict=True):
            shown = (each.values[:, p] * column.scale + column.offset).tolist()
            hourly[column.name] = [round(v, 3) if math.isfinite(v) else None for v in shown]
        documents.append(
            {
                "latitude": round(float(latitude[cell]), 4),
                "longitude": round(float((longitude[cell] + 180) % 360 - 180), 4),
                "generationtime_ms": 0.0,
                "utc_offset_seconds": 0,
                "timezone": "GMT",
                "timezone_abbreviation": "GMT",
                "elevation": None,
                **header,
                "note": DISCLAIMER,
                "lead_hours": list(timeline.leads),
                **label,
                "hourly_units": units,
                "hourly": hourly,
            }
        )
    return dump_json(documents[0] if len(documents) == 1 else documents)
