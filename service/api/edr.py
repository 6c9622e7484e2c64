"""OGC API - Environmental Data Retrieval 1.1: the queries."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request, Response

from pear.errors import InputError
from service.api.ogc_runs import TargetDep, add_to_both, make_router
from service.api.ogc_targets import MOST_FIELDS, StoreTarget, Target
from service.dependencies import Services, ServicesDep, Work
from service.http.response_cache import CachedBody
from service.readers.ogc.coverages import (
    Coverages,
    count_values,
    read_cells,
    read_grid,
    read_line,
    read_points,
)
from service.readers.ogc.formats import MEDIA_TYPES, Format, serialise
from service.readers.ogc.places import (
    WithinUnits,
    cells_in_area,
    cells_in_circle,
    parse_cube,
    parse_line,
    parse_points,
)
from service.readers.ogc.selection import Selection, check_crs, select
from service.readers.points import Interpolation

router = make_router("OGC API - EDR")
QUERIES: Final = ("position", "radius", "area", "cube", "trajectory")
_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "CoverageJSON, GeoJSON or NetCDF.",
        "content": {
            "application/prs.coverage+json": {"schema": {"type": "object"}},
            "application/geo+json": {"schema": {"type": "object"}},
            "application/x-netcdf": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
Interpolated = Annotated[
    Interpolation,
    Query(description="Value of the cell that contains the point, or bilinear between centres."),
]


class Asked:
    """Parameters that every query takes."""

    def __init__(
        self,
        parameter_name: Annotated[
            str | None,
            Query(
                alias="parameter-name",
                max_length=1000,
                description="Comma-separated names or aliases without levels (default: all that "
                "the run holds).",
                examples=["2m_temperature,geopotential"],
            ),
        ] = None,
        parameter_names: Annotated[
            str | None,
            Query(max_length=1000, description="The same, as owslib spells it.", deprecated=True),
        ] = None,
        datetime: Annotated[
            str | None,
            Query(
                max_length=1000,
                description="Valid time, list of times, or interval `start/end`, `start/..`, "
                "`../end`, UTC (default: all).",
                examples=["2006-11-21T00:00:00Z/.."],
            ),
        ] = None,
        z: Annotated[
            str | None,
            Query(
                max_length=200,
                description="Levels in hPa: `500`, `850,500`, `100/500` (between), `R3/300/100` "
                "(number, first, step) (default: all). Parameters without levels that are named "
                "beside others come whole, and `pear:levels` says so; alone they are refused.",
                examples=["500"],
            ),
        ] = None,
        crs: Annotated[str | None, Query(max_length=100, description="`CRS84` alone.")] = None,
        f: Annotated[Format, Query(description="Format of the answer.")] = "CoverageJSON",
    ) -> None:
        if parameter_name is not None and parameter_names is not None:
            raise InputError("parameters are given twice", field="parameter-name")
        self.parameters = parameter_names if parameter_name is None else parameter_name
        self.datetime, self.z, self.format = datetime, z, f
        self.key = (self.parameters, datetime, z, f)
        check_crs(crs)

    def select(self, target: Target, between: tuple[float, float] | None = None) -> Selection:
        """Return what is selected of a run or store."""
        chosen = select(target.store, self.parameters, self.z, self.datetime, between)
        fields = chosen.fields * len(chosen.lead_hours)
        if isinstance(target, StoreTarget) and fields > MOST_FIELDS:
            raise InputError(
                f"the answer is read from {fields} fields of {target.series.what}, "
                f"limit {MOST_FIELDS}",
                field="datetime",
                hint="ask for fewer times, parameters or levels, or open its Zarr store",
            )
        return chosen


AskedDep = Annotated[Asked, Depends()]


@add_to_both(router, "/position", "Values at points", _ANSWER)
async def edr_position(
    request: Request,
    services: ServicesDep,
    target: TargetDep,
    asked: AskedDep,
    coords: Annotated[
        str,
        Query(
            max_length=4000,
            description="POINT or MULTIPOINT, longitude first.",
            examples=["POINT(18.1 59.3)"],
        ),
    ],
    interpolation: Interpolated = "nearest",
) -> Response:
    """Return time series at points; a wind is that of one vector at each point."""
    chosen = asked.select(target)

    def read() -> Coverages:
        place = parse_points(coords, services.settings.max_points)
        _require_few(services, chosen, place[0].size)
        return read_points(target.reader, target.store, chosen, place, interpolation)

    key = ("position", coords, interpolation)
    return await _respond(request, services, target, asked, chosen, key, read)


@add_to_both(router, "/radius", "Values around a point", _ANSWER)
async def edr_radius(
    request: Request,
    services: ServicesDep,
    target: TargetDep,
    asked: AskedDep,
    coords: Annotated[
        str, Query(max_length=200, description="POINT.", examples=["POINT(18.1 59.3)"])
    ],
    within: Annotated[
        str, Query(max_length=20, description="Distance along great circles.", examples=["500"])
    ],
    within_units: Annotated[
        WithinUnits, Query(alias="within-units", description="Unit of the distance.")
    ] = "km",
) -> Response:
    """Return the values of all cells whose centres lie within a distance."""
    chosen = asked.select(target)

    def read() -> Coverages:
        cells = cells_in_circle(coords, within, within_units, target.store.nside)
        _require_few(services, chosen, cells.size)
        return read_cells(target.reader, target.store, chosen, cells)

    key = ("radius", coords, within, within_units)
    return await _respond(request, services, target, asked, chosen, key, read)


@add_to_both(router, "/area", "Values of the cells of an area", _ANSWER)
async def edr_area(
    request: Request,
    services: ServicesDep,
    target: TargetDep,
    asked: AskedDep,
    coords: Annotated[
        str,
        Query(
            max_length=4000,
            description="POLYGON or MULTIPOLYGON, longitude first; across the date line "
            "longitudes go on beyond 180.",
            examples=["POLYGON((5 55,25 55,25 65,5 65,5 55))"],
        ),
    ],
) -> Response:
    """Return the values of all cells whose centres lie in an area or on its edge."""
    chosen = asked.select(target)

    def read() -> Coverages:
        cells = cells_in_area(coords, target.store.nside)
        _require_few(services, chosen, cells.size)
        return read_cells(target.reader, target.store, chosen, cells)

    return await _respond(request, services, target, asked, chosen, ("area", coords), read)


@add_to_both(router, "/cube", "Values on a grid", _ANSWER)
async def edr_cube(
    request: Request,
    services: ServicesDep,
    target: TargetDep,
    asked: AskedDep,
    bbox: Annotated[
        str,
        Query(
            max_length=200,
            description="west,south,east,north in degrees, or six numbers with levels in hPa "
            "after each corner; west above east goes across the date line.",
            examples=["-10,35,30,70"],
        ),
    ],
) -> Response:
    """Return values on a regular grid about as fine as the cells, interpolated between centres."""
    grid, between = parse_cube(bbox, target.store.nside)
    chosen = asked.select(target, between)

    def read() -> Coverages:
        _require_few(services, chosen, grid.latitude.size * grid.longitude.size)
        return read_grid(target.reader, target.store, chosen, grid)

    return await _respond(request, services, target, asked, chosen, ("cube", bbox), read)


@add_to_both(router, "/trajectory", "Values along a path", _ANSWER)
async def edr_trajectory(
    request: Request,
    services: ServicesDep,
    target: TargetDep,
    asked: AskedDep,
    coords: Annotated[
        str,
        Query(
            max_length=4000,
            description="LINESTRING, or LINESTRINGM with seconds since 1970 (whole hours) as M; "
            "longitude first.",
            examples=["LINESTRING(18.1 59.3,10.7 59.9,4.9 52.4)"],
        ),
    ],
    interpolation: Interpolated = "bilinear",
) -> Response:
    """Return values at the vertices of a path, between steps of the model linear in time."""
    line = parse_line(coords)
    if line.times is not None and asked.datetime is not None:
        raise InputError("coords has times, and so has datetime", field="datetime")
    chosen = asked.select(target)

    def read() -> Coverages:
        times = len(chosen.lead_hours) if line.times is None else line.latitude.size
        _require_few(services, chosen, line.latitude.size, times)
        return read_line(target.reader, target.store, chosen, line, interpolation)

    key = ("trajectory", coords, interpolation)
    return await _respond(request, services, target, asked, chosen, key, read)


def _require_few(
    services: Services, chosen: Selection, places: int, times: int | None = None
) -> None:
    count = count_values(chosen, places)
    if times is not None:
        count = chosen.fields * places * times
    most = services.settings.max_values
    if count > most:
        raise InputError(
            f"the answer has {count} values, limit {most}",
            field="parameter-name",
            hint="ask for fewer parameters, times or levels, or a smaller area",
        )


async def _respond(
    request: Request,
    services: Services,
    target: Target,
    asked: Asked,
    chosen: Selection,
    key: tuple[Hashable, ...],
    read: Callable[[], Coverages],
) -> Response:
    def make() -> CachedBody:
        body = serialise(read(), target.store, target.header(), target.label, asked.format)
        return CachedBody(body, MEDIA_TYPES[asked.format])

    nbytes = 4 * 12 * target.store.nside**2 * chosen.fields * len(chosen.lead_hours)
    return await services.respond(
        request,
        target.version,
        ("edr", target.store.run, *key, *asked.key),
        Work(make, nbytes),
        pinned=target.pinned,
    )
