"""OGC API - Tiles: tilesets of collections and runs, with colours or with values."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query, Request, Response
from fastapi.responses import JSONResponse

from pear.times import to_iso
from service.api.ogc_runs import (
    Links,
    TargetDep,
    add_to_both,
    make_router,
)
from service.api.ogc_targets import PREFIX, Target, describe_nature
from service.api.tiles import (
    OK,
    PNG,
    Number,
    Picture,
    Shown,
    Smooth,
    Tile,
    Zoom,
    attribution_of,
    draw_tile,
    kind_of,
)
from service.dependencies import ServicesDep
from service.http.problems import problem_responses
from service.maps.tiles import Encoding
from service.readers.ogc.coverages import row_of
from service.readers.ogc.selection import Layer, select_layer
from service.readers.ogc.tile_grids import SETS, TileMatrixSet, crs_of, describe_set

router = make_router("OGC API - Tiles")
_DATA_TYPES: Final[dict[str, Shown]] = {"map": "colour", "coverage": "value"}
_TILES: Final = "http://www.opengis.net/def/rel/ogc/1.0"
DataType = Annotated[
    Literal["map", "coverage"],
    Path(description="Tiles with colours, or with values.", examples=["map"]),
]
SetName = Annotated[TileMatrixSet, Path(examples=["WebMercatorQuad"])]
ParameterName = Annotated[
    str | None,
    Query(
        alias="parameter-name",
        max_length=64,
        description="One name or alias without level (default: 2m_temperature, or the first).",
        examples=["geopotential"],
    ),
]
Pressure = Annotated[
    str | None,
    Query(
        max_length=16, description="Level in hPa (default: 500, or the first).", examples=["500"]
    ),
]
Moment = Annotated[
    str | None,
    Query(
        max_length=64,
        description="Valid time, UTC (default: the first of a run, the newest of an analysis).",
    ),
]


@router.get("/tileMatrixSets", summary="Tile matrix sets", responses=OK)
def ogc_tile_matrix_sets(request: Request) -> JSONResponse:
    """Return the tile matrix sets that all tiles use."""
    link = Links(request)
    sets = [
        {
            "id": name,
            "title": describe_set(name)["title"],
            "uri": describe_set(name)["uri"],
            "links": [link.to(f"{PREFIX}/tileMatrixSets/{name}", "self", name)],
        }
        for name in SETS
    ]
    return JSONResponse({"tileMatrixSets": sets})


@router.get(
    "/tileMatrixSets/{tile_matrix_set}",
    summary="One tile matrix set",
    responses={**OK, **problem_responses(400, 404)},
)
def ogc_tile_matrix_set(tile_matrix_set: SetName) -> JSONResponse:
    """Return the definition of a tile matrix set."""
    return JSONResponse(describe_set(tile_matrix_set))


@add_to_both(router, "/{data_type}/tiles", "Tilesets", OK)
def ogc_tilesets(
    request: Request,
    target: TargetDep,
    data_type: DataType,
    parameter_name: ParameterName = None,
    z: Pressure = None,
    datetime: Moment = None,
) -> JSONResponse:
    """Return the tilesets of a field: one for each tile matrix set."""
    layer = select_layer(target.store, parameter_name, z, datetime)
    found = [_tileset(request, target, layer, data_type, name) for name in SETS]
    return JSONResponse({"tilesets": found})


@add_to_both(router, "/{data_type}/tiles/{tile_matrix_set}", "One tileset", OK)
def ogc_tileset(
    request: Request,
    target: TargetDep,
    data_type: DataType,
    tile_matrix_set: SetName,
    parameter_name: ParameterName = None,
    z: Pressure = None,
    datetime: Moment = None,
) -> JSONResponse:
    """Return a tileset: what it shows, and the template of the addresses of its tiles."""
    layer = select_layer(target.store, parameter_name, z, datetime)
    return JSONResponse(_tileset(request, target, layer, data_type, tile_matrix_set))


@add_to_both(
    router,
    "/{data_type}/tiles/{tile_matrix_set}/{tile_matrix}/{tile_row}/{tile_col}",
    "One tile",
    PNG,
)
async def ogc_tile(
    request: Request,
    services: ServicesDep,
    target: TargetDep,
    data_type: DataType,
    tile_matrix_set: SetName,
    tile_matrix: Zoom,
    tile_row: Number,
    tile_col: Number,
    parameter_name: ParameterName = None,
    z: Pressure = None,
    datetime: Moment = None,
    interpolation: Smooth = "bilinear",
) -> Response:
    """Draw one tile: `map` has colours, `coverage` values in 24 bits."""
    layer = select_layer(target.store, parameter_name, z, datetime)
    tile: Tile = (tile_matrix_set, tile_matrix, tile_row, tile_col)
    shown = _DATA_TYPES[data_type], interpolation
    headers = target.layer_headers(layer)
    picture = Picture(target.reader, target.store, layer, target.version, headers)
    return await draw_tile(request, services, picture, tile, shown, pinned=target.pinned)


def _tileset(
    request: Request, target: Target, layer: Layer, data_type: str, name: TileMatrixSet
) -> dict[str, Any]:
    row, link = row_of(layer.variable), Links(request)
    at = "" if layer.level is None else f" at {layer.level} hPa"
    valid = to_iso(target.store.valid_times[target.store.lead_index(layer.lead_hours)])
    base = target.path if target.pinned else f"{PREFIX}/collections/{target.collection}"
    path = f"{base}/{data_type}/tiles/{name}"
    query = f"?parameter-name={layer.variable}&datetime={valid}"
    query += "" if layer.level is None else f"&z={layer.level}"
    item = link.to(
        f"{path}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}{query}", "item", "Tiles", "image/png"
    )
    document: dict[str, Any] = {
        "title": f"{row.long_name}{at}, {valid}, {target.title}",
        "description": describe_nature(target.nature),
        "attribution": attribution_of(target.source, target.words),
        "dataType": data_type,
        "crs": crs_of(name),
        "tileMatrixSetURI": describe_set(name)["uri"],
        "links": [
            link.to(f"{path}{query}", "self", "This document"),
            link.to(f"{PREFIX}/tileMatrixSets/{name}", f"{_TILES}/tiling-scheme", name),
            {**item, "templated": True},
        ],
    }
    if data_type == "coverage":
        code = Encoding.of(row, kind_of(target.store))
        document["pear:encoding"] = {
            "scale": code.scale,
            "offset": code.offset,
            "units": target.store.units(layer.variable),
        }
    return document
