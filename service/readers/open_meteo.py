"""Forecasts in the format of open-meteo.com, so that its clients can read PEAR's runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pear.derived import parse_quantity
from pear.errors import InputError, did_you_mean
from pear.sphere.healpix import centres
from pear.typing import Float64
from pear.variables import STANDARD_GRAVITY
from service.http.disclaimer import DISCLAIMER
from service.readers.forecasts import ForecastStore
from service.readers.open_meteo_answer import Place
from service.readers.points import Points, Series
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
SURFACE_NAMES: Final = tuple(_SURFACE)
"""Names of variables without a level, in open-meteo's words."""
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
_PROBABILITY: Final = "precipitation_probability"
_WET_MM: Final = 0.1
"""Precipitation above which open-meteo counts an interval as wet, mm."""
_MOST_COLUMNS: Final = 64
_OF_DAYS: Final = ("max", "min", "mean", "sum")
_EXAMPLES: Final = ("pressure_msl_mean", "wind_speed_10m_max", "precipitation_sum")
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
    threshold
        Of a probability: the value that members must exceed, after the conversion; else None.
    """

    name: str
    variable: str
    level: int | None
    units: str
    scale: float
    offset: float
    threshold: float | None = None

    @property
    def is_probability(self) -> bool:
        """True if the values are shares of members, per cent."""
        return self.threshold is not None


@dataclass(frozen=True)
class Units:
    """Units of an answer, by open-meteo's names.

    Attributes
    ----------
    speed
        ``kmh``, ``ms``, ``mph`` or ``kn``.
    temperature
        ``celsius`` or ``fahrenheit``.
    precipitation
        ``mm`` or ``inch``.
    """

    speed: str = "kmh"
    temperature: str = "celsius"
    precipitation: str = "mm"


def parse_columns(text: str, store: ForecastStore, units: Units, field: str) -> list[Column]:
    """Parse the parameter ``hourly`` or ``current``.

    Returns
    -------
    list of Column
        In the order of the request, without duplicates; none of an empty text.

    Raises
    ------
    InputError
        If the list is too long or has an unknown name.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > _MOST_COLUMNS:
        raise InputError(f"{len(parts)} variables in {field}, limit {_MOST_COLUMNS}", field=field)
    return [_column(part, store, units, field) for part in dict.fromkeys(parts)]


def parse_daily(text: str, store: ForecastStore, units: Units) -> list[tuple[Column, str]]:
    """Parse the parameter ``daily``: such as ``temperature_2m_max`` or ``precipitation_sum``.

    Returns
    -------
    list of tuple
        The column, and ``max``, ``min``, ``mean`` or ``sum``.

    Raises
    ------
    InputError
        If the list is too long, or a name is unknown or has no such value of a day.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > _MOST_COLUMNS:
        raise InputError(f"{len(parts)} variables in daily, limit {_MOST_COLUMNS}", field="daily")
    found = []
    for part in dict.fromkeys(parts):
        name, _, how = part.rpartition("_")
        if how not in _OF_DAYS or name.startswith("wind_direction"):
            raise InputError(
                f"unknown variable {part!r} in daily",
                field="daily",
                hint=did_you_mean(part, ["temperature_2m_max", "temperature_2m_min", *_EXAMPLES]),
            )
        column = _column(name, store, units, "daily")
        is_sum = (
            parse_quantity(column.variable)[0].accumulated_hours is not None
            and not column.is_probability
        )
        if is_sum != (how == "sum"):
            raise InputError(
                f"{name} has no {how} of a day",
                field="daily",
                hint="sums have sum; other variables have max, min and mean",
            )
        found.append((column, how))
    return found


def _column(name: str, store: ForecastStore, units: Units, field: str) -> Column:
    if name == _PROBABILITY:
        _require(store, name, "total_precipitation_6hr", None, field)
        return Column(name, "total_precipitation_6hr", None, "%", 1000.0, 0.0, _WET_MM)
    match = re.fullmatch(r"([a-z_]+)_(\d{1,4})hPa", name)
    variable = _UPPER.get(match[1]) if match else _SURFACE.get(name)
    if variable is None:
        known = [*_SURFACE, _PROBABILITY, *(f"{each}_500hPa" for each in _UPPER)]
        raise InputError(
            f"unknown variable {name!r} in {field}", field=field, hint=did_you_mean(name, known)
        )
    level = int(match[2]) if match else None
    _require(store, name, variable, level, field)
    return Column(name, variable, level, *_units(variable, units))


def _require(store: ForecastStore, name: str, variable: str, level: int | None, field: str) -> None:
    """Refuse a column whose field the run does not have, by the name that open-meteo has for it."""
    try:
        store.select(variable, level)
    except InputError as error:
        raise InputError(f"{name}: {error.message}", field=field, hint=error.hint) from error


def _units(variable: str, wanted: Units) -> tuple[str, float, float]:
    if variable.endswith("temperature"):
        is_fahrenheit = wanted.temperature == "fahrenheit"
        return ("°F", 1.8, -459.67) if is_fahrenheit else ("°C", 1.0, -273.15)
    if variable in ("mean_sea_level_pressure", "surface_pressure"):
        return "hPa", 0.01, 0.0
    if variable == "total_precipitation_6hr":
        return ("inch", 1000 / 25.4, 0.0) if wanted.precipitation == "inch" else ("mm", 1000.0, 0.0)
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
    units, scale = _SPEEDS[wanted.speed]
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


def show(column: Column, series: Series) -> Float64:
    """Return the values of a column (time, point) in its unit."""
    values: Float64 = series.values * column.scale + column.offset
    return values


def places_of(store: ForecastStore, points: Points) -> list[Place]:
    """Return the centres of the cells of some points, longitudes from -180 to 180."""
    latitude, longitude = centres(store.nside)
    return [
        Place(
            round(float(latitude[cell]), 4),
            round(float((longitude[cell] + 180) % 360 - 180), 4),
        )
        for cell in points.cell
    ]


def describe(
    columns: list[Column], timeline: Timeline, header: Mapping[str, object]
) -> dict[str, object]:
    """Return the entries of an answer about its run, and about interpolated values.

    Parameters
    ----------
    columns
        Those of ``hourly``.
    timeline
        Lead times of them; ``time_interpolation`` says where and how they are interpolated.
    header
        Entries about the run.

    Returns
    -------
    dict
        JSON values.
    """
    label = _describe_time(columns, timeline) if columns else {}
    return {**header, "note": DISCLAIMER, "lead_hours": list(timeline.leads), **label}
