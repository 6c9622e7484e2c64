"""Configuration of the engine."""

from __future__ import annotations

from dataclasses import dataclass

from pear.environment import explicit_threads, shared_cores, thread_settings


@dataclass(frozen=True)
class EngineConfig:
    """Settings of an engine.

    Attributes
    ----------
    workers
        Worker processes of the local cluster; each computes one task at a time.
    threads
        Threads of each worker; default: by the size of the work, and at most so many that all
        workers together leave one core free (see :func:`pear.device.choose_threads`).
    scheduler
        Address of an existing dask scheduler (``tcp://host:8786``) to use instead of a local
        cluster; its workers are used as they are.
    device
        Device of the local workers, as in :func:`pear.device.choose_device`; default:
        ``PEAR_DEVICE``, which the workers of an existing scheduler always follow.
    batch
        Runs of one model that are computed side by side in one task. Above 1 accelerators are
        used better, and the last bits of a run depend on the others in its batch.
    max_queue
        Largest number of queued jobs; further ones are refused. None: unlimited.
    recover_orphans
        Run jobs that nobody works on: those that a dead process left and those that other
        processes queued. One-off commands leave them to the service.
    run_schedules
        Run the schedules of the catalog when they are due, on the workers.
    step_limit
        Seconds without a completed step after which a worker counts as hung and is restarted.
    """

    workers: int = 1
    threads: int | None = None
    scheduler: str | None = None
    device: str | None = None
    batch: int = 1
    max_queue: int | None = 64
    recover_orphans: bool = True
    run_schedules: bool = False
    step_limit: float = 900.0

    @property
    def worker_environment(self) -> dict[str, str]:
        """Environment of the local workers: threads and device."""
        explicit = self.threads or explicit_threads()
        environment = thread_settings(shared_cores(self.workers), explicit)
        # OpenBLAS serves numpy and scipy, which have no long loops in a worker.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        if self.device is not None:
            environment["PEAR_DEVICE"] = self.device
        return environment
