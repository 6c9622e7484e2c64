"""Forecasts at points."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from pear.errors import InputError
from service.api.schemas import PointForecast, inline, wall_clock
from service.dependencies import RunDep, ServicesDep, StoreDep
from service.http.caching import Answer
from service.http.problems import documented
from service.http.response_cache import immutable_answer
from service.readers.points import Interpolation, chosen_series, locate, parse_numbers, read_series
from service.readers.serialisers import about, to_coverage, to_csv, to_json

router = APIRouter(prefix="/v1/forecasts", tags=["points"])
_LIST = r"^[^,]+(,[^,]+)*$"


@router.get(
    "/{run_id}/point",
    summary="Forecast at points",
    response_class=Response,
    responses={
        200: {
            "description": "Every variable through all leads, at each point.",
            "content": {
                "application/json": {"schema": inline(PointForecast)},
                "text/csv": {},
                "application/prs.coverage+json": {"schema": {"type": "object"}},
            },
        },
        304: {"description": "You have it: finished runs never change."},
        **documented(404, 409, 410, 422, 503),
    },
)
def get_point(
    request: Request,
    found: ServicesDep,
    run: RunDep,
    store: StoreDep,
    latitude: Annotated[
        str, Query(description="Degrees north, comma list.", max_length=4000, examples=["59.3"])
    ],
    longitude: Annotated[
        str, Query(description="Degrees east, comma list.", max_length=4000, examples=["18.1"])
    ],
    variables: Annotated[
        str | None,
        Query(
            description="Comma list of names or aliases: t2m, z500, 10m_wind_speed.",
            max_length=2000,
            examples=["t2m,z500"],
        ),
    ] = None,
    levels: Annotated[
        str | None, Query(description="Comma list, hPa.", max_length=400, examples=["850,500"])
    ] = None,
    interpolation: Annotated[
        Interpolation, Query(description="The cell that holds the point, or bilinear.")
    ] = "nearest",
    format: Annotated[Literal["json", "csv", "covjson"], Query(description="Shape.")] = "json",  # noqa: A002
) -> Response:
    """Read the forecast at points, as JSON or CSV (one value a line)."""

    def make() -> Answer:
        limit = found.settings.max_points
        points = locate(
            parse_numbers(latitude, "latitude", limit),
            parse_numbers(longitude, "longitude", limit),
            store.nside,
            interpolation,
        )
        pairs = chosen_series(store, variables, levels)
        count = points.cell.size * len(pairs) * len(store.lead_hours)
        if count > found.settings.max_values:
            raise InputError(
                f"{count} values asked for, at most {found.settings.max_values}",
                field="variables",
                hint="ask for fewer points, variables or levels",
            )
        series = read_series(found.reader, store, points, pairs)
        if format == "csv":
            return Answer(to_csv(store, points, series), "text/csv; charset=utf-8")
        header = about(store, run.model, str(wall_clock(run.created_at)))
        if format == "covjson":
            body = to_coverage(header, store, points, series)
            return Answer(body, "application/prs.coverage+json")
        return Answer(to_json(header, store, points, series), "application/json")

    key = ("point", store.run, latitude, longitude, variables, levels, interpolation, format)
    return immutable_answer(request, found.answers, run, key, make)
