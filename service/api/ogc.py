"""Landing page, conformance and collections of the OGC interfaces."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import Query, Request
from fastapi.responses import JSONResponse

from pear.times import to_iso
from pipelines.catalog import NotFoundError
from service.api.edr import QUERIES
from service.api.ogc_runs import (
    JSON,
    Links,
    find_collection,
    find_store_target,
    finished,
    get_target,
    make_router,
    make_store_target,
    make_target,
    newest,
)
from service.api.ogc_targets import PREFIX, RunTarget, StoreTarget, Target
from service.dependencies import ServicesDep
from service.http.caching import last_modified
from service.http.disclaimer import DISCLAIMER
from service.http.errors import ProblemError
from service.http.ogc_errors import XML
from service.http.problems import problem_responses
from service.readers.forecasts import statistics_of
from service.readers.ogc.coverages import describe_parameter
from service.readers.ogc.formats import MEDIA_TYPES
from service.readers.ogc.places import WITHIN_UNITS
from service.readers.ogc.selection import CRS84, list_times, parameters_of

router = make_router("OGC API")
_MOST_INSTANCES: Final = 32
_TILES: Final = "http://www.opengis.net/def/rel/ogc/1.0/tilesets"
_CONFORMANCE: Final = (
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/json",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/covjson",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/queries",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tileset",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tilesets-list",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/geodata-tilesets",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/png",
)
_WKT: Final = (
    'GEOGCRS["WGS 84 (CRS84)",DATUM["World Geodetic System 1984",'
    'ELLIPSOID["WGS 84",6378137,298.257223563]],CS[ellipsoidal,2],AXIS["longitude",east],'
    'AXIS["latitude",north],ANGLEUNIT["degree",0.0174532925199433],ID["OGC","CRS84"]]'
)
_PRESSURE: Final = (
    'PARAMETRICCRS["Pressure",PDATUM["Mean sea level"],CS[parametric,1],'
    'AXIS["pressure (P)",down],PARAMETRICUNIT["hectopascal",100]]'
)
_TIME: Final = (
    'TIMECRS["DateTime",TDATUM["Gregorian Calendar"],CS[TemporalDateTime,1],'
    'AXIS["Time (T)",future]]'
)
_OK: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {JSON: {"schema": {"type": "object"}}}},
}
_FAULTS: Final = problem_responses(400, 404, 409, 410, 422, 503)


@router.get("", summary="Landing page", responses=_OK)
@router.get("/", include_in_schema=False)
def ogc_landing_page(request: Request) -> JSONResponse:
    """Return links to conformance, collections and the description of the API."""
    link = Links(request)
    return JSONResponse(
        {
            "title": "PEAR",
            "description": "Weather forecasts, analyses and climatologies on the HEALPix grid. "
            f"{DISCLAIMER}",
            "keywords": ["weather", "forecast", "HEALPix"],
            "links": [
                link.to(PREFIX, "self", "This document"),
                link.to(
                    "/openapi.json",
                    "service-desc",
                    "The API",
                    "application/vnd.oai.openapi+json;version=3.1",
                ),
                link.to("/docs", "service-doc", "The API, for people", "text/html"),
                link.to(f"{PREFIX}/conformance", "conformance", "Standards"),
                link.to(f"{PREFIX}/collections", "data", "Runs of models, analyses, climatologies"),
                link.to(
                    f"{PREFIX}/tileMatrixSets",
                    "http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes",
                    "Tile matrix sets",
                ),
            ],
        }
    )


@router.get("/conformance", summary="Standards that are followed", responses=_OK)
def ogc_conformance() -> JSONResponse:
    """Return the conformance classes of OGC API - Common, EDR and Tiles."""
    return JSONResponse({"conformsTo": list(_CONFORMANCE)})


@router.get("/collections", summary="Collections", responses={**_OK, **_FAULTS})
def ogc_collections(request: Request, services: ServicesDep) -> JSONResponse:
    """Return each model that has a finished run, its statistics, analyses and climatologies."""
    found = []
    for model in services.catalog.models.all():
        try:
            target = newest(services, model)
        except ProblemError:
            continue  # a damaged store does not hide the others; its own address says why
        if target is None:
            continue
        found.append(_collection(request, target))
        for name in statistics_of(services.folder, target.run.id):
            if name.startswith("m"):
                continue  # members are many, and are read by their own ids
            with suppress(ProblemError):
                statistic = make_target(services, model, target.run, name, pinned=False)
                found.append(_collection(request, statistic))
    for served in services.series.all():
        with suppress(ProblemError, NotFoundError):
            series = services.series.open(served.kind, served.name)
            found.append(_collection(request, make_store_target(services, series)))
    link = Links(request)
    own = [link.to(f"{PREFIX}/collections", "self", "This document")]
    return JSONResponse({"links": own, "collections": found})


@router.get("/collections/{collection_id}", summary="One collection", responses={**_OK, **_FAULTS})
def ogc_collection(request: Request, services: ServicesDep, collection_id: str) -> JSONResponse:
    """Return extent, parameters and queries of the newest run of a model, or of a store."""
    del collection_id  # read from the path by get_target
    target = get_target(request, services)
    headers = {"Cache-Control": "no-cache", **last_modified(target.version.finished_at)}
    return JSONResponse(_collection(request, target), headers=headers)


@router.get(
    "/collections/{collection_id}/instances",
    summary="Runs of a collection",
    responses={**_OK, **_FAULTS},
)
def ogc_instances(
    request: Request,
    services: ServicesDep,
    collection_id: str,
    limit: Annotated[int, Query(ge=1, le=_MOST_INSTANCES, description="Runs per page.")] = 10,
    cursor: Annotated[
        str | None, Query(max_length=256, description="`cursor` of the link `next`.")
    ] = None,
) -> JSONResponse:
    """Return the finished runs of a model, newest first; a store has none."""
    store = find_store_target(services, collection_id)
    if store is not None:
        own = Links(request).to(f"{store.path}/instances", "self", "This document")
        return JSONResponse({"links": [own], "instances": []})
    model, statistic = find_collection(services, collection_id)
    targets, after = finished(services, model, statistic, limit, cursor)
    link = Links(request)
    name = model.id if statistic is None else f"{model.id}.{statistic}"
    path = f"{PREFIX}/collections/{name}/instances"
    links = [link.to(path, "self", "This document")]
    if after is not None:
        links.append(link.to(f"{path}?limit={limit}&cursor={after}", "next", "Older runs"))
    instances = [_instance(request, target) for target in targets]
    return JSONResponse({"links": links, "instances": instances})


@router.get(
    "/collections/{collection_id}/instances/{instance_id}",
    summary="One run of a collection",
    responses={**_OK, **_FAULTS},
)
def ogc_instance(
    request: Request, services: ServicesDep, collection_id: str, instance_id: str
) -> JSONResponse:
    """Return extent, parameters and queries of one run."""
    del collection_id, instance_id
    target = get_target(request, services)
    if not isinstance(target, RunTarget):
        raise TypeError("only runs are instances")
    return JSONResponse(_instance(request, target), headers=last_modified(target.run.finished_at))


def _collection(request: Request, target: Target) -> dict[str, Any]:
    path = f"{PREFIX}/collections/{target.collection}"
    link = Links(request)
    document = _describe(request, target, path)
    queries = dict(document["data_queries"])
    about, title = target.described_by
    wms = link.to(
        f"{path}/wms?service=WMS&request=GetCapabilities", "wms", "WMS 1.3.0 and 1.1.1", XML
    )
    more = [wms, link.to(about, "describedby", title)]
    if isinstance(target, StoreTarget):
        zarr = link.to(f"{about}.zarr", "data", "Zarr store", "application/vnd.zarr")
        more.append(zarr)
    else:
        listing = link.to(f"{path}/instances", "data", "Finished runs")
        instances = {**listing, "variables": {"title": "Runs", "query_type": "instances"}}
        queries["instances"] = {"link": instances}
        more.append(listing)
    return {
        **document,
        "id": target.collection,
        "title": target.collection_title,
        "links": [*document["links"], *more],
        "data_queries": queries,
    }


def _instance(request: Request, target: RunTarget) -> dict[str, Any]:
    document = _describe(request, target, target.path)
    run = Links(request).to(f"/v1/forecasts/{target.run.id}", "describedby", "The run")
    return {
        **document,
        "id": target.run.id,
        "title": target.title,
        "links": [*document["links"], run],
    }


def _describe(request: Request, target: Target, path: str) -> dict[str, Any]:
    """Return what collections and instances share."""
    store, link = target.store, Links(request)
    queries = {}
    for name in QUERIES:
        variables: dict[str, Any] = {
            "title": name.capitalize(),
            "query_type": name,
            "output_formats": list(MEDIA_TYPES),
            "default_output_format": "CoverageJSON",
            "crs_details": [{"crs": "CRS84", "wkt": _WKT}],
        }
        if name == "radius":
            variables["within_units"] = list(WITHIN_UNITS)
        if name == "cube":
            variables["height_units"] = ["hPa"]
        href = link.to(f"{path}/{name}", "data", name.capitalize(), MEDIA_TYPES["CoverageJSON"])
        queries[name] = {"link": {**href, "templated": False, "variables": variables}}
    kind = target.series.served.kind if isinstance(target, StoreTarget) else "forecast"
    return {
        "description": target.description,
        "keywords": ["weather", kind, *target.words],
        "links": [
            link.to(path, "self", "This document"),
            link.to(f"{path}/map/tiles", f"{_TILES}-map", "Map tiles"),
            link.to(f"{path}/coverage/tiles", f"{_TILES}-coverage", "Tiles with values"),
        ],
        "extent": _extent(target),
        "data_queries": queries,
        "crs": ["CRS84"],
        "output_formats": list(MEDIA_TYPES),
        "distanceunits": list(WITHIN_UNITS),
        "parameter_names": {
            name: {
                "id": name,
                "data-type": "float",
                **describe_parameter(store, name, str, target.label),
            }
            for name in parameters_of(store)
        },
    }


def _extent(target: Target) -> dict[str, Any]:
    store = target.store
    first, last = (to_iso(store.valid_times[at]) for at in (0, -1))
    extent: dict[str, Any] = {
        "spatial": {"bbox": [[-180.0, -90.0, 180.0, 90.0]], "crs": CRS84},
        "temporal": {
            "interval": [[first, last]],
            "values": list_times(store.valid_times),
            "trs": _TIME,
        },
    }
    if store.levels:
        levels = [str(level) for level in sorted(store.levels, reverse=True)]
        extent["vertical"] = {
            "interval": [[levels[0], levels[-1]]],
            "values": levels,
            "vrs": _PRESSURE,
        }
    return extent
