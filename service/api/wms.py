"""WMS 1.3.0 and 1.1.1: one web map service for each collection."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import numpy as np
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from pear.derived import parse_quantity
from pear.errors import InputError
from pear.times import parse_time, to_iso
from pear.typing import Bool, Float64
from pipelines.catalog import Status
from service.api.ogc_runs import (
    Links,
    find_collection,
    find_store_target,
    finished,
    make_router,
    make_target,
    newest,
)
from service.api.ogc_targets import PREFIX, RunTarget, Target, describe_nature
from service.api.tiles import field_colours
from service.api.wms_capabilities import (
    EARLIER_KIND,
    INFO_FORMATS,
    MAP_KINDS,
    default_level,
    write_capabilities,
)
from service.dependencies import Services, ServicesDep
from service.http.errors import ProblemError
from service.http.ogc_errors import XML
from service.http.response_cache import CachedBody, heavy_response
from service.http.routing import LenientRoute
from service.maps.legend import draw_legend
from service.maps.tiles import draw_colours, to_jpeg
from service.readers.ogc.coverages import row_of
from service.readers.ogc.pixels import read_pixels
from service.readers.ogc.selection import Layer, parameters_of, select_layer
from service.readers.ogc.tile_grids import Raster
from service.readers.ogc.wms import VERSION, VERSIONS, Frame, Parameters, parse_colour
from service.readers.serialisers import dump_json

router = make_router("OGC WMS", LenientRoute)
_MOST_RUNS: Final = 10
"""Init times in the capabilities; older ones can be asked for, too."""
_BLOCK_PIXELS: Final = 65_536
_REQUESTS: Final = ("GetCapabilities", "GetMap", "GetFeatureInfo", "GetLegendGraphic")


def _parameter(name: str, about: str, example: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": about,
        "schema": {"type": "string", "maxLength": 200},
        "example": example,
    }


_PARAMETERS: Final = [
    _parameter("service", "WMS.", "WMS"),
    _parameter("version", ", or ".join(VERSIONS) + ".", VERSION),
    _parameter("request", ", ".join(_REQUESTS) + ".", "GetMap", required=True),
    _parameter("layers", "One parameter of the collection.", "2m_temperature"),
    _parameter("styles", "Empty, or `default`.", "default"),
    _parameter("crs", "CRS:84, EPSG:4326 (latitude first) or EPSG:3857; in 1.1.1 `srs`.", "CRS:84"),
    _parameter("bbox", "Four numbers in the order of the axes of `crs`.", "-180,-90,180,90"),
    _parameter("width", "Pixels, at most 2048.", "800"),
    _parameter("height", "Pixels, at most 2048.", "400"),
    _parameter("format", " or ".join(MAP_KINDS) + ".", "image/png"),
    _parameter("transparent", "TRUE or FALSE: of what is off the globe.", "TRUE"),
    _parameter("bgcolor", "Colour of what is off the globe.", "0xFFFFFF"),
    _parameter("time", "Valid time (default: the first of the run).", "2006-11-21T00:00:00Z"),
    _parameter("elevation", "Level in hPa (default: 500).", "500"),
    _parameter("dim_reference_time", "Init time (default: the newest).", "2006-11-20T00:00:00Z"),
    _parameter("query_layers", "Of GetFeatureInfo: as `layers`.", "2m_temperature"),
    _parameter("info_format", "Of GetFeatureInfo.", "application/json"),
    _parameter("i", "Of GetFeatureInfo: column; in 1.1.1 `x`.", "400"),
    _parameter("j", "Of GetFeatureInfo: row; in 1.1.1 `y`.", "200"),
    _parameter("layer", "Of GetLegendGraphic.", "2m_temperature"),
]


@router.get(
    "/collections/{collection_id}/wms",
    summary="Web map service, newest or named run",
    response_class=Response,
    responses={
        200: {
            "description": "Capabilities, a map, a legend, or the value at a pixel.",
            "content": {
                XML: {"schema": {"type": "string"}},
                EARLIER_KIND: {"schema": {"type": "string"}},
                **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in MAP_KINDS},
                "application/json": {"schema": {"type": "object"}},
                "text/plain": {"schema": {"type": "string"}},
            },
        },
        304: {"description": "Not modified."},
        **{status: {"description": "ServiceException."} for status in (400, 404, 503)},
    },
    openapi_extra={"parameters": _PARAMETERS},
)
async def get_wms(request: Request, services: ServicesDep, collection_id: str) -> Response:
    """Answer as WMS 1.3.0 or 1.1.1 for GIS: names in any case, unknown ones passed over."""
    given = Parameters(request.query_params.multi_items())
    what = given.choose("request", _REQUESTS)
    if (given.get("service") or "WMS").upper() != "WMS":
        raise InputError("SERVICE must be WMS", field="service")
    if what != "GetCapabilities" and (given.get("version") or VERSION) not in VERSIONS:
        raise InputError(f"VERSION must be {' or '.join(VERSIONS)}", field="version")
    target = await run_in_threadpool(_target, services, collection_id, given)
    if what == "GetCapabilities":
        body = await run_in_threadpool(_capabilities, request, services, target, given)
        kind = XML if given.version == VERSION else EARLIER_KIND
        return Response(body, media_type=kind, headers={"Cache-Control": "no-cache"})
    if what == "GetMap":
        return await _map(request, services, target, given)
    if what == "GetFeatureInfo":
        return await _feature_info(request, services, target, given)
    return await _legend(request, services, target, given)


def _target(services: Services, collection: str, given: Parameters) -> Target:
    start, store = given.get("dim_reference_time"), find_store_target(services, collection)
    if store is not None:
        if start is not None:
            raise InputError(
                f"{store.source} has no init times", field="dim_reference_time", hint="use TIME"
            )
        return store
    model, statistic = find_collection(services, collection)
    found = newest(services, model, statistic)
    if found is None:
        raise ProblemError(404, f"collection {model.id} has no finished run yet")
    if start is None:
        return found
    try:
        time = parse_time(start)
    except InputError as error:
        raise InputError(error.message, field="dim_reference_time") from error
    page = services.catalog.runs.page(
        status=Status.SUCCEEDED, model=model.id, init_time=time, limit=1
    )
    if not page.items:
        raise InputError(
            f"model {model.name} has no finished run from {to_iso(time)}",
            field="dim_reference_time",
            hint="GetCapabilities lists the newest",
        )
    return make_target(services, model, page.items[0], statistic, pinned=False)


def _capabilities(request: Request, services: Services, target: Target, given: Parameters) -> bytes:
    runs: Sequence[Target] = ()
    if isinstance(target, RunTarget):
        runs, _ = finished(services, target.model, target.statistic, _MOST_RUNS, None)
    address = Links(request).address(f"{PREFIX}/collections/{target.collection}/wms")
    return write_capabilities(target, runs or [target], address, given.version)


def _layer(target: Target, given: Parameters, field: str) -> Layer:
    """Return the field that a request names by its parameters."""
    known = parameters_of(target.store)
    name = given.choose(field, known)
    if (given.get("styles") or given.get("style") or "default") != "default":
        raise InputError("the only style is default", field="styles")
    level = given.get("elevation")
    if parse_quantity(name)[0].kind == "surface":
        level = None  # clients send one value for all layers
    elif level is None:
        level = str(default_level(target))
    return select_layer(target.store, name, level, given.get("time"))


async def _map(request: Request, services: Services, target: Target, given: Parameters) -> Response:
    layer, frame = _layer(target, given, "layers"), Frame.read(given)
    kind = given.choose("format", MAP_KINDS)
    is_jpeg = kind == "image/jpeg"  # which cannot be transparent
    transparent = not is_jpeg and (given.get("transparent") or "FALSE").upper() == "TRUE"
    background = None if transparent else parse_colour(given.get("bgcolor"))

    def draw() -> CachedBody:
        values, inside = _read(services, target, layer, frame)
        colours = field_colours(target.reader, target.store, layer)
        rows = np.broadcast_to(inside[:, None], values.shape)
        picture = draw_colours(values, colours, rows, background)
        if is_jpeg:
            picture = to_jpeg(picture)
        return CachedBody(picture, kind, tuple(target.layer_headers(layer).items()))

    key = ("wms", target.store.run, layer, frame, background, kind)
    return await _answer(request, services, target, key, draw)


async def _feature_info(
    request: Request, services: Services, target: Target, given: Parameters
) -> Response:
    layer, frame = _layer(target, given, "query_layers"), Frame.read(given)
    kind = given.choose("info_format", INFO_FORMATS)
    column = given.integer("i", 0, frame.width - 1)
    row = given.integer("j", 0, frame.height - 1)

    def read() -> CachedBody:
        raster, inside = frame.raster()
        features = []
        if inside[row]:
            here = Raster(raster.latitude[row : row + 1], raster.longitude[column : column + 1])
            key = ("pixel", frame, row, column)
            value = read_pixels(
                target.reader, target.store, layer, services.pixels, (key, here), "bilinear"
            )
            features.append(_feature(target, layer, here, float(value[0, 0])))
        if kind == "application/json":
            body = dump_json({"type": "FeatureCollection", "features": features})
            return CachedBody(body, kind)
        lines = [f"{name}: {each}" for one in features for name, each in one["properties"].items()]
        text = "\n".join(lines or ["nothing there"]) + "\n"
        return CachedBody(text.encode(), "text/plain; charset=utf-8")

    key = ("wms-info", target.store.run, layer, frame, row, column, kind)
    return await _answer(request, services, target, key, read)


async def _legend(
    request: Request, services: Services, target: Target, given: Parameters
) -> Response:
    layer = _layer(target, given, "layer")
    if given.get("format") is not None:
        given.choose("format", ("image/png",))

    def draw() -> CachedBody:
        at = "" if layer.level is None else f", {layer.level} hPa"
        name = row_of(layer.variable).long_name
        if target.label.is_probability:
            name, words = target.label.statistic, target.nature.words
        else:
            words = target.words
        words = (f"{name}{at}", *words)
        png = draw_legend(field_colours(target.reader, target.store, layer), words)
        return CachedBody(png, "image/png", tuple(target.layer_headers(layer).items()))

    key = ("wms-legend", target.store.run, layer)
    return await _answer(request, services, target, key, draw)


def _read(services: Services, target: Target, layer: Layer, frame: Frame) -> tuple[Float64, Bool]:
    """Return values (row, column) and which rows (row,) are on the globe, block by block."""
    raster, inside = frame.raster()
    rows = max(1, _BLOCK_PIXELS // frame.width)
    parts = []
    for first in range(0, frame.height, rows):
        part = Raster(raster.latitude[first : first + rows], raster.longitude)
        key = (frame, first)
        parts.append(
            read_pixels(
                target.reader, target.store, layer, services.pixels, (key, part), "bilinear"
            )
        )
    return np.concatenate(parts), inside


def _feature(target: Target, layer: Layer, here: Raster, value: float) -> dict[str, Any]:
    store = target.store
    about: dict[str, Any] = {
        "layer": layer.variable,
        "value": float(f"{value:.7g}"),
        "units": store.units(layer.variable),
        "time": to_iso(store.valid_times[store.lead_index(layer.lead_hours)]),
        **target.label.fields(),
    }
    if isinstance(target, RunTarget):
        about |= {"reference_time": to_iso(store.init_time), "run": target.run.id}
    else:
        about["source"] = target.source
    if layer.level is not None:
        about["elevation"] = layer.level
    place = [round(float(here.longitude[0]), 6), round(float(here.latitude[0]), 6)]
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": place},
        "properties": {**about, "note": describe_nature(target.nature)},
    }


async def _answer(
    request: Request,
    services: Services,
    target: Target,
    key: tuple[Hashable, ...],
    make: Callable[[], CachedBody],
) -> Response:
    return await heavy_response(
        request,
        services.response_cache,
        target.version,
        key,
        lambda: services.heavy.run(make),
        pinned=False,
    )
