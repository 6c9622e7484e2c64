"""A data folder with a model and four days, and its catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import make_data_folder


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return make_data_folder(tmp_path / "data")


@pytest.fixture
def catalog(data: DataFolder) -> Iterator[Catalog]:
    with Catalog(data.catalog) as made:
        refresh(data, made)
        yield made
