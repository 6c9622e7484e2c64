"""Access policy of every route: the scope that it needs and the tokens that it costs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from fastapi.routing import APIRoute
from starlette.routing import compile_path

Scope = Literal["read", "submit", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "submit", "admin")
"""Each scope includes those before it."""
ROLES: Final[dict[Scope, str]] = {"read": "reader", "submit": "forecaster", "admin": "operator"}
"""What a person with a key of each scope is called."""


@dataclass(frozen=True)
class RoutePolicy:
    """Access policy of a route.

    Attributes
    ----------
    scope
        Smallest scope that a key must have; None for public routes.
    cost
        Tokens of the rate limit that one request takes.
    """

    scope: Scope | None
    cost: int = 1


PUBLIC: Final = RoutePolicy(None, 0)
_READ, _HEAVY, _DOWNLOAD = RoutePolicy("read"), RoutePolicy("read", 5), RoutePolicy("read", 50)
_SUBMIT, _ADMIN = RoutePolicy("submit", 10), RoutePolicy("admin", 10)

KEY_IN_QUERY: Final = ("/v1/forecast", "/v1/ensemble")
"""Routes whose clients, those of open-meteo, send their key as parameter ``apikey``."""
ROUTE_POLICIES: Final[dict[tuple[str, str], RoutePolicy]] = {
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): _READ,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/static/{name:path}"): PUBLIC,
    ("GET", "/login"): PUBLIC,
    ("POST", "/login"): RoutePolicy(None, 20),
    ("GET", "/docs"): PUBLIC,
    ("GET", "/handbook"): PUBLIC,
    ("GET", "/handbook/"): PUBLIC,
    ("GET", "/handbook/{name:path}"): PUBLIC,
    ("GET", "/"): _READ,
    ("GET", "/forecasts"): _READ,
    ("GET", "/forecasts/{run_id}"): _READ,
    ("GET", "/scores"): _READ,
    ("GET", "/schedules"): _READ,
    ("GET", "/operator"): _ADMIN,
    ("GET", "/models/{model_id}"): _READ,
    ("GET", "/v1/info"): PUBLIC,
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
    ("POST", "/v1/forecasts/{run_id}/retry"): _SUBMIT,
    ("GET", "/v1/forecasts/{run_id}/point"): _READ,
    ("GET", "/v1/forecast"): _READ,
    ("GET", "/v1/ensemble"): _READ,
    ("GET", "/v1/forecasts/{run_id}/fields/{variable}"): _READ,
    ("GET", "/v1/forecasts/{run_id}/normals/{variable}"): _READ,
    ("GET", "/v1/forecasts/{run_id}/maps/{variable}.png"): _HEAVY,
    ("GET", "/v1/forecasts/{run_id}/maps/{variable}.svg"): _HEAVY,
    ("GET", "/v1/forecasts/{run_id}/maps/{variable}.webp"): _HEAVY,
    ("GET", "/v1/forecasts/{run_id}/tiles/{variable}.json"): _READ,
    ("GET", "/v1/forecasts/{run_id}/tiles/{variable}/{z}/{x}/{y}.png"): _READ,
    ("GET", "/v1/forecasts/{run_id}/download"): _DOWNLOAD,
    ("GET", "/v1/forecasts/{run_id}/zarr/{path:path}"): _READ,
    ("GET", "/v1/events"): _READ,
    ("GET", "/v1/stac"): _READ,
    ("GET", "/v1/stac/collections"): _READ,
    ("GET", "/v1/stac/collections/{collection}"): _READ,
    ("GET", "/v1/stac/collections/{collection}/items"): _READ,
    ("GET", "/v1/stac/collections/{collection}/items/{run_id}"): _READ,
    ("GET", "/v1/gridlook.json"): _READ,
    ("GET", "/v1/stores"): _READ,
    ("GET", "/v1/stores/{kind}/{name}"): _READ,
    ("GET", "/v1/stores/{kind}/{name}.zarr/{path:path}"): _READ,
    ("GET", "/v1/stores/analysis/{name}/fields/{variable}"): _READ,
    ("POST", "/v1/links"): RoutePolicy("read", 10),
    ("GET", "/ogc"): PUBLIC,
    ("GET", "/ogc/"): PUBLIC,
    ("GET", "/ogc/conformance"): PUBLIC,
    ("GET", "/ogc/tileMatrixSets"): PUBLIC,
    ("GET", "/ogc/tileMatrixSets/{tile_matrix_set}"): PUBLIC,
    ("GET", "/ogc/collections"): _READ,
    ("GET", "/ogc/collections/{collection_id}"): _READ,
    ("GET", "/ogc/collections/{collection_id}/wms"): _READ,
    ("GET", "/ogc/collections/{collection_id}/instances"): _READ,
    ("GET", "/ogc/collections/{collection_id}/instances/{instance_id}"): _READ,
    **{
        ("GET", f"/ogc/collections/{{collection_id}}{instance}/{query}"): _READ
        for instance in ("", "/instances/{instance_id}")
        for query in (
            *("position", "radius", "area", "cube", "trajectory"),
            "{data_type}/tiles",
            "{data_type}/tiles/{tile_matrix_set}",
            "{data_type}/tiles/{tile_matrix_set}/{tile_matrix}/{tile_row}/{tile_col}",
        )
    },
    ("POST", "/v1/evaluations"): _SUBMIT,
    ("GET", "/v1/evaluations"): _READ,
    ("GET", "/v1/evaluations/{evaluation_id}"): _READ,
    ("POST", "/v1/evaluations/{evaluation_id}/cancel"): _SUBMIT,
    ("GET", "/v1/evaluations/{evaluation_id}/plots/{name}.png"): _READ,
    ("GET", "/v1/scores"): _READ,
    ("GET", "/v1/scores/ranks"): _READ,
    ("GET", "/v1/scores/spectra"): _READ,
    ("GET", "/v1/scores/map"): _READ,
    ("GET", "/v1/scorecard"): _READ,
    ("GET", "/v1/schedules"): _READ,
    ("POST", "/v1/schedules"): _ADMIN,
    ("GET", "/v1/schedules/{name}"): _READ,
    ("PATCH", "/v1/schedules/{name}"): _ADMIN,
    ("DELETE", "/v1/schedules/{name}"): _ADMIN,
    ("POST", "/v1/schedules/{name}/run"): _ADMIN,
    ("GET", "/v1/schedules/{name}/jobs"): _READ,
    ("GET", "/v1/schedules/{name}/jobs/{job_id}"): _READ,
    ("POST", "/v1/schedules/{name}/jobs/{job_id}/cancel"): _ADMIN,
    ("GET", "/v1/schedules/{name}/runs"): _READ,
    ("GET", "/v1/schedules/{name}/history"): _READ,
    ("GET", "/v1/cron"): _READ,
    ("GET", "/v1/access"): _READ,
    ("GET", "/v1/sources"): _READ,
    ("GET", "/v1/health"): _ADMIN,
    ("GET", "/v1/workers"): _ADMIN,
    ("GET", "/v1/storage"): _ADMIN,
    ("GET", "/v1/keys"): _ADMIN,
    ("POST", "/v1/keys"): _ADMIN,
    ("DELETE", "/v1/keys/{name}"): _ADMIN,
}


def permits(scope: Scope | None, method: str, path: str) -> bool:
    """Return whether a client with this scope may use a route.

    Parameters
    ----------
    scope
        Scope of the client; None for one without a key.
    method, path
        The route, as in :data:`ROUTE_POLICIES`.

    Returns
    -------
    bool
        KeyError for a route that does not exist.
    """
    needed = ROUTE_POLICIES[method, path].scope
    if needed is None:
        return True
    return scope is not None and SCOPES.index(scope) >= SCOPES.index(needed)


def routes_without_policy(routes: Iterable[object]) -> list[str]:
    """Return the routes that have no policy; every route must have one."""
    return [
        f"{method} {route.path}"
        for route in routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        if (method, route.path) not in ROUTE_POLICIES
    ]


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [(method, compile_path(path)[0]) for method, path in ROUTE_POLICIES]


def methods_at(path: str) -> list[str]:
    """Return the methods that a route answers at this path; HEAD wherever GET is one."""
    methods = {method for method, pattern in _patterns() if pattern.match(path)}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
