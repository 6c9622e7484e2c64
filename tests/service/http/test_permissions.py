"""Every route has a policy, and every policy a route."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from service.app import ROUTERS, create_app
from service.http.permissions import ROUTE_POLICIES, routes_without_policy
from service.settings import Settings


def test_a_route_without_a_policy_is_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = APIRouter()
    router.add_api_route("/v1/secret", lambda: None)
    assert routes_without_policy(router.routes) == ["GET /v1/secret"]
    monkeypatch.setattr("service.app.ROUTERS", (*ROUTERS, router))
    with pytest.raises(RuntimeError, match="/v1/secret"):
        create_app(settings)


def test_every_policy_has_a_route() -> None:
    there = {
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert set(ROUTE_POLICIES) == there
