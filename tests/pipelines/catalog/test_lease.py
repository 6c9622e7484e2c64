"""A lease: one worker at a time, and every attempt ends in a recorded state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from pear.errors import InputError
from pipelines.catalog import BeingReadError, Catalog, Run, Status
from pipelines.catalog.lease import (
    JobLease,
    acquire_lease,
    catalog_of_process,
    close_catalogs,
    run_job,
)
from pipelines.catalog.retention import remove_run
from pipelines.catalog.sharing import reading
from pipelines.storage.atomic import try_lock
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.postgres import database, server

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
def run(catalog: Catalog) -> Run:
    return catalog.runs.submit(SHA, np.datetime64("2001-03-01"), 72)[0]


def attempt(data: DataFolder, run: Run, body: Callable[[JobLease], None]) -> str:
    return run_job(str(data.root), run.id, data.catalog_url, body)


def test_progress_is_recorded_until_the_job_succeeds(
    data: DataFolder, catalog: Catalog, run: Run
) -> None:
    seen = []

    def body(lease: JobLease) -> None:
        for step in range(1, 4):
            lease.progress(step, 3)
            found = catalog.runs.get(run.id)
            seen.append((found.status, found.progress.step, found.owner == lease.job.owner))

    assert attempt(data, run, body) is Status.SUCCEEDED
    assert seen == [(Status.RUNNING, step, True) for step in (1, 2, 3)]
    assert catalog.runs.get(run.id).progress.seconds_per_step is not None
    assert not list(data.scratch.iterdir()), "the lock file is removed"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InputError("no such analysis"), Status.FAILED, "InputError"),
        (OSError("disk full"), Status.QUEUED, None),
        (MemoryError(), Status.QUEUED, None),
    ],
)
def test_invalid_input_fails_the_job_and_other_errors_queue_it_again(
    data: DataFolder,
    catalog: Catalog,
    run: Run,
    error: Exception,
    status: Status,
    kind: str | None,
) -> None:
    def body(_: JobLease) -> None:
        raise error

    assert attempt(data, run, body) is status
    found = catalog.runs.get(run.id)
    assert (found.status, found.error_kind, found.owner) == (status, kind, None)
    assert str(error) in str(found.reason)
    (last, *_) = [event for event in catalog.runs.events(run.id) if event.level == "error"]
    assert ("traceback" in last.details) == (status is Status.QUEUED)


def test_errors_that_repeat_without_progress_fail_the_job(
    data: DataFolder, catalog: Catalog, run: Run
) -> None:
    def body(_: JobLease) -> None:
        raise OSError("disk full")

    outcomes = [attempt(data, run, body) for _ in range(5)]
    assert outcomes == [Status.QUEUED] * 4 + [Status.FAILED]
    assert "OSError: disk full" in str(catalog.runs.get(run.id).reason)


def test_a_cancelled_job_stops_at_its_next_step(
    data: DataFolder, catalog: Catalog, run: Run
) -> None:
    def body(lease: JobLease) -> None:
        lease.progress(1, 3)
        catalog.runs.cancel(run.id)
        lease.progress(2, 3)
        pytest.fail("went on")

    assert attempt(data, run, body) is Status.CANCELLED
    assert catalog.runs.get(run.id).progress.step == 2


def test_a_job_that_another_worker_took_over_is_left_alone(
    data: DataFolder, catalog: Catalog, run: Run
) -> None:
    def body(lease: JobLease) -> None:
        catalog.runs.claim(run.id, "another host")
        lease.progress(1, 3)

    assert attempt(data, run, body) == "lost"
    found = catalog.runs.get(run.id)
    assert (found.status, found.owner, found.progress.step) == (Status.RUNNING, "another host", 0)


def test_a_job_that_a_live_worker_holds_is_not_claimed(
    data: DataFolder, catalog: Catalog, run: Run
) -> None:
    with try_lock(data.scratch / f"{run.id}.lock"):
        assert attempt(data, run, lambda _: pytest.fail("claimed")) == "elsewhere"
    assert catalog.runs.get(run.id).attempts == 0


def test_a_job_that_has_ended_is_not_claimed(data: DataFolder, catalog: Catalog, run: Run) -> None:
    catalog.runs.cancel(run.id)
    with acquire_lease(str(data.root), run.id, data.catalog_url) as found:
        assert found is Status.CANCELLED


def test_evaluations_are_leased_like_runs(data: DataFolder, catalog: Catalog) -> None:
    job, _ = catalog.evaluations.submit(SHA, {"lead_hours": 24}, total=2)
    outcome = run_job(str(data.root), job.id, data.catalog_url, lambda lease: lease.progress(2, 2))
    assert outcome is Status.SUCCEEDED
    assert catalog.find_job(job.id).status is Status.SUCCEEDED


def test_jobs_of_a_process_share_a_catalog_until_it_is_closed(data: DataFolder) -> None:
    shared = catalog_of_process(data.catalog_url)
    assert catalog_of_process(data.catalog_url) is shared
    close_catalogs()
    assert catalog_of_process(data.catalog_url) is not shared


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    yield from server()


def test_a_worker_without_a_shared_disk_does_not_take_a_job_from_a_live_one(
    tmp_path: Path, postgres: str
) -> None:
    url = database(postgres, "two_hosts")
    first, second = (DataFolder.create(tmp_path / name) for name in ("first", "second"))
    with Catalog(url) as here, Catalog(url) as elsewhere:
        here.models.add(SHA, "models/x", nside=8, step_hours=24)
        run, _ = here.runs.submit(SHA, np.datetime64("2001-03-01"), 72)
        with here.lock_among_hosts(run.id) as held:
            assert held
            assert run_job(str(second.root), run.id, url, lambda _: None) == "elsewhere"
            with elsewhere.lock_among_hosts("another job") as other:
                assert other
        assert elsewhere.runs.get(run.id).status is Status.QUEUED
        assert run_job(str(first.root), run.id, url, lambda _: None) is Status.SUCCEEDED


def test_readers_share_a_lock_that_removal_wants_alone(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database(postgres, "readers")
    monkeypatch.setenv("PEAR_CATALOG", url)
    monkeypatch.setenv("PEAR_STORE", f"file://{tmp_path / 'objects'}")
    here, elsewhere = (DataFolder.create(tmp_path / name) for name in ("here", "elsewhere"))
    with Catalog(url) as catalog:
        catalog.models.add("ab" * 32, "models/x", nside=8, step_hours=24)
        run, _ = catalog.runs.submit("ab" * 32, np.datetime64("2001-03-01"), 72)
        catalog.runs.claim(run.id, "w")
        catalog.runs.succeed(run.id)
        with reading(here, [run.id]), reading(elsewhere, [run.id]):
            with pytest.raises(BeingReadError, match="by another host"):
                remove_run(elsewhere, catalog, run.id)
            assert catalog.runs.get(run.id).status is Status.SUCCEEDED
        remove_run(elsewhere, catalog, run.id)
        assert catalog.runs.get(run.id).status is Status.EXPIRED


def test_locks_among_hosts_survive_a_restart_of_the_connection_and_end_with_the_process(
    postgres: str,
) -> None:
    url = database(postgres, "ended_session")
    with Catalog(url) as here, Catalog(url) as elsewhere:
        with here.lock_among_hosts("job") as held:
            assert held
            with elsewhere._db.write() as connection:  # as when the process dies
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                    )
                )
            deadline = time.monotonic() + 10
            while not _is_free(elsewhere, "job"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert _is_free(here, "job"), "a new session takes the place of the lost one"


def _is_free(catalog: Catalog, name: str) -> bool:
    with catalog.lock_among_hosts(name) as free:
        return free
