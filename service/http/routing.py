"""Routes that check a request before it is read: access first, then parameters, then the body.

FastAPI parses a body before it solves dependencies, and passes over parameters that it does not
know. Here a client without access learns nothing about its request, and nothing that a client
writes is ignored: what PEAR would not use is refused with the name that was probably meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, ClassVar, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pear.errors import InputError, did_you_mean
from service.http.caching import with_validators
from service.http.errors import ProblemError
from service.http.parameters import names_of
from service.http.permissions import ROUTE_POLICIES
from service.http.request_state import RequestState
from service.http.security import AccessControl, client_address, key_in_query

_STATIC: Final = "/static/{name:path}"
"""Its files never depend on parameters, and pages may add one to get round caches."""


class GuardedRoute(APIRoute):
    """A route that applies its access policy and refuses what it would ignore.

    Attributes
    ----------
    reads_body
        True if the route reads a body that FastAPI does not know of, such as a form.
    takes_any_parameter
        True if the route checks its parameters itself, by the rules of another standard.
    """

    reads_body: ClassVar[bool] = False
    takes_any_parameter: ClassVar[bool] = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the checks."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            _authorise(request)
            if not self.takes_any_parameter and request.scope["route"].path != _STATIC:
                _check_parameters(request)
            await self._check_body(request)
            return with_validators(request, await handle(request))

        return guarded

    async def _check_body(self, request: Request) -> None:
        takes_body = self.body_field is not None
        if self.reads_body or not (takes_body or _announces_body(request)):
            return
        try:
            body = await request.body()
        except ClientDisconnect as error:
            raise HTTPException(400, "the connection was closed within the body") from error
        document = _parse(body)
        RequestState.from_scope(request.scope).document = document
        if body and takes_body:
            _check_type(request)
        if body and not takes_body and document != {}:
            names = sorted(document) if isinstance(document, dict) else []
            raise InputError(
                "this request takes no body", field=names[0] if names else "body", hint="omit it"
            )


class FormRoute(GuardedRoute):
    """A route that reads a form by itself."""

    reads_body = True


class LenientRoute(GuardedRoute):
    """A route whose standard has names in any case, and lets pass those that it does not know."""

    takes_any_parameter = True


def unguarded_routes(routes: Iterable[object]) -> list[str]:
    """Return the routes that are not :class:`GuardedRoute`; every route must be."""
    return [
        route.path
        for route in routes
        if isinstance(route, APIRoute) and not isinstance(route, GuardedRoute)
    ]


def _authorise(request: Request) -> None:
    """Apply the access policy of the route that handles this request."""
    access: AccessControl = request.app.state.access
    policy = ROUTE_POLICIES[request.method, request.scope["route"].path]
    state = RequestState.from_scope(request.scope)
    if state.link_client is not None:
        granted = access.check_link(policy, state.link_client)
    else:
        secret = key_in_query(request.scope["route"].path, request.scope["query_string"])
        granted = access.check(policy, request.headers, client_address(request.scope), secret)
    state.client, state.scope, state.key = granted.client, granted.scope, granted.key
    state.headers += granted.headers


def _check_parameters(request: Request) -> None:
    """Refuse parameters that are unknown, or given twice, since either value could be meant."""
    names = [name for name, _ in request.query_params.multi_items()]
    if not names:
        return
    read = names_of(request.scope["route"].dependant)
    for name in names:
        if name not in read.query:
            hint = "this request takes none"
            hint = did_you_mean(name[:64], read.query) if read.query else hint
            raise InputError(f"unknown parameter {name[:64]!r}", field=name[:64], hint=hint)
        if names.count(name) > 1 and name not in read.lists:
            raise InputError(
                f"parameter {name} is given {names.count(name)} times",
                field=name,
                hint="give it once; separate the items of a list by commas",
            )


def _check_type(request: Request) -> None:
    """Refuse a body that is not declared as JSON, as which FastAPI would not read it."""
    given = request.headers.get("content-type", "")[:64]
    kind = given.partition(";")[0].strip().lower()
    if kind == "application/json" or re.fullmatch(r"application/[\w.-]+\+json", kind):
        return
    what = f"Content-Type {given!r} is not JSON" if given else "Content-Type is missing"
    raise ProblemError(
        415, what, field="content-type", hint="send the header Content-Type: application/json"
    )


def _announces_body(request: Request) -> bool:
    length = request.headers.get("content-length", "0")
    return length != "0" or "transfer-encoding" in request.headers


def _parse(body: bytes) -> object:
    """Return a JSON document, or None if it is not JSON; refuse a name that is given twice."""
    try:
        return json.loads(body, object_pairs_hook=_unique)
    except InputError:
        raise
    except (ValueError, RecursionError):
        return None  # FastAPI reports it


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)[:64]
        raise InputError(f"field {twice!r} is given twice", field=twice, hint="give it once")
    return found
