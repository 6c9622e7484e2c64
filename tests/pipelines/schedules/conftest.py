"""A data folder, its catalog, and a clock that the tests move."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.schedules import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(data: DataFolder, clock: Clock) -> Iterator[Catalog]:
    with Catalog(data.catalog, clock=clock) as made:
        yield made
