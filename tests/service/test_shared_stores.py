"""The service on a host that has computed nothing: runs come from object storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pear.store.fetched import make_room
from pipelines.catalog import Catalog, Run
from pipelines.catalog.retention import remove_run
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import VARIABLE, share
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import (
    INIT,
    NSIDE,
    SHA,
    StubEngine,
    in_process,
    problem,
    write_analysis,
    write_run,
)


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path / 'objects'}")
    monkeypatch.setattr("pear.store.fetched._PAUSE_SECONDS", 0.0)
    return tmp_path / "objects"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """The catalog that both hosts have in common."""
    with Catalog(tmp_path / "catalog.sqlite") as opened:
        opened.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        yield opened


@pytest.fixture
def worker(tmp_path: Path, objects: Path) -> DataFolder:
    """The host of a worker."""
    folder = DataFolder.create(tmp_path / "worker")
    write_analysis(folder)
    share(folder, "analyses", "made-up")
    return folder


@pytest.fixture
def host(tmp_path: Path) -> DataFolder:
    """The host of the service."""
    return DataFolder.create(tmp_path / "host")


@pytest.fixture
def client(host: DataFolder, catalog: Catalog, objects: Path) -> Iterator[httpx.Client]:
    app = create_app(Settings(data=host.root), catalog, StubEngine(catalog, host))
    with in_process(app) as opened:
        yield opened


def finish(worker: DataFolder, catalog: Catalog) -> Run:
    run, _ = catalog.runs.submit(SHA[:12], INIT, 240, options={"analysis": "made-up"})
    catalog.runs.claim(run.id, "test")
    write_run(worker, run, ".spread", 0.01)
    write_run(worker, run)
    share(worker, "forecasts", run.id)
    return catalog.runs.succeed(run.id, owner="test")


def test_a_run_of_another_host_is_served_in_every_form(
    client: httpx.Client, catalog: Catalog, worker: DataFolder, host: DataFolder
) -> None:
    run = finish(worker, catalog)
    base = f"/v1/forecasts/{run.id}"
    where = {"latitude": 59.3, "longitude": 18.1, "variables": "t2m,z500"}
    point = client.get(f"{base}/point", params=where)
    assert point.status_code == 200, point.text
    assert host.forecast(run.id).exists()
    spread = client.get(f"{base}/point", params={**where, "statistic": "spread"})
    assert spread.status_code == 200
    download = client.get(f"{base}/download", params={"variables": "t2m", "lead_times": "24"})
    assert download.status_code == 200
    picture = client.get(f"{base}/maps/z500.png", params={"lead_time": 24})
    assert picture.headers["content-type"] == "image/png"
    listed = client.get(f"/v1/stores/forecast/{run.id}").json()
    assert listed["nbytes"] > 1_000_000
    key = "mean_sea_level_pressure/c/0/3/0"
    assert not (host.forecast(run.id) / key).exists()
    chunk = client.get(f"/v1/stores/forecast/{run.id}.zarr/{key}")
    assert chunk.content == (worker.forecast(run.id) / key).read_bytes()
    with Catalog(worker.root.parent / "catalog.sqlite") as same:
        assert same.runs.get(run.id).status == "succeeded"


def test_lost_objects_are_503_until_they_are_back(
    client: httpx.Client, catalog: Catalog, worker: DataFolder, host: DataFolder, objects: Path
) -> None:
    run = finish(worker, catalog)
    base, where = f"/v1/forecasts/{run.id}", {"latitude": 0, "longitude": 0, "variables": "t2m"}
    away = objects.with_name("away")
    objects.rename(away)
    problem(client.get(f"{base}/point", params=where), 503)
    away.rename(objects)
    assert client.get(f"{base}/point", params=where).status_code == 200
    make_room(host.root, 1)
    objects.rename(away)
    answer = client.get(f"{base}/point", params={**where, "variables": "z500"})
    assert problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0
    key = f"/v1/stores/forecast/{run.id}.zarr/2m_temperature/c/0/3/0"
    assert int(client.get(key).headers["retry-after"]) > 0
    away.rename(objects)
    assert client.get(f"{base}/point", params={**where, "variables": "z500"}).status_code == 200
    assert client.get(key).status_code == 200


def test_a_run_that_another_host_removed_is_gone(
    client: httpx.Client, catalog: Catalog, worker: DataFolder
) -> None:
    run = finish(worker, catalog)
    where = {"latitude": 0, "longitude": 0, "variables": "t2m"}
    assert client.get(f"/v1/forecasts/{run.id}/point", params=where).status_code == 200
    remove_run(worker, catalog, run.id)
    where["longitude"] = 90
    problem(client.get(f"/v1/forecasts/{run.id}/point", params=where), 410)
