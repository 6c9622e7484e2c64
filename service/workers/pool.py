"""A pool of worker processes: started when needed, replaced when one dies, hangs or grows."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final, ParamSpec, TypeVar

from service.http.errors import ProblemError
from service.workers.memory import ARENAS

P = ParamSpec("P")
R = TypeVar("R")
_Job = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": str(ARENAS),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
}
_START_SECONDS: Final = 120.0
_ATTEMPTS: Final = 2
"""A worker that dies may have been ended from outside; a job that ends two is not tried again."""


def _search_path() -> str:
    return os.pathsep.join(path for path in sys.path if path)


class WorkerError(ProblemError):
    """A job was not done: its worker died, took too long, or the service is stopping."""

    def __init__(self, why: str) -> None:
        super().__init__(503, f"the response was not made: {why}", headers={"Retry-After": "10"})


class _Worker:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "service.workers.process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": _search_path()},
            )
        self._connection = Connection(ours.detach())
        self.used_at = time.monotonic()
        self.resident, self.is_new = 0, True

    def call(self, job: _Job, seconds: float) -> tuple[bool, Any]:
        """Return whether the job was done, and its result or error.

        Returns
        -------
        tuple
            True and the result, or False and the error.

        Raises
        ------
        TimeoutError
            If it takes too long; EOFError or ConnectionError if the worker died.
        """
        self._connection.send(job)
        if not self._connection.poll(seconds):
            raise TimeoutError
        done, value, self.resident = self._connection.recv()
        self.used_at, self.is_new = time.monotonic(), False
        return done, value

    def end(self) -> None:
        """End the process, at once if it is at work."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the process and close the connection."""
        self.end()
        with suppress(OSError):
            self._connection.close()


class WorkerPool:
    """Worker processes of the service.

    Parameters
    ----------
    size
        Largest number of processes.
    prepare
        Called in each new process; pickled.
    max_bytes
        A worker that holds more memory after a job is replaced.
    idle_seconds
        :meth:`retire_idle` ends workers that had nothing to do for longer.
    """

    def __init__(
        self,
        size: int,
        prepare: Callable[[], None] | None = None,
        *,
        max_bytes: int = 320 * 1024**2,
        idle_seconds: float = 600.0,
    ) -> None:
        self._prepare = prepare
        self.size, self._max_bytes, self._idle_seconds = size, max_bytes, idle_seconds
        self._slots = threading.BoundedSemaphore(size)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def call(self, seconds: float, function: Callable[P, R], *args: P.args, **kw: P.kwargs) -> R:
        """Run a function in a worker; waits for a free one.

        Parameters
        ----------
        seconds
            A worker that takes longer is ended.
        function
            A function of a module; it, its arguments and its result are pickled.
        *args, **kw
            Its arguments.

        Returns
        -------
        object
            What the function returns; what it raises is raised here.

        Raises
        ------
        WorkerError
            If two workers died of the job, or it took too long.
        """
        with self._slots:
            for attempt in range(_ATTEMPTS):
                # An idle worker may be dying for another reason; a new one is not.
                answer = self._ask((function, args, kw), seconds, new=attempt > 0)
                if answer is not None:
                    done, value = answer
                    if not done:
                        raise value
                    result: R = value
                    return result
        raise WorkerError("its process ended unexpectedly, twice")

    def _ask(self, job: _Job, seconds: float, *, new: bool) -> tuple[bool, Any] | None:
        """Let one worker, or a new one, do a job; None if it dies of it."""
        worker = self._take(new=new)
        keep = False
        try:
            if worker.is_new and self._prepare is not None:
                worker.call((self._prepare, (), {}), _START_SECONDS)
            answer = worker.call(job, seconds)
            keep = worker.resident <= self._max_bytes
        except TimeoutError as error:
            raise WorkerError(f"it took longer than {seconds:g} s") from error
        except (EOFError, ConnectionError):
            return None
        finally:
            self._give_back(worker, keep=keep)
        return answer

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live now."""
        with self._lock:
            return [worker.process.pid for worker in self._all]

    def retire_idle(self) -> None:
        """End the workers that had nothing to do for long, whose memory is then free."""
        before = time.monotonic() - self._idle_seconds
        with self._lock:
            old = [worker for worker in self._idle if worker.used_at < before]
            self._idle = [worker for worker in self._idle if worker not in old]
            self._all.difference_update(old)
        for worker in old:
            worker.close()

    def close(self) -> None:
        """End every worker, also those at work."""
        with self._lock:
            self._closed = True
            workers, self._idle, self._all = self._all, [], set()
        for worker in workers:
            worker.end()  # a thread that waits for an answer then closes the connection

    def _take(self, *, new: bool) -> _Worker:
        with self._lock:
            if self._closed:
                raise WorkerError("the service is stopping")
            while self._idle:  # the one used last has the fullest caches
                worker = self._idle.pop()
                if worker.process.poll() is None and not new:
                    return worker
                self._all.discard(worker)  # it died of no job, or those beside it just did
                worker.close()
            worker = _Worker()
            self._all.add(worker)
            return worker

    def _give_back(self, worker: _Worker, *, keep: bool) -> None:
        with self._lock:
            if keep and worker in self._all:
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.close()
