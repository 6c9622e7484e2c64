"""Runs are removed in one way: under the lock of their readers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipelines.catalog import BeingReadError, Catalog, FinishedError, Run, Status
from pipelines.catalog.lease import catalog_of_process
from pipelines.catalog.retention import remove_leftovers, remove_run, run_stores
from pipelines.storage.atomic import shared_lock
from pipelines.storage.data_folder import DataFolder

SHA = "ab" * 32


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder.create(tmp_path / "data")


@pytest.fixture
def catalog(data: DataFolder) -> Catalog:
    made = catalog_of_process(data.catalog_url)
    made.models.add(SHA, "models/x", nside=8, step_hours=24)
    return made


@pytest.fixture
def run(data: DataFolder, catalog: Catalog) -> Run:
    """A succeeded ensemble run with two stores, and one of another run."""
    made, _ = catalog.runs.submit(SHA, np.datetime64("2001-03-01"), 72)
    catalog.runs.claim(made.id, "w")
    for name in (made.id, f"{made.id}.spread", "another"):
        data.forecast(name).mkdir()
        (data.forecast(name) / "zarr.json").write_text("{}")
    return catalog.runs.succeed(made.id)


def test_all_stores_of_a_run_are_removed(data: DataFolder, catalog: Catalog, run: Run) -> None:
    assert [path.stem for path in run_stores(data, run.id)] == [f"{run.id}.spread", run.id]
    remove_run(data, catalog, run.id)
    assert catalog.runs.get(run.id).status is Status.EXPIRED
    assert run_stores(data, run.id) == []
    assert data.forecast("another").exists()
    assert list(data.scratch.iterdir()) == []


@pytest.mark.parametrize("suffix", ["", ".spread"])
def test_a_run_that_is_being_read_is_kept_whole(
    data: DataFolder, catalog: Catalog, run: Run, suffix: str
) -> None:
    with shared_lock(data.forecast(run.id + suffix)), pytest.raises(BeingReadError, match="read"):
        remove_run(data, catalog, run.id)
    assert catalog.runs.get(run.id).status is Status.SUCCEEDED
    assert len(run_stores(data, run.id)) == 2


def test_a_run_that_was_read_lately_is_kept(data: DataFolder, catalog: Catalog, run: Run) -> None:
    catalog.runs.touch(run.id)
    now = datetime.now(UTC)
    with pytest.raises(BeingReadError, match="was read at"):
        remove_run(data, catalog, run.id, unread_since=now - timedelta(hours=1))
    assert len(run_stores(data, run.id)) == 2
    remove_run(data, catalog, run.id, unread_since=now + timedelta(hours=1))
    assert run_stores(data, run.id) == []


def test_an_active_run_is_not_removed(data: DataFolder, catalog: Catalog) -> None:
    queued, _ = catalog.runs.submit(SHA, np.datetime64("2001-03-02"), 72)
    with pytest.raises(FinishedError, match="only one that has ended can expire"):
        remove_run(data, catalog, queued.id)


@pytest.mark.parametrize("how", ["again", "leftovers"])
def test_a_removal_that_was_interrupted_is_finished(
    data: DataFolder, catalog: Catalog, run: Run, how: str
) -> None:
    catalog.runs.expire(run.id)  # and then its process was killed
    if how == "again":
        remove_run(data, catalog, run.id)
    else:
        with shared_lock(data.forecast(run.id)):
            remove_leftovers(data, catalog)
        assert len(run_stores(data, run.id)) == 2
        remove_leftovers(data, catalog)
    assert run_stores(data, run.id) == []
    assert data.forecast("another").exists()
