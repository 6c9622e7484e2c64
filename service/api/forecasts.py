"""Forecast runs: submit, list, follow, cancel and remove them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import anyio
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from pear.errors import InputError
from pear.times import to_iso
from pipelines.catalog import RESUBMITTABLE, Run, Status
from pipelines.catalog.retention import remove_run
from service.api.schemas import (
    EnsembleOut,
    EventOut,
    ForecastRequest,
    ProgressOut,
    RunList,
    RunOut,
    SpreadSkillOut,
    UtcTime,
    to_model_time,
)
from service.dependencies import RunDep, Services, ServicesDep, find_listed_model
from service.http.caching import last_modified
from service.http.errors import ProblemError
from service.http.idempotency import share_idempotency_key
from service.http.paths import hide_paths
from service.http.problems import problem_responses
from service.http.request_state import RequestState
from service.http.routing import GuardedRoute
from service.readers.counterfactuals import pair_of
from service.readers.nature import (
    describe_members,
    nature_of,
    notes_of,
    spread_skill_of,
)

router = APIRouter(prefix="/v1/forecasts", tags=["forecasts"], route_class=GuardedRoute)
_POLL_SECONDS: Final = 0.5
_PING_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 2
_MAX_WAIT_SECONDS: Final = 60
_SETTLED_SECONDS: Final = 2


def describe_run(services: Services, run: Run, *, listed: bool = False) -> RunOut:
    """Return a run as the API shows it, with its place in the queue; in lists without others."""
    queued = run.status is Status.QUEUED
    position = services.catalog.queue_position(run.id) if queued else None
    folder, nature = services.folder, nature_of(services.folder, run)
    ensemble, members = None, nature.members
    if members is not None:
        measured = spread_skill_of(folder, run)
        ensemble = EnsembleOut(
            members=members or None,
            note=describe_members(folder, run),
            spread_skill=None if measured is None else SpreadSkillOut(**asdict(measured)),
        )
    pair = pair_of(folder, services.catalog, run, listed=listed)
    notes = notes_of(folder, run)
    return RunOut.from_run(run, position, notes, ensemble, pair, nature)


@router.post(
    "",
    summary="Submit a forecast",
    status_code=202,
    responses={
        200: {"model": RunOut, "description": "The run has finished; equal requests share a run."},
        202: {
            "model": RunOut,
            "description": "Accepted: follow `Location`.",
            "headers": {
                "Location": {"description": "The run.", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
            },
        },
        **problem_responses(400, 404, 413, 422, 429, 503, 507),
    },
)
async def submit_forecast(
    request: Request,
    body: ForecastRequest,
    services: ServicesDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=128,
            description="Refused if it was sent with another body before.",
            examples=["daily-2006-11-20"],
        ),
    ] = None,
    prefer: Annotated[
        str | None,
        Header(
            max_length=128, description="`wait=N`: wait up to N seconds for the end of the run."
        ),
    ] = None,
) -> Response:
    """Queue a forecast, or return the run of an equal request: 202 while it is active, else 200."""
    if not services.accepting:
        raise ProblemError(503, "PEAR is stopping", headers={"Retry-After": "10"})
    services.check_lead_hours(body.lead_hours)
    client = RequestState.from_scope(request.scope).client
    with services.idempotency.use(client, idempotency_key, body.model_dump_json()):
        run = await to_thread.run_sync(_submit_once, services, body, client, idempotency_key)
    headers = {"Location": f"/v1/forecasts/{run.id}", "Cache-Control": "no-store"}
    seconds = _parse_wait(prefer)
    if seconds and run.status.is_active:
        run = await _wait_for_end(services, run, seconds)
        headers["Preference-Applied"] = f"wait={seconds}"
    if run.status.is_active:
        headers["Retry-After"] = str(_RETRY_SECONDS)
    document = await to_thread.run_sync(describe_run, services, run)
    status = 202 if run.status.is_active else 200
    return JSONResponse(document.model_dump(), status, headers=headers)


def _submit_once(
    services: Services, body: ForecastRequest, client: str, idempotency_key: str | None
) -> Run:
    with share_idempotency_key(
        services.catalog.clients, client, idempotency_key, body.model_dump_json()
    ):
        return _submit(services, body)


def _submit(services: Services, body: ForecastRequest) -> Run:
    *_, submission = services.engine.submit_forecasts(
        to_model_time(body.init_time), body.lead_hours, model=body.model, options=body.to_dict()
    )
    return submission.run


def _parse_wait(prefer: str | None) -> int:
    """Return N of ``Prefer: wait=N``, or 0; unknown preferences are ignored (RFC 7240)."""
    match = re.search(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])", prefer or "", re.ASCII)
    return min(int(match[1]), _MAX_WAIT_SECONDS) if match else 0


async def _wait_for_end(services: Services, run: Run, seconds: int) -> Run:
    """Return the run once it has ended, or after some seconds as it is then."""
    with anyio.move_on_after(seconds):
        while run.status.is_active and services.accepting:
            await anyio.sleep(_POLL_SECONDS / 2)
            run = await to_thread.run_sync(services.catalog.runs.get, run.id)
    return run


@router.get("", summary="List runs", responses=problem_responses(422, 503))
def list_forecasts(
    request: Request,
    response: Response,
    services: ServicesDep,
    status: Annotated[Status | None, Query(description="Only runs with this status.")] = None,
    model: Annotated[
        str | None,
        Query(max_length=128, description="Only runs of this model, by id or name."),
    ] = None,
    init_time: Annotated[
        UtcTime | None, Query(description="Only runs from this init time, UTC.")
    ] = None,
    init_from: Annotated[
        UtcTime | None, Query(description="Only runs from this init time or later, UTC.")
    ] = None,
    init_until: Annotated[
        UtcTime | None, Query(description="Only runs from this init time or earlier, UTC.")
    ] = None,
    since: Annotated[
        UtcTime | None,
        Query(description="Only runs that were submitted, changed or ended at this time or later."),
    ] = None,
    sort: Annotated[
        Literal["submitted", "init_time"],
        Query(description="Order: the last submitted first, or the newest init time first."),
    ] = "submitted",
    limit: Annotated[int, Query(ge=1, le=500, description="Runs per page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=256, description="`next` of the previous page.")
    ] = None,
) -> RunList:
    """Return one page of runs, by `sort`; `next` and the Link header lead to the next page."""
    if init_from is not None and init_until is not None and init_from > init_until:
        raise InputError(
            f"init_from {to_iso(to_model_time(init_from))} is after init_until "
            f"{to_iso(to_model_time(init_until))}",
            field="init_from",
            hint="exchange the two",
        )
    page = services.catalog.runs.page(
        status=status,
        model=find_listed_model(services, model, services.catalog.runs),
        limit=limit,
        cursor=cursor,
        init_time=None if init_time is None else to_model_time(init_time),
        init_range=(
            None if init_from is None else to_model_time(init_from),
            None if init_until is None else to_model_time(init_until),
        ),
        since=since,
        by_init=sort == "init_time",
    )
    if page.next is not None:
        link = request.url.include_query_params(cursor=page.next)
        response.headers["Link"] = f'<{link.path}?{link.query}>; rel="next"'
    if not any(
        run.status.is_active for run in page.items
    ):  # progress and queue go on by the second
        response.headers.update(_last_change(services))
    items = [describe_run(services, run, listed=True) for run in page.items]
    return RunList(items=items, next=page.next)


def _last_change(services: Services) -> dict[str, str]:
    """Return `Last-Modified` of lists; none within seconds of a change, when more may follow."""
    changed = services.catalog.runs.last_change()
    if changed is None or (datetime.now(UTC) - changed).total_seconds() < _SETTLED_SECONDS:
        return {}
    return last_modified(changed)


@router.get("/{run_id}", summary="One run", responses=problem_responses(404, 422, 503))
def get_forecast(response: Response, services: ServicesDep, run: RunDep) -> RunOut:
    """Return status, progress, times and links of a run; `latest` is the newest finished one."""
    response.headers["Cache-Control"] = "no-cache"
    document = describe_run(services, run)
    if run.finished_at is not None and not document.counterfactuals:  # which come later
        response.headers.update(last_modified(run.finished_at))
    return document


@router.delete(
    "/{run_id}",
    summary="Remove the result of a run",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "Removed; the run is `expired`."},
        **problem_responses(404, 409, 422, 503, 507),
    },
)
def delete_forecast(services: ServicesDep, run: RunDep) -> Response:
    """Remove what a run that has ended wrote; 409 while it is active or being read."""
    if run.status.is_active:
        raise ProblemError(409, f"run {run.id} is {run.status}", hint="cancel it first")
    remove_run(services.folder, services.catalog, run.id)
    services.cache.drop(run.id)
    return Response(status_code=204)


@router.get("/{run_id}/log", summary="Log of a run", responses=problem_responses(404, 422, 503))
def get_log(services: ServicesDep, run: RunDep) -> list[EventOut]:
    """Return the run's event log, oldest first."""
    return [EventOut.from_event(event) for event in services.catalog.runs.events(run.id)]


