"""The shape of open-meteo.com's forecast answers, so that its clients work with PEAR's runs."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.sphere.healpix import centres
from pear.times import to_iso
from pear.variables import STANDARD_GRAVITY
from service.http.html import DISCLAIMER
from service.readers.forecasts import ForecastReader, ForecastStore
from service.readers.points import Points, read_series

_SURFACE: Final = {
    "temperature_2m": "2m_temperature",
    "pressure_msl": "mean_sea_level_pressure",
    "wind_speed_10m": "10m_wind_speed",
    "wind_direction_10m": "10m_wind_direction",
    "wind_u_component_10m": "10m_u_component_of_wind",
    "wind_v_component_10m": "10m_v_component_of_wind",
}
_UPPER: Final = {
    "temperature": "temperature",
    "geopotential_height": "geopotential",
    "specific_humidity": "specific_humidity",
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
    """One variable as open-meteo names it, and how to get there from ours."""

    name: str
    variable: str
    level: int | None
    units: str
    scale: float
    offset: float


def columns(text: str, store: ForecastStore, speed: str, temperature: str) -> list[Column]:
    """Read open-meteo's list of variables.

    Raises
    ------
    InputError
        If a name is unknown or the run lacks it.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 64:
        raise InputError(f"{len(parts)} variables, at most 64", field="hourly")
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
    base = variable.replace("wind_speed", "u_component_of_wind").replace(
        "wind_direction", "u_component_of_wind"
    )
    store.select(base, level)
    return Column(name, variable, level, *_units(variable, speed, temperature))


def _units(variable: str, speed: str, temperature: str) -> tuple[str, float, float]:
    if variable.endswith("temperature"):
        return ("°F", 1.8, -459.67) if temperature == "fahrenheit" else ("°C", 1.0, -273.15)
    if variable == "mean_sea_level_pressure":
        return "hPa", 0.01, 0.0
    if variable == "geopotential":
        return "m", 1 / STANDARD_GRAVITY, 0.0
    if variable == "specific_humidity":
        return "g/kg", 1000.0, 0.0
    if variable.endswith("direction"):
        return "°", 1.0, 0.0
    units, scale = _SPEEDS[speed]
    return units, scale, 0.0


def answer(
    reader: ForecastReader,
    store: ForecastStore,
    points: Points,
    chosen: list[Column],
    run: dict[str, Any],
    unix_time: bool,
) -> bytes:
    """Write the answer: one object for one point, a list for several."""
    series = read_series(reader, store, points, [(each.variable, each.level) for each in chosen])
    latitude, longitude = centres(store.nside)
    times: list[Any] = [to_iso(time)[:16] for time in store.valid_times]
    if unix_time:
        times = [int(seconds) for seconds in store.valid_times.astype(np.int64)]
    units = {"time": "unixtime" if unix_time else "iso8601"}
    units |= {each.name: each.units for each in chosen}
    out = []
    for p, cell in enumerate(points.cell):
        hourly: dict[str, Any] = {"time": times}
        for each, found in zip(chosen, series, strict=True):
            shown = found.values[:, p] * each.scale + each.offset
            hourly[each.name] = [round(v, 3) if math.isfinite(v) else None for v in shown.tolist()]
        out.append(
            {
                "latitude": round(float(latitude[cell]), 4),
                "longitude": round(float((longitude[cell] + 180) % 360 - 180), 4),
                "generationtime_ms": 0.0,
                "utc_offset_seconds": 0,
                "timezone": "GMT",
                "timezone_abbreviation": "GMT",
                "elevation": None,
                **run,
                "note": DISCLAIMER,
                "lead_hours": list(store.lead_hours),
                "hourly_units": units,
                "hourly": hourly,
            }
        )
    document = out[0] if len(out) == 1 else out
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
