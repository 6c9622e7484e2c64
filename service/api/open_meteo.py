"""Forecasts in the format of open-meteo.com."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from pear.errors import InputError
from pear.times import to_iso
from service.api.fields import Latitudes, Longitudes
from service.api.schemas import OpenMeteoForecast, inline
from service.dependencies import ServicesDep, Work, get_run, get_store
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody
from service.http.routing import GuardedRoute
from service.readers.open_meteo import DEFAULT, parse_hourly, to_open_meteo
from service.readers.points import Interpolation, locate, parse_numbers, read_series
from service.readers.timeline import TemporalResolution, Timeline

router = APIRouter(prefix="/v1/forecast", tags=["points"], route_class=GuardedRoute)
_ONE = inline(OpenMeteoForecast)
_ONE_OR_MORE = {"anyOf": [_ONE, {"type": "array", "items": _ONE}]}


@router.get(
    "",
    summary="Forecast in open-meteo's format",
    response_class=Response,
    responses={
        200: {
            "description": "One object, or a list; `hourly` has the steps of the model, or what "
            "`temporal_resolution` asks for.",
            "content": {"application/json": {"schema": _ONE_OR_MORE}},
        },
        304: {"description": "Not modified."},
        **problem_responses(404, 409, 410, 422, 503),
    },
)
async def get_open_meteo(
    request: Request,
    services: ServicesDep,
    latitude: Latitudes,
    longitude: Longitudes,
    hourly: Annotated[
        str,
        Query(max_length=2000, description="temperature_2m, geopotential_height_500hPa, …"),
    ] = DEFAULT,
    run: Annotated[
        str, Query(max_length=128, description="Run id (default: the newest).")
    ] = "latest",
    interpolation: Annotated[Interpolation, Query()] = "nearest",
    temporal_resolution: Annotated[
        TemporalResolution,
        Query(
            description="Steps of the model, or every 1, 3 or 6 hours: what lies between its steps "
            "is interpolated, and `time_interpolation` says so."
        ),
    ] = "native",
    wind_speed_unit: Annotated[Literal["kmh", "ms", "mph", "kn"], Query()] = "kmh",
    temperature_unit: Annotated[Literal["celsius", "fahrenheit"], Query()] = "celsius",
    timeformat: Annotated[Literal["iso8601", "unixtime"], Query()] = "iso8601",
    timezone: Annotated[
        Literal["GMT", "UTC"], Query(description="Times are UTC in every answer.")
    ] = "GMT",
    format: Annotated[Literal["json"], Query(description="Every answer is JSON.")] = "json",  # noqa: A002
) -> Response:
    """Return the newest forecast, or the one named by `run`, at one or several points."""
    chosen = await run_in_threadpool(get_run, services, run)
    store = await run_in_threadpool(get_store, services, chosen)
    columns = parse_hourly(hourly, store, wind_speed_unit, temperature_unit)
    timeline = Timeline.choose(store.lead_hours, temporal_resolution)

    def make() -> CachedBody:
        limits = services.settings
        points = locate(
            parse_numbers(latitude, "latitude", limits.max_points),
            parse_numbers(longitude, "longitude", limits.max_points),
            store.nside,
            interpolation,
        )
        pairs = [(column.variable, column.level) for column in columns]
        count, most = points.cell.size * len(pairs) * len(timeline.leads), limits.max_values
        if count > most:
            raise InputError(
                f"the request has {count} values, limit {most}",
                field="hourly",
                hint="request fewer points or variables, or a coarser temporal_resolution",
            )
        series = read_series(services.forecasts, store, points, pairs, timeline)
        header = {
            "run": chosen.id,
            "model": chosen.model,
            "init_time": to_iso(store.init_time),
        }
        unix_time = timeformat == "unixtime"
        body = to_open_meteo(store, points, columns, series, header, timeline, unix_time=unix_time)
        return CachedBody(body, "application/json")

    key = ("open-meteo", latitude, longitude, tuple(columns), interpolation, timeformat, timeline)
    pinned = run != "latest"
    nbytes = 4 * 12 * store.nside**2 * len(columns) * len(store.lead_hours)
    return await services.respond(request, chosen, key, Work(make, nbytes), pinned=pinned)
