"""The cluster behind the engine: a local one by default, an existing scheduler by address."""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

import dask
from distributed import Client, Future, LocalCluster, fire_and_forget

from pear.errors import InputError
from pipelines.logging import configure_from_environment

_CONNECT_SECONDS = 10


def call(path: str, *arguments: Any) -> Any:
    """Import ``package.module:function`` in the worker and call it.

    The process that submits work names it only; it never imports what the work needs.
    """
    module, _, name = path.partition(":")
    configure_from_environment()  # a worker of somebody else's cluster was not preloaded
    return getattr(importlib.import_module(module), name)(*arguments)


def default_threads(workers: int) -> int:
    """Threads a worker computes with, so that all together leave one core to everything else."""
    return max(1, ((os.cpu_count() or 1) - 1) // workers)


class Cluster:
    """A dask client, with the local cluster it owns, if it owns one.

    Parameters
    ----------
    workers
        Worker processes of a local cluster; each works on one job at a time.
    threads
        Threads of torch in each worker.
    scheduler
        Address of an existing scheduler (``tcp://host:8786``), whose workers are used as they are.
    device
        Where own workers compute; None: what ``PEAR_DEVICE`` says, as for other workers.

    Raises
    ------
    InputError
        If no scheduler answers at the address.
    """

    def __init__(
        self, workers: int, threads: int, scheduler: str | None, device: str | None = None
    ) -> None:
        self._local: LocalCluster | None = None
        settings = {
            # We count attempts ourselves, by progress: an unlucky run that gets on is not given up.
            "distributed.scheduler.allowed-failures": 1_000_000,
            # Every worker runs what is most urgent; nothing queues up behind a busy one.
            "distributed.scheduler.worker-saturation": 1.0,
        }
        with dask.config.set(settings):
            if scheduler is None:
                self._local = _local_cluster(workers, threads, device)
            try:
                self.client = Client(  # type: ignore[no-untyped-call]
                    self._local or scheduler, timeout=_CONNECT_SECONDS, set_as_default=False
                )
            except (OSError, ValueError) as error:
                self.close()
                raise InputError(
                    f"no scheduler answers at {scheduler}",
                    field="scheduler",
                    hint="start one with `dask scheduler`, or leave the address out",
                ) from error

    @property
    def alive(self) -> bool:
        """Whether the scheduler can be reached."""
        return bool(self.client.status == "running")

    @property
    def workers(self) -> list[str]:
        """Addresses of the workers that are there now."""
        return list(self.client.scheduler_info(n_workers=-1)["workers"]) if self.alive else []

    @property
    def places(self) -> int:
        """Tasks that can run at the same time."""
        found = self.client.scheduler_info(n_workers=-1)["workers"] if self.alive else {}
        return sum(int(worker["nthreads"]) for worker in found.values())

    def restart_worker_of(self, future: Future[Any]) -> None:
        """Restart the worker that computes a future; what it computed goes to another."""
        busy = self.client.processing()  # type: ignore[no-untyped-call]
        found = [worker for worker, keys in busy.items() if future.key in keys]
        if found:
            self.client.restart_workers(found, timeout=60, raise_for_error=False)

    def warm(self, path: str) -> None:
        """Let every worker import ``package.module:function`` and call it, without waiting."""
        tasks = [
            self.client.submit(call, path, workers=[worker], pure=False, priority=1_000)
            for worker in self.workers
        ]
        fire_and_forget(tasks)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Leave the scheduler, and stop the local cluster if it is ours."""
        if hasattr(self, "client"):
            self.client.close(timeout=5)  # type: ignore[no-untyped-call]
        if self._local is not None:
            self._local.close(timeout=10)


def _local_cluster(workers: int, threads: int, device: str | None) -> LocalCluster:
    settings = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    settings |= {} if device is None else {"PEAR_DEVICE": device}
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        # No dashboard, and no argument about its port when several clusters share a machine.
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        silence_logs=logging.ERROR,
        preload=["pipelines.engine.tasks"],
        # OpenBLAS serves numpy and scipy only, which hold no long loops in a worker.
        env={**settings, "OPENBLAS_NUM_THREADS": "1", "PEAR_THREADS": str(threads)},
    )
