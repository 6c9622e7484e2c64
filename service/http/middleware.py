"""What goes round every answer: request id, security headers, limits, one line of log, metrics.

Plain ASGI: a middleware that wraps the body stream would cost more than a cached answer does.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from typing import Any, Final

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.metrics import Metrics
from service.http.problems import ProblemError, problem_response

_BODY_SECONDS: Final = 30.0
_LOG = logging.getLogger("pear.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EMPTY_STYLE: Final = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""Hash of the empty text: plotly makes an empty style element and fills it by the CSSOM."""
CONTENT_POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'; script-src 'self'; "
    f"style-src 'self' {_EMPTY_STYLE}"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Max-Age": "86400",
    "Access-Control-Allow-Headers": "Range, X-API-Key, If-None-Match",
}
RawHeaders = list[tuple[bytes, bytes]]


def _raw(headers: dict[str, str]) -> RawHeaders:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_SECURITY: Final = _raw(SECURITY_HEADERS)


def _log_line(scope: Scope, route: str, status: int, seconds: float, request_id: str) -> str:
    """One line of JSON about one request; the path is escaped, so that it stays one line."""
    return json.dumps(
        {
            "event": "request",
            "method": scope["method"],
            "path": scope["path"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1e3, 1),
            "request_id": request_id,
        }
    )


def _name(host: str) -> str:
    """Host without its port; brackets of IPv6 stay."""
    return host.rpartition(":")[0] if re.fullmatch(r".*:\d+", host) else host


class RequestMiddleware:
    """Outermost layer of the application.

    Parameters
    ----------
    app
        What answers.
    metrics
        Where requests are counted.
    max_body, max_query
        Bytes; beyond them 413 and 414.
    hosts
        Names by which the service may be addressed; empty for any. On loopback this keeps pages
        of the web from reaching it under a name of their own.
    cors_origins
        Origins whose pages may read answers.
    max_at_once
        Requests under way; beyond them 503, except for /healthz.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        max_body: int,
        max_query: int,
        hosts: frozenset[str],
        cors_origins: tuple[str, ...],
        max_at_once: int,
    ) -> None:
        self._app, self._metrics = app, metrics
        self._max_body, self._max_query = max_body, max_query
        self._hosts, self._origins = hosts, cors_origins
        self._at_once, self._most_at_once = 0, max_at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["pear_request_id"] = request_id
        status = 500

        async def wrapped_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    *_SECURITY,
                    *self._cors(headers),
                    (b"x-request-id", request_id.encode()),
                    *(_raw(scope.get("pear_limits") or {})),
                ]
            await send(message)

        self._at_once += 1
        try:
            refusal = self._refuse(scope, headers)
            if refusal is None:
                await self._app(scope, self._limited(receive), wrapped_send)
            else:
                await refusal(scope, receive, wrapped_send)
        except ProblemError as error:  # from the fast lane, which lies outside FastAPI
            answer = problem_response(
                Request(scope),
                error.status,
                error.detail,
                field=error.field,
                hint=error.hint,
                headers=error.headers,
            )
            await answer(scope, receive, wrapped_send)
        finally:
            self._at_once -= 1
            seconds = time.perf_counter() - started
            route = str(scope.get("pear_route") or getattr(scope.get("route"), "path", "other"))
            self._metrics.observe(str(scope["method"]), route, status, seconds)
            if _LOG.isEnabledFor(logging.INFO):
                _LOG.info(_log_line(scope, route, status, seconds, request_id))

    def _refuse(self, scope: Scope, headers: Headers) -> Any | None:
        request = Request(scope)
        if self._at_once > self._most_at_once and scope["path"] != "/healthz":
            return problem_response(
                request,
                503,
                f"{self._most_at_once} requests are under way",
                headers={"Retry-After": "1"},
            )
        if len(scope.get("query_string", b"")) > self._max_query:
            return problem_response(
                request, 414, f"the query is longer than {self._max_query} bytes"
            )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_body:
            return self._too_large(scope)
        named = headers.getlist("host")
        if len(named) > 1:
            return problem_response(request, 421, "two hosts are named", field="Host")
        host = named[0] if named else ""
        if self._hosts and _name(host) not in self._hosts:
            return problem_response(
                request,
                421,
                "this service does not go by that name",
                field="Host",
                hint="PEAR_ALLOWED_HOSTS names others",
            )
        origin = headers.get("origin")
        changes = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and origin is not None and origin.partition("://")[2] != host:
            return problem_response(
                request, 403, "pages of another origin may read, not write", field="Origin"
            )
        if scope["method"] == "OPTIONS" and origin is not None:
            return Response(status_code=204, headers=_PREFLIGHT)
        return None

    def _cors(self, headers: Headers) -> RawHeaders:
        origin = headers.get("origin")
        if origin is None or ("*" not in self._origins and origin not in self._origins):
            return []
        allowed = b"*" if "*" in self._origins else origin.encode("latin-1")
        return [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", b"*"),
            (b"vary", b"Origin"),
        ]

    def _too_large(self, scope: Scope) -> Any:
        return problem_response(
            Request(scope), 413, f"the body is larger than {self._max_body} bytes", field="body"
        )

    def _limited(self, receive: Receive) -> Receive:
        """Count the body as it arrives (a chunked request names no length) and set it a time."""
        seen, whole = 0, False
        until = anyio.current_time() + _BODY_SECONDS

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:  # what is still waited for is the end of the connection
                return await receive()
            with anyio.move_on_after(max(0.0, until - anyio.current_time())) as waiting:
                message = await receive()
            if waiting.cancelled_caught:
                raise HTTPException(408, f"the body took longer than {_BODY_SECONDS:g} s")
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self._max_body:
                # FastAPI lets this one through while it reads a body; others would become a 400.
                raise HTTPException(413, f"the body is larger than {self._max_body} bytes")
            return message

        return counted
