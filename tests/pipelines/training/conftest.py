from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.storage.analysis_writer import AnalysisWriter
from tests.fixtures.training import LAYOUT, NSIDE, source


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an analysis store of forty days."""
    path = tmp_path_factory.mktemp("training") / "small.zarr"
    data = source(40)
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        writer.append(data.times, data.surface, data.upper)
    return path
