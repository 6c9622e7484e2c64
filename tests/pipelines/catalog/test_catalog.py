"""The catalog: states, identities, guards, pages, and many processes at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from pear.errors import InputError
from pipelines.catalog import (
    Catalog,
    FinishedError,
    NotFoundError,
    NotOwnerError,
    Priority,
    Status,
    describe_error,
    tables,
)
from pipelines.catalog.tables import VERSION, version
from tests.fixtures.postgres import database, server

SHA = "ab" * 32
DAY = np.datetime64("2001-03-01T00:00:00")


class Clock:
    """A clock that moves one second each time it is read."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    yield from server()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty catalog's URL: every test runs over a real connection to either database."""
    if request.param == "sqlite":
        return str(tmp_path / "catalog.sqlite")
    return database(request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex}")


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    with Catalog(url, clock=Clock()) as made:
        made.models.add(SHA, "models/x", nside=8, step_hours=24, name="small")
        yield made


def test_stores_are_entered_once_and_kept_up_to_date(catalog: Catalog) -> None:
    days = DAY + np.arange(3) * np.timedelta64(1, "D")
    first = catalog.stores.add("demo", "analyses/demo.zarr", nside=16, times=days[:2])
    again = catalog.stores.add("demo", "analyses/demo.zarr", nside=16, times=days)
    assert (first.times, again.times) == (2, 3)
    assert again.created_at == first.created_at < again.updated_at
    assert (again.first_time, again.last_time) == (days[0], days[2])
    assert [store.name for store in catalog.stores.all()] == ["demo"]
    with pytest.raises(NotFoundError, match="did you mean demo"):
        catalog.stores.get("dem")


def test_models_are_found_by_identity_name_and_age(catalog: Catalog) -> None:
    newer = catalog.models.add("cd" * 32, "models/y", nside=8, step_hours=6)
    assert catalog.models.get().id == newer.id == "cd" * 6
    assert catalog.models.get("small").sha256 == SHA
    assert catalog.models.get(SHA[:12]).name == "small"
    with pytest.raises(NotFoundError, match="no model 'large'"):
        catalog.models.get("large")


def test_the_same_request_is_the_same_run(catalog: Catalog) -> None:
    run, created = catalog.runs.submit("small", DAY, 48, options={"members": None})
    again, more = catalog.runs.submit(SHA[:12], DAY, 48)
    assert created
    assert not more
    assert again == run
    assert run.id.startswith("20010301T0000-48h-")
    assert run.progress.total == 2
    other, _ = catalog.runs.submit("small", DAY, 48, options={"members": 4})
    later, _ = catalog.runs.submit("small", DAY + np.timedelta64(6, "h"), 48)
    assert len({run.id, other.id, later.id}) == 3


def test_a_lead_that_is_no_multiple_of_the_step_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="30 h is not a multiple"):
        catalog.runs.submit("small", DAY, 30)
    assert catalog.runs.page().items == ()


def test_a_run_goes_from_queued_to_succeeded_and_says_so_in_its_log(catalog: Catalog) -> None:
    run, _ = catalog.runs.submit("small", DAY, 48)
    assert catalog.runs.claim(run.id, "w1").status == "running"
    half = catalog.runs.set_progress(run.id, 1, 2, seconds_per_step=0.5, owner="w1")
    assert half.progress.fraction == 0.5
    assert half.progress.eta_seconds == 0.5
    done = catalog.runs.succeed(run.id, owner="w1")
    assert done.status == "succeeded"
    assert done.progress.step == 2
    assert done.finished_at is not None
    assert [event.message for event in catalog.runs.events(run.id)] == [
        "queued",
        "started",
        "succeeded",
    ]
    assert catalog.runs.submit("small", DAY, 48) == (catalog.runs.get(run.id), False)


def test_a_worker_that_lost_its_run_can_no_longer_touch_it(catalog: Catalog) -> None:
    run, _ = catalog.runs.submit("small", DAY, 48)
    catalog.runs.claim(run.id, "first")
    assert catalog.runs.claim(run.id, "second").attempts == 2
    for act in (
        lambda: catalog.runs.set_progress(run.id, 1, 2, owner="first"),
        lambda: catalog.runs.succeed(run.id, owner="first"),
        lambda: catalog.runs.fail(run.id, "late", owner="first"),
        lambda: catalog.runs.release(run.id, "late", owner="first"),
        lambda: catalog.runs.mark_cancelled(run.id, owner="first"),
    ):
        with pytest.raises(NotOwnerError):
            act()
    assert catalog.runs.succeed(run.id, owner="second").status == "succeeded"


