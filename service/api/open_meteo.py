"""Forecasts in open-meteo's shape."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from pear.times import to_iso
from service.api.schemas import MeteoForecast, inline
from service.dependencies import ServicesDep, finished_store, run_of
from service.http.caching import CachedBody
from service.http.problems import documented
from service.http.response_cache import immutable_answer
from service.readers.open_meteo import DEFAULT, answer, columns
from service.readers.points import Interpolation, locate, parse_numbers

router = APIRouter(prefix="/v1/forecast", tags=["points"])
_ONE = inline(MeteoForecast)
_ONE_OR_MORE = {"anyOf": [_ONE, {"type": "array", "items": _ONE}]}


@router.get(
    "",
    summary="Forecast in open-meteo's shape",
    response_class=Response,
    responses={
        200: {
            "description": "`hourly` holds the model's own steps; one object, or a list.",
            "content": {
                "application/json": {"schema": {"anyOf": [_ONE, {"type": "array", "items": _ONE}]}}
            },
        },
        304: {"description": "You have it."},
        **documented(404, 409, 410, 422, 503),
    },
)
def get_meteo(
    request: Request,
    services: ServicesDep,
    latitude: Annotated[
        str, Query(max_length=4000, description="Degrees north, comma list.", examples=["59.3"])
    ],
    longitude: Annotated[
        str, Query(max_length=4000, description="Degrees east, comma list.", examples=["18.1"])
    ],
    hourly: Annotated[
        str,
        Query(max_length=2000, description="temperature_2m, geopotential_height_500hPa, …"),
    ] = DEFAULT,
    run: Annotated[
        str, Query(max_length=128, description="Identity of a run; the newest by default.")
    ] = "latest",
    interpolation: Annotated[Interpolation, Query()] = "nearest",
    wind_speed_unit: Annotated[Literal["kmh", "ms", "mph", "kn"], Query()] = "kmh",
    temperature_unit: Annotated[Literal["celsius", "fahrenheit"], Query()] = "celsius",
    timeformat: Annotated[Literal["iso8601", "unixtime"], Query()] = "iso8601",
) -> Any:
    """Read the newest forecast, or the one pinned by `run`, at one or several points."""
    chosen_run = run_of(services, run)
    store = finished_store(services, chosen_run)
    chosen = columns(hourly, store, wind_speed_unit, temperature_unit)

    def make() -> CachedBody:
        limit = services.settings.max_points
        points = locate(
            parse_numbers(latitude, "latitude", limit),
            parse_numbers(longitude, "longitude", limit),
            store.nside,
            interpolation,
        )
        about = {
            "run": chosen_run.id,
            "model": chosen_run.model,
            "init_time": to_iso(store.init_time),
        }
        body = answer(services.forecasts, store, points, chosen, about, timeformat == "unixtime")
        return CachedBody(body, "application/json")

    key = ("meteo", latitude, longitude, tuple(chosen), interpolation, timeformat)
    return immutable_answer(
        request, services.body_cache, chosen_run, key, make, pinned=run != "latest"
    )
