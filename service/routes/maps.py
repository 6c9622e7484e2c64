"""Maps as PNG."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from pear.calendar import iso
from service.answers import immutable_answer
from service.caching import Answer
from service.dependencies import RunDep, ServicesDep, StoreDep
from service.errors import documented
from service.maps import MapOptions, MapTitle, render_map
from service.maps.projections import View
from service.routes.fields import LeadTime, Level, VariableName

router = APIRouter(prefix="/v1/forecasts", tags=["maps"])
ProjectionName = Literal["robinson", "orthographic", "plate_carree", "north_polar", "south_polar"]


@router.get(
    "/{run_id}/maps/{variable}.png",
    summary="A map",
    response_class=Response,
    responses={
        200: {
            "description": "A map with coastlines, colour bar, and init, valid and lead time.",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "You have it: finished runs never change."},
        **documented(404, 409, 410, 422, 503),
    },
)
def get_map(
    request: Request,
    found: ServicesDep,
    run: RunDep,
    store: StoreDep,
    variable: VariableName,
    lead_time: LeadTime,
    level: Level = None,
    projection: Annotated[ProjectionName, Query()] = "robinson",
    longitude: Annotated[
        float, Query(ge=-180, le=360, description="Centre of the map, degrees east.")
    ] = 0.0,
    latitude: Annotated[
        float, Query(ge=-90, le=90, description="Centre of the globe, degrees north.")
    ] = 0.0,
    cmap: Annotated[str | None, Query(max_length=32, description="Colour map.")] = None,
    vmin: Annotated[
        float | None, Query(ge=-1e6, le=1e6, description="Low end of the colour bar.")
    ] = None,
    vmax: Annotated[
        float | None, Query(ge=-1e6, le=1e6, description="High end of the colour bar.")
    ] = None,
    width: Annotated[int, Query(ge=200, le=2000, description="Pixels.")] = 1000,
) -> Response:
    """Draw one field of a run at one lead time."""
    chosen, at_level = store.select(variable, level)
    index = store.lead_index(lead_time)
    # Whole degrees are enough, and keep the number of index images small.
    view = View(projection, round(longitude) % 360, round(latitude))
    options = MapOptions(view, width, vmin, vmax, cmap)

    def make() -> Answer:
        title = MapTitle(f"PEAR {run.model}", store.init_time, lead_time)
        field = found.reader.field(run.id, chosen.name, at_level, lead_time)
        png = render_map(field, chosen.name, title, level=at_level, options=options)
        headers = {
            "PEAR-Run": run.id, "PEAR-Model": run.model, "PEAR-Init-Time": iso(store.init_time),
            "PEAR-Lead-Hours": str(lead_time), "PEAR-Valid-Time": iso(store.valid_times[index]),
        }  # fmt: skip
        return Answer(png, "image/png", tuple(headers.items()))

    key = ("map", chosen.name, at_level, lead_time, options)
    return immutable_answer(request, found.answers, run, key, make)
