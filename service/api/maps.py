"""Maps as PNG and SVG, and runs as animated WebP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from pear.errors import InputError, did_you_mean
from pear.metrics.regions import BOXES
from pear.plotting.projections import View, extent
from pear.plotting.styles import Kind
from pear.store.schema import PROBABILITY
from pear.times import to_iso
from pear.typing import Float32
from pear.variables import BY_NAME, channel_label, wind_pairs, wind_partner
from pear.variables.own import DEFINITIONS
from pipelines.catalog import NotFoundError, Run
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
from service.http.errors import ProblemError
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody, heavy_response
from service.http.routing import GuardedRoute
from service.maps import MapOptions, MapTitle, check_limits, render_map
from service.maps.animate import MAX_FRAMES, MAX_WIDTH, Frame, render_animation
from service.maps.render import MapFormat
from service.readers.comparisons import FieldAt, read_analysis, read_other_run
from service.readers.export import parse_box
from service.readers.forecasts import ANALYSIS, ForecastStore
from service.readers.label import Label
from service.readers.nature import Nature, nature_of, spread_skill_of

router = APIRouter(prefix="/v1/forecasts", tags=["maps"], route_class=GuardedRoute)
_MAP_SECONDS: Final = 120.0
_ANIMATION_SECONDS: Final = 300.0
ProjectionName = Literal["robinson", "orthographic", "plate_carree", "north_polar", "south_polar"]


class Asked:
    """How a map is drawn: the parameters that all formats share."""

    def __init__(
        self,
        level: Level = None,
        statistic: Statistic = None,
        projection: Annotated[ProjectionName, Query()] = "robinson",
        longitude: Annotated[
            float | None,
            Query(
                ge=-180,
                le=360,
                description="Centre of the map, degrees east (default: 0, or that of the box).",
            ),
        ] = None,
        latitude: Annotated[
            float | None,
            Query(
                ge=-90,
                le=90,
                description="Centre of the globe, degrees north (default: 0, or that of the box).",
            ),
        ] = None,
        region: Annotated[
            str | None,
            Query(
                max_length=64,
                description="Part of the map by name: " + ", ".join(BOXES) + ".",
                examples=["europe"],
            ),
        ] = None,
        bbox: Annotated[
            str | None,
            Query(
                max_length=100,
                description="Part of the map: west,south,east,north in degrees.",
                examples=["-10,35,40,70"],
            ),
        ] = None,
        cmap: Annotated[str | None, Query(max_length=32, description="Colour map.")] = None,
        vmin: Annotated[
            float | None, Query(ge=-1e6, le=1e6, description="Lower limit of the colour bar.")
        ] = None,
        vmax: Annotated[
            float | None, Query(ge=-1e6, le=1e6, description="Upper limit of the colour bar.")
        ] = None,
        width: Annotated[int, Query(ge=200, le=2000, description="Width, pixels.")] = 1000,
        title: Annotated[
            str | None,
            Query(
                min_length=1,
                max_length=120,
                pattern=r"^[^\x00-\x1f\x7f]*$",
                description="In place of the name of the variable; model and times stay.",
            ),
        ] = None,
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
        wind: Annotated[
            bool, Query(description="Draw wind arrows at the level, or at 10 m.")
        ] = False,
    ) -> None:
        box = _parse_region(region, bbox)
        middle = (0.0, 0.0)
        if box is not None:
            west, south, east, north = box
            middle = ((west + (east if east > west else east + 360.0)) / 2, (south + north) / 2)
        # Whole degrees suffice, and keep the number of index images small.
        at = round(middle[0] if longitude is None else longitude) % 360
        self.view = View(projection, at, round(middle[1] if latitude is None else latitude), box)
        extent(self.view)  # refuses a box that is not on the map
        self.level, self.statistic, self.title, self.difference = (
            level,
            statistic,
            title,
            difference,
        )
        self.wind, self.isolines, self.colours = wind, isolines, cmap
        self.width, self.limits = width, (vmin, vmax)


AskedDep = Annotated[Asked, Depends()]


def _parse_region(region: str | None, bbox: str | None) -> tuple[float, float, float, float] | None:
    """Return west, south, east and north of a region by name or by its edges."""
    if region is not None and bbox is not None:
        raise InputError("the region is given twice", field="bbox", hint="leave one out")
    if region is not None:
        if region not in BOXES:
            raise InputError(
                f"unknown region {region!r}", field="region", hint=did_you_mean(region, BOXES)
            )
        south, north, west, east = BOXES[region]
        return west, south, east, north
    box = parse_box(bbox)
    return None if box is None else (box.west, box.south, box.east, box.north)


class _Maps:
    """Maps of one variable of a run."""

    def __init__(
        self,
        services: Services,
        run: Run,
        store: ForecastStore,
        variable: str,
        asked: Asked,
        format: MapFormat = "png",  # noqa: A002
    ) -> None:
        selected, self.level = store.select(variable, asked.level)
        self.services, self.run, self.store, self.asked = services, run, store, asked
        self.name, self.difference = selected.name, asked.difference
        kind, heading = _kind(store, asked.statistic, asked.difference)
        self.kind, self.heading = kind, asked.title or heading
        defined = store.dataset.attrs.get(DEFINITIONS)
        self.options = MapOptions(
            asked.view,
            asked.width,
            *asked.limits,
            asked.colours,
            kind,
            asked.isolines,
            format,
            defined,
        )
        check_limits(self.name, self.level, self.options)
        self.nature = nature_of(services.folder, run)
        self.model = _model_name(services, run)
        self.measured = spread_skill_of(services.folder, run)

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What the maps depend on, but for the lead time."""
        asked = (self.asked.difference, self.asked.wind, self.asked.title)
        return (self.store.run, self.name, self.level, self.options, *asked, self.model)

    def _note(self, lead_time: int) -> str:
        note = self.nature.describe_statistic(self.asked.statistic)
        if self.measured is None or self.kind not in ("spread", "probability"):
            return note
        ratio = self.measured.at(channel_label((self.name, self.level)), lead_time)
        return note + ("" if ratio is None else f", spread/skill {ratio:.2f}")

    def frame(self, lead_time: int) -> Frame:
        """Read the fields of a map and write its title."""
        services, store = self.services, self.store
        valid_time = store.valid_times[store.lead_index(lead_time)]

        def read(name: str) -> Float32:
            values = services.forecasts.field(store.run, name, self.level, lead_time)
            if self.difference is None:
                return values
            wanted = FieldAt(name, self.level, valid_time, store.nside)
            return values - _read_reference(services, self.run, self.difference, wanted)

        field, partner = read(self.name), None
        if store.has_vectors and (other := wind_partner(self.name)) in store.names:
            partner = read(other)
        title = MapTitle(
            _name(self.model, self.difference, self.nature),
            store.init_time,
            lead_time,
            self.heading,
            self._note(lead_time),
        )
        arrows = _read_wind(services, store, self.level, lead_time) if self.asked.wind else None
        return Frame(field, title, arrows, partner)

    def headers(self) -> dict[str, str]:
        """Return what every answer says about its run."""
        return {
            "PEAR-Run": self.run.id,
            "PEAR-Model": self.run.model,
            "PEAR-Init-Time": to_iso(self.store.init_time),
            **Label.of(self.nature, self.store).headers(),
        }


