"""Zarr stores over HTTP, each at an address of its own: runs, their statistics, analyses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response

from pear.errors import InputError
from pear.times import to_iso
from pipelines.catalog import NotFoundError, Run, Status
from service.api.schemas import StoreList, StoreOut, format_utc
from service.dependencies import Services, ServicesDep, get_store
from service.http.caching import IMMUTABLE, last_modified, make_etag, not_modified
from service.http.errors import ProblemError
from service.http.files import RangedFile
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.readers.forecasts import statistics_of
from service.readers.nature import nature_of
from service.readers.store_files import (
    ServedStore,
    StoreKind,
    describe_store,
    find_store,
    list_files,
    modified_at,
    served_stores,
)

router = APIRouter(prefix="/v1/stores", tags=["stores"], route_class=GuardedRoute)
BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
FILE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    206: {"description": "The requested ranges."},
    304: {"description": "Not modified since the client's copy."},
    **problem_responses(416),
}
ZARR_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file.",
        "content": {
            "application/octet-stream": BINARY,
            "application/json": {"schema": {"type": "object"}},
        },
    },
    **FILE_RESPONSES,
    **problem_responses(400, 404, 409, 410, 422, 503),
}
Kind = Annotated[StoreKind, Path(description="Kind of store.", examples=["analysis"])]
Name = Annotated[
    str,
    Path(
        max_length=140,
        description="Name of the analysis or climatology; run id, followed by a dot and the name "
        "of a statistic: `ID.spread`, `ID.q90`, `ID.m03`.",
        examples=["simulated"],
    ),
]
Key = Annotated[str, Path(description="Key in the store.", max_length=512, examples=["zarr.json"])]


@router.get("", summary="List the Zarr stores", responses=problem_responses(422, 503))
def list_stores(
    request: Request,
    response: Response,
    services: ServicesDep,
    kind: Annotated[StoreKind | None, Query(description="Only stores of this kind.")] = None,
    limit: Annotated[
        int, Query(ge=1, le=200, description="Entries per page; a run counts once.")
    ] = 50,
    cursor: Annotated[
        str | None, Query(max_length=256, description="`next` of the previous page.")
    ] = None,
) -> StoreList:
    """Return one page of stores: analyses, climatologies, runs and their statistics."""
    base = str(request.base_url).rstrip("/")
    fixed = served_stores(services.folder, services.catalog)
    fixed = [each for each in fixed if kind in (None, each.kind)]
    start, runs_cursor = _read_cursor(cursor)
    chosen = fixed[start : start + limit] if start is not None else []
    items = _readable(partial(_describe_fixed, base, each) for each in chosen)
    following: str | None = None
    if start is not None and start + limit < len(fixed):
        following = f"s{start + limit}"
    elif kind in (None, "forecast"):
        room = limit - len(chosen)
        if room == 0:
            following = "r"
        else:
            page = services.catalog.runs.page(
                status=Status.SUCCEEDED, limit=room, cursor=runs_cursor
            )
            for run in page.items:
                items += _describe_run_stores(base, services, run)
            following = None if page.next is None else f"r{page.next}"
    if following is not None:
        link = request.url.include_query_params(cursor=following)
        response.headers["Link"] = f'<{link.path}?{link.query}>; rel="next"'
    response.headers["Cache-Control"] = "no-cache"
    return StoreList(items=items, next=following)


@router.get(
    "/{kind}/{name}", summary="One Zarr store", responses=problem_responses(404, 409, 410, 422, 503)
)
def get_store_entry(
    request: Request, response: Response, services: ServicesDep, kind: Kind, name: Name
) -> StoreOut:
    """Return address, times, variables and size of a store."""
    base, name = str(request.base_url).rstrip("/"), name.removesuffix(".zarr")
    response.headers["Cache-Control"] = "no-cache"
    if kind != "forecast":
        return _describe_fixed(base, find_store(services.folder, services.catalog, kind, name))
    run, statistic = find_run(services, name)
    return _describe_forecast(base, services, run, statistic)


@router.get(
    "/{kind}/{name}.zarr/{path:path}",
    summary="One file of a Zarr store",
    response_class=Response,
    responses=ZARR_RESPONSES,
)
def get_store_file(
    request: Request, services: ServicesDep, kind: Kind, name: Name, path: Key
) -> Response:
    """Return a file of a store, or a range of it: ``xarray.open_zarr("http://…/NAME.zarr")``."""
    if kind != "forecast":
        found = find_store(services.folder, services.catalog, kind, name)
        return growing_file(request, found, path)
    run, statistic = find_run(services, name)
    return finished_file(request, services, run, statistic, path)


def find_run(services: Services, name: str) -> tuple[Run, str | None]:
    """Return the finished run that ``ID`` or ``ID.spread`` names, and the statistic.

    Parameters
    ----------
    services
        Services of the application.
    name
        Run id, followed by a dot and the name of a statistic for one of these.

    Returns
    -------
    tuple
        The run, and the statistic or None.

    Raises
    ------
    NotFoundError
        If there is no such run. As in :func:`service.dependencies.get_store` if it has no result.
    """
    run_id, _, statistic = name.partition(".")
    if run_id == "latest":
        raise NotFoundError(
            "`latest` is another store after each run",
            field="name",
            hint="GET /v1/forecasts/latest names the newest run",
        )
    run = services.catalog.runs.get(run_id)
    get_store(services, run, statistic or None)
    return run, statistic or None


def finished_file(
    request: Request, services: Services, run: Run, statistic: str | None, path: str
) -> Response:
    """Return a file of a finished run or of one of its statistics, which never changes."""
    store = run.id if statistic is None else f"{run.id}.{statistic}"
    files = list_files(services.folder.forecast(store), str(run.finished_at))
    file = files.find(path, f"run {store}")
    headers = {
        "ETag": make_etag("zarr", store, run.finished_at, path),
        "Cache-Control": IMMUTABLE,
        **last_modified(run.finished_at),
    }
    return _send(request, file, headers)


def growing_file(request: Request, store: ServedStore, path: str) -> Response:
    """Return a file of an analysis or climatology, which may be another one later."""
    file = list_files(store.root).find(path, f"{store.kind} {store.name}")
    status = file.stat()
    headers = {
        # A changed file is a new one that is renamed.
        "ETag": make_etag("zarr", status.st_mtime_ns, status.st_size, status.st_ino),
        "Cache-Control": "no-cache",
        **last_modified(datetime.fromtimestamp(status.st_mtime, UTC)),
    }
    return _send(request, file, headers)


def _send(request: Request, file: FilePath, headers: dict[str, str]) -> Response:
    media_type = "application/json" if file.suffix == ".json" else "application/octet-stream"
    return not_modified(request, headers) or RangedFile(
        file, media_type=media_type, headers=headers
    )


def _read_cursor(cursor: str | None) -> tuple[int | None, str | None]:
    """Return the position among the fixed stores, or the catalog's cursor among the runs."""
    if cursor is None:
        return 0, None
    kind, rest = cursor[:1], cursor[1:]
    if kind == "r":
        return None, rest or None
    if kind == "s" and rest.isascii() and rest.isdigit() and len(rest) < 10:
        return int(rest), None
    raise InputError("invalid cursor", field="cursor", hint="use `next` unchanged")


