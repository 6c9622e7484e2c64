"""Whole fields on the nested HEALPix grid."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.times import to_iso
from service.api.schemas import FieldForecast, PointForecast, inline, wall_clock
from service.dependencies import RunDep, ServicesDep, StoreDep
from service.http.caching import CachedBody
from service.http.problems import documented
from service.http.response_cache import immutable_answer
from service.readers.forecasts import at_nside, pack_u16
from service.readers.points import Interpolation, chosen_series, locate, parse_numbers, read_series
from service.readers.serialisers import about, numbers, to_coverage, to_csv, to_json

router = APIRouter(prefix="/v1/forecasts")

VariableName = Annotated[
    str,
    Path(
        description="Name or alias; may carry the level: z500.",
        max_length=64,
        examples=["2m_temperature"],
    ),
]
LeadTime = Annotated[int, Query(ge=0, le=10_000, description="Lead time, hours.", examples=[24])]
Level = Annotated[int | None, Query(ge=1, le=1100, description="Pressure level, hPa.")]


@router.get(
    "/{run_id}/fields/{variable}",
    tags=["fields"],
    summary="One field",
    response_class=Response,
    responses={
        200: {
            "description": "All cells in nested order. f32: little-endian float32. u16: "
            "little-endian uint16, value = PEAR-Offset + PEAR-Scale · packed, 65535 is missing.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": inline(FieldForecast)},
            },
        },
        304: {"description": "You have it: finished runs never change."},
        **documented(404, 409, 410, 422, 503),
    },
)
def get_field(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    variable: VariableName,
    lead_time: LeadTime,
    level: Level = None,
    format: Annotated[  # noqa: A002
        Literal["f32", "u16", "json"], Query(description="Encoding of the values.")
    ] = "f32",
    nside: Annotated[
        int | None,
        Query(
            ge=1,
            le=8192,
            description="A coarser grid: means over its cells. A finer one, up "
            "to 64: bilinear, for display.",
        ),
    ] = None,
) -> Response:
    """Read one field of a run at one lead time."""
    chosen, at_level = store.select(variable, level)
    index = store.lead_index(lead_time)

    def make() -> CachedBody:
        field = at_nside(
            services.forecasts.field(store.run, chosen.name, at_level, lead_time), nside
        )
        resolution = nside_from_cells(field.size)
        headers = {
            "PEAR-Run": run.id,
            "PEAR-Model": run.model,
            "PEAR-Variable": chosen.name,
            "PEAR-Units": store.units(chosen.name),
            "PEAR-Init-Time": to_iso(store.init_time),
            "PEAR-Lead-Hours": str(lead_time),
            "PEAR-Valid-Time": to_iso(store.valid_times[index]),
            "PEAR-Grid": f"healpix nside={resolution} order=nested",
        }
        if at_level is not None:
            headers["PEAR-Level"] = str(at_level)
        if format == "json":
            document = {
                **about(store, run.model, str(wall_clock(run.created_at))),
                "grid": {"name": "HEALPix", "nside": resolution, "order": "nested"},
                "variable": chosen.name,
                "level": at_level,
                "units": store.units(chosen.name),
                "lead_hours": lead_time,
                "valid_time": to_iso(store.valid_times[index]),
                "values": numbers(field),
            }
            body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
            return CachedBody(body, "application/json", tuple(headers.items()))
        if format == "u16":
            packed, scale, offset = pack_u16(field)
            headers |= {"PEAR-Scale": repr(scale), "PEAR-Offset": repr(offset)}
            body = packed.astype("<u2").tobytes()
        else:
            body = field.astype("<f4").tobytes()
        return CachedBody(body, "application/octet-stream", tuple(headers.items()))

    key = ("field", store.run, chosen.name, at_level, lead_time, format, nside)
    return immutable_answer(request, services.body_cache, run, key, make)


@router.get(
    "/{run_id}/point",
    tags=["points"],
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
    services: ServicesDep,
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

    def make() -> CachedBody:
        limit = services.settings.max_points
        points = locate(
            parse_numbers(latitude, "latitude", limit),
            parse_numbers(longitude, "longitude", limit),
            store.nside,
            interpolation,
        )
        pairs = chosen_series(store, variables, levels)
        count = points.cell.size * len(pairs) * len(store.lead_hours)
        if count > services.settings.max_values:
            raise InputError(
                f"{count} values asked for, at most {services.settings.max_values}",
                field="variables",
                hint="ask for fewer points, variables or levels",
            )
        series = read_series(services.forecasts, store, points, pairs)
        if format == "csv":
            return CachedBody(to_csv(store, points, series), "text/csv; charset=utf-8")
        header = about(store, run.model, str(wall_clock(run.created_at)))
        if format == "covjson":
            body = to_coverage(header, store, points, series)
            return CachedBody(body, "application/prs.coverage+json")
        return CachedBody(to_json(header, store, points, series), "application/json")

    key = ("point", store.run, latitude, longitude, variables, levels, interpolation, format)
    return immutable_answer(request, services.body_cache, run, key, make)
