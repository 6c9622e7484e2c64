"""Cached responses of finished runs, sent without routing, parsing or a database query.

Finished runs never change, so the same request line has the same response. A handler that returns
:func:`run_response` marks such a response; the middleware then answers repeated requests itself,
after the access check. Entries expire after one minute, so deleted runs disappear promptly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.caching import (
    RENDERED,
    CacheSection,
    RunCache,
    date_matches,
    etag_matches,
    last_modified,
    make_answer_etag,
    not_modified,
)
from service.http.errors import ProblemError
from service.http.permissions import ROUTE_POLICIES, RoutePolicy
from service.http.problems import problem_response
from service.http.request_state import CacheableResponse, RequestState
from service.http.security import AccessControl, client_address, key_in_query

_LIFETIME_SECONDS: Final = 60.0


class Versioned(Protocol):
    """What responses are of: a finished run, or a store in one state."""

    @property
    def id(self) -> str:
        """Name, by which the cache drops what it keeps."""

    @property
    def finished_at(self) -> datetime | None:
        """When it was changed last."""


@dataclass(frozen=True)
class CachedBody:
    """Content of a response, its media type, and the headers that describe it."""

    content: bytes
    media_type: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Entry:
    response: CacheableResponse
    policy: RoutePolicy
    route: str
    expires_at: float


class ResponseCache:
    """Responses of finished runs: by what determines them, and by request line.

    Parameters
    ----------
    cache
        The cache of the application.
    max_bytes
        Upper bound of each of the two sections, bytes.
    """

    def __init__(self, cache: RunCache, max_bytes: int) -> None:
        self.bodies: CacheSection[CachedBody] = cache.add_section(
            max_bytes, lambda body: len(body.content) + 512
        )
        self.entries: CacheSection[_Entry] = cache.add_section(
            max_bytes, lambda entry: len(entry.response.content) + 1024
        )
        self._under_way: dict[Hashable, asyncio.Future[CachedBody]] = {}

    async def share(self, key: Hashable, make: Callable[[], Awaitable[CachedBody]]) -> CachedBody:
        """Await what ``make`` returns; equal requests at the same time share one."""
        shared = self._under_way.get(key)
        if shared is None:
            shared = self._under_way[key] = asyncio.ensure_future(make())
            shared.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(shared)


class ResponseCacheMiddleware:
    """Send cached responses; pass every other request on.

    Parameters
    ----------
    app
        The ASGI application that computes responses.
    cache
        Cached responses.
    access
        Decides who may have them.
    """

    def __init__(self, app: ASGIApp, cache: ResponseCache, access: AccessControl) -> None:
        self._app, self._entries, self._access = app, cache.entries, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        line = (scope["raw_path"], scope["query_string"])
        entry = self._entries.get(line)
        if entry is not None and entry.expires_at > time.monotonic():
            await self._send(entry, scope, receive, send)
            return
        await self._app(scope, receive, send)
        response = RequestState.from_scope(scope).cacheable
        if response is not None:
            route = scope["route"].path
            policy = ROUTE_POLICIES["GET", route]
            expires_at = time.monotonic() + _LIFETIME_SECONDS
            self._entries.put(response.run, line, _Entry(response, policy, route, expires_at))

    async def _send(self, entry: _Entry, scope: Scope, receive: Receive, send: Send) -> None:
        state, headers = RequestState.from_scope(scope), Headers(scope=scope)
        if_none_match = state.request_headers.get(b"if-none-match")
        state.route = entry.route
        try:
            if state.link_client is not None:
                granted = self._access.check_link(entry.policy, state.link_client)
            else:
                secret = key_in_query(entry.route, scope["query_string"])
                granted = self._access.check(entry.policy, headers, client_address(scope), secret)
            state.headers += granted.headers
        except ProblemError as problem:
            await problem_response(Request(scope), problem)(scope, receive, send)
            return
        response, status = entry.response, 200
        raw, content = response.headers, response.content
        same_date = if_none_match is None and date_matches(
            headers.get("if-modified-since"), Headers(raw=raw).get("last-modified")
        )
        if same_date or (
            if_none_match and etag_matches(if_none_match.decode("latin-1"), response.etag)
        ):
            status, content = 304, b""
            raw = [(name, value) for name, value in raw if not name.startswith(b"content-")]
        # A copy: layers around this one add headers to the list that they get.
        await send({"type": "http.response.start", "status": status, "headers": list(raw)})
        await send({"type": "http.response.body", "body": content})


def run_response(
    request: Request,
    cache: ResponseCache,
    run: Versioned,
    key: tuple[Hashable, ...],
    make: Callable[[], CachedBody],
    *,
    pinned: bool | None = None,
) -> Response:
    """Return the cached response, or make and cache it; 304 if the client already has it.

    Parameters
    ----------
    request
        The request.
    cache
        Cached responses.
    run
        A finished run, or a store in one state: neither changes.
    key
        Everything else that determines the response.
    make
        Computes the response.
    pinned
        True if the request names the run itself and not ``latest``, which is another run later;
        default: whether its path does.

    Returns
    -------
    Response
        With a strong ETag; kept by clients for a day if pinned.
    """
    whole = _whole_key(run, key)
    body = cache.bodies.get_or_compute(run.id, whole, make)
    return _respond(request, run, whole, body, pinned=pinned)


async def heavy_response(
    request: Request,
    cache: ResponseCache,
    run: Versioned,
    key: tuple[Hashable, ...],
    make: Callable[[], Awaitable[CachedBody]],
    *,
    pinned: bool | None = None,
) -> Response:
    """Return what :func:`run_response` does, made in the event loop's time, once for all who wait.

    Parameters
    ----------
    request, cache, run, key, pinned
        As in :func:`run_response`.
    make
        Awaits the response; equal requests at the same time share it.

    Returns
    -------
    Response
        With a strong ETag; kept by clients for a day if pinned.
    """
    whole = _whole_key(run, key)
    body = cache.bodies.get(whole)
    if body is None:
        body = cache.bodies.put(run.id, whole, await cache.share(whole, make))
    return _respond(request, run, whole, body, pinned=pinned)


def _whole_key(run: Versioned, key: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    return (run.id, str(run.finished_at), *key)


def _respond(
    request: Request,
    run: Versioned,
    whole: tuple[Hashable, ...],
    body: CachedBody,
    *,
    pinned: bool | None,
) -> Response:
    if pinned is None:
        pinned = request.path_params.get("run_id") != "latest"
    control = RENDERED if pinned else "no-cache"
    headers = {"ETag": make_answer_etag(*whole), "Cache-Control": control}
    headers |= {**last_modified(run.finished_at), **dict(body.headers)}
    response = Response(body.content, media_type=body.media_type, headers=headers)
    if pinned:
        RequestState.from_scope(request.scope).cacheable = CacheableResponse(
            run.id, body.content, list(response.raw_headers), headers["ETag"]
        )
    return not_modified(request, headers) or response
