"""API keys, scopes and rate limits: every route follows its policy for every kind of key."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from pear.errors import InputError
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.permissions import ROUTE_POLICIES, SCOPES
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


def test_every_route_follows_its_policy_for_each_key(
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


def test_public_routes_need_no_key(guarded: tuple[httpx.Client, FastAPI]) -> None:
    client, _ = guarded
    for path in ("/healthz", "/readyz", "/openapi.json", "/login", "/static/style.css", "/v1/info"):
        assert client.get(path).status_code == 200, path


def test_cached_responses_need_a_key_too(
    guarded: tuple[httpx.Client, FastAPI], keys: dict[str, str], run_id: str
) -> None:
    client, app = guarded
    url = f"/v1/forecasts/{run_id}/point?latitude=1&longitude=2&variables=t2m"
    for _ in range(2):
        assert client.get(url, headers={"X-API-Key": keys["read"]}).status_code == 200
    assert app.state.services.response_cache.entries.hits >= 1
    assert client.get(url).status_code == 401
    assert client.get(url, headers={"X-API-Key": "pear_wrong"}).status_code == 401


def test_a_browser_logs_in_with_a_cookie(
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


def test_only_hashes_of_keys_are_stored(data: DataFolder, keys: dict[str, str]) -> None:
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


def test_rate_limit_headers_count_down(
    data: DataFolder, catalog: Catalog, engine: StubEngine
) -> None:
    app = create_app(Settings(data=data.root, rate_limit=6), catalog, engine)
    with served(app) as url, httpx.Client(base_url=url) as client:
        answers = [client.get("/v1/models") for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2
        assert answers[0].headers["ratelimit"].startswith('"default";r=5')
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        assert client.get("/healthz").status_code == 200
