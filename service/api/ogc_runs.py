"""Collections of the OGC interfaces: models, whose instances are finished runs, and stores.

`MODEL.spread`, `MODEL.q90` and `MODEL.p00` are the statistics of its ensembles: clients that know
nothing of ensembles read them as they read any collection. `analysis.NAME` and `climatology.NAME`
have no instances.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from pear.variables import SIMULATED
from pipelines.catalog import Model, NotFoundError, Run, Status
from service.api.ogc_targets import PREFIX, RunTarget, StoreTarget, Target
from service.dependencies import Services, ServicesDep, get_store
from service.http.errors import ProblemError
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.readers.label import Label
from service.readers.nature import Nature, attributes_of, nature_of
from service.readers.series import SeriesStore
from service.readers.store_files import StoreKind, describe_store

JSON: Final = "application/json"
_MOST_TEXT: Final = 128
_KINDS: Final[dict[str, StoreKind]] = {"analysis": "analysis", "climatology": "climatology"}
_STATISTIC: Final = re.compile(r"(.+)\.(spread|[qpm][0-9]{2})", re.DOTALL)
_LISTED: Final = "the list of collections has analyses and climatologies too"
Handler = TypeVar("Handler", bound=Callable[..., Any])


def find_collection(services: Services, collection: str) -> tuple[Model, str | None]:
    """Return the model of a collection, by id or name, and the statistic; 404 if there is none."""
    given = collection[:_MOST_TEXT]
    parts = _STATISTIC.fullmatch(given)
    try:
        if parts is not None:
            with suppress(NotFoundError):  # or else the name of the model ends so
                return services.catalog.models.get(parts[1]), parts[2]
        return services.catalog.models.get(given), None
    except NotFoundError as error:
        hint = f"{error.hint}{'; ' * bool(error.hint)}{_LISTED}"
        raise ProblemError(
            404, f"no collection {collection[:64]!r}", field="collection_id", hint=hint
        ) from error


def make_target(
    services: Services, model: Model, run: Run, statistic: str | None = None, *, pinned: bool
) -> RunTarget:
    """Return a run with its store, or that of a statistic; errors as in :func:`get_store`."""
    store, nature = get_store(services, run, statistic), nature_of(services.folder, run)
    label = Label.of(nature, store)
    if statistic is not None:
        nature = replace(nature, members=None)  # the statistic says it
    return RunTarget(services.forecasts, store, nature, label, pinned, model, run, statistic)


def newest(services: Services, model: Model, statistic: str | None = None) -> RunTarget | None:
    """Return the newest finished run of a model, or None."""
    run = services.catalog.runs.latest(model.id)
    return None if run is None else make_target(services, model, run, statistic, pinned=False)


def find_store_target(services: Services, collection: str) -> StoreTarget | None:
    """Return the analysis or climatology that a collection is; None for another collection.

    Returns
    -------
    StoreTarget or None
        In its present state.

    Raises
    ------
    ProblemError
        404 if there is no such store, 503 if it cannot be read.
    """
    kind, dot, name = collection[:_MOST_TEXT].partition(".")
    if not dot or kind not in _KINDS:
        return None
    try:
        series = services.series.open(_KINDS[kind], name)
    except NotFoundError as error:
        hint = f"{error.hint}{'; ' * bool(error.hint)}{_LISTED}"
        raise ProblemError(
            404, f"no collection {collection[:64]!r}", field="collection_id", hint=hint
        ) from error
    return make_store_target(services, series)


def make_store_target(services: Services, series: SeriesStore) -> StoreTarget:
    """Return an open store as a target."""
    root = series.served.root
    nature = Nature(simulated=SIMULATED in attributes_of(root))
    return StoreTarget.of(services.series, series, nature, describe_store(root).title)


def get_target(request: Request, services: ServicesDep) -> Target:
    """Return the instance that the path names, the newest one of the collection, or the store.

    Returns
    -------
    Target
        A finished run, or an analysis or climatology.

    Raises
    ------
    ProblemError
        404 if there is no such collection or instance, or the collection is empty.
    """
    collection = request.path_params["collection_id"]
    instance = request.path_params.get("instance_id")
    store = find_store_target(services, collection)
    if store is not None:
        if instance is not None:
            raise ProblemError(
                404,
                f"collection {store.collection} has no instances",
                field="instance_id",
                hint=f"ask {store.path} itself",
            )
        return store
    model, statistic = find_collection(services, collection)
    if instance is None:
        found = newest(services, model, statistic)
        if found is None:
            raise ProblemError(404, f"collection {model.id} has no finished run yet")
        return found
    run = services.catalog.runs.get(instance[:_MOST_TEXT])
    if run.model != model.id:
        raise ProblemError(
            404, f"run {run.id} is not of collection {model.id}", field="instance_id"
        )
    return make_target(services, model, run, statistic, pinned=True)


TargetDep = Annotated[Target, Depends(get_target)]


def finished(
    services: Services,
    model: Model,
    statistic: str | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[RunTarget], str | None]:
    """Return one page of the finished runs of a model, newest first, and the next cursor."""
    page = services.catalog.runs.page(
        status=Status.SUCCEEDED, model=model.id, limit=limit, cursor=cursor
    )
    found = []
    for run in page.items:
        try:
            found.append(make_target(services, model, run, statistic, pinned=True))
        except ProblemError:
            continue  # damaged, or without the statistic; its own address says why
    return found, page.next


class Links:
    """Links with the address by which the service was asked."""

    def __init__(self, request: Request) -> None:
        self._base = str(request.base_url).rstrip("/")

    def address(self, path: str) -> str:
        """Return the address of a path."""
        return self._base + path

    def to(self, path: str, rel: str, title: str, kind: str = JSON) -> dict[str, Any]:
        """Return a link to a path."""
        return {"href": self._base + path, "rel": rel, "type": kind, "title": title}


_COLLECTION: Final = {
    "name": "collection_id",
    "in": "path",
    "required": True,
    "description": "Id or name of a model; with `.spread`, `.q90`, `.p00` or `.m03` behind it a "
    "statistic of its ensembles; `analysis.NAME` or `climatology.NAME`.",
    "schema": {"type": "string", "maxLength": _MOST_TEXT, "examples": ["pear-simulated"]},
}
_INSTANCE: Final = {
    "name": "instance_id",
    "in": "path",
    "required": True,
    "description": "Id of a finished run.",
    "schema": {
        "type": "string",
        "maxLength": _MOST_TEXT,
        "examples": ["20061120T0000-240h-0123456789ab"],
    },
}


def add_to_both(
    router: APIRouter, path: str, summary: str, responses: dict[int | str, dict[str, Any]]
) -> Callable[[Handler], Handler]:
    """Return a decorator that adds an operation to collections and to instances.

    Parameters
    ----------
    router
        Gets the operation.
    path
        Path below a collection or an instance.
    summary
        Of the operation; for a collection it answers with the newest run.
    responses
        Those of success.

    Returns
    -------
    Callable
        The decorator.
    """

    def register(handler: Handler) -> Handler:
        base = "/collections/{collection_id}"
        places = (
            (base, "", f"{summary}, newest run", [_COLLECTION]),
            (f"{base}/instances/{{instance_id}}", "_of_run", summary, [_COLLECTION, _INSTANCE]),
        )
        name: str = handler.__name__
        for stem, suffix, words, parameters in places:
            router.add_api_route(
                stem + path,
                handler,
                methods=["GET"],
                name=name + suffix,
                summary=words,
                response_class=Response,
                responses={
                    **responses,
                    304: {"description": "Not modified: finished runs never change."},
                    **problem_responses(400, 404, 409, 410, 422, 503),
                },
                openapi_extra={"parameters": parameters},
            )
        return handler

    return register


def make_router(tag: str, route_class: type[GuardedRoute] = GuardedRoute) -> APIRouter:
    """Return a router below :data:`PREFIX`."""
    return APIRouter(prefix=PREFIX, tags=[tag], route_class=route_class)