def test_cancelling_a_queued_run_is_at_once_and_a_running_one_on_its_next_step(
    catalog: Catalog,
) -> None:
    queued, _ = catalog.runs.submit("small", DAY, 24)
    assert catalog.runs.cancel(queued.id).status == "cancelled"
    with pytest.raises(FinishedError):
        catalog.runs.cancel(queued.id)
    running, _ = catalog.runs.submit("small", DAY, 48)
    catalog.runs.claim(running.id, "w")
    assert catalog.runs.cancel(running.id).status == "running"
    assert catalog.runs.set_progress(running.id, 1, 2, owner="w").cancel_requested
    assert catalog.runs.mark_cancelled(running.id, owner="w").status == "cancelled"


def test_a_cancelled_run_whose_worker_died_is_not_taken_up_again(catalog: Catalog) -> None:
    run, _ = catalog.runs.submit("small", DAY, 48)
    catalog.runs.claim(run.id, "dead")
    catalog.runs.cancel(run.id)
    with pytest.raises(FinishedError):
        catalog.runs.claim(run.id, "next")
    assert catalog.runs.get(run.id).status == "cancelled"


def test_a_run_that_kills_its_workers_is_given_up_but_progress_earns_new_attempts(
    catalog: Catalog,
) -> None:
    run, _ = catalog.runs.submit("small", DAY, 48)
    for attempt in range(4):
        catalog.runs.claim(run.id, f"a{attempt}")
    catalog.runs.set_progress(run.id, 1, 2, owner="a3")
    for attempt in range(4):
        catalog.runs.claim(run.id, f"b{attempt}")
        catalog.runs.set_progress(run.id, 1, 2, owner=f"b{attempt}")
    with pytest.raises(FinishedError, match="failed"):
        catalog.runs.claim(run.id, "one too many")
    failed = catalog.runs.get(run.id)
    assert (failed.status, failed.error_kind, failed.attempts) == ("failed", "StalledError", 8)
    assert failed.reason is not None
    assert "4 attempts without progress beyond step 1 of 2; last: its worker died" in failed.reason


@pytest.mark.parametrize("end", ["failed", "cancelled", "expired"])
def test_a_run_that_ended_without_a_result_can_be_asked_for_again(
    catalog: Catalog, end: str
) -> None:
    run, _ = catalog.runs.submit("small", DAY, 48)
    catalog.runs.claim(run.id, "w")
    if end == "failed":
        catalog.runs.fail(run.id, "geopotential at step 2", kind="DivergedError", owner="w")
    elif end == "cancelled":
        catalog.runs.mark_cancelled(run.id, owner="w")
    else:
        catalog.runs.succeed(run.id, owner="w")
        catalog.runs.expire(run.id)
    assert catalog.runs.get(run.id).status == end
    again, created = catalog.runs.submit("small", DAY, 48)
    assert created
    assert (again.id, again.status, again.attempts, again.reason) == (run.id, "queued", 0, None)


def test_the_reason_of_a_failure_is_kept(catalog: Catalog) -> None:
    run, _ = catalog.runs.submit("small", DAY, 48)
    catalog.runs.claim(run.id, "w")
    failed = catalog.runs.fail(run.id, "step 2: temperature", kind="DivergedError", owner="w")
    assert (failed.reason, failed.error_kind) == ("step 2: temperature", "DivergedError")
    last = catalog.runs.events(run.id)[-1]
    assert (last.level, last.details) == ("error", {"reason": "step 2: temperature"})


def test_pages_cover_every_run_once_newest_first(catalog: Catalog) -> None:
    times = DAY + np.arange(7) * np.timedelta64(1, "D")
    made = [catalog.runs.submit("small", time, 24)[0].id for time in times]
    seen: list[str] = []
    cursor = None
    while True:
        page = catalog.runs.page(limit=3, cursor=cursor)
        seen += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == made[::-1]
    assert [run.id for run in catalog.runs.page(init_time=times[2]).items] == [made[2]]
    for wrong in ("nonsense", "%%%", "bm8"):
        with pytest.raises(InputError, match="cursor"):
            catalog.runs.page(cursor=wrong)
    with pytest.raises(InputError, match="unknown status"):
        catalog.runs.page(status="done")  # type: ignore[arg-type]


