"""Which fields and times an analysis holds, as its flags say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pear.store.time_status import read_completeness
from pear.variables import Layout
from pipelines.storage.analysis_writer import AnalysisWriter

LAYOUT = Layout(("2m_temperature",), ("geopotential",), (850, 500))
START = np.datetime64("2019-01-01T00", "s")
DAY = np.timedelta64(24, "h")
CELLS = 768


def test_completeness_names_the_channels(tmp_path: Path) -> None:
    path, random = tmp_path / "a.zarr", np.random.default_rng(0)
    surface, upper = random.normal(size=(3, 1, CELLS)), random.normal(size=(3, 1, 2, CELLS))
    with AnalysisWriter(path, LAYOUT, 8) as writer:
        writer.append(START + DAY * np.arange(3), surface, upper)
    times, flags, names = read_completeness(path)
    assert names == ("2m_temperature", "geopotential@500", "geopotential@850")
    assert flags.shape == (3, 3)
    assert flags.all()
    assert times.size == 3
    everything = read_completeness(path, all_channels=True)[2]
    assert set(names) < set(everything)
