"""A small data folder with two finished runs, and the service of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import (
    INIT,
    NSIDE,
    SHA,
    StubEngine,
    in_process,
    served,
    write_analysis,
    write_probability,
    write_run,
    write_scores,
)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A data folder with a model's entry, two finished runs, an analysis and an evaluation."""
    folder = DataFolder.create(tmp_path_factory.mktemp("data"))
    with Catalog(folder.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        for init in (INIT - np.timedelta64(1, "D"), INIT):
            run, _ = catalog.runs.submit(SHA[:12], init, 240, options={"analysis": "made-up"})
            catalog.runs.claim(run.id, "test")
            write_run(folder, run)
            catalog.runs.succeed(run.id, owner="test")
        write_run(folder, run, ".spread", 0.01)
        write_probability(folder, run)
        write_analysis(folder)
        times = INIT + np.arange(4) * np.timedelta64(1, "D")
        catalog.stores.add("made-up", "analyses/made-up.zarr", nside=NSIDE, times=times)
    write_scores(folder)
    return folder


@pytest.fixture(scope="session")
def settings(data: DataFolder) -> Settings:
    return Settings(data=data.root)


@pytest.fixture(scope="session")
def catalog(data: DataFolder) -> Iterator[Catalog]:
    with Catalog(data.catalog) as opened:
        yield opened


@pytest.fixture(scope="session")
def engine(catalog: Catalog, data: DataFolder) -> StubEngine:
    return StubEngine(catalog, data)


@pytest.fixture(scope="session")
def client(settings: Settings, catalog: Catalog, engine: StubEngine) -> Iterator[httpx.Client]:
    """A client of the service in this process."""
    with in_process(create_app(settings, catalog, engine)) as opened:
        yield opened


@pytest.fixture(scope="session")
def url(settings: Settings, catalog: Catalog, engine: StubEngine) -> Iterator[str]:
    """Address of the service on a real socket."""
    with served(create_app(settings, catalog, engine)) as base:
        yield base


@pytest.fixture(scope="session")
def run_id(catalog: Catalog) -> str:
    latest = catalog.runs.latest()
    if latest is None:
        raise RuntimeError("the fixture has no finished run")
    return latest.id
