"""Whole fields on the nested HEALPix grid."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from pear.sphere.healpix import nside_from_cells
from pear.times import to_iso
from service.api.schemas import FieldForecast, inline, wall_clock
from service.dependencies import RunDep, ServicesDep, StoreDep
from service.http.caching import Answer
from service.http.problems import documented
from service.http.response_cache import immutable_answer
from service.readers.forecasts import at_nside, pack_u16
from service.readers.serialisers import about, numbers

router = APIRouter(prefix="/v1/forecasts", tags=["fields"])

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
    found: ServicesDep,
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

    def make() -> Answer:
        field = at_nside(found.reader.field(store.run, chosen.name, at_level, lead_time), nside)
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
            return Answer(body, "application/json", tuple(headers.items()))
        if format == "u16":
            packed, scale, offset = pack_u16(field)
            headers |= {"PEAR-Scale": repr(scale), "PEAR-Offset": repr(offset)}
            body = packed.astype("<u2").tobytes()
        else:
            body = field.astype("<f4").tobytes()
        return Answer(body, "application/octet-stream", tuple(headers.items()))

    key = ("field", store.run, chosen.name, at_level, lead_time, format, nside)
    return immutable_answer(request, found.answers, run, key, make)
