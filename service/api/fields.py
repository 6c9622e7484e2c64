"""Forecasts as numbers: time series at points, and whole fields on the nested HEALPix grid."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.times import to_iso
from service.api.field_schemas import FieldForecast, PointForecast
from service.api.schemas import format_utc, inline
from service.dependencies import RunDep, ServicesDep, StoreDep, Work
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody
from service.http.routing import GuardedRoute
from service.readers.label import label_of
from service.readers.points import Interpolation, locate, parse_numbers, read_series, select_series
from service.readers.resample import pack_u16
from service.readers.serialisers import (
    dump_json,
    run_header,
    to_coverage,
    to_csv,
    to_json,
    to_netcdf,
    to_numbers,
)

router = APIRouter(prefix="/v1/forecasts", route_class=GuardedRoute)
VariableName = Annotated[
    str,
    Path(
        description="Name or alias; may include the level: z500.",
        max_length=64,
        examples=["2m_temperature"],
    ),
]
LeadTime = Annotated[int, Query(ge=0, le=10_000, description="Lead time, hours.", examples=[24])]
Level = Annotated[int | None, Query(ge=1, le=1100, description="Pressure level, hPa.")]
Latitudes = Annotated[
    str, Query(description="Degrees north, comma-separated.", max_length=4000, examples=["59.3"])
]
Longitudes = Annotated[
    str, Query(description="Degrees east, comma-separated.", max_length=4000, examples=["18.1"])
]


@router.get(
    "/{run_id}/point",
    tags=["points"],
    summary="Forecast at points",
    response_class=Response,
    responses={
        200: {
            "description": "Each variable at every lead time, at each point.",
            "content": {
                "application/json": {"schema": inline(PointForecast)},
                "text/csv": {"schema": {"type": "string"}},
                "application/prs.coverage+json": {"schema": {"type": "object"}},
                "application/x-netcdf": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        304: {"description": "Not modified: finished runs never change."},
        **problem_responses(404, 409, 410, 422, 503),
    },
)
async def get_point(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    latitude: Latitudes,
    longitude: Longitudes,
    variables: Annotated[
        str | None,
        Query(
            description="Comma-separated names or aliases: t2m, z500, 10m_wind_speed "
            "(default: all surface variables).",
            max_length=2000,
            examples=["t2m,z500"],
        ),
    ] = None,
    levels: Annotated[
        str | None,
        Query(description="Comma-separated levels, hPa.", max_length=400, examples=["850,500"]),
    ] = None,
    interpolation: Annotated[
        Interpolation, Query(description="Value of the cell that contains the point, or bilinear.")
    ] = "nearest",
    format: Annotated[  # noqa: A002
        Literal["json", "csv", "covjson", "netcdf"], Query(description="Format of the response.")
    ] = "json",
) -> Response:
    """Return the forecast at points, as JSON, CSV (one value per line), CoverageJSON or NetCDF."""
    settings = services.settings
    pairs = select_series(store, variables, levels)

    def make() -> CachedBody:
        points = locate(
            parse_numbers(latitude, "latitude", settings.max_points),
            parse_numbers(longitude, "longitude", settings.max_points),
            store.nside,
            interpolation,
        )
        count = points.cell.size * len(pairs) * len(store.lead_hours)
        if count > settings.max_values:
            raise InputError(
                f"the request has {count} values, limit {settings.max_values}",
                field="variables",
                hint="request fewer points, variables or levels",
            )
        series = read_series(services.forecasts, store, points, pairs)
        label = label_of(services.folder, run, store)
        if format == "csv":
            return CachedBody(to_csv(store, points, series, label), "text/csv; charset=utf-8")
        header = run_header(store, run.model, str(format_utc(run.created_at)), label)
        if format == "covjson":
            body = to_coverage(header, store, points, series, label)
            return CachedBody(body, "application/prs.coverage+json")
        if format == "netcdf":
            name = ("Content-Disposition", f'attachment; filename="{store.run}-point.nc"')
            body = to_netcdf(header, store, points, series, label)
            return CachedBody(body, "application/x-netcdf", (name,))
        return CachedBody(to_json(header, store, points, series, label), "application/json")

    key = ("point", store.run, latitude, longitude, variables, levels, interpolation, format)
    nbytes = 4 * 12 * store.nside**2 * len(pairs) * len(store.lead_hours)
    return await services.respond(request, run, key, Work(make, nbytes))


@router.get(
    "/{run_id}/fields/{variable}",
    tags=["fields"],
    summary="One field",
    response_class=Response,
    responses={
        200: {
            "description": "All cells in nested order. f32: little-endian float32. u16: "
            "little-endian uint16, value = PEAR-Offset + PEAR-Scale · packed; 65535 is missing.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": inline(FieldForecast)},
            },
        },
        304: {"description": "Not modified: finished runs never change."},
        **problem_responses(404, 409, 410, 422, 503),
    },
)
async def get_field(
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
            description="Resolution (default: that of the run). Coarser: means of the cells. "
            "Finer, up to 64: bilinear, for display.",
        ),
    ] = None,
) -> Response:
    """Return one field of a run at one lead time."""
    selected, at_level = store.select(variable, level)
    valid_time = to_iso(store.valid_times[store.lead_index(lead_time)])
    units = store.units(selected.name)

    def make() -> CachedBody:
        field = services.forecasts.display_field(
            store.run, selected.name, at_level, lead_time, nside
        )
        resolution = nside_from_cells(field.size)
        label = label_of(services.folder, run, store)
        headers = {
            "PEAR-Run": run.id,
            "PEAR-Model": run.model,
            "PEAR-Variable": selected.name,
            "PEAR-Units": units,
            "PEAR-Init-Time": to_iso(store.init_time),
            "PEAR-Lead-Hours": str(lead_time),
            "PEAR-Valid-Time": valid_time,
            "PEAR-Grid": f"healpix nside={resolution} order=nested",
            **label.headers(),
        }
        if at_level is not None:
            headers["PEAR-Level"] = str(at_level)
        if format == "json":
            document = {
                **run_header(store, run.model, str(format_utc(run.created_at)), label),
                "grid": {"name": "HEALPix", "nside": resolution, "order": "nested"},
                "variable": selected.name,
                "long_name": label.name(selected.name),
                "level": at_level,
                "units": units,
                "lead_hours": lead_time,
                "valid_time": valid_time,
                "values": to_numbers(field),
            }
            return CachedBody(dump_json(document), "application/json", tuple(headers.items()))
        if format == "u16":
            packed, scale, offset = pack_u16(field)
            headers |= {"PEAR-Scale": repr(scale), "PEAR-Offset": repr(offset)}
            body = packed.astype("<u2").tobytes()
        else:
            body = field.astype("<f4").tobytes()
        return CachedBody(body, "application/octet-stream", tuple(headers.items()))

    key = ("field", store.run, selected.name, at_level, lead_time, format, nside)
    bytes_per_cell = 40 if format == "json" else 4
    nbytes = bytes_per_cell * 12 * max(store.nside, nside or 0) ** 2
    return await services.respond(request, run, key, Work(make, nbytes))
