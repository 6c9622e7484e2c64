"""Maps as PNG."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from pear.errors import InputError
from pear.plotting.projections import View
from pear.plotting.styles import Kind
from pear.store.schema import PROBABILITY
from pear.times import to_iso
from pear.typing import Float32
from pear.variables import BY_NAME, channel_label, wind_pairs, wind_partner
from pear.variables.own import DEFINITIONS
from pipelines.catalog import Run
from service.api.fields import LeadTime, Level, VariableName
from service.dependencies import (
    RunDep,
    Services,
    ServicesDep,
    Statistic,
    StoreDep,
    get_run,
    get_store,
)
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody, heavy_response
from service.http.routing import GuardedRoute
from service.maps import MapOptions, MapTitle, check_limits, render_map
from service.readers.forecasts import (
    ANALYSIS,
    FieldAt,
    ForecastStore,
    read_analysis,
    read_other_run,
)
from service.readers.label import Label
from service.readers.nature import Nature, nature_of, spread_skill_of

router = APIRouter(prefix="/v1/forecasts", tags=["maps"], route_class=GuardedRoute)
_MAP_SECONDS: Final = 120.0
ProjectionName = Literal["robinson", "orthographic", "plate_carree", "north_polar", "south_polar"]


@router.get(
    "/{run_id}/maps/{variable}.png",
    summary="A map",
    response_class=Response,
    responses={
        200: {
            "description": "A map with coastlines, colour bar, init, valid and lead time.",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "Not modified: finished runs never change."},
        **problem_responses(404, 409, 410, 422, 503),
    },
)
async def get_map(
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
        float | None, Query(ge=-1e6, le=1e6, description="Lower limit of the colour bar.")
    ] = None,
    vmax: Annotated[
        float | None, Query(ge=-1e6, le=1e6, description="Upper limit of the colour bar.")
    ] = None,
    width: Annotated[int, Query(ge=200, le=2000, description="Width, pixels.")] = 1000,
    difference: Annotated[
        str | None,
        Query(
            max_length=128,
            description="Subtract `analysis`, or the run with this id, at the same valid time.",
        ),
    ] = None,
    *,
    isolines: Annotated[
        bool, Query(description="Draw isolines of pressure and geopotential.")
    ] = True,
    wind: Annotated[bool, Query(description="Draw wind arrows at the level, or at 10 m.")] = False,
) -> Response:
    """Draw one field of a run at one lead time."""
    selected, at_level = store.select(variable, level)
    valid_time = store.valid_times[store.lead_index(lead_time)]
    # Whole degrees suffice, and keep the number of index images small.
    view = View(projection, round(longitude) % 360, round(latitude))
    kind, heading = _kind(store, statistic, difference)
    defined = store.dataset.attrs.get(DEFINITIONS)
    options = MapOptions(view, width, vmin, vmax, cmap, kind, isolines, defined)
    check_limits(selected.name, at_level, options)

    nature = nature_of(services.folder, run)
    note = nature.describe_statistic(statistic)
    measured = spread_skill_of(services.folder, run)
    if measured is not None and kind in ("spread", "probability"):
        ratio = measured.at(channel_label((selected.name, at_level)), lead_time)
        note += "" if ratio is None else f", spread/skill {ratio:.2f}"

    model = _model_name(services, run)

    def draw() -> CachedBody:
        def read(name: str) -> Float32:
            values = services.forecasts.field(store.run, name, at_level, lead_time)
            if difference is None:
                return values
            wanted = FieldAt(name, at_level, valid_time, store.nside)
            return values - _read_reference(services, run, difference, wanted)

        field, partner = read(selected.name), None
        if store.has_vectors and (other := wind_partner(selected.name)) in store.names:
            partner = read(other)
        title = MapTitle(
            _name(model, difference, nature), store.init_time, lead_time, heading, note
        )
        arrows = _read_wind(services, store, at_level, lead_time) if wind else None
        png = services.workers.call(
            _MAP_SECONDS,
            render_map,
            field,
            selected.name,
            title,
            level=at_level,
            options=options,
            wind=arrows,
            partner=partner,
        )
        headers = {
            "PEAR-Run": run.id,
            "PEAR-Model": run.model,
            "PEAR-Init-Time": to_iso(store.init_time),
            "PEAR-Lead-Hours": str(lead_time),
            "PEAR-Valid-Time": to_iso(valid_time),
            **Label.of(nature, store).headers(),
        }
        return CachedBody(png, "image/png", tuple(headers.items()))

    key = ("map", store.run, selected.name, at_level, lead_time, options, difference, wind, model)
    return await heavy_response(
        request, services.response_cache, run, key, lambda: services.heavy.run(draw)
    )


def _kind(
    store: ForecastStore, statistic: str | None, difference: str | None
) -> tuple[Kind, str | None]:
    """Return the kind of map, and its heading if the default one is not exact."""
    if difference is not None:
        return "difference", None
    probability = store.dataset.attrs.get(PROBABILITY)
    if probability is not None:
        return "probability", f"Probability of {probability}"
    return ("spread" if statistic == "spread" else "field"), None


def _model_name(services: Services, run: Run) -> str:
    """Return the name of the model of a run, or its id where the model was removed."""
    try:
        return services.catalog.models.get(run.model).name
    except InputError:
        return run.model


def _name(model: str, difference: str | None, nature: Nature) -> str:
    name = f"PEAR {model}"
    name = name if difference is None else f"{name} minus {difference}"
    changed = "counterfactual" if nature.counterfactual else ""
    return ", ".join(part for part in (name, changed, nature.atmosphere, nature.climate) if part)


def _read_reference(services: Services, run: Run, difference: str, wanted: FieldAt) -> Float32:
    if difference == ANALYSIS:
        return read_analysis(services.folder, run, wanted)
    found = get_run(services, difference)
    if found.id == run.id:
        raise InputError(
            f"difference {difference!r} is the run {run.id} itself",
            field="difference",
            hint=f"name another run, or {ANALYSIS}",
        )
    other = get_store(services, found)
    return read_other_run(services.forecasts, other, wanted)


def _read_wind(
    services: Services, store: ForecastStore, level: int | None, lead_hours: int
) -> tuple[Float32, Float32]:
    """Return both wind components at a level, or at 10 m."""
    kind = "surface" if level is None else "upper"
    pairs = [pair for pair in wind_pairs() if BY_NAME[pair[0]].kind == kind]
    pair = next((pair for pair in pairs if pair[0] in store.names), pairs[0])
    store.require_wind("wind arrows", pair)
    u, v = (
        services.forecasts.field(store.run, name, store.select(name, level)[1], lead_hours)
        for name in pair
    )
    return u, v
