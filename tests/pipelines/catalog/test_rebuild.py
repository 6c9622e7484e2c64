"""A lost or damaged catalog is made anew from what is on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.variables import Layout
from pipelines.catalog import Catalog, Status
from pipelines.catalog.identity import run_id
from pipelines.catalog.rebuild import rebuild_catalog
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter

SHA = "ab" * 32
INIT = np.datetime64("2001-01-01T00", "s")


def write_run(data: DataFolder) -> str:
    options = {"analysis": "era5"}
    name = run_id(SHA, INIT, 24, options)
    writer = ForecastWriter(
        data.forecast(name),
        Layout(("2m_temperature",), (), ()),
        1,
        INIT,
        np.array([0, 24]) * np.timedelta64(1, "h"),
        {"model_sha256": SHA, "options": options},
    )
    for index in range(2):
        writer.write_step(index, np.full((1, 12), 280.0), np.zeros((0, 0, 12)))
    writer.publish()
    return name


def test_a_lost_catalog_is_rebuilt(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEAR_CATALOG", raising=False)
    name = write_run(data)
    with Catalog(data.catalog_url) as catalog:
        catalog.models.add(SHA, "models/x", nside=1, step_hours=24)
    entered, skipped = rebuild_catalog(data)
    assert (entered["runs"], skipped) == (1, [])
    with Catalog(data.catalog_url) as catalog:
        run = catalog.runs.get(name)
        assert (run.status, run.lead_hours) == (Status.SUCCEEDED, 24)
    assert rebuild_catalog(data)[0]["runs"] == 0


def test_a_damaged_catalog_is_one_line_and_kept_aside(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PEAR_CATALOG", raising=False)
    Path(data.catalog).write_bytes(b"SQLite format 3\0" + b"rot" * 4000)
    with pytest.raises(InputError, match="pear catalog rebuild"):
        Catalog(data.catalog_url)
    _, notes = rebuild_catalog(data)
    assert notes == ["damaged catalog kept as catalog.damaged-1.sqlite"]
    with Catalog(data.catalog_url) as catalog:
        assert catalog.runs.page().items == ()
