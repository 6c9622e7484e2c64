"""Answers that cannot change, sent again without routing, parsing or a database.

Finished runs never change, so the same request line has the same answer. What a handler marks with
:func:`keep` is sent again as it is, after the guard has let the request pass. Entries are looked at
again by the handler after a minute, so that a removed run is gone soon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.catalog import Run
from service.http.caching import IMMUTABLE, BoundedCache, CachedBody, etag_of, matches_etag
from service.http.permissions import RULES, RoutePolicy
from service.http.security import Guard, client_of

_TRUSTED_SECONDS: Final = 60.0


_MARK: Final = "pear_keep"


RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class CachedResponse:
    """One finished answer, ready to send."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    etag: bytes
    run: str
    rule: RoutePolicy
    route: str
    until: float

    @property
    def size(self) -> int:
        """Bytes, with room for the headers."""
        return len(self.body) + 1024


def keep(request: Request, run: str, answer: CachedBody, headers: dict[str, str]) -> None:
    """Mark the answer to this request as one that may be sent again."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    raw.append((b"content-type", answer.media_type.encode()))
    raw.append((b"content-length", str(len(answer.body)).encode()))
    request.scope[_MARK] = (run, answer.body, tuple(raw), headers["ETag"].encode())


class ResponseCacheMiddleware:
    """Sends kept answers; lets every other request go on.

    Parameters
    ----------
    app
        What answers otherwise.
    cache
        Kept answers by request line.
    guard
        Decides who may have them.
    """

    def __init__(self, app: ASGIApp, cache: BoundedCache[CachedResponse], guard: Guard) -> None:
        self._app, self._cache, self._guard = app, cache, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        line = (scope["raw_path"], scope["query_string"])
        kept = self._cache.get(line)
        if kept is not None and kept.until > time.monotonic():
            await self._send(kept, scope, send)
            return
        await self._app(scope, receive, send)
        marked = scope.get(_MARK)
        if marked is not None:
            run, body, headers, etag = marked
            route = scope["route"].path
            rule = RULES["GET", route]
            until = time.monotonic() + _TRUSTED_SECONDS
            self._cache.put(line, CachedResponse(body, headers, etag, run, rule, route, until))

    async def _send(self, kept: CachedResponse, scope: Scope, send: Send) -> None:
        headers = Headers(scope=scope)
        scope["pear_route"] = kept.route
        scope["pear_limits"] = self._guard.check(kept.rule, headers, client_of(scope))
        given = headers.get("if-none-match")
        known = given is not None and (given == "*" or kept.etag.decode() in given)
        raw = list(kept.headers)
        if known:
            raw = [(name, value) for name, value in raw if not name.startswith(b"content-")]
        await send({"type": "http.response.start", "status": 304 if known else 200, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if known else kept.body})


def immutable_answer(
    request: Request,
    cache: BoundedCache[CachedBody],
    run: Run,
    key: tuple[Hashable, ...],
    make: Callable[[], CachedBody],
    *,
    pinned: bool | None = None,
) -> Response:
    """CachedBody from the cache, or make the answer and keep it; 304 if the client holds it.

    Parameters
    ----------
    run
        A finished run, which never changes.
    key
        Everything else that determines the answer.
    pinned
        Whether the request names the run; by default whether its path does so, instead of
        ``latest``, which is another run tomorrow.
    """
    whole = (run.id, str(run.finished_at), *key)
    answer = cache.get_or(whole, make)
    if pinned is None:
        pinned = request.path_params.get("run_id") != "latest"
    control = IMMUTABLE if pinned else "no-cache"
    headers = {"ETag": etag_of(*whole), "Cache-Control": control, **dict(answer.headers)}
    if pinned:
        keep(request, run.id, answer, headers)
    if matches_etag(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type=answer.media_type, headers=headers)
