"""Keys, scopes, rate limits, names and origins: every route as declared, for every kind of key."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from pear.errors import InputError
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import ROUTERS, create_app
from service.http.permissions import ROUTE_POLICIES, SCOPES, routes_without_policy
from service.http.security import KeyFile
from service.settings import Settings
from tests.fixtures.service import StubEngine, served

NOW = "2001-03-01T00:00:00Z"


@pytest.fixture(scope="module")
def keys(data: DataFolder) -> dict[str, str]:
    file = KeyFile(data.root / "keys.json")
    return {scope: file.add(f"test-{scope}", scope, NOW) for scope in SCOPES}


@pytest.fixture(scope="module")
def guarded(
    data: DataFolder, catalog: Catalog, engine: StubEngine, keys: dict[str, str]
) -> Iterator[tuple[httpx.Client, FastAPI]]:
    """The service as an operator exposes it: a key is required."""
    app = create_app(Settings(data=data.root, require_keys=True), catalog, engine)
    with served(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client, app


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "nothing", path)


def test_every_route_answers_each_key_as_its_rule_says(
    guarded: tuple[httpx.Client, FastAPI], keys: dict[str, str]
) -> None:
    client, app = guarded
    declared = {
        (method.upper(), path) for path, verbs in app.openapi()["paths"].items() for method in verbs
    }
    ruled = {(method, path.replace("{path:path}", "{path}")) for method, path in ROUTE_POLICIES}
    assert declared <= ruled
    wrong = []
    for (method, path), rule in ROUTE_POLICIES.items():
        if rule.scope is None or path.endswith("/events"):
            continue
        for kind in (None, "unknown", *SCOPES):
            secret = {None: None, "unknown": "pear_x"}.get(kind, keys.get(str(kind)))
            headers = {} if secret is None else {"X-API-Key": secret}
            status = client.request(method, filled(path), headers=headers).status_code
            if kind in (None, "unknown"):
                right = status == 401
            elif SCOPES.index(kind) < SCOPES.index(rule.scope):
                right = status == 403
            else:
                right = status not in (401, 403)
            if not right:
                wrong.append((method, path, kind, status))
    assert wrong == []


def test_open_routes_need_no_key(guarded: tuple[httpx.Client, FastAPI]) -> None:
    client, _ = guarded
    for path in ("/healthz", "/readyz", "/openapi.json", "/login", "/static/style.css", "/v1/info"):
        assert client.get(path).status_code == 200, path


def test_a_route_without_a_rule_is_noticed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = APIRouter()
    router.add_api_route("/v1/secret", lambda: None)
    assert routes_without_policy(router.routes) == ["GET /v1/secret"]
    monkeypatch.setattr("service.app.ROUTERS", (*ROUTERS, router))
    with pytest.raises(RuntimeError, match="/v1/secret"):
        create_app(settings)


def test_every_rule_has_its_route() -> None:
    there = {
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert set(ROUTE_POLICIES) - there == {("GET", "/openapi.json")}


def test_kept_answers_are_guarded_too(
    guarded: tuple[httpx.Client, FastAPI], keys: dict[str, str], run_id: str
) -> None:
    client, app = guarded
    url = f"/v1/forecasts/{run_id}/point?latitude=1&longitude=2&variables=t2m"
    for _ in range(2):
        assert client.get(url, headers={"X-API-Key": keys["read"]}).status_code == 200
    assert app.state.services.response_cache.entries.hits >= 1
    assert client.get(url).status_code == 401
    assert client.get(url, headers={"X-API-Key": "pear_wrong"}).status_code == 401


def test_browser_logs_in_with_a_cookie(
    guarded: tuple[httpx.Client, FastAPI], keys: dict[str, str]
) -> None:
    client, _ = guarded
    url = str(client.base_url)
    with httpx.Client(base_url=url) as browser:
        sent = browser.get("/", headers={"Accept": "text/html"})
        assert (sent.status_code, sent.headers["location"]) == (303, "/login")
        wrong = browser.post("/login", data={"key": "pear_wrong"})
        assert wrong.status_code == 401
        done = browser.post("/login", data={"key": keys["read"]})
        assert done.status_code == 303
        cookie = done.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/").status_code == 200
        assert browser.delete("/v1/forecasts/nothing").status_code == 403


def test_only_hashes_are_stored(data: DataFolder, keys: dict[str, str]) -> None:
    path = data.root / "keys.json"
    text = path.read_text()
    assert not any(secret in text for secret in keys.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file = KeyFile(path)
    with pytest.raises(InputError, match="test-read"):
        file.add("test-read", "read", NOW)
    secret = file.add("short-lived", "read", NOW)
    assert file.find(secret) is not None
    file.remove("short-lived")
    assert file.find(secret) is None


def test_rate_limit_tells_what_is_left(
    data: DataFolder, catalog: Catalog, engine: StubEngine
) -> None:
    app = create_app(Settings(data=data.root, rate_limit=6), catalog, engine)
    with served(app) as url, httpx.Client(base_url=url) as client:
        answers = [client.get("/v1/models") for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2
        assert answers[0].headers["ratelimit"].startswith('"default";r=5')
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        assert client.get("/healthz").status_code == 200


def test_loopback_answers_to_its_own_name_only(client: httpx.Client) -> None:
    """A page of the web cannot reach the service by giving this address a name of its own."""
    answer = client.get("/v1/models", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert client.get("/v1/models", headers={"Host": "localhost:1"}).status_code == 200


def test_other_origins_may_read_but_not_write(client: httpx.Client) -> None:
    body: dict[str, Any] = {"init_time": NOW, "lead_hours": 24}
    other = {"Origin": "https://evil.example"}
    assert client.post("/v1/forecasts", json=body, headers=other).status_code == 403
    assert client.get("/v1/models", headers=other).status_code == 200
    before = client.options("/v1/models", headers={**other, "Access-Control-Request-Method": "GET"})
    assert before.status_code == 200
    assert "POST" not in before.headers["access-control-allow-methods"]
    own = {"Origin": str(client.base_url).rstrip("/")}
    mine = client.post("/v1/forecasts", json=body, headers=own)
    assert mine.status_code == 202
    client.post(f"{mine.headers['location']}/cancel")


def test_keys_are_needed_off_loopback() -> None:
    def settings(host: str) -> Settings:
        return Settings(data=".", host=host)

    assert settings("0.0.0.0").keys_required  # noqa: S104
    assert settings("::").keys_required
    assert settings("pear.example.org").keys_required
    assert not settings("127.0.0.1").keys_required
    assert not settings("::1").keys_required
    assert not settings("localhost").keys_required
    assert settings("10.0.0.1").tokens_per_minute == 1200
