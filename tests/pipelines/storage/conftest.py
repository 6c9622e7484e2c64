"""A healthy analysis store, and copies of it to damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fixtures.faults import ingest_all


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("healthy") / "s.zarr"
    ingest_all(store)
    return store


@pytest.fixture
def store(healthy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(healthy, tmp_path / "s.zarr"))
