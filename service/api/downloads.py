"""Downloads: part of a run, or all of it, as one file."""

from __future__ import annotations

import os
import threading
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParam
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from service.dependencies import RunDep, Services, ServicesDep, StoreDep
from service.http.caching import IMMUTABLE, etag_of, matches_etag
from service.http.problems import ProblemError, documented
from service.readers.export import MEDIA_TYPES, SUFFIXES, Format, Selection, extract, write
from service.readers.forecasts import ForecastStore

router = APIRouter(prefix="/v1/forecasts")
_AT_ONCE = threading.BoundedSemaphore(2)
"""Files made at the same time; each holds its values in memory once."""


class _OneTimeFile(FileResponse):
    """A file that is gone once it was sent, refused (a bad Range) or given up by the client.

    A background task would run in the first case only.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink(missing_ok=True)


@router.get(
    "/{run_id}/download",
    tags=["downloads"],
    summary="Download a run as one file",
    response_class=Response,
    responses={
        200: {
            "description": "The file.",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in MEDIA_TYPES.values()
            },
        },
        206: {"description": "The ranges asked for."},
        304: {"description": "You have it: finished runs never change."},
        416: {"description": "The range lies outside the file."},
        **documented(400, 404, 409, 410, 413, 422, 503),
    },
)
def download(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    format: Annotated[Format, Query(description="NetCDF-4, or a zipped Zarr v3 store.")] = "netcdf",  # noqa: A002
    grid: Annotated[
        str, Query(max_length=20, description="`healpix`, or `latlon:1.5` (degrees).")
    ] = "healpix",
    variables: Annotated[
        str | None, Query(max_length=2000, description="Comma list; all by default.")
    ] = None,
    lead_times: Annotated[
        str | None, Query(max_length=4000, description="Comma list, hours; all by default.")
    ] = None,
    bbox: Annotated[
        str | None, Query(max_length=100, description="west,south,east,north in degrees.")
    ] = None,
) -> Response:
    """Make one file of the chosen variables, lead times and area."""
    chosen = Selection.of(store, variables, lead_times, grid, bbox)
    size, limit = chosen.bytes(store), services.settings.max_download_bytes
    if size > limit:
        raise ProblemError(
            413,
            f"{size} bytes asked for, at most {limit}",
            field="variables",
            hint="ask for fewer variables or lead times, or a coarser grid; or open the Zarr store",
        )
    etag = etag_of("download", store.run, run.finished_at, chosen, format)
    name = f"{store.run}.{SUFFIXES[format]}"
    headers = {"ETag": etag, "Cache-Control": IMMUTABLE}
    if matches_etag(request, etag):
        return Response(status_code=304, headers=headers)
    target = _make(services, store, chosen, run.model, format)
    return _OneTimeFile(target, media_type=MEDIA_TYPES[format], filename=name, headers=headers)


def _make(
    services: Services, store: ForecastStore, chosen: Selection, model: str, kind: Format
) -> Path:
    if not _AT_ONCE.acquire(timeout=10):
        raise ProblemError(503, "too many downloads at once", headers={"Retry-After": "10"})
    target = services.folder.scratch / f"download-{uuid.uuid4().hex}.{SUFFIXES[kind]}"
    try:
        write(extract(store, chosen, model), target, kind)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        _AT_ONCE.release()
    return target


_BINARY = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "application/json": {"schema": {"type": "object"}},
}


@router.head("/{run_id}/zarr/{path:path}", include_in_schema=False)
@router.get(
    "/{run_id}/zarr/{path:path}",
    tags=["zarr"],
    summary="One file of the run's Zarr store",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": _BINARY},
        206: {"description": "The ranges asked for.", "content": _BINARY},
        304: {"description": "You have it: finished runs never change."},
        416: {"description": "The range lies outside the file."},
        **documented(400, 404, 409, 410, 422, 503),
    },
)
def get_zarr_file(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    path: Annotated[
        str, PathParam(description="Key of the store.", max_length=512, examples=["zarr.json"])
    ],
) -> Response:
    """Read a file of the store; Range is honoured, so a client reads single chunks of a shard."""
    root = services.folder.forecast(store.run)
    # What is asked for is looked up among what there is; it never becomes a path.
    file = _files(root, str(run.finished_at)).get(path)
    if file is None:
        raise ProblemError(404, f"the store of run {run.id} has no such key", field="path")
    etag = etag_of("zarr", store.run, run.finished_at, path)
    headers = {"ETag": etag, "Cache-Control": IMMUTABLE}
    if matches_etag(request, etag):
        return Response(status_code=304, headers=headers)
    media_type = "application/json" if path.endswith(".json") else "application/octet-stream"
    return FileResponse(file, media_type=media_type, headers=headers)


@lru_cache(maxsize=64)
def _files(root: Path, _version: str) -> dict[str, Path]:
    """Every plain file of a store by its key; links are left out."""
    found: dict[str, Path] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            if not path.is_symlink():
                found[path.relative_to(root).as_posix()] = path
    return found
