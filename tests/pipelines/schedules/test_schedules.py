"""Schedules with the clock moved: when they are due, what they do, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pear.times import to_iso
from pipelines.catalog import Catalog, FinishedError
from pipelines.forecasting.forecast import run_forecast
from pipelines.schedules import Scheduler, due, following, run_action, trigger, validate_action
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.atomic import shared_lock, try_lock
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import DAY, LAYOUT, NSIDE, START, fields, make_world

DAILY = {"forecast": {"lead_hours": 48}}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return make_world(tmp_path / "data")


@pytest.fixture
def catalog(data: DataFolder, clock: Clock) -> Iterator[Catalog]:
    with Catalog(data.catalog, clock=clock) as made:
        yield made


def add_day(data: DataFolder, day: int) -> None:
    """One more state arrives."""
    with AnalysisWriter(data.analysis("demo"), LAYOUT, NSIDE) as writer:
        writer.append([START + day * DAY], *fields(1, seed=day))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "after", "now", "expected"),
    [
        ("0 6 * * *", "2026-03-01T06:00", "2026-03-02T05:59", None),
        ("0 6 * * *", "2026-03-01T06:00", "2026-03-02T06:00", "2026-03-02T06:00"),
        ("0 6 * * *", "2026-03-01T05:59", "2026-03-01T06:00", "2026-03-01T06:00"),
        # An outage of three days counts as one fire, the latest.
        ("0 6 * * *", "2026-03-01T06:00", "2026-03-04T12:00", "2026-03-04T06:00"),
        ("*/5 * * * *", "2025-03-01T06:00", "2026-03-04T12:03", "2026-03-04T12:00"),
        # Leap day, end of the year, a clock that was set back.
        ("30 0 29 2 *", "2024-02-01T00:00", "2024-03-05T00:00", "2024-02-29T00:30"),
        ("0 0 1 1 *", "2025-12-31T23:59", "2026-01-01T00:00", "2026-01-01T00:00"),
        ("0 6 * * *", "2026-03-02T06:00", "2026-03-01T07:00", None),
        # 1 March 2026 is a Sunday: 0 and 7 in cron's count.
        ("0 6 * * 0", "2026-02-28T00:00", "2026-03-05T00:00", "2026-03-01T06:00"),
        ("0 6 * * 7", "2026-02-28T00:00", "2026-03-05T00:00", "2026-03-01T06:00"),
        ("0 6 * * 1-5", "2026-03-01T00:00", "2026-03-09T00:00", "2026-03-06T06:00"),
        ("0 6 * * */2", "2026-03-01T12:00", "2026-03-02T12:00", None),
        ("0 6 * * mon", "2026-03-01T00:00", "2026-03-02T12:00", "2026-03-02T06:00"),
    ],
)
def test_when_a_line_is_due(line: str, after: str, now: str, expected: str | None) -> None:
    found = due(line, at(after), at(now))
    assert found == (None if expected is None else at(expected))


@pytest.mark.parametrize(
    "line", ["", "0 6 * *", "0 25 * * *", "a b c d e", "0 0 * * 8", "0 0 30 2 *"]
)
def test_lines_that_are_none_are_refused(line: str) -> None:
    with pytest.raises(InputError, match="cron line"):
        trigger(line)


def test_the_next_fire_is_told() -> None:
    assert following("0 6 * * *", at("2026-03-01T06:01")) == at("2026-03-02T06:00")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ({}, "does nothing"),
        ({"forcast": {}}, "did you mean forecast"),
        ({"forecast": {"lead": 24}}, "did you mean lead_hours"),
        ({"forecast": []}, "object"),
        ({"forecast": {"options": {"members": 0}}}, "no ensemble"),
        ({"forecast": {"newest": 0}}, "at least 1"),
        ({"ingest": {"store": "x"}}, "sources"),
        ({"expire": {"keep_days": -1}}, "negative"),
        ({"expire": {"unread_hours": 0}}, "unread_hours must be at least"),
    ],
)
def test_actions_that_make_no_sense_are_refused(action: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        validate_action(action)


def inits(catalog: Catalog) -> list[str]:
    return sorted(to_iso(run.init_time)[:10] for run in catalog.runs.page().items)


def test_a_day_replayed_forecasts_each_new_state_once(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clockwork = Scheduler(data, catalog, clock)
    assert clockwork.tick() == {}
    clock.now += timedelta(hours=6)
    assert len(clockwork.tick()["daily"].runs) == 1
    assert clockwork.tick() == {}
    assert inits(catalog) == ["2001-03-04"]
    add_day(data, 4)
    clock.now += timedelta(days=1)
    assert len(clockwork.tick()["daily"].runs) == 1
    assert inits(catalog) == ["2001-03-04", "2001-03-05"]
    schedule = catalog.schedules.get("daily")
    assert (schedule.last_status, schedule.last_run_at) == ("succeeded", clock.now)


def test_after_an_outage_of_three_days_every_init_time_comes_once_newest_first(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clockwork = Scheduler(data, catalog, clock)
    clock.now += timedelta(hours=6)
    clockwork.tick()
    for day in (4, 5, 6):
        add_day(data, day)
    clock.now += timedelta(days=3)
    done = clockwork.tick()["daily"]
    assert [run[:8] for run in done.runs] == ["20010307", "20010306", "20010305"]
    assert inits(catalog) == ["2001-03-04", "2001-03-05", "2001-03-06", "2001-03-07"]


def test_two_schedulers_alive_fire_once(data: DataFolder, catalog: Catalog, clock: Clock) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    with Catalog(data.catalog, clock=clock) as second:
        pair = [Scheduler(data, catalog, clock), Scheduler(data, second, clock)]
        fires = 0
        for day in range(4, 9):
            clock.now += timedelta(days=1)
            add_day(data, day)
            fires += sum(len(clockwork.tick()) for clockwork in pair)
    assert fires == 5
    assert len(inits(catalog)) == len(set(inits(catalog))) == 5


def test_a_fire_whose_process_died_is_taken_up_again(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clock.now += timedelta(hours=6)
    assert catalog.schedules.claim_trigger("daily", clock.now)  # and then its process died
    clockwork = Scheduler(data, catalog, clock)
    with try_lock(data.scratch / "schedule.daily.lock") as alive:
        assert alive
        assert clockwork.tick() == {}  # it did not: it is still at it
    assert len(clockwork.tick()["daily"].runs) == 1
    assert clockwork.tick() == {}


def test_a_paused_schedule_rests_and_then_catches_up(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    catalog.schedules.set_paused("daily", paused=True)
    clock.now += timedelta(days=2)
    clockwork = Scheduler(data, catalog, clock)
    assert clockwork.tick() == {}
    catalog.schedules.set_paused("daily", paused=False)
    assert len(clockwork.tick()["daily"].runs) == 1


def test_a_failure_is_noted_and_the_next_fire_comes(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", {"forecast": {"model": "nobody"}})
    clockwork = Scheduler(data, catalog, clock)
    clock.now += timedelta(days=1)
    assert clockwork.tick() == {}
    failed = catalog.schedules.get("daily")
    assert failed.last_status == "failed"
    assert "no model 'nobody'" in str(failed.last_reason)
    with pytest.raises(InputError, match="nobody"):
        clockwork.run("daily")
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clock.now += timedelta(days=1)
    assert len(clockwork.tick()["daily"].runs) == 1


def test_running_a_schedule_twice_by_hand_asks_for_nothing_new(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clockwork = Scheduler(data, catalog, clock)
    assert len(clockwork.run("daily").runs) == 1
    assert clockwork.run("daily").runs == []


def finish(data: DataFolder, catalog: Catalog) -> list[str]:
    done = [run.id for run in catalog.runs.page(status="queued").items]
    for run_id in done:
        assert run_forecast(str(data.root), run_id, str(data.catalog)) == "succeeded"
    return done


def test_what_has_become_verifiable_is_evaluated_once(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    action = validate_action(
        {"forecast": {"lead_hours": 48, "newest": 4}, "evaluate": {"lead_hours": 48}}
    )
    assert run_action(data, catalog, action, clock()).evaluations == []
    finish(data, catalog)
    done = run_action(data, catalog, action, clock())
    request = catalog.evaluations.get(done.evaluations[0]).request
    assert [time[:10] for time in request["init_times"]] == ["2001-03-01", "2001-03-02"]
    assert run_action(data, catalog, action, clock()).evaluations == []
    add_day(data, 4)
    newer = run_action(data, catalog, action, clock())
    assert len(catalog.evaluations.get(newer.evaluations[0]).request["init_times"]) == 3


def test_retention_removes_what_is_old_and_unread_and_nothing_else(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    forecast = validate_action(
        {"forecast": {"lead_hours": 24, "newest": 4, "options": {"members": 2}}}
    )
    run_action(data, catalog, forecast, clock())
    runs = sorted(finish(data, catalog))
    expire = validate_action({"expire": {"keep_days": 10, "keep_latest": 1, "unread_hours": 2}})
    clock.now = datetime.now(UTC) + timedelta(days=5)
    assert run_action(data, catalog, expire, clock()).expired == []
    clock.now += timedelta(days=6)
    catalog.runs.touch(runs[1])
    gone = run_action(data, catalog, expire, clock()).expired
    assert gone == [runs[2], runs[0]]  # not the newest, not the one that is being read
    for run in runs:
        kept = run not in gone
        assert data.forecast(run).exists() == kept
        assert data.forecast(f"{run}.spread").exists() == kept
        assert catalog.runs.get(run).status == ("succeeded" if kept else "expired")
    assert not list(data.scratch.glob("removed.*"))
    with pytest.raises(FinishedError):
        catalog.runs.expire(gone[0])
    clock.now += timedelta(hours=3)
    with shared_lock(data.forecast(f"{runs[1]}.spread")), shared_lock(data.forecast(runs[1])):
        assert run_action(data, catalog, expire, clock()).expired == []
    assert catalog.runs.get(runs[1]).status == "succeeded"
    catalog.runs.expire(runs[1])  # and then its process died
    assert run_action(data, catalog, expire, clock()).expired == []
    assert not list((data.root / "forecasts").glob(f"{runs[1]}*"))
    with pytest.raises(InputError, match="not there"), shared_lock(data.forecast(runs[1])):
        pass
    # What expired is not forecast again by the clock: that is for a person to ask.
    assert run_action(data, catalog, forecast, clock()).runs == []


def test_only_whole_hours_asked_for_and_whole_states_are_forecast(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    with AnalysisWriter(data.analysis("demo"), LAYOUT, NSIDE) as writer:
        six = np.timedelta64(6, "h")
        writer.append([START + 3 * DAY + six, START + 4 * DAY], *fields(2))
    run_action(
        data, catalog, validate_action({"forecast": {"lead_hours": 24, "newest": 2}}), clock()
    )
    found = sorted(to_iso(run.init_time)[5:13] for run in catalog.runs.page().items)
    assert found == ["03-04T00", "03-05T00"]


def test_the_background_clock_fires_by_itself_and_elsewhere(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    import threading

    catalog.schedules.add("daily", "0 6 * * *", DAILY)
    clock.now += timedelta(days=1)
    fired = threading.Event()
    clockwork = Scheduler(data, catalog, clock)

    def elsewhere(name: str) -> None:
        clockwork.fire_if_due(name)
        fired.set()

    clockwork.start(elsewhere)
    try:
        assert fired.wait(60)
    finally:
        clockwork.stop()
    assert catalog.schedules.get("daily").last_status == "succeeded"