def _maps_as(format: MapFormat) -> Callable[..., Awaitable[_Maps]]:  # noqa: A002
    """Return the dependency that reads what all formats are asked for."""

    async def read(
        services: ServicesDep,
        run: RunDep,
        store: StoreDep,
        variable: VariableName,
        asked: AskedDep,
    ) -> _Maps:
        return _Maps(services, run, store, variable, asked, format)

    return read


async def _draw(request: Request, maps: _Maps, lead_time: int, media_type: str) -> Response:
    """Draw one map."""
    valid_time = maps.store.valid_times[maps.store.lead_index(lead_time)]

    def draw() -> CachedBody:
        frame = maps.frame(lead_time)
        body = maps.services.workers.call(
            _MAP_SECONDS,
            render_map,
            frame.values,
            maps.name,
            frame.title,
            level=maps.level,
            options=maps.options,
            wind=frame.wind,
            partner=frame.partner,
        )
        when = {"PEAR-Lead-Hours": str(lead_time), "PEAR-Valid-Time": to_iso(valid_time)}
        return CachedBody(body, media_type, tuple((maps.headers() | when).items()))

    return await heavy_response(
        request,
        maps.services.response_cache,
        maps.run,
        ("map", *maps.key, lead_time),
        lambda: maps.services.heavy.run(draw),
    )