def store_url(base: str, kind: StoreKind, name: str) -> str:
    """Return the address of a store."""
    return f"{base}/v1/stores/{kind}/{name}.zarr"


def _describe_fixed(base: str, store: ServedStore) -> StoreOut:
    facts = describe_store(store.root)
    first, last = facts.period or (store.first_time, store.last_time)
    changed = datetime.fromtimestamp(modified_at(store.root), UTC)
    return StoreOut(
        name=store.name,
        kind=store.kind,
        statistic=None,
        url=store_url(base, store.kind, store.name),
        title=facts.title,
        nside=facts.nside,
        variables=list(facts.variables),
        times=store.times,
        first_time=first,
        last_time=last,
        lead_hours=None,
        nbytes=list_files(store.root).nbytes,
        updated_at=str(format_utc(changed)),
        links={"self": f"/v1/stores/{store.kind}/{store.name}"},
    )


def _describe_run_stores(base: str, services: Services, run: Run) -> list[StoreOut]:
    """Return the stores of a run: its own, then its statistics; none if they are damaged."""
    names: list[str | None] = [None, *statistics_of(services.folder, run.id)]
    return _readable(partial(_describe_forecast, base, services, run, name) for name in names)


def _readable(makers: Iterable[Callable[[], StoreOut]]) -> list[StoreOut]:
    """Return the descriptions that can be made; a damaged store is left out of lists."""
    found = []
    for make in makers:
        with suppress(ProblemError):
            found.append(make())
    return found


def _describe_forecast(base: str, services: Services, run: Run, statistic: str | None) -> StoreOut:
    name = run.id if statistic is None else f"{run.id}.{statistic}"
    root = services.folder.forecast(name)
    facts = describe_store(root)
    if statistic is None and nature_of(services.folder, run).members is not None:
        statistic = "mean"
    return StoreOut(
        name=name,
        kind="forecast",
        statistic=statistic,
        url=store_url(base, "forecast", name),
        title=facts.title,
        nside=facts.nside,
        variables=list(facts.variables),
        times=1,
        first_time=to_iso(run.init_time),
        last_time=to_iso(run.init_time + np.timedelta64(run.lead_hours, "h")),
        lead_hours=run.lead_hours,
        nbytes=list_files(root, str(run.finished_at)).nbytes,
        updated_at=str(format_utc(run.finished_at)),
        links={"self": f"/v1/stores/forecast/{name}", "run": f"/v1/forecasts/{run.id}"},
    )
