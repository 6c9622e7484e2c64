"""Whichever process is killed, every run succeeds once, bit for bit.

The nightly tests log their table: ``pytest -m nightly tests/pipelines/engine/test_kills.py
--log-cli-level INFO``.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pear import resources
from pear.store.reader import open_store
from pear.times import as_utc
from pipelines.catalog import Catalog, Priority, Run
from pipelines.catalog.scan import add_model, refresh
from pipelines.forecasting.forecast import run_forecasts
from pipelines.ingestion.ingest import ingest
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import make_data_folder, read_fields
from tests.fixtures.kills import Deployment
from tests.fixtures.postgres import database, server

WAIT = 900
STEPS = 60
_LOG = logging.getLogger("pear.tests.kills")


@dataclass
class Table:
    """Processes killed, and how the runs ended."""

    killed: Counter[str]
    runs: int
    steps: int
    succeeded: int = 0
    equal_bit_for_bit: int = 0
    ended_more_than_once: int = 0
    lost: int = 0
    unknown_stores: int = 0
    resumed: int = 0


def small(folder: Path) -> DataFolder:
    return make_data_folder(folder, days=12)


def shipped(folder: Path) -> DataFolder:
    """Return a folder with the shipped model and sample, nside 16."""
    data = DataFolder.create(folder)
    ingest(sorted(resources.path("sample").glob("*.nc")), data.analysis("simulated"), nside=16)
    with Catalog(data.catalog) as catalog:
        add_model(data, catalog, resources.path("checkpoint"))
    return data


def submit(data: DataFolder, catalog: Catalog, runs: int) -> list[Run]:
    """Submit this many different runs; equal requests are the same runs."""
    refresh(data, catalog)
    (analysis,) = catalog.stores.all("analysis")
    with open_store(data.root / analysis.path) as states:
        inits = as_utc(states["time"].values)
    model = catalog.models.get()
    return [
        catalog.runs.submit(
            model.id,
            inits[number % inits.size],
            (STEPS + number // inits.size) * model.step_hours,
            options={"analysis": analysis.name},
            priority=Priority.BATCH,
        )[0]
        for number in range(runs)
    ]


def undisturbed(data: DataFolder, runs: list[Run]) -> DataFolder:
    """Compute the same runs in another folder, one by one, in this process."""
    with Catalog(data.catalog) as catalog:
        for run in submit(data, catalog, len(runs)):
            run_forecasts(str(data.root), [run.id], str(data.catalog))
    return data


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def count(
    table: Table, data: DataFolder, catalog: Catalog, runs: list[Run], expected: DataFolder
) -> Table:
    for each in runs:
        run = catalog.runs.get(each.id)
        events = [event.message for event in catalog.runs.events(each.id)]
        table.succeeded += run.status == "succeeded"
        table.lost += run.status != "succeeded" or not data.forecast(run.id).exists()
        table.ended_more_than_once += events.count("succeeded") > 1
        table.resumed += events.count("taken over") + events.count("released")
        if data.forecast(run.id).exists():
            found, wanted = (read_fields(folder.forecast(run.id)) for folder in (data, expected))
            table.equal_bit_for_bit += same(found, wanted)
    known = {f"{run.id}.zarr" for run in runs}
    table.unknown_stores = len({path.name for path in (data.root / "forecasts").iterdir()} ^ known)
    return table


def disturb(
    tmp_path: Path,
    make_folder: Callable[[Path], DataFolder],
    kills: int,
    runs: int,
    pause: tuple[float, float],
) -> Table:
    data, logs = make_folder(tmp_path / "data"), tmp_path / "logs"
    logs.mkdir()
    with Catalog(data.catalog_url) as catalog:
        submitted = submit(data, catalog, runs)
        with Deployment(data, logs) as deployment:
            deadline = time.monotonic() + WAIT + 60 * kills

            def wait(seconds: float) -> None:
                assert time.monotonic() < deadline, (logs / "log").read_text()[-3000:]
                deployment.restart_dead()
                time.sleep(seconds)

            # One of each kind, then at random, each after a step since the last kill. When all
            # runs have ended, further ones are submitted.
            seen = 0
            for kind in ["worker0", "scheduler", "service", *[None] * (kills - 3)]:
                while steps_done(catalog) <= seen:
                    if not catalog.active_jobs():
                        submitted = submit(data, catalog, len(submitted) + runs)
                    wait(0.05)
                deployment.pause(*pause)
                seen = steps_done(catalog)
                deployment.kill(kind)
                _LOG.info("kill %d: %s", len(deployment.kills), deployment.kills[-1])
            while catalog.active_jobs():
                wait(0.2)
        table = Table(
            Counter(deployment.kills), len(submitted), sum(r.progress.total for r in submitted)
        )
        return count(
            table, data, catalog, submitted, undisturbed(make_folder(tmp_path / "twin"), submitted)
        )


def steps_done(catalog: Catalog) -> int:
    return sum(run.progress.step for run in catalog.runs.page(limit=10_000).items)


def check(table: Table) -> None:
    """Check that every run succeeded once, equal to an undisturbed one."""
    _LOG.info("kill table: %s", vars(table))
    assert table.succeeded == table.equal_bit_for_bit == table.runs
    assert table.ended_more_than_once == table.lost == table.unknown_stores == 0


@pytest.mark.slow
def test_nothing_is_lost_when_worker_scheduler_and_service_are_killed(tmp_path: Path) -> None:
    table = disturb(tmp_path, small, 3, 3, (0.1, 1.0))
    assert table.killed == {"worker": 1, "scheduler": 1, "service": 1}
    check(table)


@pytest.mark.nightly
def test_twenty_kills_with_the_catalog_in_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in server():
        monkeypatch.setenv("PEAR_CATALOG", database(address, "kills"))
        check(disturb(tmp_path, shipped, 20, 4, (0.05, 3.0)))


@pytest.mark.nightly
def test_sixty_random_kills_over_batches_of_the_shipped_model(
    tmp_path: Path,
) -> None:
    table = disturb(tmp_path, shipped, 60, 8, (0.05, 3.0))
    assert table.killed.total() == 60
    assert set(table.killed) == {"worker", "scheduler", "service"}
    assert table.resumed > 0
    check(table)
