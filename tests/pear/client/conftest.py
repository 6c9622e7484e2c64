"""A live service on a socket: runs with known values, a key, and busy moments on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.client import connect
from pear.client.client import Client
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.keys import KeyFile
from service.settings import Settings
from tests.fixtures.service import (
    INIT,
    NSIDE,
    SHA,
    StubEngine,
    served,
    write_analysis,
    write_run,
    write_scores,
)


class Busy:
    """Answers the next requests itself, as a service that is busy or a broken proxy would."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append((scope["method"], scope["path"], headers))
        if self.answers:
            await self._answer(send, *self.answers.pop(0))
        else:
            await self.app(scope, receive, send)

    async def _answer(self, send: Any, status: int, headers: dict[str, str], body: bytes) -> None:
        named = {"content-length": str(len(body)), **headers}
        pairs = [(name.encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})


class Service:
    """The service, its parts, and a key."""

    def __init__(self, url: str, key: str, folder: DataFolder, catalog: Catalog, busy: Busy):
        self.url, self.key, self.folder, self.catalog, self.busy = url, key, folder, catalog, busy

    def store(self, run: str) -> Path:
        return self.folder.forecast(run)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = DataFolder.create(tmp_path_factory.mktemp("served"))
    write_analysis(folder)
    write_scores(folder)
    key = KeyFile(folder.root / "keys.json").add("test", "submit", "2026-01-01T00:00:00Z")
    with Catalog(folder.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        times = INIT + np.arange(4) * np.timedelta64(1, "D")
        catalog.stores.add("made-up", "analyses/made-up.zarr", nside=NSIDE, times=times)
        for init in (INIT - np.timedelta64(1, "D"), INIT):
            run, _ = catalog.runs.submit(SHA[:12], init, 240, options={})
            catalog.runs.claim(run.id, "test")
            write_run(folder, run)
            catalog.runs.succeed(run.id, owner="test")
        write_run(folder, run, ".spread", 0.01)
        settings = Settings(data=folder.root, require_keys=True)
        busy = Busy(create_app(settings, catalog, StubEngine(catalog, folder)))  # type: ignore[arg-type]
        with served(busy) as url:  # type: ignore[arg-type]
            yield Service(url, key, folder, catalog, busy)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with connect(service.url, service.key) as opened:
        yield opened
