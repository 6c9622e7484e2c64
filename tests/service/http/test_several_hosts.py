"""Services of several hosts with one catalog on PostgreSQL: keys, rates and idempotency keys."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.keys import KeyFile
from service.settings import Settings
from tests.fixtures import postgres as fixture
from tests.fixtures.command_line import CommandLine, command_line
from tests.fixtures.service import NSIDE, SHA, StubEngine, in_process, problem

NOW = "2001-03-01T00:00:00Z"
LIMIT = 60
BODY = {"init_time": "2006-11-20T00:00:00Z", "lead_hours": 24}


@dataclass
class Host:
    """One host: its folder, its service and a client of it."""

    folder: DataFolder
    catalog: Catalog
    app: FastAPI
    client: httpx.Client


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    yield from fixture.server()


@pytest.fixture(scope="module")
def url(postgres: str) -> str:
    return fixture.database(postgres, f"t{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def hosts(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """Two services, each with a folder and connections of its own."""
    with ExitStack() as stack:
        made = []
        for name in ("one", "other"):
            folder = DataFolder.create(tmp_path_factory.mktemp(name))
            catalog = stack.enter_context(Catalog(url))
            catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
            settings = Settings(data=folder.root, require_keys=True, rate_limit=LIMIT)
            app = create_app(settings, catalog, StubEngine(catalog, folder))
            client = stack.enter_context(in_process(app))
            made.append(Host(folder, catalog, app, client))
        yield made[0], made[1]


@pytest.fixture
def pear(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(capsys)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "the other host did not learn of it"
        time.sleep(0.05)


def ask(host: Host, key: str) -> httpx.Response:
    return host.client.get("/v1/models", headers={"X-API-Key": key})


def test_a_key_made_at_one_host_is_valid_at_the_other_until_it_is_revoked(
    hosts: tuple[Host, Host],
) -> None:
    one, other = hosts
    key = one.app.state.access.keys.add("visitor", "read", NOW)
    assert ask(one, key).status_code == 200
    wait_for(lambda: ask(other, key).status_code == 200)
    other.app.state.access.keys.remove("visitor")
    assert ask(other, key).status_code == 401
    wait_for(lambda: ask(one, key).status_code == 401)
    assert KeyFile(one.folder.root / "keys.json").all() == []


def test_a_key_revoked_while_a_host_was_away_is_refused_when_it_returns(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    one, _ = hosts
    key = one.app.state.access.keys.add("guest", "read", NOW)
    folder = DataFolder.create(tmp_path / "late")
    (folder.root / "keys.json").write_bytes((one.folder.root / "keys.json").read_bytes())
    one.app.state.access.keys.remove("guest")
    settings = Settings(data=folder.root, require_keys=True)
    app = create_app(settings, one.catalog, StubEngine(one.catalog, folder))
    with in_process(app) as client:
        assert client.get("/v1/models", headers={"X-API-Key": key}).status_code == 401


def test_a_damaged_file_is_written_again_from_what_hosts_share(hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    key = one.app.state.access.keys.add("mender", "read", NOW)
    wait_for(lambda: ask(other, key).status_code == 200)
    (other.folder.root / "keys.json").write_text("{")
    wait_for(lambda: (other.folder.root / "keys.json").read_text() != "{")
    assert ask(other, key).status_code == 200
    one.app.state.access.keys.remove("mender")


def test_the_command_line_of_one_host_makes_and_removes_keys_of_all(
    hosts: tuple[Host, Host], url: str, pear: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = hosts
    monkeypatch.setenv("PEAR_CATALOG", url)
    made = pear("keys", "add", "operator", "--data", str(one.folder.root), "--json").json
    wait_for(lambda: ask(other, made["key"]).status_code == 200)
    listed = pear("keys", "list", "--data", str(other.folder.root), "--json").json
    assert [row["name"] for row in listed] == ["operator"]
    assert pear("keys", "remove", "operator", "--data", str(other.folder.root)).status == 0
    wait_for(lambda: ask(one, made["key"]).status_code == 401)


def test_the_rate_limit_counts_requests_to_both_hosts_together(hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    key = one.app.state.access.keys.add("busy", "read", NOW)
    for _ in range(LIMIT):
        ask(one, key)
    answer = ask(one, key)
    # A token flows in every second, and a slow machine may have had some.
    assert answer.status_code == 429 or int(answer.headers["RateLimit"].split("r=")[1][:1]) < 10
    wait_for(lambda: ask(other, key).status_code == 429)
    assert problem(ask(other, key), 429)["detail"].startswith(f"rate limit of {LIMIT} tokens")


def test_hosts_that_lose_the_database_limit_by_themselves_and_catch_up(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = hosts[0].app.state.access._limiter
    clients = hosts[0].catalog.clients
    limiter.exchange(clients)
    limiter.take("traveller", 20)
    with monkeypatch.context() as patched:
        patched.setattr(clients, "exchange", lambda *_: (_ for _ in ()).throw(OSError("away")))
        with pytest.raises(OSError, match="away"):
            limiter.exchange(clients)
    limiter.exchange(clients)
    left = clients.exchange("requests", LIMIT, {}).tokens["traveller"]
    assert LIMIT - 20 <= left < LIMIT


def test_an_idempotency_key_means_the_same_request_at_both_hosts(
    hosts: tuple[Host, Host],
) -> None:
    one, other = hosts
    key = one.app.state.access.keys.add("batch", "submit", NOW)
    wait_for(lambda: ask(other, key).status_code == 200)
    headers = {"X-API-Key": key, "Idempotency-Key": "daily-2006-11-20"}

    def post(host: Host, **changes: object) -> httpx.Response:
        return host.client.post("/v1/forecasts", json={**BODY, **changes}, headers=headers)

    first, second = post(one), post(other)
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    refused = problem(post(other, lead_hours=48), 422)
    assert refused["detail"] == "this idempotency key was used with another request body"


def test_an_idempotency_key_of_a_request_that_failed_is_free(hosts: tuple[Host, Host]) -> None:
    one, other = hosts
    key = one.app.state.access.keys.add("clumsy", "submit", NOW)
    wait_for(lambda: ask(other, key).status_code == 200)
    headers = {"X-API-Key": key, "Idempotency-Key": "once"}
    wrong = {**BODY, "model": "nosuch"}
    assert one.client.post("/v1/forecasts", json=wrong, headers=headers).status_code == 404
    assert other.client.post("/v1/forecasts", json=BODY, headers=headers).status_code == 202


def test_a_client_keeps_so_many_idempotency_keys(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = hosts[0].catalog.clients
    monkeypatch.setattr("pipelines.catalog.clients.MAX_KEYS_PER_CLIENT", 2)
    for name in ("a", "b", "c"):
        assert clients.claim("many", name, "x") == (True, True)
    assert clients.claim("many", "c", "y") == (False, False)
    assert clients.claim("many", "a", "y") == (True, True), "the oldest was forgotten"
