"""Forecasts in the format of open-meteo.com."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import StringConstraints

from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Float64
from service.api.field_schemas import OpenMeteoForecast
from service.api.open_meteo_runs import choose_runs, sources_of
from service.api.open_meteo_series import Asked, Part, lead_now, merge
from service.dependencies import Services, ServicesDep, Work
from service.http.caching import last_modified
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody
from service.http.routing import GuardedRoute
from service.readers.label import label_of
from service.readers.open_meteo import DEFAULT, Units, describe, places_of
from service.readers.open_meteo_answer import Zone, to_documents, to_flatbuffers
from service.readers.open_meteo_places import find_zones, parse_box
from service.readers.open_meteo_times import Period, parse_zone
from service.readers.past import MOST_DAYS
from service.readers.points import Interpolation, locate, parse_numbers
from service.readers.serialisers import dump_json
from service.readers.timeline import TemporalResolution

router = APIRouter(prefix="/v1", tags=["points"], route_class=GuardedRoute)
# Together below the 64 KB that a request line may have at all.
_MOST_ITEMS: Final = 100
_AUTO: Final = "auto"
_Item = Annotated[str, StringConstraints(max_length=600)]
_Names = Annotated[
    list[_Item], Query(max_length=64, description="Names, by commas or repeated parameters.")
]
_Date = Annotated[
    str | None, Query(max_length=10, description="Date in the time zone, 2026-03-01.")
]
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": OpenMeteoForecast | list[OpenMeteoForecast],
        "description": "One object, or a list; `hourly` has the steps of the model, or what "
        "`temporal_resolution` asks for. As FlatBuffers: one message for each point and model.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "Not modified."},
    **problem_responses(400, 404, 409, 410, 422, 503),
}


class OpenMeteoQuery:
    """Parameters of a request in open-meteo's format."""

    def __init__(
        self,
        latitude: Annotated[
            list[_Item],
            Query(description="Degrees north.", max_length=_MOST_ITEMS, examples=[["59.3"]]),
        ] = [],  # noqa: B006
        longitude: Annotated[
            list[_Item],
            Query(description="Degrees east.", max_length=_MOST_ITEMS, examples=[["18.1"]]),
        ] = [],  # noqa: B006
        bounding_box: Annotated[
            str | None,
            Query(
                max_length=100,
                description="south,west,north,east in degrees, instead of points: every cell whose "
                "centre is inside.",
            ),
        ] = None,
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
                description="Steps of the model, or every 1, 3 or 6 hours: what lies between "
                "its steps is interpolated, and `time_interpolation` says so."
            ),
        ] = "native",
        start_date: _Date = None,
        end_date: _Date = None,
        forecast_days: Annotated[
            int | None, Query(ge=1, le=366, description="Days from the first date of the run.")
        ] = None,
        past_days: Annotated[
            int,
            Query(
                ge=0,
                le=MOST_DAYS,
                description="Days before the first date of the run, from the analysis that it "
                "started from; `past` in the answer marks them.",
            ),
        ] = 0,
        wind_speed_unit: Annotated[Literal["kmh", "ms", "mph", "kn"], Query()] = "kmh",
        temperature_unit: Annotated[Literal["celsius", "fahrenheit"], Query()] = "celsius",
        precipitation_unit: Annotated[Literal["mm", "inch"], Query()] = "mm",
        timeformat: Annotated[Literal["iso8601", "unixtime"], Query()] = "iso8601",
        timezone: Annotated[
            list[_Item],
            Query(
                max_length=_MOST_ITEMS,
                description="Name such as Europe/Berlin, for all points, or one for each; "
                "`auto`: that of each point.",
                examples=[["Europe/Berlin"]],
            ),
        ] = ["GMT"],  # noqa: B006
        format: Annotated[  # noqa: A002
            Literal["json", "flatbuffers"],
            Query(description="As open-meteo's official clients read."),
        ] = "json",
        apikey: Annotated[
            str | None,
            Query(max_length=256, description="The API key, for clients without headers."),
        ] = None,
    ) -> None:
        del apikey  # checked before
        if past_days and (start_date is not None or end_date is not None):
            raise InputError(
                "past_days, and start_date or end_date, exclude each other",
                field="past_days",
                hint="give one of them",
            )
        self.where = ",".join(latitude), ",".join(longitude), bounding_box
        given = bool(latitude), bool(longitude)
        if any(given) if bounding_box is not None else not all(given):
            raise InputError(
                "give latitude and longitude, or a bounding_box",
                field="latitude",
                hint="for example latitude=59.3&longitude=18.1",
            )
        units = Units(wind_speed_unit, temperature_unit, precipitation_unit)
        period = Period(start_date, end_date, forecast_days, past_days)
        names = hourly or ([] if daily or current else [DEFAULT])
        texts = [",".join(each) for each in (names, daily, current)]
        self.asked = Asked(texts[0], texts[1], texts[2], units, temporal_resolution, period)
        self.run, self.models, self.has_current = run, models, bool(current)
        self.interpolation: Interpolation = interpolation
        self.unix_time, self.timezones = timeformat == "unixtime", _split(timezone)
        self.is_binary = format == "flatbuffers"

    def places(self, nside: int, most: int) -> tuple[Float64, Float64]:
        """Return latitudes and longitudes (point,) of a request."""
        latitude, longitude, box = self.where
        if box is not None:
            return parse_box(box, nside, most)
        return (
            parse_numbers(latitude, "latitude", most),
            parse_numbers(longitude, "longitude", most),
        )

    def zones(self, latitude: Float64, longitude: Float64) -> list[str]:
        """Return the name of the time zone of each point (point,)."""
        names = list(self.timezones)
        if len(names) == 1:
            names *= latitude.size
        if len(names) != latitude.size:
            raise InputError(
                f"{len(names)} time zones are given for {latitude.size} points",
                field="timezone",
                hint="give one for all points, or one for each",
            )
        if _AUTO in names:
            locate(latitude, longitude, 1, "nearest")  # refuses what is not on the globe
            local = find_zones(latitude, longitude)
            names = [
                here if name == _AUTO else name for name, here in zip(names, local, strict=True)
            ]
        return names


