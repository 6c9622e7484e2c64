"""Forecast runs: ask for one, list them, watch one, stop one."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from pear.errors import InputError
from pipelines.catalog import Run, Status
from pipelines.catalog.retention import remove_run
from service.api.schemas import (
    EventOut,
    ForecastRequest,
    ProgressOut,
    RunList,
    RunOut,
    UtcTime,
    model_time,
    wall_clock,
)
from service.dependencies import RunDep, Services, ServicesDep
from service.http.problems import ProblemError, documented

router = APIRouter(prefix="/v1/forecasts", tags=["forecasts"])
_POLL_SECONDS = 0.5
_PING_SECONDS = 15.0
_RETRY_SECONDS = 2
_LONGEST_WAIT = 60


def run_out(services: Services, run: Run) -> RunOut:
    """Describe a run, with its place in the queue."""
    return RunOut.of(
        run, services.catalog.queue_position(run.id) if run.status == "queued" else None
    )


@router.post(
    "",
    summary="Ask for a forecast",
    status_code=202,
    responses={
        200: {"model": RunOut, "description": "The run exists: the same request is the same run."},
        202: {
            "model": RunOut,
            "description": "Accepted: watch `Location`.",
            "headers": {
                "Location": {"description": "The run.", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
            },
        },
        **documented(400, 404, 413, 422, 429, 503),
    },
)
async def submit_forecast(
    body: ForecastRequest,
    services: ServicesDep,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=128, description="The same key with another body is refused."),
    ] = None,
    prefer: Annotated[
        str | None,
        Header(max_length=128, description="`wait=N`: answer when it is done, or after N s."),
    ] = None,
) -> Response:
    """Queue a forecast, or return the run if the same one was asked for before.

    The answer is 202 while the run waits or works and 200 once it has succeeded.
    """
    settings = services.settings
    if not services.accepting:
        raise ProblemError(503, "PEAR is stopping", headers={"Retry-After": "10"})
    if body.lead_hours > settings.max_lead_hours:
        raise InputError(
            f"lead_hours {body.lead_hours} is too long",
            field="lead_hours",
            hint=f"at most {settings.max_lead_hours}",
        )
    if idempotency_key is not None:
        services.check_idempotency_key(idempotency_key, body.model_dump_json())
    run = await to_thread.run_sync(_request, services, body)
    headers = {"Location": f"/v1/forecasts/{run.id}", "Cache-Control": "no-store"}
    seconds = _wait_seconds(prefer)
    if seconds and run.status.is_active:
        run = await _finished(services, run, seconds)
        headers["Preference-Applied"] = f"wait={seconds}"
    if run.status.is_active:
        headers["Retry-After"] = str(_RETRY_SECONDS)
    document = await to_thread.run_sync(run_out, services, run)
    return JSONResponse(
        document.model_dump(), 202 if run.status.is_active else 200, headers=headers
    )


def _request(services: Services, body: ForecastRequest) -> Run:
    run, _ = services.engine.request_forecast(
        model_time(body.init_time),
        body.lead_hours,
        model=body.model,
        analysis=body.analysis,
        options=body.options(),
    )
    return run


def _wait_seconds(prefer: str | None) -> int:
    """Seconds from ``Prefer: wait=N``; a preference that cannot be read is ignored (RFC 7240)."""
    match = re.search(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])", prefer or "", re.ASCII)
    return min(int(match[1]), _LONGEST_WAIT) if match else 0


async def _finished(services: Services, run: Run, seconds: int) -> Run:
    """Return the run when it has ended, or as it is after so many seconds."""
    with anyio.move_on_after(seconds):
        while run.status.is_active and services.accepting:
            await anyio.sleep(_POLL_SECONDS / 2)
            run = await to_thread.run_sync(services.catalog.runs.get, run.id)
    return run


@router.get("", summary="Runs, newest first", responses=documented(422, 503))
def list_forecasts(
    request: Request,
    response: Response,
    services: ServicesDep,
    status: Annotated[Status | None, Query(description="Only runs in this state.")] = None,
    model: Annotated[
        str | None, Query(max_length=128, description="Only runs of this model.")
    ] = None,
    init_time: Annotated[
        UtcTime | None, Query(description="Only runs from this init time, UTC.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Runs on a page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=256, description="`next` of the page before.")
    ] = None,
) -> RunList:
    """One page of runs; `next` and the Link header lead to the next page."""
    page = services.catalog.runs.page(
        status=status,
        model=model,
        limit=limit,
        cursor=cursor,
        init_time=None if init_time is None else model_time(init_time),
    )
    if page.next is not None:
        link = request.url.include_query_params(cursor=page.next)
        response.headers["Link"] = f'<{link.path}?{link.query}>; rel="next"'
    return RunList(items=[run_out(services, run) for run in page.items], next=page.next)


@router.get("/{run_id}", summary="One run", responses=documented(404, 422, 503))
def get_forecast(response: Response, services: ServicesDep, run: RunDep) -> RunOut:
    """Status, progress, times and links of a run; `latest` is the newest finished one."""
    response.headers["Cache-Control"] = "no-cache"
    if run.finished_at is not None:
        response.headers["Last-Modified"] = run.finished_at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return run_out(services, run)


@router.delete(
    "/{run_id}",
    summary="Remove the result of a run",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "Removed; the run is `expired`."},
        **documented(404, 409, 422, 503),
    },
)
def delete_forecast(services: ServicesDep, run: RunDep) -> Response:
    """Remove the stores of a finished run; 409 while it works or is being read."""
    if run.status.is_active:
        raise ProblemError(409, f"run {run.id} is {run.status}", hint="cancel it first")
    if run.status in (Status.SUCCEEDED, Status.EXPIRED):
        remove_run(services.folder, services.catalog, run.id)
    services.forget(run.id)
    return Response(status_code=204)


@router.get("/{run_id}/log", summary="Log of a run", responses=documented(404, 422, 503))
def get_log(services: ServicesDep, run: RunDep) -> list[EventOut]:
    """What happened to the run, oldest first."""
    return [
        EventOut(
            at=str(wall_clock(event.at)),
            level=event.level,
            message=event.message,
            details=dict(event.details),
        )
        for event in services.catalog.runs.events(run.id)
    ]


@router.post("/{run_id}/cancel", summary="Stop a run", responses=documented(404, 409, 422, 503))
def cancel_forecast(services: ServicesDep, run: RunDep) -> RunOut:
    """Stop a queued run at once, a running one before its next step; 409 if it has ended."""
    services.engine.cancel(run.id)
    return run_out(services, services.catalog.runs.get(run.id))


@router.get(
    "/{run_id}/events",
    summary="Progress of a run as server-sent events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "`progress` until `end`."},
        **documented(404, 422, 503),
    },
)
def watch_forecast(services: ServicesDep, run: RunDep) -> StreamingResponse:
    """Send `progress` with every change and `end` with the last state, then close."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(services, run.id), media_type="text/event-stream", headers=headers
    )


async def _events(services: Services, run_id: str) -> AsyncIterator[str]:
    last: tuple[Any, ...] | None = None
    silent = 0.0
    while True:
        run = await to_thread.run_sync(services.catalog.runs.get, run_id)
        now = (run.status, run.progress.step, run.progress.total)
        if now != last:
            document = {
                "id": run.id,
                "status": run.status,
                "reason": run.reason,
                "progress": ProgressOut.of(run).model_dump(),
            }
            kind = "progress" if run.status.is_active else "end"
            yield f"event: {kind}\ndata: {json.dumps(document)}\n\n"
            last, silent = now, 0.0
        elif silent >= _PING_SECONDS:
            yield ": still here\n\n"
            silent = 0.0
        if not run.status.is_active or not services.accepting:
            return
        await anyio.sleep(_POLL_SECONDS)
        silent += _POLL_SECONDS
