"""The command line as a function, and a data folder for its commands."""

from __future__ import annotations

import pytest

from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine, command_line
from tests.fixtures.engine import make_data_folder


@pytest.fixture
def pear(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(capsys)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """Return a data folder with an analysis of four days and a model."""
    folder = make_data_folder(tmp_path_factory.mktemp("cli") / "data")
    with Catalog(folder.catalog) as catalog:
        refresh(folder, catalog)
    return folder