_Query = Annotated[OpenMeteoQuery, Depends()]


def _split(items: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in ",".join(items).split(","))


@router.get(
    "/forecast",
    summary="Forecast in open-meteo's format",
    response_class=Response,
    responses=_RESPONSES,
)
async def get_open_meteo(request: Request, services: ServicesDep, query: _Query) -> Response:
    """Return the newest run (or `run`) at points or in a box, of one model or several."""
    return await _respond(request, services, query, ensemble=False)


@router.get(
    "/ensemble",
    summary="Members of an ensemble in open-meteo's format",
    response_class=Response,
    responses=_RESPONSES,
)
async def get_open_meteo_ensemble(
    request: Request, services: ServicesDep, query: _Query
) -> Response:
    """Return every member: `temperature_2m` is the control, `temperature_2m_member01` the next."""
    return await _respond(request, services, query, ensemble=True)


async def _respond(
    request: Request, services: Services, query: OpenMeteoQuery, *, ensemble: bool
) -> Response:
    answer = await run_in_threadpool(_Answer, services, query, ensemble=ensemble)
    first = answer.parts[0].source
    key = ("open-meteo", *answer.key)
    nbytes = sum(
        4 * 12 * part.source.store.nside**2 * part.columns * len(part.source.store.lead_hours)
        for part in answer.parts
    )
    # The present passes, and an analysis may change.
    pinned = query.run != "latest" and not query.has_current and not answer.has_past
    work = Work(answer.make, nbytes)
    return await services.respond(request, first.run, key, work, pinned=pinned)


