"""One rule for every route: which scope it needs and what it costs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from fastapi.routing import APIRoute
from starlette.routing import compile_path

from pear.errors import InputError

Scope = Literal["read", "submit", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "submit", "admin")
"""Each scope includes those before it."""


def scope_named(text: str) -> Scope:
    """Return the scope of this name.

    Raises
    ------
    InputError
        If there is none.
    """
    for scope in SCOPES:
        if scope == text:
            return scope
    raise InputError(f"unknown scope {text!r}", field="scope", hint=", ".join(SCOPES))


@dataclass(frozen=True)
class RoutePolicy:
    """What a route needs.

    Attributes
    ----------
    scope
        The least scope of the key; None for routes that are open to all.
    cost
        Tokens of the rate limit that one request takes.
    """

    scope: Scope | None
    cost: int = 1


OPEN: Final = RoutePolicy(None, 0)
_READ, _HEAVY, _DOWNLOAD = RoutePolicy("read"), RoutePolicy("read", 5), RoutePolicy("read", 50)
_SUBMIT, _ADMIN = RoutePolicy("submit", 10), RoutePolicy("admin", 10)

RULES: Final[dict[tuple[str, str], RoutePolicy]] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): _READ,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/static/{name:path}"): OPEN,
    ("GET", "/login"): OPEN,
    ("POST", "/login"): RoutePolicy(None, 20),
    ("GET", "/docs"): OPEN,
    ("GET", "/"): _READ,
    ("GET", "/forecasts"): _READ,
    ("GET", "/forecasts/{run_id}"): _READ,
    ("GET", "/scores"): _READ,
    ("GET", "/schedules"): _READ,
    ("GET", "/models/{model_id}"): _READ,
    ("GET", "/v1/info"): OPEN,
    ("GET", "/v1/models"): _READ,
    ("GET", "/v1/models/{model_id}"): _READ,
    ("GET", "/v1/initial-conditions"): _READ,
    ("POST", "/v1/forecasts"): _SUBMIT,
    ("GET", "/v1/forecasts"): _READ,
    ("GET", "/v1/forecasts/{run_id}"): _READ,
    ("DELETE", "/v1/forecasts/{run_id}"): _ADMIN,
    ("GET", "/v1/forecasts/{run_id}/events"): _READ,
    ("GET", "/v1/forecasts/{run_id}/log"): _READ,
    ("POST", "/v1/forecasts/{run_id}/cancel"): _SUBMIT,
    ("GET", "/v1/forecasts/{run_id}/point"): _READ,
    ("GET", "/v1/forecast"): _READ,
    ("GET", "/v1/forecasts/{run_id}/fields/{variable}"): _READ,
    ("GET", "/v1/forecasts/{run_id}/maps/{variable}.png"): _HEAVY,
    ("GET", "/v1/forecasts/{run_id}/download"): _DOWNLOAD,
    ("GET", "/v1/forecasts/{run_id}/zarr/{path:path}"): _READ,
    ("POST", "/v1/evaluations"): _SUBMIT,
    ("GET", "/v1/evaluations"): _READ,
    ("GET", "/v1/evaluations/{evaluation_id}"): _READ,
    ("POST", "/v1/evaluations/{evaluation_id}/cancel"): _SUBMIT,
    ("GET", "/v1/evaluations/{evaluation_id}/plots/{name}.png"): _READ,
    ("GET", "/v1/scores"): _READ,
    ("GET", "/v1/scorecard"): _READ,
    ("GET", "/v1/schedules"): _READ,
    ("POST", "/v1/schedules"): _ADMIN,
    ("GET", "/v1/schedules/{name}"): _READ,
    ("PATCH", "/v1/schedules/{name}"): _ADMIN,
    ("DELETE", "/v1/schedules/{name}"): _ADMIN,
    ("POST", "/v1/schedules/{name}/run"): _ADMIN,
    ("GET", "/v1/schedules/{name}/runs"): _READ,
}


def without_rule(routes: Iterable[object]) -> list[str]:
    """Return the routes that have no rule; there must be none."""
    return [
        f"{method} {route.path}"
        for route in routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        if method != "HEAD" and (method, route.path) not in RULES
    ]


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [(method, compile_path(path)[0]) for method, path in RULES]


def methods_at(path: str) -> list[str]:
    """Every method that some route answers at this path."""
    found = {method for method, pattern in _patterns() if pattern.match(path)}
    return sorted(found | ({"HEAD"} if "/zarr/" in path else set()))