@router.post(
    "/{run_id}/cancel", summary="Cancel a run", responses=problem_responses(404, 409, 422, 503, 507)
)
def cancel_forecast(services: ServicesDep, run: RunDep) -> RunOut:
    """Cancel a queued run at once, a running one before its next step; 409 if it has ended."""
    services.engine.cancel(run.id)
    return describe_run(services, services.catalog.runs.get(run.id))


@router.post(
    "/{run_id}/retry",
    summary="Retry a run",
    responses=problem_responses(404, 409, 422, 429, 503, 507),
)
def retry_forecast(services: ServicesDep, run: RunDep) -> RunOut:
    """Queue a failed, cancelled or expired run again; 409 for any other."""
    if run.status not in RESUBMITTABLE:
        raise ProblemError(
            409,
            f"run {run.id} is {run.status}",
            hint="only a failed, cancelled or expired run is run again",
        )
    if not services.accepting:
        raise ProblemError(503, "PEAR is stopping", headers={"Retry-After": "10"})
    services.check_lead_hours(run.lead_hours)
    *_, submission = services.engine.submit_forecasts(
        run.init_time, run.lead_hours, model=run.model, options=dict(run.options)
    )
    if submission.run.id != run.id:  # an option has another meaning than it had
        raise ProblemError(
            409,
            f"the request of run {run.id} is that of run {submission.run.id} now, which was queued",
            hint=f"follow /v1/forecasts/{submission.run.id}",
        )
    return describe_run(services, submission.run)


