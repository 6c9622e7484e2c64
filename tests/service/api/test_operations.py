"""What an operator looks after, over HTTP: keys, sources, workers, storage, health, retries."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from pipelines.catalog import Catalog, Schedule, Status
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.keys import KeyFile
from service.http.permissions import ROUTE_POLICIES, permits
from service.readers.health import check_health
from service.readers.sources import _judge
from service.settings import Settings
from tests.fixtures.service import StubEngine, in_process, problem

NOW = "2001-03-01T00:00:00Z"
BODY = {"init_time": "2004-06-01T00:00:00Z", "lead_hours": 24}


@pytest.fixture
def guarded(
    data: DataFolder, catalog: Catalog, engine: StubEngine, tmp_path: Path
) -> Iterator[tuple[httpx.Client, KeyFile]]:
    """The service where a key is needed, with one key of each scope, as headers."""
    path = tmp_path / "keys.json"
    settings = Settings(data=data.root, require_keys=True, keys_file=path)
    with in_process(create_app(settings, catalog, engine)) as client:
        yield client, KeyFile(path)


def test_keys_are_created_once_listed_and_revoked(
    guarded: tuple[httpx.Client, KeyFile],
) -> None:
    client, file = guarded
    own = {"X-API-Key": file.add("boss", "admin", NOW)}
    made = client.post("/v1/keys", json={"name": "anna", "scope": "submit"}, headers=own)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    hers = {"X-API-Key": made.json()["key"]}
    access = client.get("/v1/access", headers=hers).json()
    assert (access["key"], access["scope"], access["role"]) == ("anna", "submit", "forecaster")
    assert "POST /v1/forecasts" in access["operations"]
    assert "GET /v1/keys" not in access["operations"]
    found = client.get("/v1/keys", headers=own).json()
    assert found["required"]
    assert [(key["name"], key["role"], key["own"]) for key in found["items"]] == [
        ("boss", "operator", True),
        ("anna", "forecaster", False),
    ]
    assert made.json()["key"] not in str(found)
    problem(client.delete("/v1/keys/boss", headers=own), 409)
    assert client.delete("/v1/keys/anna", headers=own).status_code == 204
    assert client.get("/v1/access", headers=hers).status_code == 401
    assert "boss" in problem(client.delete("/v1/keys/anna", headers=own), 404)["hint"]


def test_a_service_without_keys_makes_none(client: httpx.Client) -> None:
    """Whoever reached it would keep an access that outlasts it."""
    wrong = problem(client.post("/v1/keys", json={"name": "x", "scope": "admin"}), 409)
    assert "pear keys" in wrong["hint"]
    problem(client.delete("/v1/keys/x"), 409)
    assert client.get("/v1/access").json()["role"] == "operator"


def test_each_scope_permits_what_the_policies_say() -> None:
    for (method, path), policy in ROUTE_POLICIES.items():
        assert permits("admin", method, path)
        assert permits(None, method, path) == (policy.scope is None)
    assert permits("submit", "POST", "/v1/forecasts")
    assert not permits("read", "POST", "/v1/forecasts")
    with pytest.raises(KeyError):
        permits("admin", "GET", "/v1/nothing")


def test_a_failed_run_has_a_remedy_and_is_retried(client: httpx.Client, catalog: Catalog) -> None:
    run = client.post("/v1/forecasts", json=BODY).json()
    retry = f"/v1/forecasts/{run['id']}/retry"
    problem(client.post(retry), 409)
    catalog.runs.claim(run["id"], "test")
    catalog.runs.fail(run["id"], "OSError: [Errno 28] No space left on device", kind="OSError")
    failed = client.get(f"/v1/forecasts/{run['id']}").json()
    assert "make room" in failed["remedy"]
    assert failed["links"]["retry"] == retry
    health = client.get("/v1/health").json()
    assert health["state"] != "ok"
    told = next(each for each in health["checks"] if each["name"] == "runs")
    assert run["id"] in told["reason"]
    assert told["remedy"] == failed["remedy"]
    again = client.post(retry).json()
    assert (again["id"], again["status"], again["remedy"]) == (run["id"], "queued", None)
    workers = client.get("/v1/workers").json()
    assert (workers["alive"], workers["workers"]) == (True, 1)
    assert [job["kind"] for job in workers["jobs"] if job["id"] == run["id"]] == ["run"]
    client.post(f"/v1/forecasts/{run['id']}/cancel")


def test_runs_are_listed_by_an_interval_of_init_times(client: httpx.Client, run_id: str) -> None:
    both = client.get("/v1/forecasts?status=succeeded").json()["items"]
    assert len(both) == 2
    for query, count in (
        ("init_from=2001-03-01", 1),
        ("init_until=2001-02-28T00:00:00Z", 1),
        ("init_from=2001-02-28&init_until=2001-03-01", 2),
        ("init_from=2001-03-02", 0),
    ):
        found = client.get(f"/v1/forecasts?status=succeeded&{query}").json()["items"]
        assert len(found) == count, query
    reversed_ = client.get("/v1/forecasts?init_from=2001-03-01&init_until=2001-02-28")
    assert "is after init_until 2001-02-28" in problem(reversed_, 422)["detail"]


def test_cron_lines_are_told_in_words_and_times(client: httpx.Client) -> None:
    told = client.get("/v1/cron", params={"line": "30 6 * * *"}).json()
    assert told["words"] == "At 06:30 every day"
    times = [datetime.fromisoformat(each) for each in told["next_runs"]]
    assert len(times) == 5
    assert {b - a for a, b in pairwise(times)} == {timedelta(days=1)}
    assert problem(client.get("/v1/cron", params={"line": "61 * * * *"}), 422)["field"] == "line"


def test_schedules_have_fires_and_a_history(client: httpx.Client, catalog: Catalog) -> None:
    body = {"name": "nightly", "cron": "@daily", "action": {"expire": {"keep_days": 7}}}
    try:
        made = client.post("/v1/schedules", json=body).json()
        assert made["words"] == "At 00:00 every day"
        assert len(made["next_runs"]) == 5
        assert made["next_runs"][0] == made["next_run_at"]
        catalog.schedules.finish_trigger("nightly", Status.SUCCEEDED, "2 runs removed")
        catalog.schedules.finish_trigger("nightly", Status.FAILED, "OSError: /secret/path is full")
        found = client.get("/v1/schedules/nightly/history").json()
        assert [each["status"] for each in found] == ["failed", "succeeded"]
        assert found[1]["summary"] == "2 runs removed"
        assert "/secret" not in found[0]["summary"]
        paused = client.patch("/v1/schedules/nightly", json={"paused": True}).json()
        assert (paused["next_run_at"], paused["next_runs"]) == (None, [])
        kept = client.get("/v1/storage").json()["retention"]
        assert [(row["schedule"], row["keep_days"], row["paused"]) for row in kept] == [
            ("nightly", 7.0, True)
        ]
        names = [check["name"] for check in client.get("/v1/health").json()["checks"]]
        assert "schedule nightly" in names
    finally:
        client.delete("/v1/schedules/nightly")


def test_storage_counts_every_kind(client: httpx.Client, data: DataFolder) -> None:
    found = client.get("/v1/storage").json()
    kinds = {each["kind"]: each for each in found["kinds"]}
    assert kinds["analyses"]["entries"] == 1
    assert kinds["forecasts"]["entries"] == 4
    files = [path for path in (data.root / "forecasts").rglob("*") if path.is_file()]
    assert kinds["forecasts"]["nbytes"] == sum(path.stat().st_size for path in files)
    assert 0 < found["free_bytes"] <= found["total_bytes"]


def test_sources_say_what_feeds_them(client: httpx.Client, catalog: Catalog) -> None:
    catalog.schedules.add("fetching", "0 * * * *", {"fetch": {"source": "gfs"}})
    try:
        found = {each["analysis"]: each for each in client.get("/v1/sources").json()["items"]}
    finally:
        catalog.schedules.remove("fetching")
    assert (found["gfs"]["feeds"], found["gfs"]["times"]) == (["fetching"], 0)
    assert (found["made-up"]["state"], found["made-up"]["times"]) == ("by hand", 4)
    assert found["made-up"]["newest"] == "2001-03-04T00:00:00Z"


@pytest.mark.parametrize(
    ("paused", "status", "hours", "state"),
    [
        (False, Status.SUCCEEDED, 1.5, "fresh"),
        (False, Status.SUCCEEDED, 2.5, "late"),
        (False, Status.FAILED, 0.5, "failing"),
        (True, Status.FAILED, 9, "paused"),
    ],
)
def test_states_of_sources(paused: bool, status: Status, hours: float, state: str) -> None:
    now = datetime(2001, 3, 1, 12, 30, tzinfo=UTC)
    updated = now - timedelta(hours=hours)
    old = now - timedelta(days=9)
    feed = Schedule("s", "0 * * * *", {}, paused, old, old, old, status, "no answer")
    assert _judge([feed], updated, now)[0] == state


def test_health_without_a_catalog_asks_nothing_of_it(data: DataFolder) -> None:
    ready = {"catalog": "OperationalError: locked", "data": "ok"}
    checks = check_health(data, None, ready, 64)  # type: ignore[arg-type]
    assert [(each.name, each.state) for each in checks[:2]] == [
        ("catalog", "error"),
        ("data", "ok"),
    ]
    assert checks[0].remedy
    assert [each.name for each in checks[2:]] == ["disk"]


def test_keys_changed_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    files = [KeyFile(tmp_path / "keys.json") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: each[1].add(f"k{each[0]}", "read", NOW), enumerate(files)))
    assert len(files[0].all()) == 8
