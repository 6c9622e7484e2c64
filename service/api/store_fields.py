"""Fields of analyses, to lay beside forecasts of the same time."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response

from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.times import to_iso
from service.api.fields import Level, VariableName
from service.api.ogc_runs import make_store_target
from service.api.schemas import UtcTime, to_model_time
from service.dependencies import ServicesDep, Work
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody
from service.http.routing import GuardedRoute
from service.readers.resample import pack_u16

router = APIRouter(prefix="/v1/stores", tags=["stores"], route_class=GuardedRoute)


@router.get(
    "/analysis/{name}/fields/{variable}",
    summary="One field of an analysis",
    response_class=Response,
    responses={
        200: {
            "description": "All cells in nested order. f32: little-endian float32. u16: "
            "little-endian uint16, value = PEAR-Offset + PEAR-Scale · packed; 65535 is missing.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        },
        304: {"description": "Not modified."},
        **problem_responses(404, 409, 422, 503),
    },
)
async def get_analysis_field(
    request: Request,
    services: ServicesDep,
    name: Annotated[
        str, Path(max_length=140, description="Name of the analysis.", examples=["simulated"])
    ],
    variable: VariableName,
    time: Annotated[
        UtcTime, Query(description="Valid time, UTC.", examples=["2001-03-01T00:00:00Z"])
    ],
    level: Level = None,
    format: Annotated[  # noqa: A002
        Literal["f32", "u16"], Query(description="Encoding of the values.")
    ] = "f32",
    nside: Annotated[
        int | None,
        Query(
            ge=1,
            le=8192,
            description="Resolution (default: that of the analysis). Coarser: means of the cells. "
            "Finer, up to 64: bilinear, for display.",
        ),
    ] = None,
) -> Response:
    """Return one field of an analysis at one of its times."""
    store = services.series.open("analysis", name)
    selected, at_level = store.select(variable, level)
    valid_time = to_model_time(time)
    hours = (valid_time - store.init_time) / np.timedelta64(1, "h")
    if hours not in store.lead_hours:
        first, last = (to_iso(store.valid_times[end]) for end in (0, -1))
        raise InputError(
            f"analysis {name} does not have the time {to_iso(valid_time)}",
            field="time",
            hint=f"it has {store.valid_times.size} times from {first} to {last}",
        )
    target = make_store_target(services, store)

    def make() -> CachedBody:
        field = services.series.display_field(store.run, selected.name, at_level, int(hours), nside)
        headers = {
            "PEAR-Variable": selected.name,
            "PEAR-Units": store.units(selected.name),
            "PEAR-Valid-Time": to_iso(valid_time),
            "PEAR-Grid": f"healpix nside={nside_from_cells(field.size)} order=nested",
            **target.label.headers(),
        }
        if at_level is not None:
            headers["PEAR-Level"] = str(at_level)
        body = field.astype("<f4").tobytes()
        if format == "u16":
            packed, scale, offset = pack_u16(field)
            headers |= {"PEAR-Scale": repr(scale), "PEAR-Offset": repr(offset)}
            body = packed.astype("<u2").tobytes()
        return CachedBody(body, "application/octet-stream", tuple(headers.items()))

    key = ("analysis field", store.run, selected.name, at_level, int(hours), format, nside)
    nbytes = 4 * 12 * max(store.nside, nside or 0) ** 2
    work = Work(make, nbytes)
    return await services.respond(request, target.version, key, work, pinned=target.pinned)
