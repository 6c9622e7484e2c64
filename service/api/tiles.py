"""Map tiles of runs, numbered as OpenStreetMap's: colours, or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from pear.errors import InputError
from pear.plotting.styles import Kind
from pear.store.schema import PROBABILITY
from pear.times import to_iso
from service.api.fields import LeadTime, Level, VariableName
from service.api.ogc_runs import Links
from service.api.ogc_targets import describe_nature, run_headers
from service.dependencies import RunDep, Services, ServicesDep, Statistic, StoreDep
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody, Versioned, heavy_response
from service.http.routing import GuardedRoute
from service.maps.tiles import Colours, Encoding, draw_colours, draw_values
from service.readers.forecasts import ForecastReader, ForecastStore
from service.readers.label import label_of
from service.readers.nature import nature_of
from service.readers.ogc.coverages import row_of
from service.readers.ogc.pixels import read_pixels
from service.readers.ogc.selection import Layer
from service.readers.ogc.tile_grids import DEEPEST, TileMatrixSet, tile_raster
from service.readers.points import Interpolation

router = APIRouter(prefix="/v1/forecasts", tags=["maps"], route_class=GuardedRoute)
Tile = tuple[TileMatrixSet, int, int, int]
"""Tile matrix set, zoom, row and column."""
Shown = Literal["colour", "value"]
Number = Annotated[int, Path(ge=0, le=2**DEEPEST - 1, examples=[0])]
Zoom = Annotated[int, Path(ge=0, le=DEEPEST, description="Zoom level.", examples=[0])]
Smooth = Annotated[
    Interpolation, Query(description="Bilinear between the centres of cells, or the cells.")
]
PNG: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "256 by 256 pixels. Values: PEAR-Offset + PEAR-Scale · "
        "(65536 · red + 256 · green + blue), in PEAR-Units.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    }
}
OK: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"schema": {"type": "object"}}}}
}
_UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "Not modified: finished runs never change."}
}


@dataclass(frozen=True)
class Picture:
    """One field that is drawn.

    Attributes
    ----------
    reader, store, layer
        The field.
    version
        What the drawing is kept by.
    headers
        HTTP headers that say what it is.
    """

    reader: ForecastReader
    store: ForecastStore
    layer: Layer
    version: Versioned
    headers: dict[str, str]


def kind_of(store: ForecastStore) -> Kind:
    """Return what a store holds: fields, their spread, or probabilities."""
    if PROBABILITY in store.dataset.attrs:
        return "probability"
    return "spread" if store.run.endswith(".spread") else "field"


@router.get(
    "/{run_id}/tiles/{variable}/{z}/{x}/{y}.png",
    summary="A map tile",
    response_class=Response,
    responses={**PNG, **_UNCHANGED, **problem_responses(404, 409, 410, 422, 503)},
)
async def get_tile(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    variable: VariableName,
    z: Zoom,
    x: Number,
    y: Number,
    lead_time: LeadTime,
    level: Level = None,
    statistic: Statistic = None,
    encoding: Annotated[
        Shown, Query(description="Colours, or 24-bit values for a client to colour.")
    ] = "colour",
    interpolation: Smooth = "bilinear",
) -> Response:
    """Draw one tile of a field, numbered as OpenStreetMap's (WebMercatorQuad, XYZ)."""
    del statistic  # the store is of it
    selected, at_level = store.select(variable, level)
    store.lead_index(lead_time)
    layer = Layer(selected.name, at_level, lead_time)
    tile: Tile = ("WebMercatorQuad", z, y, x)
    pinned = request.path_params["run_id"] != "latest"
    label = label_of(services.folder, run, store)
    headers = run_headers(run, store, label, layer)
    picture = Picture(services.forecasts, store, layer, run, headers)
    shown = encoding, interpolation
    return await draw_tile(request, services, picture, tile, shown, pinned=pinned)


