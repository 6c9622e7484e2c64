"""A data folder that the first revision wrote is opened, migrated and served."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np

from pear.store import manifest, metadata
from pear.times import to_iso
from pipelines.catalog import Catalog, Run
from pipelines.catalog.scan import refresh
from pipelines.catalog.tables import VERSION
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.engine import START, make_data_folder, perform, read_fields, submit
from tests.fixtures.service import StubEngine, served


def first_catalog(path: Path) -> None:
    """Make of a catalog what version 1 was: without runs of schedules."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE schedule_runs")
        connection.execute("UPDATE schema_version SET version = 1")


def first_store(path: Path) -> None:
    """Make of a store what the first revision wrote: no manifest, its digest among attributes."""
    document = metadata.read(path)
    for name in (metadata.DIGEST, manifest.ATTRIBUTE):
        document[metadata.INSIDE].pop(name, None)
    document["attributes"][metadata.DIGEST] = metadata.digest(document)
    (path / metadata.META).write_text(json.dumps(document))
    (path / manifest.FILE).unlink()


def make_first_folder(root: Path) -> tuple[DataFolder, Run, dict[str, np.ndarray]]:
    data = make_data_folder(root)
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)
        run = submit(data, catalog)
        fields = perform(data, catalog, run)
    first_catalog(data.catalog)
    for path in (data.analysis("demo"), data.forecast(run.id)):
        first_store(path)
    return data, run, fields


def test_a_folder_of_the_first_revision_is_migrated_and_its_runs_are_served(
    tmp_path: Path,
) -> None:
    made, run, fields = make_first_folder(tmp_path / "made")
    # At another path: the process that made it still has its catalog open.
    data = DataFolder.open(shutil.copytree(made.root, tmp_path / "old"))
    with Catalog(data.catalog) as catalog:
        with closing(sqlite3.connect(data.catalog)) as connection:
            assert connection.execute("SELECT version FROM schema_version").fetchone() == (VERSION,)
        assert catalog.runs.get(run.id).status == "succeeded"
        assert catalog.schedule_runs.active() == []
        for name, values in read_fields(data.forecast(run.id)).items():
            np.testing.assert_array_equal(values, fields[name])
        app = create_app(Settings(data=data.root), catalog, StubEngine(catalog, data))
        with served(app) as base, httpx.Client(base_url=base) as client:
            where = {"latitude": 10, "longitude": 20, "variables": "2m_temperature"}
            answer = client.get(f"/v1/forecasts/{run.id}/point", params=where)
            assert answer.status_code == 200, answer.text
            assert answer.json()["init_time"] == to_iso(START)
        again, created = catalog.runs.submit(run.model, START, 48, options=run.options)
        assert created
        assert again.id != run.id
