"""Whatever is killed, every run ends succeeded, bit for bit, once.

The long one prints its table: ``pytest -m nightly tests/pipelines/test_execute_kills.py
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
from tests.fixtures.engine import make_world, read_fields
from tests.fixtures.kills import House
from tests.fixtures.postgres import database, server

WAIT = 900
STEPS = 60
_LOG = logging.getLogger("pear.tests.kills")


@dataclass
class Table:
    """What was killed, and what became of the runs."""

    killed: Counter[str]
    runs: int
    steps: int
    succeeded: int = 0
    equal_bit_for_bit: int = 0
    ended_more_than_once: int = 0
    lost: int = 0
    strangers: int = 0
    taken_up_again: int = 0


def small(folder: Path) -> DataFolder:
    return make_world(folder, days=12)


def shipped_world(folder: Path) -> DataFolder:
    """The model and the states that ship, nside 16."""
    data = DataFolder.create(folder)
    ingest(sorted(resources.path("sample").glob("*.nc")), data.analysis("simulated"), nside=16)
    with Catalog(data.catalog) as catalog:
        add_model(data, catalog, resources.path("checkpoint"))
    return data


def submit(data: DataFolder, catalog: Catalog, runs: int) -> list[Run]:
    """Ask for so many different runs; those that are there already are the same runs."""
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
    """The same runs in another folder, one after the other, in this process."""
    with Catalog(data.catalog) as catalog:
        for run in submit(data, catalog, len(runs)):
            run_forecasts(str(data.root), [run.id], str(data.catalog))
    return data


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def count(
    table: Table, data: DataFolder, catalog: Catalog, runs: list[Run], expected: DataFolder
) -> Table:
    for asked in runs:
        run, events = catalog.runs.get(asked.id), [e.message for e in catalog.runs.events(asked.id)]
        table.succeeded += run.status == "succeeded"
        table.lost += run.status != "succeeded" or not data.forecast(run.id).exists()
        table.ended_more_than_once += events.count("succeeded") > 1
        table.taken_up_again += events.count("taken over") + events.count("released")
        if data.forecast(run.id).exists():
            found, wanted = (read_fields(each.forecast(run.id)) for each in (data, expected))
            table.equal_bit_for_bit += same(found, wanted)
    known = {f"{run.id}.zarr" for run in runs}
    table.strangers = len({path.name for path in (data.root / "forecasts").iterdir()} ^ known)
    return table


def disturb(
    tmp_path: Path,
    world: Callable[[Path], DataFolder],
    kills: int,
    runs: int,
    pause: tuple[float, float],
) -> Table:
    data, house_folder = world(tmp_path / "data"), tmp_path / "house"
    house_folder.mkdir()
    with Catalog(data.catalog_url) as catalog:
        asked = submit(data, catalog, runs)
        with House(data, house_folder) as house:
            deadline = time.monotonic() + WAIT + 60 * kills

            def breathe(seconds: float) -> None:
                assert time.monotonic() < deadline, (house_folder / "log").read_text()[-3000:]
                house.mend()
                time.sleep(seconds)

            # One of each kind, then at random, each in the midst of work: since the last kill
            # somebody has come a step further. When a batch is through, a further one is asked for.
            seen = 0
            for kind in ["worker0", "scheduler", "service", *[None] * (kills - 3)]:
                while steps_done(catalog) <= seen:
                    if not catalog.active_jobs():
                        asked = submit(data, catalog, len(asked) + runs)
                    breathe(0.05)
                house.rest(*pause)
                seen = steps_done(catalog)
                house.kill(kind)
                _LOG.info("kill %d: %s", len(house.kills), house.kills[-1])
            while catalog.active_jobs():
                breathe(0.2)
        table = Table(Counter(house.kills), len(asked), sum(r.progress.total for r in asked))
        return count(table, data, catalog, asked, undisturbed(world(tmp_path / "twin"), asked))


def steps_done(catalog: Catalog) -> int:
    return sum(run.progress.step for run in catalog.runs.page(limit=10_000).items)


def check(table: Table) -> None:
    """Every run ended succeeded, as it would have ended in peace; none twice, none lost."""
    _LOG.info("kill table: %s", vars(table))
    assert table.succeeded == table.equal_bit_for_bit == table.runs
    assert table.ended_more_than_once == table.lost == table.strangers == 0


@pytest.mark.slow
def test_a_worker_a_scheduler_and_a_service_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    table = disturb(tmp_path, small, 3, 3, (0.1, 1.0))
    assert table.killed == {"worker": 1, "scheduler": 1, "service": 1}
    check(table)


@pytest.mark.nightly
def test_twenty_kills_with_the_catalog_in_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in server():
        monkeypatch.setenv("PEAR_CATALOG", database(address, "kills"))
        check(disturb(tmp_path, shipped_world, 20, 4, (0.05, 3.0)))


@pytest.mark.nightly
def test_sixty_kills_at_random_moments_over_batches_of_the_model_that_ships(
    tmp_path: Path,
) -> None:
    table = disturb(tmp_path, shipped_world, 60, 8, (0.05, 3.0))
    assert table.killed.total() == 60
    assert set(table.killed) == {"worker", "scheduler", "service"}
    assert table.taken_up_again > 0
    check(table)