@router.get(
    "/{run_id}/tiles/{variable}.json",
    summary="Description of map tiles",
    responses={**OK, **problem_responses(404, 409, 410, 422, 503)},
)
def get_tile_description(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    variable: VariableName,
    lead_time: LeadTime,
    level: Level = None,
    statistic: Statistic = None,
    encoding: Annotated[Shown, Query(description="Colours, or 24-bit values.")] = "colour",
) -> JSONResponse:
    """Return TileJSON 3.0: address, colours and limits, or the encoding, as MapLibre reads it."""
    selected, at_level = store.select(variable, level)
    valid = to_iso(store.valid_times[store.lead_index(lead_time)])
    query = f"lead_time={lead_time}&encoding={encoding}"
    query += "" if at_level is None else f"&level={at_level}"
    query += "" if statistic is None else f"&statistic={statistic}"
    path = f"/v1/forecasts/{run.id}/tiles/{selected.name}/{{z}}/{{x}}/{{y}}.png?{query}"
    nature, row = nature_of(services.folder, run), row_of(selected.name)
    at = "" if at_level is None else f" at {at_level} hPa"
    document: dict[str, Any] = {
        "tilejson": "3.0.0",
        "name": f"{row.long_name}{at}, {valid}",
        "description": describe_nature(nature),
        "attribution": attribution_of(run.model, nature.words),
        "scheme": "xyz",
        "tiles": [Links(request).address(path)],
        "minzoom": 0,
        "maxzoom": DEEPEST,
        "bounds": [-180, -85.0511287798066, 180, 85.0511287798066],
    }
    layer = Layer(selected.name, at_level, lead_time)
    if encoding == "colour":
        colours = field_colours(services.forecasts, store, layer)
        document["legend"] = {
            "colours": colours.name,
            "limits": [colours.low, colours.high],
            "units": colours.units,
        }
    else:
        code = Encoding.of(row, kind_of(store))
        document |= {
            "encoding": "custom",
            "redFactor": 65536 * code.scale,
            "greenFactor": 256 * code.scale,
            "blueFactor": code.scale,
            "baseShift": -code.offset,
            "units": store.units(selected.name),
        }
    return JSONResponse(document, headers={"Cache-Control": "no-cache"})


def attribution_of(model: str, words: tuple[str, ...]) -> str:
    """Return whom and what a map names: PEAR, its model, and a simulated atmosphere."""
    return ", ".join((f"PEAR {model}", *words))


def field_colours(reader: ForecastReader, store: ForecastStore, layer: Layer) -> Colours:
    """Return the colours of a field."""
    field = reader.field(store.run, layer.variable, layer.level, layer.lead_hours)
    return Colours.of(field, layer.variable, layer.level, kind_of(store))


async def draw_tile(
    request: Request,
    services: Services,
    picture: Picture,
    tile: Tile,
    shown: tuple[Shown, Interpolation],
    *,
    pinned: bool,
) -> Response:
    """Return the PNG of a tile, drawn in turn or cached.

    Parameters
    ----------
    request, services
        The request, and what answers it.
    picture
        The field.
    tile
        The tile.
    shown
        Colours or values, and how they are interpolated.
    pinned
        True if the request names the run.

    Returns
    -------
    Response
        With an ETag, and for values the encoding in headers.
    """
    store, layer = picture.store, picture.layer
    xyz = "run_id" in request.path_params
    raster = tile_raster(*tile, fields=("y", "x") if xyz else ("tile_row", "tile_col"))

    def draw() -> CachedBody:
        values = read_pixels(
            picture.reader, store, layer, services.pixels, (tile, raster), shown[1]
        )
        headers = dict(picture.headers)
        if shown[0] == "colour":
            png = draw_colours(values, field_colours(picture.reader, store, layer))
        else:
            code = Encoding.of(row_of(layer.variable), kind_of(store))
            headers |= {
                "PEAR-Scale": repr(code.scale),
                "PEAR-Offset": repr(code.offset),
                "PEAR-Units": store.units(layer.variable),
            }
            try:
                png = draw_values(values, code)
            except OverflowError as error:
                raise InputError(
                    f"tiles of {layer.variable} do not hold {error}",
                    field="variable",
                    hint="read its numbers: /fields, /point or a download",
                ) from error
        return CachedBody(png, "image/png", tuple(headers.items()))

    key = ("tile", store.run, layer, tile, shown)
    return await heavy_response(
        request,
        services.response_cache,
        picture.version,
        key,
        lambda: services.heavy.run(draw),
        pinned=pinned,
    )
