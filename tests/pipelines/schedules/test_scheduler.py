"""The scheduler with a moved clock: each due time is run once and none is lost."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from pear.errors import InputError
from pear.times import to_iso
from pipelines.catalog import Catalog
from pipelines.schedules import Scheduler
from pipelines.storage.atomic import try_lock
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.schedules import Clock, add_day

DAILY = {"forecast": {"lead_hours": 48}}


def inits(catalog: Catalog) -> list[str]:
    return sorted(to_iso(run.init_time)[:10] for run in catalog.runs.page().items)


def test_each_new_state_is_forecast_once(data: DataFolder, catalog: Catalog, clock: Clock) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    scheduler = Scheduler(data, catalog, clock)
    assert scheduler.run_due() == {}
    clock.now += timedelta(hours=6)
    assert len(scheduler.run_due()["daily"].runs) == 1
    assert scheduler.run_due() == {}
    assert inits(catalog) == ["2001-03-04"]
    add_day(data, 4)
    clock.now += timedelta(days=1)
    assert len(scheduler.run_due()["daily"].runs) == 1
    assert inits(catalog) == ["2001-03-04", "2001-03-05"]
    schedule = catalog.schedules.get("daily")
    assert (schedule.last_status, schedule.last_run_at) == ("succeeded", clock.now)


def test_after_an_outage_every_init_time_is_forecast_once_newest_first(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    scheduler = Scheduler(data, catalog, clock)
    clock.now += timedelta(hours=6)
    scheduler.run_due()
    for day in (4, 5, 6):
        add_day(data, day)
    clock.now += timedelta(days=3)
    done = scheduler.run_due()["daily"]
    assert [run[:8] for run in done.runs] == ["20010307", "20010306", "20010305"]
    assert inits(catalog) == ["2001-03-04", "2001-03-05", "2001-03-06", "2001-03-07"]


def test_two_schedulers_run_a_schedule_once(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    with Catalog(data.catalog, clock=clock) as second:
        pair = [Scheduler(data, catalog, clock), Scheduler(data, second, clock)]
        count = 0
        for day in range(4, 9):
            clock.now += timedelta(days=1)
            add_day(data, day)
            count += sum(len(scheduler.run_due()) for scheduler in pair)
    assert count == 5
    assert len(inits(catalog)) == len(set(inits(catalog))) == 5


def test_a_run_whose_process_died_is_repeated(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clock.now += timedelta(hours=6)
    assert catalog.schedules.claim_trigger("daily", clock.now)  # then its process dies
    scheduler = Scheduler(data, catalog, clock)
    with try_lock(data.scratch / "schedule.daily.lock") as alive:
        assert alive
        assert scheduler.run_due() == {}  # it is alive and still running
    assert len(scheduler.run_due()["daily"].runs) == 1
    assert scheduler.run_due() == {}


def test_a_paused_schedule_catches_up_when_resumed(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    catalog.schedules.set_paused("daily", paused=True)
    clock.now += timedelta(days=2)
    scheduler = Scheduler(data, catalog, clock)
    assert scheduler.run_due() == {}
    catalog.schedules.set_paused("daily", paused=False)
    assert len(scheduler.run_due()["daily"].runs) == 1


def test_a_failure_is_recorded_and_the_next_run_follows(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", {"forecast": {"model": "nobody"}})
    scheduler = Scheduler(data, catalog, clock)
    clock.now += timedelta(days=1)
    assert scheduler.run_due() == {}
    failed = catalog.schedules.get("daily")
    assert failed.last_status == "failed"
    assert "no model 'nobody'" in str(failed.last_reason)
    with pytest.raises(InputError, match="nobody"):
        scheduler.run("daily")
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clock.now += timedelta(days=1)
    assert len(scheduler.run_due()["daily"].runs) == 1


def test_running_a_schedule_twice_queues_nothing_new(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    scheduler = Scheduler(data, catalog, clock)
    assert len(scheduler.run("daily").runs) == 1
    assert scheduler.run("daily").runs == []


def test_the_background_scheduler_dispatches_what_is_due(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clock.now += timedelta(days=1)
    dispatched = threading.Event()
    scheduler = Scheduler(data, catalog, clock)

    def dispatch(name: str) -> None:
        scheduler.run_if_due(name)
        dispatched.set()

    scheduler.start(dispatch)
    try:
        assert dispatched.wait(60)
    finally:
        scheduler.stop()
    assert catalog.schedules.get("daily").last_status == "succeeded"
