"""`pear serve`, a scheduler and workers as processes of their own, each of which may be killed."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from pipelines.datafolder import DataFolder


class House:
    """Keeps its processes running, as systemd or Kubernetes would: what dies is started again."""

    def __init__(self, data: DataFolder, folder: Path, workers: int = 2, seed: int = 0) -> None:
        self._data, self._folder = data, folder
        self._random = random.Random(seed)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._log = (folder / "log").open("ab")
        self._kinds = ["scheduler", *[f"worker{n}" for n in range(workers)], "service"]
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.kills: list[str] = []

    def __enter__(self) -> House:
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            self._end(process)
        self._log.close()

    def mend(self) -> None:
        """Start whatever is not running."""
        for kind in self._kinds:
            process = self._running.get(kind)
            if process is None or process.poll() is not None:
                self._running[kind] = self._start(kind)

    def kill(self, kind: str | None = None) -> None:
        """Kill one process group with SIGKILL, chosen at random, and start it again."""
        kind = kind or self._random.choice(self._kinds)
        self._end(self._running[kind])
        self.kills.append(kind.rstrip("0123456789"))
        self.mend()

    def rest(self, least: float, most: float) -> None:
        """Let some time pass."""
        time.sleep(self._random.uniform(least, most))

    def _start(self, kind: str) -> subprocess.Popen[bytes]:
        port = self.address.rsplit(":", 1)[1]
        if kind == "scheduler":
            words = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port]
            words += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        elif kind == "service":
            words = ["-m", "pear", "serve", "--data", str(self._data.root), "--port", "0"]
            words += ["--scheduler", self.address]
        else:
            words = ["-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1"]
            words += ["--no-dashboard", "--death-timeout", "60", "--host", "127.0.0.1"]
            words += ["--local-directory", str(self._folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PEAR_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, *words],
            stdout=self._log,
            stderr=self._log,
            env=environment,
            start_new_session=True,
            cwd=self._folder,
        )

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        # The whole group: a worker's nanny and the process it watches over.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