def test_urgent_runs_go_first_and_positions_say_so(catalog: Catalog) -> None:
    batch = [catalog.runs.submit("small", DAY + np.timedelta64(d, "D"), 24)[0] for d in range(3)]
    urgent, _ = catalog.runs.submit("small", DAY, 48, priority=Priority.INTERACTIVE)
    assert [job.id for job in catalog.active_jobs()] == [urgent.id, *(run.id for run in batch)]
    assert catalog.queue_position(batch[0].id) == 1
    raised, _ = catalog.runs.submit("small", batch[2].init_time, 24, priority=Priority.INTERACTIVE)
    assert raised.priority == Priority.INTERACTIVE
    catalog.runs.claim(urgent.id, "w")
    assert catalog.queue_position(urgent.id) is None
    assert catalog.runs.counts() == {
        "queued": 3,
        "running": 1,
        "succeeded": 0,
        "failed": 0,
        "cancelled": 0,
        "expired": 0,
    }


def test_the_latest_run_is_by_init_time_and_succeeded(catalog: Catalog) -> None:
    assert catalog.runs.latest() is None
    for day in (2, 0, 1):
        run, _ = catalog.runs.submit("small", DAY + np.timedelta64(day, "D"), 24)
        if day < 2:
            catalog.runs.claim(run.id, "w")
            catalog.runs.succeed(run.id, owner="w")
    latest = catalog.runs.latest()
    assert latest is not None
    assert latest.init_time == DAY + np.timedelta64(1, "D")


def test_evaluations_are_jobs_of_their_own(catalog: Catalog) -> None:
    one, created = catalog.evaluations.submit("small", {"region": "global"}, total=4)
    same, more = catalog.evaluations.submit("small", {"region": "global", "note": None})
    assert created
    assert not more
    assert same.id == one.id
    catalog.evaluations.claim(one.id, "w")
    catalog.evaluations.set_progress(one.id, 3, 4, owner="w")
    assert catalog.evaluations.get(one.id).progress.step == 3
    assert catalog.evaluations.counts()["running"] == 1
    assert catalog.runs.counts()["running"] == 0
    assert catalog.evaluations.succeed(one.id).status == "succeeded"


def test_one_fire_of_a_schedule_is_taken_once(catalog: Catalog) -> None:
    catalog.schedules.add("daily", "0 6 * * *", {"forecast": {"lead_hours": 240}})
    fire = datetime(2026, 1, 2, 6, tzinfo=UTC)
    assert catalog.schedules.claim_trigger("daily", fire)
    assert not catalog.schedules.claim_trigger("daily", fire)
    assert not catalog.schedules.claim_trigger("daily", fire - timedelta(days=1))
    assert catalog.schedules.claim_trigger("daily", fire + timedelta(days=1))
    catalog.schedules.set_paused("daily", paused=True)
    assert not catalog.schedules.claim_trigger("daily", fire + timedelta(days=2))
    catalog.schedules.remove("daily")
    with pytest.raises(NotFoundError):
        catalog.schedules.get("daily")


def test_the_last_run_of_a_schedule_is_read_from_catalogs_written_before(url: str) -> None:
    """Its column has an older name, ``last_fire``; states and priorities are plain values."""
    at = datetime(2026, 1, 2, 6, tzinfo=UTC)
    with Catalog(url) as made:
        made.models.add(SHA, "models/x", nside=8, step_hours=24, name="small")
        run, _ = made.runs.submit("small", DAY, 48, priority=Priority.INTERACTIVE)
        made.schedules.add("daily", "0 6 * * *", {})
        assert made.schedules.claim_trigger("daily", at)
        made.schedules.finish_trigger("daily", Status.SUCCEEDED, "done")
        schedule = made.schedules.get("daily")
        with made._db.read() as connection:
            query = sa.text("SELECT last_fire, last_status FROM schedules")
            assert connection.execute(query).one()[1] == "succeeded"
            query = sa.text("SELECT status, priority FROM runs WHERE id = :id")
            assert connection.execute(query, {"id": run.id}).one() == ("queued", 10)
    assert (schedule.last_run_at, schedule.last_status) == (at, Status.SUCCEEDED)


def test_a_newer_catalog_is_refused_and_left_as_it_was(url: str) -> None:
    with Catalog(url) as made, made._db.write() as connection:
        connection.execute(version.update().values(version=VERSION + 1))
    with pytest.raises(InputError, match="newer"):
        Catalog(url)


