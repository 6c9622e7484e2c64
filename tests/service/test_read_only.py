"""A data folder that cannot be written is served; what needs writing is refused with the reason."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from pipelines.catalog import Catalog
from pipelines.storage import data_folder
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.problems import to_problem
from service.settings import Settings
from tests.fixtures.read_only import read_only
from tests.fixtures.service import in_process, problem

FORECAST = {"init_time": "2001-03-02T00:00:00Z", "lead_hours": 240}


@pytest.fixture(scope="module")
def reader(data: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    root = tmp_path_factory.mktemp("protected") / "data"
    shutil.copytree(data.root, root)
    with read_only(root), in_process(create_app(Settings(data=root))) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [
        "/readyz",
        "/",
        "/v1/forecasts",
        "/v1/forecasts/latest/point?latitude=50&longitude=8",
        "/v1/forecasts/latest/zarr/zarr.json",
        "/v1/scores",
        "/v1/initial-conditions",
        "/v1/models",
    ],
)
def test_what_it_holds_is_served(reader: httpx.Client, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code == 200, answer.text


def test_an_equal_request_has_its_run(reader: httpx.Client) -> None:
    run = reader.get("/v1/forecasts?status=succeeded").json()["items"][0]
    wanted = {"init_time": run["init_time"], "lead_hours": 240, "analysis": "made-up"}
    answer = reader.post("/v1/forecasts", json=wanted)
    assert (answer.status_code, answer.json()["id"]) == (200, run["id"])


def test_an_equal_request_has_its_evaluation(data: DataFolder, tmp_path: Path) -> None:
    shutil.copytree(data.root, tmp_path / "data")
    catalog = Catalog(DataFolder(tmp_path / "data").catalog_url)
    done, _ = catalog.evaluations.submit(catalog.models.get(None).id, {"lead_hours": 48})
    catalog.evaluations.claim(done.id, "a test")
    catalog.evaluations.succeed(done.id)
    catalog.close()
    with (
        read_only(tmp_path / "data"),
        in_process(create_app(Settings(data=tmp_path / "data"))) as client,
    ):
        answer = client.post("/v1/evaluations", json={"lead_hours": 48})
    assert (answer.status_code, answer.json()["id"]) == (200, done.id), answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/forecasts", FORECAST),
        ("/v1/evaluations", {"lead_hours": 48}),
        (
            "/v1/schedules",
            {"name": "x", "cron": "0 0 * * *", "action": {"expire": {"keep_days": 3}}},
        ),
    ],
)
def test_work_is_refused_with_the_reason(
    reader: httpx.Client, path: str, body: dict[str, object]
) -> None:
    found = problem(reader.post(path, json=body), 503)
    assert "read-only" in found["detail"]
    assert "/data" not in found["detail"]


def test_nothing_is_removed(reader: httpx.Client) -> None:
    run = reader.get("/v1/forecasts?status=succeeded").json()["items"][0]["id"]
    assert "read-only" in problem(reader.delete(f"/v1/forecasts/{run}"), 503)["detail"]


def test_a_full_disk_is_507_at_submission(
    data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, needed: int) -> None:
        raise OSError(28, f"disk too full: {needed} bytes needed", str(folder))

    shutil.copytree(data.root, tmp_path / "data")
    monkeypatch.setattr(data_folder, "require_space", full)
    with read_only(tmp_path / "data"):
        app = create_app(Settings(data=tmp_path / "data"))
    monkeypatch.setattr("pipelines.engine.engine.Dispatcher.start", lambda _: None)
    with in_process(app) as client:
        answer = client.post("/v1/forecasts", json=FORECAST)
        # 10 lead times and the initial state of 69 channels with 768 cells
        assert f"{4 * 11 * 69 * 768} bytes needed" in problem(answer, 507)["detail"]
        assert answer.headers["retry-after"]


def test_a_disk_that_fills_while_the_catalog_is_written_is_507() -> None:
    cause = sqlite3.OperationalError("database or disk is full")
    cause.sqlite_errorcode = sqlite3.SQLITE_FULL
    found = to_problem(sa.exc.OperationalError("INSERT", {}, cause))
    assert (found.status, found.detail) == (507, "the catalog cannot be written: its disk is full")
