"""Maps as PNG."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from pear.store.schema import PROBABILITY
from pear.times import to_iso
from pipelines.catalog import Run
from service.api.fields import LeadTime, Level, VariableName
from service.dependencies import (
    RunDep,
    Services,
    ServicesDep,
    Statistic,
    StoreDep,
    finished_store,
    run_of,
)
from service.http.caching import CachedBody
from service.http.problems import documented
from service.http.response_cache import immutable_answer
from service.maps import MapOptions, MapTitle, render_map
from service.maps.projections import View
from service.maps.styles import Kind
from service.readers.forecasts import (
    ANALYSIS,
    Field,
    ForecastStore,
    other_forecast,
    verifying_analysis,
)

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
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    variable: VariableName,
    lead_time: LeadTime,
    level: Level = None,
    statistic: Statistic = None,
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
    difference: Annotated[
        str | None,
        Query(max_length=128, description="Minus `analysis`, or another run for the same time."),
    ] = None,
    isolines: Annotated[bool, Query(description="For pressure and geopotential.")] = True,
    wind: Annotated[
        bool, Query(description="Arrows of the wind: at that level, or at 10 m.")
    ] = False,
) -> Response:
    """Draw one field of a run at one lead time."""
    chosen, at_level = store.select(variable, level)
    index = store.lead_index(lead_time)
    # Whole degrees are enough, and keep the number of index images small.
    view = View(projection, round(longitude) % 360, round(latitude))
    kind, heading = _kind(store, statistic, difference)
    options = MapOptions(view, width, vmin, vmax, cmap, kind, isolines)

    def make() -> CachedBody:
        field = services.forecasts.field(store.run, chosen.name, at_level, lead_time)
        if difference is not None:
            field = field - _reference(
                services, run, store, difference, chosen.name, at_level, lead_time
            )
        title = MapTitle(_title(run, statistic, difference), store.init_time, lead_time, heading)
        arrows = _wind(services, store, at_level, lead_time) if wind else None
        png = render_map(field, chosen.name, title, level=at_level, options=options, wind=arrows)
        headers = {
            "PEAR-Run": run.id,
            "PEAR-Model": run.model,
            "PEAR-Init-Time": to_iso(store.init_time),
            "PEAR-Lead-Hours": str(lead_time),
            "PEAR-Valid-Time": to_iso(store.valid_times[index]),
        }
        return CachedBody(png, "image/png", tuple(headers.items()))

    key = ("map", store.run, chosen.name, at_level, lead_time, options, difference, wind)
    return immutable_answer(request, services.body_cache, run, key, make)


def _kind(
    store: ForecastStore, statistic: str | None, difference: str | None
) -> tuple[Kind, str | None]:
    """How the field is shown, and its heading if its name does not say it all."""
    if difference is not None:
        return "difference", None
    likely = store.dataset.attrs.get(PROBABILITY)
    if likely is not None:
        return "probability", f"Probability of {likely}"
    return ("spread" if statistic == "spread" else "field"), None


def _title(run: Run, statistic: str | None, difference: str | None) -> str:
    name = f"PEAR {run.model}" + (f" {statistic}" if statistic else "")
    if difference is None:
        return name
    return f"{name} minus {'analysis' if difference == ANALYSIS else difference}"


def _reference(
    services: Services,
    run: Run,
    store: ForecastStore,
    difference: str,
    name: str,
    level: int | None,
    lead_hours: int,
) -> Field:
    valid = store.valid_times[store.lead_index(lead_hours)]
    if difference == ANALYSIS:
        return verifying_analysis(services.folder, run, name, level, valid, store.nside)
    other = finished_store(services, run_of(services, difference))
    return other_forecast(services.forecasts, other, name, level, valid, store.nside)


def _wind(
    services: Services, store: ForecastStore, level: int | None, lead_hours: int
) -> tuple[Field, Field]:
    """Both components of the wind at a level, or at 10 m."""
    names = ["u_component_of_wind", "v_component_of_wind"]
    if level is None:
        names = [f"10m_{name}" for name in names]
    u, v = (
        services.forecasts.field(store.run, name, store.select(name, level)[1], lead_hours)
        for name in names
    )
    return u, v
