"""Downloads: part of a run, or all of it, as one file."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from service.dependencies import RunDep, Services, ServicesDep, StoreDep
from service.http.caching import IMMUTABLE, etag_of, matches_etag
from service.http.problems import ProblemError, documented
from service.readers.export import MEDIA_TYPES, SUFFIXES, Format, Selection, extract, write
from service.readers.forecasts import ForecastStore

router = APIRouter(prefix="/v1/forecasts", tags=["downloads"])
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
    found: ServicesDep,
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
    size, limit = chosen.bytes(store), found.settings.max_download_bytes
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
    target = _make(found, store, chosen, run.model, format)
    return _OneTimeFile(target, media_type=MEDIA_TYPES[format], filename=name, headers=headers)


def _make(
    found: Services, store: ForecastStore, chosen: Selection, model: str, kind: Format
) -> Path:
    if not _AT_ONCE.acquire(timeout=10):
        raise ProblemError(503, "too many downloads at once", headers={"Retry-After": "10"})
    target = found.folder.scratch / f"download-{uuid.uuid4().hex}.{SUFFIXES[kind]}"
    try:
        write(extract(store, chosen, model), target, kind)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        _AT_ONCE.release()
    return target
