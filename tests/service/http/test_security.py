"""API keys, scopes and rate limits: every route follows its policy for every kind of key."""

from __future__ import annotations

import re
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from pear.errors import InputError
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.keys import KeyFile
from service.http.permissions import ROUTE_POLICIES, SCOPES
from service.http.security import client_address
from service.settings import Settings
from tests.fixtures.service import StubEngine, in_process, problem, served

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
    # Every route is asked for without a key and with an unknown one: many failures at once.
    settings = Settings(data=data.root, require_keys=True, failure_limit=10_000)
    app = create_app(settings, catalog, engine)
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


def test_a_key_comes_as_bearer_too_and_to_open_meteo_as_a_parameter(
    guarded: tuple[httpx.Client, FastAPI], keys: dict[str, str], run_id: str
) -> None:
    client, _ = guarded
    secret = keys["read"]
    for text, status in (
        (f"Bearer {secret}", 200),
        (f"bearer  {secret}", 200),
        ("Bearer pear_wrong", 401),
        ("Bearer", 401),
        (f"Basic {secret}", 401),
    ):
        answer = client.get("/v1/models", headers={"Authorization": text})
        assert answer.status_code == status, text
    place = {"latitude": "1", "longitude": "2"}
    for run in ("latest", run_id, run_id):  # the last answer comes from the cache
        asked = client.get("/v1/forecast", params={**place, "run": run, "apikey": secret})
        assert asked.status_code == 200
    wrong = client.get("/v1/forecast", params={**place, "apikey": "pear_wrong"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, True)
    assert client.get("/v1/models", params={"apikey": secret}).status_code == 401
    document = client.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"key", "bearer", "query"}
    assert {"bearer": []} in document["paths"]["/v1/models"]["get"]["security"]
    assert {"query": []} in document["paths"]["/v1/forecast"]["get"]["security"]
    assert {"query": []} not in document["paths"]["/v1/models"]["get"]["security"]


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


@pytest.fixture
def strict(data: DataFolder, catalog: Catalog, engine: StubEngine, keys: dict[str, str]) -> FastAPI:
    """A service that looks at ten wrong keys of an address in a minute."""
    settings = Settings(data=data.root, require_keys=True, failure_limit=10)
    return create_app(settings, catalog, engine)


def test_wrong_keys_are_throttled_and_right_ones_pass(
    strict: FastAPI, keys: dict[str, str]
) -> None:
    with in_process(strict) as client:
        started = time.monotonic()
        wrong = [
            client.get("/v1/models", headers={"X-API-Key": f"pear_{number}"})
            for number in range(300)
        ]
        minutes = (time.monotonic() - started) / 60
        statuses = Counter(answer.status_code for answer in wrong)
        assert set(statuses) == {401, 429}
        assert 10 <= statuses[401] <= 11 + 10 * minutes
        refused = next(answer for answer in wrong if answer.status_code == 429)
        assert problem(refused, 429)["detail"].startswith("rate limit of 10 requests without")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        for _ in range(20):
            right = client.get("/v1/models", headers={"X-API-Key": keys["read"]})
            assert right.status_code == 200
        logins = [client.post("/login", data={"key": "pear_x"}).status_code for _ in range(20)]
        assert 429 in logins
        assert 429 in [client.get("/v1/models").status_code for _ in range(20)]
        assert client.post("/login", data={"key": keys["read"]}).status_code == 303
        assert client.get("/healthz").status_code == 200


def forwarded(number: int) -> dict[str, str]:
    return {"X-API-Key": "pear_wrong", "X-Forwarded-For": f"198.51.100.{number}"}


def test_a_forwarded_address_is_not_believed(strict: FastAPI) -> None:
    with served(strict) as url, httpx.Client(base_url=url) as client:
        statuses = [client.get("/v1/models", headers=forwarded(n)).status_code for n in range(40)]
    assert statuses.count(401) < 20


def test_a_forwarded_address_is_believed_of_a_trusted_proxy(strict: FastAPI) -> None:
    trusted = {"proxy_headers": True, "forwarded_allow_ips": ["127.0.0.0/8"]}
    with served(strict, **trusted) as url, httpx.Client(base_url=url) as client:
        statuses = [client.get("/v1/models", headers=forwarded(n)).status_code for n in range(40)]
        assert statuses == [401] * 40
        again = [client.get("/v1/models", headers=forwarded(1)).status_code for _ in range(20)]
        assert again.count(401) < 20


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("/run/pear.sock", "/run/pear.sock"),
    ],
)
def test_the_client_of_an_address(address: str, client: str) -> None:
    assert client_address({"client": (address, 1)}) == client


def test_readiness_says_that_keys_are_damaged_and_known_ones_still_pass(
    data: DataFolder, catalog: Catalog, engine: StubEngine, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    secret = KeyFile(path).add("one", "read", NOW)
    app = create_app(Settings(data=data.root, require_keys=True, keys_file=path), catalog, engine)
    with in_process(app) as client:
        headers = {"X-API-Key": secret}
        assert client.get("/readyz").json()["checks"]["keys"] == "ok"
        assert client.get("/v1/models", headers=headers).status_code == 200
        path.write_text("[{")
        assert client.get("/v1/models", headers=headers).status_code == 200
        assert client.get("/v1/models", headers={"X-API-Key": "x"}).status_code == 401
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert "stay valid" in ready.json()["checks"]["keys"]
    app = create_app(Settings(data=data.root, require_keys=True, keys_file=path), catalog, engine)
    with in_process(app) as client:
        assert "keys: keys.json cannot be read" in problem(client.get("/readyz"), 503)["detail"]
        found = problem(client.get("/v1/models", headers=headers), 503)
        assert "API keys cannot be checked" in found["detail"]
        assert str(tmp_path) not in str(found)
