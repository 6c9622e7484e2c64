"""New and finished runs as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pear.errors import InputError
from pear.times import to_iso
from pipelines.catalog import RunEvent
from service.api.schemas import format_utc
from service.dependencies import Services, ServicesDep
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.readers.run_feed import RunFeed

router = APIRouter(prefix="/v1/events", tags=["forecasts"], route_class=GuardedRoute)
_RETRY_MILLISECONDS: Final = 3000
_DIGITS: Final = 18


class _Stream(StreamingResponse):
    """A stream that takes a seat among the listeners for as long as it is sent."""

    def __init__(self, feed: RunFeed, content: AsyncIterator[str]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._feed.seat():
            await super().__call__(scope, receive, send)


@router.get(
    "",
    summary="New and finished runs as server-sent events",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "Events `queued`, `started`, `succeeded`, `failed`, `cancelled` and "
            "`expired`, each with a number; `reset`: some were left out, list the runs again.",
        },
        **problem_responses(422, 503),
    },
)
async def stream_run_events(
    services: ServicesDep,
    last_event_id: Annotated[
        str | None,
        Header(
            max_length=_DIGITS,
            examples=["1"],
            description="Number of the last event received: the stream resumes behind it.",
        ),
    ] = None,
) -> StreamingResponse:
    """Send an event for each run that is submitted or ends, until the client hangs up."""
    last = None
    if last_event_id is not None:
        if not (last_event_id.isascii() and last_event_id.isdigit()):
            raise InputError(
                "not the number of an event", field="Last-Event-ID", hint="use `id` unchanged"
            )
        last = int(last_event_id)
    feed = services.run_feed
    feed.require_seat()
    return _Stream(feed, _generate(services, feed, last))


async def _generate(services: Services, feed: RunFeed, last: int | None) -> AsyncIterator[str]:
    yield f"retry: {_RETRY_MILLISECONDS}\n\n"
    async for event in feed.listen(last, lambda: services.accepting):
        match event:
            case None:
                yield ": keep-alive\n\n"
            case int():
                yield f"id: {event}\nevent: reset\ndata: {{}}\n\n"
            case _:
                yield _encode(event)


def _encode(event: RunEvent) -> str:
    run = event.run
    if run is None:
        return ""
    document = {
        "id": run.id,
        "event": event.kind,
        "at": format_utc(event.at),
        "init_time": to_iso(run.init_time),
        "lead_hours": run.lead_hours,
        "model": run.model,
        "href": f"/v1/forecasts/{run.id}",
    }
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(document)}\n\n"
