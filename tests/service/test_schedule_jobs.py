"""A schedule over HTTP: fetch, forecast and publish by workers, against local servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import pear
from pipelines.catalog import Catalog
from pipelines.engine.dispatcher import Dispatcher
from pipelines.engine.engine import Engine
from service.app import create_app
from service.settings import Settings
from tests.fixtures.engine import make_data_folder
from tests.fixtures.inline_cluster import InlineCluster
from tests.fixtures.object_storage import make_bucket, s3_server
from tests.fixtures.replica import Replica, serving
from tests.fixtures.service import in_process

pytestmark = pytest.mark.slow
YESTERDAY = np.datetime64("now", "D") - np.timedelta64(1, "D")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose tasks run where the test lets its dispatcher reconcile."""
    made = Engine(make_data_folder(tmp_path / "data"))
    made._dispatcher = Dispatcher(
        str(made.data.root),
        made.catalog,
        made.data.catalog_url,
        made.config,
        connect=InlineCluster,  # type: ignore[arg-type]
    )
    made._dispatcher.ensure_connected()
    yield made
    made.catalog.close()


@pytest.fixture
def client(engine: Engine) -> Iterator[httpx.Client]:
    app = create_app(Settings(data=engine.data.root), engine.catalog, engine)
    with in_process(app) as opened:
        yield opened


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    with serving() as served:
        monkeypatch.setenv("PEAR_FETCH_MIRROR", served.url)
        yield served


def run(client: httpx.Client, action: dict[str, Any]) -> str:
    """Add a schedule and run it; return the address of the job."""
    body = {"name": "live", "cron": "30 8 * * *", "action": action}
    assert client.post("/v1/schedules", json=body).status_code == 201
    answer = client.post("/v1/schedules/live/run")
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def test_todays_forecast_is_fetched_computed_and_published(
    client: httpx.Client, engine: Engine, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.add_ifs(YESTERDAY)
    forecast = {"lead_hours": 24, "analysis": "ifs"}
    with s3_server():
        address = f"s3://{make_bucket()}/pear"
        monkeypatch.setenv("PEAR_DESTINATIONS", f"public={address}")
        fetch = {"source": "ifs", "nside": 8}
        where = run(client, {"fetch": fetch, "forecast": forecast, "publish": {"to": "public"}})
        assert replica.sent == 0, "nothing is fetched while the request is answered"
        engine._dispatcher.reconcile()
        job = client.get(where).json()
        assert (job["status"], job["progress"]["fraction"]) == ("succeeded", 1.0), job
        assert job["result"]["ingested"] == 1
        assert job["result"]["published"] == []
        (queued,) = job["result"]["runs"]
        later = f"/v1/schedules/live/jobs/{job['result']['follow_up']}"
        waiting = client.get(later).json()
        assert (waiting["status"], waiting["waits_for"]) == ("queued", [queued])
        assert client.get(f"/v1/forecasts/{queued}").json()["status"] == "queued"
        engine._dispatcher.reconcile()
        assert client.get(f"/v1/forecasts/{queued}").json()["status"] == "succeeded"
        assert client.get(later).json()["status"] == "queued"
        engine._dispatcher.reconcile()
        done = client.get(later).json()
        assert done["status"] == "succeeded", done
        assert done["result"]["published"] == [f"forecasts/{queued}.zarr"]
        with pear.open_forecast(f"{address}/forecasts/{queued}.zarr") as published:
            assert published["2m_temperature"].notnull().all()
        listed = client.get("/v1/schedules/live").json()
        assert (listed["last_status"], listed["last_reason"][:16]) == (
            "succeeded",
            "1 times ingested",
        )


def test_a_fetch_that_fails_is_a_failed_job_with_its_reason(
    client: httpx.Client, engine: Engine, replica: Replica
) -> None:
    replica.add_ifs(YESTERDAY, without=("t",))
    where = run(client, {"fetch": {"source": "ifs", "nside": 8}})
    engine._dispatcher.reconcile()
    job = client.get(where).json()
    assert job["status"] == "failed"
    assert "lacks t at" in job["reason"]
    assert job["result"] is None
    assert client.get("/v1/schedules/live").json()["last_status"] == "failed"


def test_a_fetch_is_cancelled_at_its_next_step(
    client: httpx.Client, engine: Engine, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.add_ifs(YESTERDAY)
    where = run(client, {"fetch": {"source": "ifs", "nside": 8}, "forecast": {"analysis": "ifs"}})
    seen: list[dict[str, Any]] = []

    def cancel(catalog: Catalog, *given: Any, **options: Any) -> Any:
        if not seen:  # at the first bytes
            seen.append(client.get(where).json())
            assert client.post(f"{where}/cancel").status_code == 200
        return original(catalog, *given, **options)

    original = type(engine.catalog.schedule_runs).set_progress
    monkeypatch.setattr(type(engine.catalog.schedule_runs), "set_progress", cancel)
    engine._dispatcher.reconcile()
    assert seen[0]["status"] == "running"
    job = client.get(where).json()
    assert job["status"] == "cancelled", job
    assert client.get("/v1/schedules/live").json()["last_status"] == "cancelled"
    assert not engine.data.analysis("ifs").exists()
    assert client.get("/v1/forecasts").json()["items"] == []
