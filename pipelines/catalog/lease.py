"""How one job is worked on: held by one worker at a time, and always brought to an end.

Two guards keep a job in one pair of hands. A lock file per job, which the kernel frees the moment
its process dies, keeps two live workers of one file system apart; the token in the catalog keeps
out a worker that was believed dead and comes back.
"""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

from pear.errors import InputError
from pipelines.catalog import Catalog, FinishedError, Job, NotFoundError, NotOwnerError, Status
from pipelines.logging import logger
from pipelines.storage.atomic import try_lock
from pipelines.storage.data_folder import DataFolder

Outcome = Status | Literal["elsewhere", "lost"]
"""How an attempt ended: a state of the job, or who has it instead of us."""


class CancelledWork(Exception):  # noqa: N818 - no error: somebody asked for it
    """Raised inside a job when its cancellation was asked for."""


class JobLease:
    """A job in our hands: where the data lie, what is asked, and how to say how far it is.

    Attributes
    ----------
    data, catalog, job
        The folder, its catalog, and the job as it was when it was taken up.
    """

    def __init__(self, data: DataFolder, catalog: Catalog, job: Job, owner: str) -> None:
        self.data, self.catalog, self.job = data, catalog, job
        self._owner = owner
        self._begun: tuple[float, int] | None = None
        self._log = logger(run_id=job.id)
        self._log.info("job started", attempt=job.attempts)

    def progress(self, step: int, total: int) -> None:
        """Note that ``step`` of ``total`` are done and safe.

        Raises
        ------
        CancelledWork
            If the job is to stop.
        NotOwnerError
            If another worker has it.
        """
        now = time.monotonic()
        pace = None
        if self._begun is None:
            self._begun = (now, step)
        elif step > self._begun[1]:
            pace = (now - self._begun[0]) / (step - self._begun[1])
        job = self.catalog.set_progress(
            self.job.id, step, total, seconds_per_step=pace, owner=self._owner
        )
        self._log.debug("step done", step=step, total=total, seconds_per_step=pace)
        if job.cancel_requested:
            raise CancelledWork(self.job.id)

    def end(self, error: Exception | None) -> Outcome:
        """Write down how it ended: succeeded without an error, else what the error means.

        An :class:`InputError` never passes by itself and fails the job. Whatever else was raised
        may (a full disk, a lost mount): the job is queued again, and the catalog counts attempts.
        """
        catalog, job_id, owner = self.catalog, self.job.id, self._owner
        try:
            if error is None:
                catalog.finish(job_id, owner=owner)
            elif isinstance(error, CancelledWork):
                catalog.cancelled(job_id, owner=owner)
            elif isinstance(error, InputError) and not isinstance(error, NotFoundError):
                catalog.fail(job_id, str(error), kind=type(error).__name__, owner=owner)
            elif isinstance(error, NotOwnerError | NotFoundError):
                raise error
            else:
                reason = f"{type(error).__name__}: {error}"
                lines = "".join(traceback.format_exception(error))
                catalog.note(job_id, reason, level="error", traceback=lines)
                catalog.release(job_id, reason, owner=owner)
        except (NotOwnerError, NotFoundError):
            self._log.warning("job lost to another worker")
            return "lost"
        ended = catalog.job(job_id)
        self._log.info("job ended", status=ended.status, reason=ended.reason)
        return ended.status


@contextmanager
def acquire_lease(root: str, job_id: str, catalog_url: str) -> Iterator[JobLease | Outcome]:
    """Take a job up and hold it while the block runs.

    Yields
    ------
    Work or Outcome
        The job in our hands, to be brought to its end by :meth:`JobLease.end`; or, if it cannot be
        taken up, ``"elsewhere"`` (another live worker holds it) or the state it has ended in.
    """
    data, catalog = DataFolder.open(root), open_catalog(catalog_url)
    with try_lock(data.scratch / f"{job_id}.lock") as held:
        if not held:
            yield "elsewhere"
            return
        owner = uuid.uuid4().hex
        try:
            job = catalog.start(job_id, owner)
        except FinishedError:
            yield catalog.job(job_id).status
            return
        yield JobLease(data, catalog, job, owner)


def perform(root: str, job_id: str, catalog_url: str, body: Callable[[JobLease], None]) -> Outcome:
    """Take a job up, do it, and write down how it ended.

    Parameters
    ----------
    root
        The data folder.
    job_id
        A run or an evaluation.
    catalog_url
        Path or URL of the catalog.
    body
        Does the work and publishes its result; to be safe to run again at any point.

    Returns
    -------
    Outcome
        The job's state; ``"elsewhere"`` if another live worker holds it, ``"lost"`` if it was
        taken from us.
    """
    with acquire_lease(root, job_id, catalog_url) as work:
        if not isinstance(work, JobLease):
            return work
        try:
            body(work)
        except Exception as error:
            return work.end(error)
        return work.end(None)


@lru_cache(maxsize=4)
def open_catalog(url: str) -> Catalog:
    """Return this process's catalog of this URL, opened once."""
    return Catalog(url)
