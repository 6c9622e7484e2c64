"""Forecasts in the format of open-meteo.com."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import StringConstraints

from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Times
from pipelines.catalog import Run
from service.api.schemas import OpenMeteoForecast, inline
from service.dependencies import Services, ServicesDep, Work, get_run, get_store
from service.http.caching import last_modified
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody
from service.http.routing import GuardedRoute
from service.readers.forecasts import ForecastStore
from service.readers.open_meteo import (
    DEFAULT,
    Column,
    Units,
    describe,
    parse_columns,
    parse_daily,
    places_of,
    show,
)
from service.readers.open_meteo_answer import Block, Zone, to_flatbuffers, to_json
from service.readers.open_meteo_times import (
    DAY,
    Period,
    aggregate,
    local_dates,
    parse_zone,
    require_daily,
)
from service.readers.points import Interpolation, Points, locate, parse_numbers, read_series
from service.readers.timeline import TemporalResolution, Timeline

router = APIRouter(prefix="/v1/forecast", tags=["points"], route_class=GuardedRoute)
_ONE = inline(OpenMeteoForecast)
_ONE_OR_MORE = {"anyOf": [_ONE, {"type": "array", "items": _ONE}]}
_HOUR: Final = 3600
# Together below the 64 KB that a request line may have at all.
_MOST_ITEMS: Final = 100
_Item = Annotated[str, StringConstraints(max_length=600)]
_Names = Annotated[
    list[_Item], Query(max_length=64, description="Names, by commas or repeated parameters.")
]
_Date = Annotated[
    str | None, Query(max_length=10, description="Date in the time zone, 2026-03-01.")
]


@router.get(
    "",
    summary="Forecast in open-meteo's format",
    response_class=Response,
    responses={
        200: {
            "description": "One object, or a list; `hourly` has the steps of the model, or what "
            "`temporal_resolution` asks for. As FlatBuffers: one message for each point.",
            "content": {
                "application/json": {"schema": _ONE_OR_MORE},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        304: {"description": "Not modified."},
        **problem_responses(400, 404, 409, 410, 422, 503),
    },
)
async def get_open_meteo(
    request: Request,
    services: ServicesDep,
    latitude: Annotated[
        list[_Item],
        Query(description="Degrees north.", max_length=_MOST_ITEMS, examples=[["59.3"]]),
    ],
    longitude: Annotated[
        list[_Item],
        Query(description="Degrees east.", max_length=_MOST_ITEMS, examples=[["18.1"]]),
    ],
    hourly: _Names = [],  # noqa: B006 - FastAPI copies it
    daily: _Names = [],  # noqa: B006
    current: _Names = [],  # noqa: B006
    models: _Names = [],  # noqa: B006
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
    start_date: _Date = None,
    end_date: _Date = None,
    forecast_days: Annotated[
        int | None, Query(ge=1, le=366, description="Days from the first date of the run.")
    ] = None,
    past_days: Annotated[
        int, Query(ge=0, le=0, description="A run has no days before it begins: 0 alone.")
    ] = 0,
    wind_speed_unit: Annotated[Literal["kmh", "ms", "mph", "kn"], Query()] = "kmh",
    temperature_unit: Annotated[Literal["celsius", "fahrenheit"], Query()] = "celsius",
    precipitation_unit: Annotated[Literal["mm", "inch"], Query()] = "mm",
    timeformat: Annotated[Literal["iso8601", "unixtime"], Query()] = "iso8601",
    timezone: Annotated[
        str, Query(max_length=64, description="Name such as Europe/Berlin, for all points.")
    ] = "GMT",
    format: Annotated[  # noqa: A002
        Literal["json", "flatbuffers"], Query(description="As open-meteo's official clients read.")
    ] = "json",
    apikey: Annotated[
        str | None, Query(max_length=256, description="The API key, for clients without headers.")
    ] = None,
) -> Response:
    """Return the newest forecast, or the one named by `run`, at one or several points."""
    del apikey, past_days  # the one was checked before, the other is 0
    chosen = await run_in_threadpool(_choose_run, services, run, models)
    store = await run_in_threadpool(get_store, services, chosen)
    units = Units(wind_speed_unit, temperature_unit, precipitation_unit)
    asked = hourly or ([] if daily or current else [DEFAULT])
    period = Period(start_date, end_date, forecast_days)
    parts = _Parts(
        parse_columns(",".join(asked), store, units, "hourly"),
        parse_daily(",".join(daily), store, units),
        parse_columns(",".join(current), store, units, "current"),
        Timeline.choose(store.lead_hours, temporal_resolution),
        parse_zone(timezone, store.valid_times[0]),
        period,
    )
    now = _lead_now(store) if current else None
    where = ",".join(latitude), ",".join(longitude)

    def make() -> CachedBody:
        most = services.settings.max_points
        points = locate(
            parse_numbers(where[0], "latitude", most),
            parse_numbers(where[1], "longitude", most),
            store.nside,
            interpolation,
        )
        _require_few(services, parts, points)
        blocks = parts.read(services, store, points, now)
        places = places_of(store, points)
        # The present of the same run is another one an hour later.
        dated = {} if now is None else last_modified(_now().replace(minute=0, second=0))
        headers = tuple(dated.items())
        if format == "flatbuffers":
            content = to_flatbuffers(places, blocks, parts.zone)
            return CachedBody(content, "application/octet-stream", headers)
        header = {"run": chosen.id, "model": chosen.model, "init_time": to_iso(store.init_time)}
        about = describe(parts.hourly, parts.shown(store), header)
        unix_time = timeformat == "unixtime"
        body = to_json(places, blocks, parts.zone, about, unix_time=unix_time)
        return CachedBody(body, "application/json", headers)

    key = ("open-meteo", where, parts.key, interpolation, timeformat, format, now)
    columns = len(parts.hourly) + len(parts.daily) + len(parts.current)
    nbytes = 4 * 12 * store.nside**2 * columns * len(store.lead_hours)
    pinned = run != "latest" and not current
    return await services.respond(request, chosen, key, Work(make, nbytes), pinned=pinned)


class _Parts:
    """What a request asks for: its columns, their lead times, the zone and the dates."""

    def __init__(
        self,
        hourly: list[Column],
        daily: list[tuple[Column, str]],
        current: list[Column],
        timeline: Timeline,
        zone: Zone,
        period: Period,
    ) -> None:
        self.hourly, self.daily, self.current = hourly, daily, current
        self.timeline, self.zone, self.period = timeline, zone, period
        self.key = (tuple(hourly), tuple(daily), tuple(current), timeline, zone, period)

    def shown(self, store: ForecastStore) -> Timeline:
        """Return the timeline of the dates that were asked for."""
        valid = self.timeline.valid_times(store.init_time)
        rows = np.flatnonzero(self.period.choose(valid, self.zone))
        leads = tuple(self.timeline.leads[row] for row in rows)
        return replace(self.timeline, leads=leads)

    def read(
        self, services: Services, store: ForecastStore, points: Points, now: int | None
    ) -> list[Block]:
        """Read the blocks of an answer."""
        valid = self.timeline.valid_times(store.init_time)
        kept = self.period.choose(valid, self.zone)
        blocks = []
        if now is not None:
            here = Timeline(store.lead_hours, (now,), 1)
            times = here.valid_times(store.init_time)
            columns = _read(services, store, points, self.current, here)
            blocks.append(Block("current", times, _HOUR, columns))
        if self.hourly:
            found = _read(services, store, points, self.hourly, self.timeline)
            columns = [(name, unit, values[kept]) for name, unit, values in found]
            blocks.append(Block("hourly", valid[kept], _step(valid), columns))
        if self.daily:
            blocks.append(self._read_days(services, store, points))
        return blocks

    def _read_days(self, services: Services, store: ForecastStore, points: Points) -> Block:
        hours = require_daily(store.lead_hours)
        native = Timeline.choose(store.lead_hours, "native")
        valid = native.valid_times(store.init_time)
        columns = list(dict.fromkeys(column for column, _ in self.daily))
        found = _read(services, store, points, columns, native)
        values = {name: series for name, _, series in found}
        rows = np.flatnonzero(self.period.choose(valid, self.zone))
        # A sum belongs to the day in which its hours lie, the last of which ends at its time.
        ends = local_dates(valid - np.timedelta64(1, "s"), self.zone)
        dates, shown = local_dates(valid, self.zone), []
        for column, how in self.daily:
            days = ends if how == "sum" else dates
            each = aggregate(values[column.name], days, 24 // hours, how)
            of_day = dict(zip(np.unique(days).tolist(), each, strict=True))
            nothing = np.full(points.cell.size, np.nan)
            wanted = [of_day.get(day, nothing) for day in np.unique(dates[rows]).tolist()]
            shown.append((f"{column.name}_{how}", column.units, np.stack(wanted)))
        offset = np.timedelta64(self.zone.seconds, "s")
        midnights: Times = np.unique(dates[rows]).astype("datetime64[s]")
        return Block("daily", np.subtract(midnights, offset), DAY, shown)


def _read(
    services: Services,
    store: ForecastStore,
    points: Points,
    columns: Sequence[Column],
    timeline: Timeline,
) -> list[tuple[str, str, np.typing.NDArray[np.float64]]]:
    pairs = [(column.variable, column.level) for column in columns]
    series = read_series(services.forecasts, store, points, pairs, timeline)
    return [
        (column.name, column.units, show(column, each))
        for column, each in zip(columns, series, strict=True)
    ]


def _step(times: np.typing.NDArray[np.datetime64]) -> int:
    seconds = np.diff(times.astype("datetime64[s]").astype(np.int64))
    return int(seconds[0]) if seconds.size else _HOUR


def _choose_run(services: Services, run: str, models: Sequence[str]) -> Run:
    """Return the run that a request names, which must be of the model that it names."""
    names = [name for part in models for name in part.split(",") if name]
    if len(names) > 1:
        raise InputError(
            "one model at a time", field="models", hint="send one request for each model"
        )
    found = get_run(services, run)
    if names and names[0] not in (found.model, "best_match"):
        raise InputError(
            f"run {found.id} is of model {found.model}, not of {names[0][:64]}",
            field="models",
            hint="name a run of that model by run=; /v1/forecasts?model= lists them",
        )
    return found


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _lead_now(store: ForecastStore) -> int:
    """Return the lead time of the hour that it is now; a run that does not cover it is refused."""
    moment = np.datetime64(_now().replace(tzinfo=None), "h")
    lead = int((moment - store.init_time.astype("datetime64[h]")) / np.timedelta64(1, "h"))
    first, last = store.lead_hours[0], store.lead_hours[-1]
    if not first <= lead <= last:
        begin, end = (to_iso(store.valid_times[at]) for at in (0, -1))
        raise InputError(
            f"run {store.run} covers {begin} to {end}, not the present",
            field="current",
            hint="ask for hourly",
        )
    return lead


def _require_few(services: Services, parts: _Parts, points: Points) -> None:
    count = points.cell.size * len(parts.hourly) * len(parts.timeline.leads)
    most = services.settings.max_values
    if count > most:
        raise InputError(
            f"the request has {count} values, limit {most}",
            field="hourly",
            hint="request fewer points or variables, or a coarser temporal_resolution",
        )