@router.get(
    "/{run_id}/events",
    summary="Progress of a run as server-sent events",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "`progress` until `end`.",
        },
        **problem_responses(404, 422, 503),
    },
)
def stream_events(services: ServicesDep, run: RunDep) -> StreamingResponse:
    """Send `progress` at every change and `end` with the final state, then close the stream."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    events = _generate_events(services, run.id)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _generate_events(services: Services, run_id: str) -> AsyncIterator[str]:
    sent: tuple[Status, int, int] | None = None
    idle_seconds = 0.0
    while True:
        run = await to_thread.run_sync(services.catalog.runs.get, run_id)
        state = (run.status, run.progress.step, run.progress.total)
        if state != sent:
            document = {
                "id": run.id,
                "status": run.status,
                "reason": run.reason and hide_paths(run.reason),
                "progress": ProgressOut.from_job(run).model_dump(),
            }
            kind = "progress" if run.status.is_active else "end"
            yield f"event: {kind}\ndata: {json.dumps(document)}\n\n"
            sent, idle_seconds = state, 0.0
        elif idle_seconds >= _PING_SECONDS:
            yield ": keep-alive\n\n"
            idle_seconds = 0.0
        if not run.status.is_active or not services.accepting:
            return
        await anyio.sleep(_POLL_SECONDS)
        idle_seconds += _POLL_SECONDS
