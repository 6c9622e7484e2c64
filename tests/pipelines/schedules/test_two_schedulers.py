"""A day of schedules with a moved clock and two live schedulers that compete for every run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.times import to_iso
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import DAY, START, make_data_folder
from tests.fixtures.postgres import database, server
from tests.fixtures.schedules import add_day, compute_queued

SCHEDULER = """
import sys, time
from datetime import datetime
from pathlib import Path
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from pipelines.logging import configure
from pipelines.schedules import Scheduler, scheduler

scheduler._POLL_SECONDS = 0.2
moved = Path(sys.argv[2])
data = DataFolder.open(sys.argv[1])
configure("info")
now = lambda: datetime.fromisoformat(moved.read_text())
with Catalog(data.catalog_url, clock=now) as catalog:
    Scheduler(data, catalog, now).start()
    sys.stdin.read()  # until the test closes it
"""
_TOMORROW = datetime.now(UTC) + timedelta(days=1)  # runs end by the real clock, today
BEGIN = _TOMORROW.replace(hour=0, minute=30, second=0, microsecond=0)


class Clock:
    """A clock in a file, which every process reads."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(BEGIN)

    def set(self, now: datetime) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(now.isoformat())
        fresh.replace(self.file)

    def __call__(self) -> datetime:
        return datetime.fromisoformat(self.file.read_text())


@pytest.fixture
def schedulers(tmp_path: Path) -> Iterator[Callable[[DataFolder, Clock], list[Path]]]:
    """Start two processes that run schedules; their logs."""
    running: list[subprocess.Popen[bytes]] = []

    def start(data: DataFolder, clock: Clock) -> list[Path]:
        script = tmp_path / "scheduler.py"
        script.write_text(SCHEDULER)
        logs = [tmp_path / f"scheduler{number}.log" for number in range(2)]
        for log in logs:
            with log.open("wb") as out:
                words = [sys.executable, str(script), str(data.root), str(clock.file)]
                running.append(subprocess.Popen(words, stdin=subprocess.PIPE, stderr=out))
        return logs

    yield start
    for process in running:
        process.communicate()


def schedule_runs(logs: list[Path]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [line for line in lines if line["event"] == "schedule run"]


@pytest.fixture(params=["sqlite", "postgresql"])
def any_catalog(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both databases, by the setting that every process reads."""
    monkeypatch.delenv("PEAR_CATALOG", raising=False)
    if request.param == "sqlite":
        yield
        return
    for address in server():
        monkeypatch.setenv("PEAR_CATALOG", database(address, "day"))
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("any_catalog")
def test_two_schedulers_run_each_due_time_once(
    tmp_path: Path,
    schedulers: Callable[[DataFolder, Clock], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, clock = make_data_folder(tmp_path / "data", days=1), Clock(tmp_path / "now")
    monkeypatch.setenv("PEAR_LOG_LEVEL", "warning")
    with Catalog(data.catalog_url, clock=clock) as catalog:
        hourly = {
            "forecast": {"lead_hours": 24},
            "evaluate": {"lead_hours": 24},
            "expire": {"keep_days": 1, "keep_latest": 4},
        }
        catalog.schedules.add("hourly", "0 * * * *", hourly)
        catalog.schedules.add("twice", "0 6,18 * * *", {"forecast": {"lead_hours": 48}})
        logs = schedulers(data, clock)
        expected, arrived = 0, 1
        for hour in range(1, 25):
            if hour % 3 == 0:  # a state arrives, as if a day had passed for the model
                add_day(data, arrived)
                arrived += 1
            clock.set(BEGIN + timedelta(hours=hour))
            expected += 1 + (hour in (6, 18))
            end = time.monotonic() + 120
            while len(schedule_runs(logs)) < expected:
                assert time.monotonic() < end, [log.read_text() for log in logs]
                time.sleep(0.05)
            compute_queued(data, catalog)
        time.sleep(1)  # a second run would come now
        found = schedule_runs(logs)
        due = Counter((each["schedule"], each["due"]) for each in found)
        assert set(due.values()) == {1}
        assert len(due) == expected == 26
        assert len({each["process"] for each in found}) == 2, "one of them never claimed a run"
        # Every state that came was forecast once by each schedule that was due after it.
        runs = catalog.runs.page(limit=1000).items
        asked = Counter(run for each in found for run in each["runs"])
        assert asked == Counter(run.id for run in runs)
        hours = Counter((to_iso(run.init_time)[:10], run.lead_hours) for run in runs)
        states = [str(START + day * DAY)[:10] for day in range(arrived)]
        assert hours == Counter(
            {(state, 24): 1 for state in states}
            | {(state, 48): 1 for state in states[2:7]}  # newest at 06, and all since at 18
        )
        kept = [run for run in runs if run.status == "succeeded"]
        assert 0 < len(kept) < len(runs)  # the others have expired meanwhile
        assert all(data.forecast(run.id).exists() == (run in kept) for run in runs)
        assert np.datetime64(max(run.init_time for run in kept)) == START + (arrived - 1) * DAY
