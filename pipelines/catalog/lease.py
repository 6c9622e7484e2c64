"""Job leases: at most one worker works on a job, and every attempt ends in a recorded state.

Three mechanisms ensure that at most one worker owns a job. A lock file per job, which the kernel
releases when its process dies, separates live workers on one file system, and a lock of PostgreSQL
those of several hosts. The owner token in the catalog stops a worker that was considered dead and
comes back.
"""

from __future__ import annotations

import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from pear.errors import InputError
from pipelines import tracing
from pipelines.catalog import (
    AnyJob,
    Catalog,
    FinishedError,
    NotFoundError,
    NotOwnerError,
    Status,
    describe_error,
)
from pipelines.logging import logger
from pipelines.storage.atomic import try_lock
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import open_worker_folder
from pipelines.tracing import JobTrace

Outcome = Status | Literal["elsewhere", "lost"]
"""How an attempt ended: a state of the job, or which other worker has it.

``"elsewhere"``: another live worker held it from the beginning; ``"lost"``: another worker took it
over in the meantime.
"""

_catalogs: dict[str, Catalog] = {}
_opening = threading.Lock()


class JobCancelled(Exception):  # noqa: N818 - a request, not an error
    """Raised inside a job when its cancellation was requested."""


class JobLease:
    """A claimed job, with methods that record its progress and its end.

    Parameters
    ----------
    data
        The data folder.
    catalog
        Its catalog.
    job
        The job when it was claimed.

    Attributes
    ----------
    data, catalog, job
        As given.
    """

    def __init__(self, data: DataFolder, catalog: Catalog, job: AnyJob) -> None:
        self.data, self.catalog, self.job = data, catalog, job
        self._jobs = catalog.jobs(job)
        self._first: tuple[float, int] | None = None
        self._trace = JobTrace(
            type(job).__name__.lower(),
            self._find_parent(),
            {"pear.job": job.id, "pear.attempt": job.attempts},
        )
        self._log = logger(run_id=job.id, **self._trace.ids)
        self._log.info("job started", attempt=job.attempts)

    def _find_parent(self) -> str | None:
        """Return ``traceparent`` of the request that queued the job last, if it was traced."""
        if not tracing.is_on():
            return None
        queued = [
            event.details
            for event in self._jobs.events(self.job.id)
            if event.message.startswith("queued")
        ]
        return None if not queued else queued[-1].get(tracing.PARENT)

    def progress(self, step: int, total: int) -> None:
        """Record that ``step`` of ``total`` steps are complete and on disk.

        A worker that no longer holds the job gets NotOwnerError.

        Parameters
        ----------
        step, total
            Completed steps, and all steps.

        Raises
        ------
        JobCancelled
            If the cancellation of the job was requested.
        """
        now = time.monotonic()
        pace = None
        if self._first is None:
            self._first = (now, step)
        elif step > self._first[1]:
            pace = (now - self._first[0]) / (step - self._first[1])
        job = self._jobs.set_progress(
            self.job.id, step, total, seconds_per_step=pace, owner=self.job.owner
        )
        self._trace.end_step(step, total)
        self._log.debug("step done", step=step, total=total, seconds_per_step=pace)
        if job.cancel_requested:
            raise JobCancelled(self.job.id)

    def end(self, error: Exception | None) -> Outcome:
        """Record how the attempt ended.

        An :class:`InputError` is permanent and fails the job. Other exceptions may be temporary
        (full disk, lost mount): the job is queued again, and the catalog counts the attempts.

        Parameters
        ----------
        error
            The exception that ended the attempt; None if it succeeded.

        Returns
        -------
        Outcome
            State of the job, or ``"lost"`` if another worker has taken it over.
        """
        try:
            ended = self._record_end(error)
        except (NotOwnerError, NotFoundError):
            self._log.warning("job lost to another worker")
            self._trace.end("lost", "another worker has taken it over")
            return "lost"
        self._trace.end(ended.status, None if error is None else describe_error(error))
        self._log.info("job ended", status=ended.status, reason=ended.reason)
        return ended.status

    def _record_end(self, error: Exception | None) -> AnyJob:
        jobs, job_id, owner = self._jobs, self.job.id, self.job.owner
        if error is None:
            return jobs.succeed(job_id, owner=owner)
        if isinstance(error, JobCancelled):
            return jobs.mark_cancelled(job_id, owner=owner)
        if isinstance(error, NotOwnerError | NotFoundError):
            raise error
        if isinstance(error, InputError):  # or a kind of it: a person can mend it
            return jobs.fail(job_id, str(error), kind=InputError.__name__, owner=owner)
        reason = describe_error(error)
        lines = "".join(traceback.format_exception(error))
        jobs.log(job_id, reason, level="error", traceback=lines)
        return jobs.release(job_id, reason, owner=owner)


@contextmanager
def acquire_lease(root: str, job_id: str, catalog_url: str) -> Iterator[JobLease | Outcome]:
    """Claim a job and hold it while the block runs.

    Parameters
    ----------
    root
        The data folder.
    job_id
        Id of a job.
    catalog_url
        Path or URL of the catalog.

    Yields
    ------
    JobLease or Outcome
        The claimed job, to be ended with :meth:`JobLease.end`. If it cannot be claimed,
        ``"elsewhere"`` (another live worker holds it) or the state in which it has ended.
    """
    data, catalog = open_worker_folder(root), catalog_of_process(catalog_url)
    with ExitStack() as locks:
        here = locks.enter_context(try_lock(data.scratch / f"{job_id}.lock"))
        if not here or not locks.enter_context(catalog.lock_among_hosts(job_id)):
            yield "elsewhere"
            return
        jobs = catalog.jobs(catalog.find_job(job_id))
        try:
            job = jobs.claim(job_id, uuid.uuid4().hex)
        except FinishedError:
            yield jobs.get(job_id).status
            return
        yield JobLease(data, catalog, job)


def run_job(root: str, job_id: str, catalog_url: str, body: Callable[[JobLease], None]) -> Outcome:
    """Claim a job, run it, and record how it ended.

    Parameters
    ----------
    root
        The data folder.
    job_id
        Id of a job.
    catalog_url
        Path or URL of the catalog.
    body
        Does the work and publishes the result. It must be safe to run again after a kill at any
        point.

    Returns
    -------
    Outcome
        State of the job, ``"elsewhere"`` or ``"lost"``.
    """
    with acquire_lease(root, job_id, catalog_url) as lease:
        if not isinstance(lease, JobLease):
            return lease
        try:
            body(lease)
        except Exception as error:
            return lease.end(error)
        return lease.end(None)


def catalog_of_process(url: str) -> Catalog:
    """Return the catalog with this URL that all jobs of this process share.

    It is opened once and stays open until :func:`close_catalogs`, because a catalog that another
    job still uses must not lose its connections.

    Parameters
    ----------
    url
        Path or URL of the catalog.

    Returns
    -------
    Catalog
        The same object at every call.
    """
    with _opening:
        if url not in _catalogs:
            _catalogs[url] = Catalog(url)
        return _catalogs[url]


def close_catalogs() -> None:
    """Close the catalogs that jobs of this process shared; none of them may still be in use."""
    with _opening:
        while _catalogs:
            _catalogs.popitem()[1].close()
