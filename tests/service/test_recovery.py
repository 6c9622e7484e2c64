"""What is away comes back: stores and catalog that disappear, and a server that is told to stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import StubEngine, served


@pytest.fixture
def copy(data: DataFolder, tmp_path: Path) -> DataFolder:
    """A copy of the data folder that a test may break."""
    shutil.copytree(data.root, tmp_path / "data", symlinks=True)
    return DataFolder(tmp_path / "data")


@pytest.fixture
def apart(copy: DataFolder) -> Iterator[httpx.Client]:
    """The service over that copy."""
    with Catalog(copy.catalog) as catalog:
        app = create_app(Settings(data=copy.root), catalog, StubEngine(catalog, copy))
        with served(app) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield client


def test_a_store_that_is_away_gives_503_and_comes_back(
    apart: httpx.Client, copy: DataFolder, run_id: str
) -> None:
    store, away = copy.forecast(run_id), copy.root / "away"
    url = f"/v1/forecasts/{run_id}/fields/t2m?lead_time="
    store.rename(away)
    gone = apart.get(f"{url}24")
    assert gone.status_code == 503
    assert gone.headers["retry-after"]
    away.rename(store)
    assert apart.get(f"{url}24").status_code == 200
    store.rename(away)
    lost = apart.get(f"{url}48")
    assert lost.status_code == 503, "the store was open, its chunks are gone: never fill values"
    away.rename(store)
    assert apart.get(f"{url}48").status_code == 200


def test_a_removed_chunk_is_never_read_as_fill_values(
    apart: httpx.Client, copy: DataFolder, run_id: str
) -> None:
    url = f"/v1/forecasts/{run_id}/fields/t2m?lead_time=24"
    for chunk in (copy.forecast(run_id) / "2m_temperature" / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    assert apart.get(url).status_code == 503


def test_a_catalog_that_is_away_gives_503_and_comes_back(
    apart: httpx.Client, copy: DataFolder
) -> None:
    assert apart.get("/v1/forecasts").status_code == 200
    kept = copy.catalog.read_bytes()
    side = [copy.catalog.with_name(copy.catalog.name + end) for end in ("-wal", "-shm")]
    for path in side:
        path.unlink(missing_ok=True)
    copy.catalog.write_bytes(b"not a database at all" * 100)
    statuses = {apart.get(path).status_code for path in ("/v1/forecasts", "/readyz")}
    assert 500 not in statuses
    assert apart.get("/healthz").status_code == 200
    for path in side:
        path.unlink(missing_ok=True)
    copy.catalog.write_bytes(kept)
    assert apart.get("/v1/forecasts").status_code == 200


def test_deleting_a_result_is_seen_at_once(
    apart: httpx.Client, copy: DataFolder, run_id: str
) -> None:
    url = f"/v1/forecasts/{run_id}/point?latitude=1&longitude=2"
    assert [apart.get(url).status_code for _ in range(2)] == [200, 200]
    assert apart.delete(f"/v1/forecasts/{run_id}").status_code == 204
    assert apart.get(url).status_code == 410
    assert apart.get(f"/v1/forecasts/{run_id}").json()["status"] == "expired"
    assert not copy.forecast(run_id).exists()
    assert not list(copy.scratch.glob("removed-*"))


@pytest.mark.slow
def test_sigterm_ends_streams_and_the_process(copy: DataFolder, run_id: str) -> None:
    with Catalog(copy.catalog) as catalog:
        waiting, _ = catalog.runs.submit(
            catalog.models.get().id, "2002-01-01", 240, options={"analysis": "none"}
        )
    command = [
        sys.executable,
        "-m",
        "service.cli",
        "serve",
        "--data",
        str(copy.root),
        "--port",
        "0",
    ]
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        line = next(text for text in process.stderr if "serving" in text)
        url = line.split()[-1]
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with httpx.Client(base_url=url, timeout=60) as client:
            _until_up(client)
            with client.stream("GET", f"/v1/forecasts/{waiting.id}/events") as stream:
                lines = stream.iter_lines()
                assert next(lines).startswith("event")
                process.send_signal(signal.SIGTERM)
                started = time.monotonic()
                list(lines)
        process.wait(40)
        assert time.monotonic() - started < 30
    assert process.returncode in (0, -signal.SIGTERM)
    with Catalog(copy.catalog) as catalog:
        assert catalog.runs.get(run_id).status == "succeeded"
        assert catalog.runs.get(waiting.id).status != "running"


def _until_up(client: httpx.Client) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if client.get("/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError("the service did not come up")
