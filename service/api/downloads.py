"""Downloads of a run: as one file, or as a Zarr store over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from starlette.types import Receive, Scope, Send

from service.api.stores import BINARY, FILE_RESPONSES, ZARR_RESPONSES, Key, finished_file
from service.dependencies import RunDep, Services, ServicesDep, Statistic, StoreDep
from service.http.caching import RENDERED, last_modified, make_answer_etag, not_modified
from service.http.errors import ProblemError
from service.http.files import RangedFile
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.readers.disk import check_space, disk_problem
from service.readers.export import (
    MEDIA_TYPES,
    SUFFIXES,
    Format,
    Selection,
    TimeAxis,
    export,
    remove_export,
)
from service.readers.forecasts import ForecastStore
from service.readers.label import label_of

router = APIRouter(prefix="/v1/forecasts", route_class=GuardedRoute)
_EXPORT_SECONDS: Final = 600.0


class _TemporaryFileResponse(RangedFile):
    """A file that is deleted once it was sent, refused (bad Range) or abandoned by the client.

    A background task would run only in the first case.
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
            "content": dict.fromkeys(MEDIA_TYPES.values(), BINARY),
        },
        **FILE_RESPONSES,
        **problem_responses(400, 404, 409, 410, 413, 422, 503, 507),
    },
)
async def download(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    format: Annotated[Format, Query(description="NetCDF-4, zipped Zarr v3, or GRIB 2.")] = "netcdf",  # noqa: A002
    grid: Annotated[
        str, Query(max_length=20, description="`healpix`, or `latlon:1.5` (degrees).")
    ] = "healpix",
    variables: Annotated[
        str | None, Query(max_length=2000, description="Comma-separated names (default: all).")
    ] = None,
    lead_times: Annotated[
        str | None, Query(max_length=4000, description="Comma-separated hours (default: all).")
    ] = None,
    bbox: Annotated[
        str | None, Query(max_length=100, description="west,south,east,north in degrees.")
    ] = None,
    time_axis: Annotated[
        TimeAxis, Query(description="`lead`: init and lead time; `valid`: one axis of valid times.")
    ] = "lead",
) -> Response:
    """Return one file with the selected variables, lead times and region."""
    selection = Selection.from_request(store, variables, lead_times, grid, bbox, time_axis)
    selection.require(format)
    size, limit = selection.nbytes(store), services.settings.max_download_bytes
    if size > limit:
        raise ProblemError(
            413,
            f"the download has {size} bytes, limit {limit}",
            field="variables",
            hint="select fewer variables or lead times, a coarser grid, or open the Zarr store",
        )
    etag = make_answer_etag("download", store.run, run.finished_at, selection, format)
    headers = {"ETag": etag, "Cache-Control": RENDERED} | last_modified(run.finished_at)
    headers |= label_of(services.folder, run, store).headers()
    unchanged = not_modified(request, headers)
    if unchanged is not None:
        return unchanged

    def make() -> Path:
        return _write(services, store, selection, run.model, format)

    return _TemporaryFileResponse(
        await services.heavy.run(make),
        media_type=MEDIA_TYPES[format],
        filename=f"{store.run}.{SUFFIXES[format]}",
        headers=headers,
    )


def _write(
    services: Services,
    store: ForecastStore,
    selection: Selection,
    model: str,
    format: Format,  # noqa: A002
) -> Path:
    try:
        check_space(services.downloads.scratch, selection.nbytes(store))
        target = services.downloads.new_file(SUFFIXES[format])
    except OSError as error:
        raise (disk_problem(error, services.downloads.scratch) or error) from error
    path, about = services.folder.forecast(store.run), (store.run, model)
    try:
        services.workers.call(_EXPORT_SECONDS, export, path, selection, about, target, format)
    except BaseException:
        remove_export(target)  # of a worker that died
        raise
    return target


@router.get(
    "/{run_id}/zarr/{path:path}",
    tags=["stores"],
    summary="One file of the run's Zarr store",
    response_class=Response,
    responses=ZARR_RESPONSES,
)
def get_zarr_file(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    _store: StoreDep,
    path: Key,
    statistic: Statistic = None,
) -> Response:
    """Return a file of the store, or a range of it: ``xarray.open_zarr("http://…/zarr")``."""
    return finished_file(request, services, run, statistic, path)
