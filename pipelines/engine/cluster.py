"""The dask cluster behind the engine: a local one, or an existing scheduler by address."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import dask
from distributed import Client, Future, LocalCluster, fire_and_forget

from pear.environment import prepare_process
from pear.errors import InputError
from pipelines.engine.config import EngineConfig
from pipelines.logging import configure_from_environment

_CONNECT_SECONDS: Final = 10
_LOST_WORKER: Final = "180s"


def call(path: str, *arguments: object) -> object:
    """Import ``package.module:function`` in the worker and call it.

    The submitting process only names the function and never imports what it needs.

    Parameters
    ----------
    path
        Module and function.
    *arguments
        Arguments of the function.

    Returns
    -------
    object
        Its result.
    """
    module, _, name = path.partition(":")
    prepare_process()  # before the module imports torch
    configure_from_environment()  # workers of an existing scheduler are not preloaded
    result: object = getattr(importlib.import_module(module), name)(*arguments)
    return result


class Cluster:
    """A dask client, with its own local cluster unless the configuration names a scheduler.

    Parameters
    ----------
    config
        ``workers``, ``threads``, ``scheduler`` and ``device`` apply.

    Raises
    ------
    InputError
        If no scheduler answers at the address.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._local: LocalCluster | None = None
        self._client: Client | None = None
        self._wanted = config.workers
        self._heard: dict[str, tuple[float, float]] = {}
        settings = {
            # The catalog counts attempts, by progress: a run that advances is never given up.
            "distributed.scheduler.allowed-failures": 1_000_000,
            # Every worker takes the most urgent task; none waits behind a busy worker.
            "distributed.scheduler.worker-saturation": 1.0,
        }
        # Read whenever a worker is lost, so it is set for good. A local cluster gives up a worker
        # that is not back by then, and on a busy machine one takes longer than the default of 15 s.
        dask.config.set({"distributed.deploy.lost-worker-timeout": _LOST_WORKER})
        with dask.config.set(settings):
            if config.scheduler is None:
                self._local = _local_cluster(config)
            try:
                self._client = Client(  # type: ignore[no-untyped-call]
                    self._local or config.scheduler,
                    timeout=_CONNECT_SECONDS,
                    set_as_default=False,
                )
            except (OSError, ValueError) as error:
                self.close()
                raise InputError(
                    f"no scheduler answers at {config.scheduler}",
                    field="scheduler",
                    hint="start one with `dask scheduler`, or leave the address out",
                ) from error

    @property
    def client(self) -> Client:
        """The dask client.

        Raises
        ------
        RuntimeError
            If the cluster is closed.
        """
        if self._client is None:
            raise RuntimeError("the cluster is closed")
        return self._client

    @property
    def alive(self) -> bool:
        """True if the scheduler can be reached."""
        return bool(self.client.status == "running")

    @property
    def workers(self) -> list[str]:
        """Addresses of the present workers."""
        return list(self.client.scheduler_info(n_workers=-1)["workers"]) if self.alive else []

    @property
    def slots(self) -> int:
        """Number of tasks that run at the same time."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"] if self.alive else {}
        return sum(int(worker["nthreads"]) for worker in workers.values())

    def submit(self, path: str, *arguments: object, key: str, priority: int) -> Future[object]:
        """Submit ``package.module:function``; see :func:`call`.

        Parameters
        ----------
        path
            Module and function.
        *arguments
            Arguments of the function.
        key
            Unique name of the task.
        priority
            Tasks with a higher priority run first.

        Returns
        -------
        distributed.Future
            Of the function's result.
        """
        return self.client.submit(call, path, *arguments, pure=False, key=key, priority=priority)

    def restart_worker_of(self, future: Future[object]) -> bool:
        """Restart the worker that computes a future; its tasks move to another worker.

        Parameters
        ----------
        future
            A submitted task.

        Returns
        -------
        bool
            False if no worker computes it.
        """
        busy = self.client.processing()  # type: ignore[no-untyped-call]
        found = [worker for worker, keys in busy.items() if future.key in keys]
        self.restart_workers(found)
        return bool(found)

    def silent_workers(self, seconds: float) -> list[str]:
        """Return the workers of which the scheduler has heard nothing for some time.

        Parameters
        ----------
        seconds
            The time, by this process's clock and since an earlier call.

        Returns
        -------
        list of str
            Addresses. A worker that computes still sends its heartbeat, every second or so.
        """
        now = time.monotonic()
        info = self.client.scheduler_info(n_workers=-1)["workers"] if self.alive else {}
        heard = {address: float(worker["last_seen"]) for address, worker in info.items()}
        self._heard = {
            address: self._heard[address]
            if self._heard.get(address, (None, now))[0] == last_seen
            else (last_seen, now)
            for address, last_seen in heard.items()
        }
        return [address for address, (_, since) in self._heard.items() if now - since > seconds]

    def stopped_workers(self, addresses: Iterable[str]) -> list[str]:
        """Return which workers of a local cluster are stopped, as by SIGSTOP.

        Parameters
        ----------
        addresses
            Workers to look at.

        Returns
        -------
        list of str
            Addresses. A worker that is slow, or waits for a disk, is not among them.
        """
        if self._local is None:
            return []
        pids = {nanny.worker_address: nanny.pid for nanny in self._local.workers.values()}
        return [each for each in addresses if _is_stopped(pids.get(each))]

    def restore_workers(self) -> None:
        """Start again the workers of a local cluster that it has given up."""
        if self._local is not None and len(self._local.workers) < self._wanted:
            self._local.scale(self._wanted)  # type: ignore[no-untyped-call]

    def restart_workers(self, addresses: list[str]) -> None:
        """Kill and start workers; their tasks move to other workers."""
        if addresses:
            self.client.restart_workers(addresses, timeout=60, raise_for_error=False)

    def warm_up(self, path: str) -> None:
        """Call ``package.module:function`` on every worker, without waiting."""
        tasks = [
            self.client.submit(call, path, workers=[worker], pure=False, priority=1_000)
            for worker in self.workers
        ]
        fire_and_forget(tasks)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Disconnect, and stop the local cluster if there is one."""
        if self._client is not None:
            self._client.close(timeout=5)  # type: ignore[no-untyped-call]
        if self._local is not None:
            self._local.close(timeout=10)


def _is_stopped(pid: int | None) -> bool:
    """Return whether the kernel says that a process is stopped; False where it cannot be asked."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] == ["T"]  # the name in brackets may be anything


def _local_cluster(config: EngineConfig) -> LocalCluster:
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=config.workers,
        threads_per_worker=1,
        processes=True,
        # Without the dashboard, whose port several clusters on one machine would compete for.
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        silence_logs=logging.ERROR,
        preload=["pipelines.engine.tasks"],
        env=config.worker_environment,
    )