def _answers(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": description,
            "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "Not modified: finished runs never change."},
        **problem_responses(404, 409, 410, 422, 503),
    }


@router.get(
    "/{run_id}/maps/{variable}.png",
    summary="A map",
    response_class=Response,
    responses=_answers(
        "image/png", "A map with coastlines, colour bar, init, valid and lead time."
    ),
)
async def get_map(
    request: Request, maps: Annotated[_Maps, Depends(_maps_as("png"))], lead_time: LeadTime
) -> Response:
    """Draw one field of a run at one lead time."""
    return await _draw(request, maps, lead_time, "image/png")


@router.get(
    "/{run_id}/maps/{variable}.svg",
    summary="A map as SVG",
    response_class=Response,
    responses=_answers(
        "image/svg+xml", "The map with its lines and text as curves, which print at any size."
    ),
)
async def get_map_as_svg(
    request: Request, maps: Annotated[_Maps, Depends(_maps_as("svg"))], lead_time: LeadTime
) -> Response:
    """Draw one field of a run at one lead time as SVG."""
    return await _draw(request, maps, lead_time, "image/svg+xml")


@router.get(
    "/{run_id}/maps/{variable}.webp",
    summary="A run as an animation",
    response_class=Response,
    responses=_answers("image/webp", "The maps of all lead times, one after another."),
)
async def get_animation(
    request: Request,
    maps: Annotated[_Maps, Depends(_maps_as("png"))],
    every: Annotated[
        int | None,
        Query(
            ge=1,
            le=1000,
            description="Every how many lead times (default: 1, more if there are more than "
            f"{MAX_FRAMES}).",
        ),
    ] = None,
    milliseconds: Annotated[
        int, Query(ge=40, le=5000, description="Time of each map, milliseconds.")
    ] = 400,
) -> Response:
    """Draw one field of a run at its lead times as an animated WebP."""
    services, store, width = maps.services, maps.store, maps.options.width
    if width > MAX_WIDTH:
        raise InputError(
            f"width {width} of an animation is above {MAX_WIDTH} pixels", field="width"
        )
    step = every or -(-len(store.lead_hours) // MAX_FRAMES)
    leads = store.lead_hours[::step]
    if len(leads) > MAX_FRAMES:
        raise InputError(
            f"{len(leads)} maps in an animation, limit {MAX_FRAMES}",
            field="every",
            hint=f"use {-(-len(store.lead_hours) // MAX_FRAMES)} or more",
        )

    def draw() -> CachedBody:
        body = services.workers.call(
            _ANIMATION_SECONDS,
            render_animation,
            [maps.frame(lead) for lead in leads],
            maps.name,
            level=maps.level,
            options=maps.options,
            milliseconds=milliseconds,
        )
        return CachedBody(body, "image/webp", tuple(maps.headers().items()))

    return await heavy_response(
        request,
        services.response_cache,
        maps.run,
        ("animation", *maps.key, step, milliseconds),
        lambda: services.heavy.run(draw),
    )


def _kind(
    store: ForecastStore, statistic: str | None, difference: str | None
) -> tuple[Kind, str | None]:
    """Return the kind of map, and its heading if the default one is not exact.

    Returns
    -------
    tuple
        Kind and heading.

    Raises
    ------
    InputError
        If something is to be subtracted from a spread or a probability.
    """
    probability = store.dataset.attrs.get(PROBABILITY)
    if difference is not None and (probability is not None or statistic == "spread"):
        what = "a spread" if probability is None else "a probability"
        raise InputError(
            f"{what} minus the field of an analysis or of another run is neither",
            field="difference",
            hint="leave out difference, or take the mean, a quantile or a member",
        )
    if difference is not None:
        return "difference", None
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
    try:
        found = get_run(services, difference)
    except NotFoundError as error:
        hint = f"name a finished run, or {ANALYSIS}; GET /v1/forecasts lists the runs"
        raise NotFoundError(error.message, field="difference", hint=hint) from error
    if found.id == run.id:
        raise InputError(
            f"difference {difference!r} is the run {run.id} itself",
            field="difference",
            hint=f"name another run, or {ANALYSIS}",
        )
    try:
        other = get_store(services, found)
    except ProblemError as error:
        if error.field == "run_id":  # which is that of the path
            error.field = "difference"
        raise
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