def test_an_older_catalog_is_brought_up_to_date_once_and_keeps_what_it_holds(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Catalog(url) as made:
        made.models.add(SHA, "models/x", nside=8, step_hours=24, name="small")
    calls: list[int] = []

    def add_column(connection: sa.Connection) -> None:
        calls.append(1)
        connection.execute(sa.text("ALTER TABLE models ADD COLUMN note TEXT"))
        connection.execute(sa.text("UPDATE models SET note = 'migrated'"))

    def fail(connection: sa.Connection) -> None:
        connection.execute(sa.text("DROP TABLE models"))
        raise RuntimeError("half way")

    before = tables.MIGRATIONS
    monkeypatch.setattr(tables, "MIGRATIONS", (*before, fail))
    monkeypatch.setattr(tables, "VERSION", len(before) + 1)
    with pytest.raises(RuntimeError, match="half way"):
        Catalog(url)  # and nothing has changed: the whole migration is one transaction
    monkeypatch.setattr(tables, "MIGRATIONS", (*before, add_column))
    for _ in range(2):
        with Catalog(url) as again, again._db.read() as connection:
            found = connection.execute(sa.text("SELECT name, note FROM models")).all()
            assert found == [("small", "migrated")]
            assert connection.execute(sa.select(version.c.version)).scalar() == len(before) + 1
    assert calls == [1]


def _open(url: str, ready: Barrier) -> None:
    ready.wait()
    Catalog(url).close()


def test_many_processes_may_make_the_same_catalog_at_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(4)
    crowd = [spawn.Process(target=_open, args=(url, ready)) for _ in range(4)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(60)
    assert [process.exitcode for process in crowd] == [0] * 4
    with Catalog(url) as made, made._db.read() as connection:
        assert connection.execute(sa.select(version.c.version)).scalars().all() == [VERSION]


def test_a_url_that_is_none_is_an_input_error() -> None:
    with pytest.raises(InputError, match="not a database URL"):
        Catalog("oracle9://somewhere/else")


def test_a_database_that_cannot_be_opened_is_an_input_error_without_the_password(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        Catalog(tmp_path / "missing" / "catalog.sqlite")
    pytest.importorskip("psycopg", reason="no PostgreSQL driver")
    with pytest.raises(InputError, match="cannot be opened") as refused:
        Catalog(f"postgresql://pear:secret@/pear?host={tmp_path}")
    assert "secret" not in str(refused.value)


def test_sqlite_runs_in_wal_mode(tmp_path: Path) -> None:
    with Catalog(tmp_path / "catalog.sqlite") as catalog, catalog._db.read() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"


def _hammer(url: str, worker: int, runs: int) -> None:
    with Catalog(url) as catalog:
        for day in range(runs):
            run, _ = catalog.runs.submit("small", DAY + np.timedelta64(day, "D"), 48)
            try:
                catalog.runs.claim(run.id, f"w{worker}")
                catalog.runs.set_progress(run.id, 1, 2, owner=f"w{worker}")
                catalog.runs.succeed(run.id, owner=f"w{worker}")
            except (FinishedError, NotOwnerError):
                continue


def test_many_processes_at_once_lose_nothing_and_finish_each_run_once(url: str) -> None:
    runs, workers = 8, 4
    with Catalog(url) as catalog:
        catalog.models.add(SHA, "models/x", nside=8, step_hours=24, name="small")
        spawn = multiprocessing.get_context("spawn")
        crowd = [spawn.Process(target=_hammer, args=(url, n, runs)) for n in range(workers)]
        for process in crowd:
            process.start()
        for process in crowd:
            process.join(60)
        assert [process.exitcode for process in crowd] == [0] * workers
        for run in catalog.runs.page().items:
            ends = [event for event in catalog.runs.events(run.id) if event.message == "succeeded"]
            assert (run.status, len(ends)) == ("succeeded", 1)
        assert catalog.runs.counts()["succeeded"] == runs


def test_an_error_of_the_database_is_described_without_its_statement(catalog: Catalog) -> None:
    wrong = sa.exc.OperationalError("SELECT secret", {}, sqlite3.OperationalError("locked\nSELECT"))
    assert describe_error(wrong) == "OperationalError: locked"
    assert describe_error(ValueError("two\n  lines")) == "ValueError: two lines"
    assert describe_error(KeyError()) == "KeyError"
    assert len(describe_error(ValueError("x" * 9999))) < 600
