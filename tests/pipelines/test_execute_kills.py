"""Whatever is killed, every run ends succeeded, bit for bit, once."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from engine_world import DAY, START, make_world, read_fields
from kill_house import House

from pipelines.catalog import Catalog, Run
from pipelines.datafolder import DataFolder
from pipelines.forecast import run_forecasts
from pipelines.register import refresh

WAIT = 600
STEPS = 80


def submit(data: DataFolder, catalog: Catalog, runs: int, lead: int) -> list[Run]:
    refresh(data, catalog)
    return [
        catalog.submit_run(
            "tiny", START + day % 12 * DAY, lead + 24 * (day // 12), options={"analysis": "demo"}
        )[0]
        for day in range(runs)
    ]


def undisturbed(folder: Path, runs: list[Run], days: int = 12) -> DataFolder:
    """The same runs in another folder, one after the other, in this process."""
    data = make_world(folder, days=days)
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)
        for run in runs:
            catalog.submit_run("tiny", run.init_time, run.lead_hours, options=run.options)
            run_forecasts(str(data.root), [run.id], str(data.catalog))
    return data


def check(data: DataFolder, catalog: Catalog, runs: list[Run], expected: DataFolder) -> None:
    for run in runs:
        ended = catalog.run(run.id)
        assert ended.status == "succeeded", ended.reason
        ends = [event for event in catalog.log(run.id) if event.message == "succeeded"]
        assert len(ends) == 1
        found = read_fields(data.forecast(run.id))
        for name, values in read_fields(expected.forecast(run.id)).items():
            np.testing.assert_array_equal(found[name], values)
    stores = sorted(path.name for path in (data.root / "forecasts").iterdir())
    assert stores == sorted(f"{run.id}.zarr" for run in runs)


def steps_done(catalog: Catalog) -> int:
    return sum(run.progress.step for run in catalog.runs(limit=10_000).items)


def disturb(tmp_path: Path, kills: int, runs: int, pause: tuple[float, float]) -> list[str]:
    data = make_world(tmp_path / "data", days=12)
    house_folder = tmp_path / "house"
    house_folder.mkdir()
    with Catalog(data.catalog) as catalog:
        asked = submit(data, catalog, runs, 24 * STEPS)
        with House(data, house_folder) as house:
            deadline = time.monotonic() + WAIT + 60 * kills
            seen = 0
            # Three at least: one of each kind, then at random, each in the midst of work: since
            # the last kill somebody has come a step further.
            for kind in ["worker0", "scheduler", "service", *[None] * (kills - 3)]:
                while steps_done(catalog) <= seen:
                    assert time.monotonic() < deadline, (house_folder / "log").read_text()[-3000:]
                    if not catalog.active():
                        asked += submit(data, catalog, len(asked) + runs, 24 * STEPS)[len(asked) :]
                    house.mend()
                    time.sleep(0.05)
                house.rest(*pause)
                seen = steps_done(catalog)
                house.kill(kind)
            while catalog.active():
                assert time.monotonic() < deadline, (house_folder / "log").read_text()[-3000:]
                house.mend()
                time.sleep(0.2)
        expected = undisturbed(tmp_path / "twin", asked)
        check(data, catalog, asked, expected)
        return house.kills


@pytest.mark.slow
def test_a_worker_a_scheduler_and_a_service_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    assert sorted(disturb(tmp_path, 3, 3, (0.1, 1.0))) == ["scheduler", "service", "worker"]


@pytest.mark.nightly
def test_sixty_kills_at_random_moments(tmp_path: Path) -> None:
    kills = disturb(tmp_path, 60, 12, (0.05, 3.0))
    assert len(kills) == 60
    assert set(kills) == {"worker", "scheduler", "service"}
