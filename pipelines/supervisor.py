"""The thread that keeps the catalog and the cluster together.

It hands queued jobs to the cluster, looks what became of them, connects again when the scheduler
was away, and every few seconds compares what is owed with what is being worked on.
"""

from __future__ import annotations

import queue
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from distributed import Future

from pear.errors import InputError
from pipelines.catalog import Catalog, Evaluation, FinishedError, NotOwnerError
from pipelines.cluster import Cluster, call
from pipelines.logs import logger

_TASKS: Final = {
    "run": "pipelines.forecast:run_forecast",
    "evaluation": "pipelines.tasks:run_evaluation",
}
_WARM: Final = "pipelines.forecast:prepare"
_BEAT: Final = 0.5
_PATIENCE: Final = timedelta(seconds=10)
"""How long a job may be silent before an engine that does not know it looks after it."""


class Supervisor:
    """Keeps the jobs of one catalog moving on one cluster.

    Parameters
    ----------
    root, catalog, catalog_url
        The data folder, its catalog, and how workers open it.
    workers, threads, scheduler
        As in :class:`pipelines.cluster.Cluster`.
    adopt
        Whether to look after jobs that nobody works on.
    """

    def __init__(
        self,
        root: str,
        catalog: Catalog,
        catalog_url: str,
        workers: int,
        threads: int,
        scheduler: str | None,
        adopt: bool,
    ) -> None:
        self._root, self._catalog, self._url = root, catalog, catalog_url
        self._workers, self._threads, self._scheduler = workers, threads, scheduler
        self._adopt = adopt
        self._cluster: Cluster | None = None
        self._futures: dict[str, Future[Any]] = {}
        self._todo: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._wake, self._stop, self._up = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._refused: InputError | None = None
        self._number = 0
        self._log = logger(root=root)

    # --- from any thread -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin; starting twice is starting once."""
        if not self._thread.is_alive() and not self._stop.is_set():
            self._thread.start()

    def enqueue(self, job_id: str) -> None:
        """Hand a job of the catalog over; one that is already in the cluster stays there."""
        self._todo.put(job_id)
        self.wake()

    def wake(self) -> None:
        """Look at once, instead of at the next beat."""
        self._wake.set()

    def ready(self, timeout: float | None) -> bool:
        """Whether the cluster can take work; InputError if its address is wrong."""
        self._up.wait(timeout)
        if self._refused is not None:
            raise self._refused
        return self._cluster is not None and self._cluster.alive

    def status(self) -> dict[str, Any]:
        """Say whether the cluster is alive, how many workers it has and jobs we gave it."""
        cluster = self._cluster
        workers = cluster.workers if cluster is not None else []
        return {"alive": bool(workers), "workers": len(workers), "jobs": len(self._futures)}

    def close(self) -> None:
        """Stop; with a cluster of our own, its jobs go back into the queue with their steps."""
        self._stop.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._cluster is not None:
            self._cluster.close()
            if self._scheduler is None:
                self._give_back()

    # --- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._stop.is_set():
            try:
                self._connect()
                self._reap()
                self._hand_out()
                if self._adopt and time.monotonic() - looked > _PATIENCE.total_seconds() / 2:
                    looked = time.monotonic()
                    self._look_after()
            except Exception as error:  # this thread must outlive a scheduler that is away
                self._log.warning("engine in trouble", error=f"{type(error).__name__}: {error}")
                if isinstance(error, InputError) and not self._up.is_set():
                    self._refused = error
                    self._up.set()
                    return
            self._wake.wait(_BEAT)
            self._wake.clear()

    def _connect(self) -> None:
        if self._cluster is not None and self._cluster.alive:
            return
        if self._cluster is not None:
            self._log.warning("lost the scheduler", jobs=len(self._futures))
            self._cluster.close()
        self._cluster = Cluster(self._workers, self._threads, self._scheduler)
        self._up.set()
        if self._scheduler is None:
            self._cluster.warm(_WARM)
        lost, self._futures = list(self._futures), {}
        for job_id in lost:
            self.enqueue(job_id)

    def _reap(self) -> None:
        for job_id, future in list(self._futures.items()):
            if future.status == "pending":
                continue
            del self._futures[job_id]
            if future.status == "error":
                self._failed(job_id, future)
            elif future.status == "finished" and self._catalog.job(job_id).status == "queued":
                self.enqueue(job_id)  # interrupted by something that may pass: try again

    def _failed(self, job_id: str, future: Future[Any]) -> None:
        """Note an error that the worker could not note itself: it never got to the job."""
        error = future.exception(timeout=5)  # type: ignore[no-untyped-call]
        try:
            self._catalog.fail(job_id, str(error), kind=type(error).__name__)
        except FinishedError:
            self._log.info("task ended after its job", run_id=job_id)

    def _hand_out(self) -> None:
        while self._cluster is not None and not self._todo.empty():
            job_id = self._todo.get()
            job = self._catalog.job(job_id)
            if job_id in self._futures or not job.active:
                continue
            self._number += 1
            kind = "evaluation" if isinstance(job, Evaluation) else "run"
            self._futures[job_id] = self._cluster.client.submit(
                call, _TASKS[kind], self._root, job_id, self._url, pure=False,
                key=f"{kind}-{job_id}-{self._number}", priority=job.priority,
            )  # fmt: skip

    def _look_after(self) -> None:
        silent = datetime.now(UTC) - _PATIENCE
        for job in self._catalog.active():
            if job.id not in self._futures and job.updated_at < silent:
                self.enqueue(job.id)

    def _give_back(self) -> None:
        for job_id in self._futures:
            job = self._catalog.job(job_id)
            if job.status != "running":
                continue
            try:
                self._catalog.release(job_id, "the engine was stopped", owner=job.owner)
            except NotOwnerError:
                self._log.info("job went on elsewhere", run_id=job_id)
