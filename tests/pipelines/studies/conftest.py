"""A year of noise on tiny cells, as the data of studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.variables import Layout
from pipelines.evaluation.climatology import HarmonicFit, build_climatology
from pipelines.storage.analysis_writer import AnalysisWriter

NSIDE = 8
LAYOUT = Layout(("2m_temperature", "10m_v_component_of_wind"), ("geopotential",), (850, 500))
SIZES = [[2.0], [3.0], [90.0], [150.0]]
DAY = np.timedelta64(86_400, "s")


@pytest.fixture(scope="session")
def study_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Store, climatology and periods of a study that takes seconds."""
    folder: Path = tmp_path_factory.mktemp("study")
    days = 366
    times = np.datetime64("2001-01-01", "s") + DAY * np.arange(days)
    fields = np.random.default_rng(1).normal(size=(days, 4, 12 * NSIDE**2))
    fields = np.array([280.0, 1.0, 14_000.0, 55_000.0])[:, None] + fields * SIZES
    with AnalysisWriter(folder / "a.zarr", LAYOUT, NSIDE) as writer:
        writer.append(times, fields[:, :2], fields[:, 2:].reshape(days, 1, 2, -1))
    build_climatology(folder / "a.zarr", folder / "c.zarr", fit=HarmonicFit(1))
    return {
        "store": folder / "a.zarr",
        "climatology": folder / "c.zarr",
        "period": ("2001-01-01", "2001-02-09"),
        "test": ("2001-02-10", "2001-02-25"),
        "every": 5,
        "days": 2,
        "minutes": 0.005,
        "seeds": (0, 1),
        "embed": 64,
        "batch": 2,
    }
