"""STAC: a catalogue of the runs, analyses and climatologies."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from pear.errors import InputError, did_you_mean
from pear.variables import SIMULATED
from pipelines.catalog import Model, NotFoundError, Run, Status
from service.dependencies import Services, ServicesDep
from service.http.errors import ProblemError
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.readers.forecasts import statistics_of
from service.readers.nature import Nature, attributes_of, event_of, nature_of
from service.readers.stac import (
    GEOJSON,
    JSON,
    MOST_ITEM_LINKS,
    ROOT,
    StacCatalog,
    StacCollection,
    StacCollections,
    StacItem,
    StacItems,
    StacLink,
    link_to_item,
    links_to,
    make_catalog,
    make_item,
    make_runs_collection,
    make_store_collection,
    runs_collection_id,
)
from service.readers.store_files import describe_store, served_stores

router = APIRouter(prefix=ROOT, tags=["STAC"], route_class=GuardedRoute)
Collection = Annotated[
    str,
    Path(
        max_length=160,
        description="Id of a collection: `forecasts-MODEL`, `analysis-NAME` or `climatology-NAME`.",
        examples=["analysis-simulated"],
    ),
]


@router.get(
    "",
    response_model_exclude_none=True,
    summary="Root of the STAC catalogue",
    responses=problem_responses(503),
)
def get_stac(request: Request, services: ServicesDep) -> StacCatalog:
    """Return the root, which links to the collections."""
    base = _base(request)
    return make_catalog(base, _collections(base, services))


@router.get(
    "/collections",
    response_model_exclude_none=True,
    summary="STAC collections",
    responses=problem_responses(503),
)
def get_stac_collections(request: Request, services: ServicesDep) -> StacCollections:
    """Return a collection for each model with finished runs, each analysis and climatology."""
    base = _base(request)
    links = links_to(base, "/collections")
    found = _collections(base, services)
    for each in found:  # pystac-client reads this list and not the collections by themselves
        each.links += _links_to_runs(base, services, each.id)
    return StacCollections(collections=found, links=links)


@router.get(
    "/collections/{collection}",
    response_model_exclude_none=True,
    summary="One STAC collection",
    responses=problem_responses(404, 422, 503),
)
def get_stac_collection(
    request: Request, services: ServicesDep, collection: Collection
) -> StacCollection:
    """Return one collection; that of a model links to its newest runs, and `items` lists all."""
    base = _base(request)
    found = _find(base, services, collection)
    found.links += _links_to_runs(base, services, found.id)
    return found


@router.get(
    "/collections/{collection}/items",
    response_model_exclude_none=True,
    summary="Items of a STAC collection",
    responses={
        200: {"content": {GEOJSON: {"schema": {"$ref": "#/components/schemas/StacItems"}}}},
        **problem_responses(404, 422, 503),
    },
)
def get_stac_items(
    request: Request,
    services: ServicesDep,
    collection: Collection,
    limit: Annotated[int, Query(ge=1, le=200, description="Items per page.")] = 20,
    cursor: Annotated[
        str | None, Query(max_length=256, description="That of the link `next`.")
    ] = None,
) -> StacItems:
    """Return one page of the finished runs of a model, newest first; a store has no items."""
    base = _base(request)
    found = _find(base, services, collection)
    own = f"/collections/{collection}/items"
    links = links_to(base, own, f"/collections/{collection}", GEOJSON)
    links.append(StacLink(rel="collection", href=links[2].href, type=JSON))
    model = _model_of(services, found.id)
    if model is None and cursor is not None:
        raise InputError("a store has no items, and so no pages", field="cursor", hint="omit it")
    items: list[StacItem] = []
    if model is not None:
        page = services.catalog.runs.page(
            status=Status.SUCCEEDED, model=model.id, limit=limit, cursor=cursor
        )
        for run in page.items:
            try:
                items.append(_item(base, services, run))
            except ProblemError:  # damaged: left out of lists, named where it is asked for
                continue
        if page.next is not None:
            query = request.url.include_query_params(cursor=page.next).query
            links.append(StacLink(rel="next", href=f"{base}{ROOT}{own}?{query}", type=GEOJSON))
    return StacItems(features=items, numberReturned=len(items), links=links)


@router.get(
    "/collections/{collection}/items/{run_id}",
    response_model_exclude_none=True,
    summary="One STAC item",
    responses=problem_responses(404, 422, 503),
)
def get_stac_item(
    request: Request,
    services: ServicesDep,
    collection: Collection,
    run_id: Annotated[str, Path(max_length=128, description="Run id.")],
) -> StacItem:
    """Return the item of one finished run."""
    run = services.catalog.runs.get(run_id)
    if run.status is not Status.SUCCEEDED or runs_collection_id(run.model) != collection[:160]:
        raise NotFoundError(
            f"collection {collection[:64]} does not have the item {run_id[:64]!r}",
            field="run_id",
            hint="its items are at /items below the collection",
        )
    return _item(_base(request), services, run)


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _item(base: str, services: Services, run: Run) -> StacItem:
    facts = describe_store(services.folder.forecast(run.id))
    store = services.forecasts.store(run.id)
    nature = nature_of(services.folder, run)
    statistics = {
        name: nature.name_statistic(name, event_of(services.folder, run, name))
        for name in statistics_of(services.folder, run.id)
    }
    return make_item(base, run, store, facts, nature, statistics)


def _links_to_runs(base: str, services: Services, collection: str) -> list[StacLink]:
    """Return links to the newest runs of a collection; none of a store."""
    model = _model_of(services, collection)
    if model is None:
        return []
    page = services.catalog.runs.page(
        status=Status.SUCCEEDED, model=model.id, limit=MOST_ITEM_LINKS
    )
    return [
        link_to_item(base, collection, run) for run in page.items if _is_readable(services, run)
    ]


def _is_readable(services: Services, run: Run) -> bool:
    """Return whether the store of a run can be read; a damaged one is left out of lists."""
    try:
        describe_store(services.folder.forecast(run.id))
        services.forecasts.store(run.id)
    except ProblemError:
        return False
    return True


def _collections(base: str, services: Services) -> list[StacCollection]:
    found = []
    for model in services.catalog.models.all():
        span = services.catalog.runs.span(model.id)
        if span is not None:
            license_, nature = _license(services, model), _nature(services, model)
            found.append(make_runs_collection(base, model, span, license_, nature))
    for store in served_stores(services.folder, services.catalog):
        try:
            nature = Nature(simulated=SIMULATED in attributes_of(store.root))
            found.append(make_store_collection(base, store, describe_store(store.root), nature))
        except ProblemError:  # damaged: left out of lists, named where it is asked for
            continue
    return found


def _nature(services: Services, model: Model) -> Nature:
    """Return what the newest run of a model is."""
    newest = services.catalog.runs.latest(model.id)
    return Nature() if newest is None else nature_of(services.folder, newest)


def _license(services: Services, model: Model) -> str:
    """Return the licence of the newest run of a model."""
    newest = services.catalog.runs.latest(model.id)
    try:
        return "" if newest is None else describe_store(services.folder.forecast(newest.id)).license
    except ProblemError:
        return ""


def _find(base: str, services: Services, collection: str) -> StacCollection:
    known = {each.id: each for each in _collections(base, services)}
    if collection not in known:
        hint = did_you_mean(collection[:64], known) if known else "there are no data yet"
        raise NotFoundError(f"no collection {collection[:64]!r}", field="collection", hint=hint)
    return known[collection]


def _model_of(services: Services, collection: str) -> Model | None:
    for model in services.catalog.models.all():
        if runs_collection_id(model.id) == collection:
            return model
    return None