class _Answer:
    """The answer to a request: what it comes from, and how it is made."""

    def __init__(self, services: Services, query: OpenMeteoQuery, *, ensemble: bool) -> None:
        chosen = choose_runs(services, query.run, query.models, ensemble=ensemble)
        sources = sources_of(services, chosen, query.asked.period, ensemble=ensemble)
        self._services, self._query = services, query
        self.parts = [Part(source, query.asked) for source in sources]
        self._models = len(chosen)
        resolutions = {part.source.store.nside for part in self.parts}
        if query.where[2] is not None and len(resolutions) > 1:
            raise InputError(
                "the models have different grids, and so other cells in a box",
                field="bounding_box",
                hint="ask for each model by itself",
            )
        now, stores = _now(), [part.source.store for part in self.parts]
        self.has_past = any(part.past is not None for part in self.parts)
        self._now = [lead_now(store, now) if query.has_current else None for store in stores]
        self._hour = now.replace(minute=0, second=0, microsecond=0)
        for name in {*query.timezones} - {_AUTO}:
            parse_zone(name, stores[0].valid_times[0])
        self.key = (
            ensemble,
            query.where,
            *(part.key for part in self.parts),
            query.asked.period,
            query.timezones,
            query.interpolation,
            query.unix_time,
            query.is_binary,
            *self._now,
        )

    def make(self) -> CachedBody:
        """Make the body of the response."""
        query, most = self._query, self._services.settings.max_points
        latitude, longitude = query.places(self.parts[0].source.store.nside, most)
        if latitude.shape == longitude.shape:  # or else it is refused below
            self._require_few(latitude.size)
        zones = np.array(query.zones(latitude, longitude), dtype=object)
        answers: dict[int, Any] = {}
        for name in dict.fromkeys(zones.tolist()):
            rows = np.flatnonzero(zones == name)
            where = (latitude, longitude)
            if latitude.shape == longitude.shape:
                where = latitude[rows], longitude[rows]
            answers |= zip(rows.tolist(), self._at(*where, name), strict=False)
        ordered = [answers[row] for row in sorted(answers)]
        # The present of the same run is another one an hour later.
        headers = tuple(last_modified(self._hour).items()) if query.has_current else ()
        if query.is_binary:
            headers += tuple(self._label_headers().items())
            headers += tuple(
                ("PEAR-Past", f"{part.past.series.what} before {to_iso(part.begin)}")
                for part in self.parts[:1]
                if part.past is not None
            )
            return CachedBody(b"".join(ordered), "application/octet-stream", headers)
        body = dump_json(ordered[0] if len(ordered) == 1 else ordered)
        return CachedBody(body, "application/json", headers)

    def _at(self, latitude: Float64, longitude: Float64, name: str) -> list[Any]:
        """Return the answers at points of one time zone: bytes, or objects of JSON."""
        query, services = self._query, self._services
        store = self.parts[0].source.store
        zone = parse_zone(name, store.valid_times[0])
        by_part = []
        for part, now in zip(self.parts, self._now, strict=True):
            nside = part.source.store.nside
            points = locate(latitude, longitude, nside, query.interpolation)
            by_part.append(part.read(services, points, zone, now))
        places = places_of(store, locate(latitude, longitude, store.nside, query.interpolation))
        if query.is_binary:
            of_model = len(by_part) // self._models
            messages = []
            for model in range(self._models):
                own = slice(model * of_model, (model + 1) * of_model)
                endings = [part.source.model_suffix for part in self.parts[own]]
                blocks = merge(
                    [
                        [block.without(ending) for block in each]
                        for each, ending in zip(by_part[own], endings, strict=True)
                    ]
                )
                messages.append(to_flatbuffers(places, blocks, zone))
            return [b"".join(each) for each in zip(*messages, strict=True)]
        about = self._about(self.parts[0], zone)
        if statistics := self._statistics():
            about["statistics"] = statistics
        if self._models > 1:
            about["models"] = [
                {"name": part.source.suffix[1:], **self._about(part, zone)} for part in self.parts
            ]
        return list(to_documents(places, merge(by_part), zone, about, unix_time=query.unix_time))

    def _about(self, part: Part, zone: Zone) -> dict[str, object]:
        run, store = part.source.run, part.source.store
        header: dict[str, Any] = {
            "run": run.id,
            "model": run.model,
            "init_time": to_iso(store.init_time),
        }
        if past := part.describe_past(zone):
            header["past"] = past
        label = label_of(self._services.folder, run, store)
        kind = {"atmosphere": label.atmosphere} if label.atmosphere else {}
        return describe(part.hourly, part.shown(zone), header | kind)

    def _statistics(self) -> dict[str, str]:
        """Return what each column is of an ensemble; nothing of single forecasts."""
        folder = self._services.folder
        found: dict[str, str] = {}
        for part in self.parts:
            label = label_of(folder, part.source.run, part.source.store)
            found |= part.name_statistics(label.statistic)
        return found

    def _label_headers(self) -> dict[str, str]:
        """Return what FlatBuffers, which have no room for words, say of the atmosphere."""
        folder = self._services.folder
        labels = [label_of(folder, each.source.run, each.source.store) for each in self.parts]
        simulated = next((label for label in labels if label.atmosphere), None)
        return {} if simulated is None else replace(simulated, statistic="").headers()

    def _require_few(self, points: int) -> None:
        count = points * sum(len(part.hourly) * len(part.timeline.leads) for part in self.parts)
        most = self._services.settings.max_values
        if count > most:
            raise InputError(
                f"the request has {count} values, limit {most}",
                field="hourly",
                hint="request fewer points, variables or models, or a coarser temporal_resolution",
            )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
