"""Middleware around every request: request id and access log, limits, allowed hosts.

Plain ASGI classes: Starlette's ``BaseHTTPMiddleware`` wraps the body stream, which costs more than
a cached response. Its ``TrustedHostMiddleware`` answers in plain text; here every error is a
problem document.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.logging import logger
from pipelines.tracing import PARENT, request_span
from service.http.errors import ProblemError
from service.http.links import hide_token
from service.http.metrics import Metrics
from service.http.problems import problem_response, to_problem
from service.http.request_state import RequestState, encode_headers
from service.http.security import client_address

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_BODY_SECONDS: Final = 30.0
_PROBES: Final = frozenset({"/healthz", "/readyz"})
_LOG = logger()
CONTENT_POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'; script-src 'self'; style-src 'self'"
)
SECURITY_HEADERS: Final = encode_headers(
    {
        "Content-Security-Policy": CONTENT_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",  # without a referrer forms have Origin: null
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(self), microphone=()",
    }
)


class AccessLog:
    """Give every request an id, add the common headers, and log, count and time the request.

    The outermost layer: an exception that nothing else handles becomes a 500 problem here.

    Parameters
    ----------
    app
        The next ASGI application.
    metrics
        Metrics that count the requests.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = RequestState.attach(scope)
        parent = state.request_headers.get(PARENT.encode(), b"").decode("latin-1")
        with request_span(str(scope["method"]), {PARENT: parent}) as span:
            await self._handle(scope, receive, send, state, span)

    async def _handle(
        self, scope: Scope, receive: Receive, send: Send, state: RequestState, span: Span | None
    ) -> None:
        started_at = time.perf_counter()
        state.headers = [*SECURITY_HEADERS, (b"x-request-id", state.request_id.encode())]
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                added = (pair for pair in state.headers if pair[0] not in own)
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if status:  # too late for another response
                raise
            response = problem_response(Request(scope), to_problem(error))
            await response(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started_at
            route = str(state.route or getattr(scope.get("route"), "path", "other"))
            self._metrics.observe(str(scope["method"]), route, status or 500, seconds)
            if span is not None:
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes(
                    {
                        "http.request.method": str(scope["method"]),
                        "http.route": route,
                        "http.response.status_code": status or 500,
                        "pear.request_id": state.request_id,
                    }
                )
            if _LOG.isEnabledFor(logging.INFO):
                _LOG.info(
                    "request",
                    method=scope["method"],
                    path=hide_token(scope["path"]),
                    route=route,
                    status=status or 500,
                    ms=round(seconds * 1e3, 1),
                    request_id=state.request_id,
                )


class Limits:
    """Refuse requests that are too large, too slow, or too many at once.

    Parameters
    ----------
    app
        The next ASGI application.
    max_body_bytes, max_query_bytes
        Largest request body and query string; larger ones get 413 and 414.
    max_concurrent
        Requests handled at once; more get 503, except for ``/healthz`` and ``/readyz``.
    max_per_client
        Of these, requests from one address; more get 429.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        max_query_bytes: int,
        max_concurrent: int,
        max_per_client: int,
    ) -> None:
        self._app = app
        self._of_client: Counter[str] = Counter()
        self._turn = anyio.Lock()
        self._max_of_client = max_per_client
        self._max_body, self._max_query = max_body_bytes, max_query_bytes
        self._active, self._max_active = 0, max_concurrent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = client_address(scope)
        self._active += 1
        self._of_client[client] += 1
        try:
            if scope["path"] not in _PROBES:
                await self._wait_for_turn()
            problem = self._find_problem(scope)
            if problem is None:
                await self._app(scope, self._limit_body(receive), send)
            else:
                await problem_response(Request(scope), problem)(scope, receive, send)
        finally:
            self._active -= 1
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]

    async def _wait_for_turn(self) -> None:
        """Begin one request at each turn of the event loop.

        A burst of hundreds would otherwise be begun in one turn of several seconds, in which not
        even a health check is read from its socket.
        """
        async with self._turn:
            await anyio.lowlevel.checkpoint()

    def _find_problem(self, scope: Scope) -> ProblemError | None:
        probed = scope["path"] in _PROBES  # of whoever watches the service: always answered
        if not probed and self._of_client[client_address(scope)] > self._max_of_client:
            return ProblemError(
                429,
                f"the limit of {self._max_of_client} concurrent requests of one client is reached",
                headers={"Retry-After": "1"},
            )
        if not probed and self._active > self._max_active:
            return ProblemError(
                503,
                f"the limit of {self._max_active} concurrent requests is reached",
                headers={"Retry-After": "1"},
            )
        if len(scope.get("query_string", b"")) > self._max_query:
            return ProblemError(414, f"query string is longer than {self._max_query} bytes")
        length = RequestState.from_scope(scope).request_headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            return ProblemError(413, self._too_large, field="body")
        return None

    @property
    def _too_large(self) -> str:
        return f"request body is larger than {self._max_body} bytes"

    def _limit_body(self, receive: Receive) -> Receive:
        """Count the body as it arrives, since a chunked one has no length, and bound its time."""
        received, complete, deadline = 0, False, None

        async def receive_limited() -> Message:
            nonlocal received, complete, deadline
            if complete:  # all that can still come is the end of the connection
                return await receive()
            deadline = deadline or anyio.current_time() + _BODY_SECONDS
            with anyio.move_on_after(max(0.0, deadline - anyio.current_time())) as waiting:
                message = await receive()
            if waiting.cancelled_caught:
                raise HTTPException(408, f"request body took longer than {_BODY_SECONDS:g} s")
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._max_body:
                # FastAPI passes an HTTPException on while it reads a body; others become a 400.
                raise HTTPException(413, self._too_large)
            return message

        return receive_limited


class HostPolicy:
    """Refuse requests that address another host, and cross-origin requests that modify.

    On loopback this keeps web pages from reaching the service through a name of their own.

    Parameters
    ----------
    app
        The next ASGI application.
    allowed_hosts
        Host names of the service; empty for any.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: frozenset[str]) -> None:
        self._app, self._allowed = app, allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        problem = self._find_problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(Request(scope), problem)(scope, receive, send)

    def _find_problem(self, scope: Scope) -> ProblemError | None:
        headers = RequestState.from_scope(scope).request_headers
        if sum(name == b"host" for name, _ in scope["headers"]) > 1:
            return ProblemError(421, "request has more than one Host header", field="Host")
        host = headers.get(b"host", b"").decode("latin-1")
        if self._allowed and re.sub(r":\d+$", "", host) not in self._allowed:
            return ProblemError(
                421,
                f"host {host!r} is not allowed",
                field="Host",
                hint="add it to PEAR_ALLOWED_HOSTS",
            )
        origin = headers.get(b"origin")
        modifies = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if modifies and origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            return ProblemError(
                403, "cross-origin requests may not modify resources", field="Origin"
            )
        return None
