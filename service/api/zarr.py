"""A finished run as a Zarr store over HTTP: ``xarray.open_zarr("http://…/zarr")``."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from service.dependencies import RunDep, ServicesDep, StoreDep
from service.http.caching import IMMUTABLE, etag_of, matches_etag
from service.http.problems import ProblemError, documented

router = APIRouter(prefix="/v1/forecasts", tags=["zarr"])
_BINARY = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "application/json": {"schema": {"type": "object"}},
}


@router.head("/{run_id}/zarr/{path:path}", include_in_schema=False)
@router.get(
    "/{run_id}/zarr/{path:path}",
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
    found: ServicesDep,
    run: RunDep,
    store: StoreDep,
    path: Annotated[
        str, Path(description="Key of the store.", max_length=512, examples=["zarr.json"])
    ],
) -> Response:
    """Read a file of the store; Range is honoured, so a client reads single chunks of a shard."""
    root = found.folder.forecast(store.run)
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
def _files(root: FilePath, _version: str) -> dict[str, FilePath]:
    """Every plain file of a store by its key; links are left out."""
    found: dict[str, FilePath] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = FilePath(folder) / name
            if not path.is_symlink():
                found[path.relative_to(root).as_posix()] = path
    return found
