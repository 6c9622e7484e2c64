"""PEAR beside other work: commands timed alone and beside busy processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pear.environment import usable_cores
from pear.errors import InputError
from pipelines.benchmarks.rollout import make_inputs
from pipelines.storage.data_folder import DataFolder

WORKS: Final = ("demo", "rollout", "service", "training")
_COMMAND: Final = (sys.executable, "-m", "service.cli")
# Ends with the process that started it, also where that one is killed.
BUSY: Final = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
_FIRST: Final = np.datetime64("2001-03-01")
_STEPS: Final = {"rollout": 3, "training": 10}
_REQUESTS: Final = 300
_POINT: Final = "/v1/forecasts/{run}/point?latitude=50&longitude=8&variables=t2m"
_START_SECONDS: Final = 300.0


@dataclass(frozen=True)
class BusyRow:
    """One work beside a number of busy processes.

    Attributes
    ----------
    work
        One of :data:`WORKS`.
    busy
        Busy processes beside it.
    seconds
        Wall-clock seconds.
    slowdown
        Over the seconds alone.
    fair
        Slowdown if every thread that is ready got the same share of the cores.
    """

    work: str
    busy: int
    seconds: float
    slowdown: float
    fair: float

    @property
    def ratio(self) -> float:
        """Slowdown over the fair one; 1 is fair, 2 is twice the fair share."""
        return self.slowdown / self.fair

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON-serialisable values."""
        return {**asdict(self), "ratio": self.ratio}


def fair_slowdown(used: float, busy: int, cores: int) -> float:
    """Return the slowdown of work that gets its fair share of the cores.

    Parameters
    ----------
    used
        Cores that the work keeps busy while it runs alone.
    busy
        Busy processes beside it, of one thread.
    cores
        Cores of the machine.

    Returns
    -------
    float
        At least 1.

    Examples
    --------
    >>> fair_slowdown(1.0, busy=1, cores=2), fair_slowdown(1.0, busy=4, cores=2)
    (1.0, 2.5)
    """
    return max(1.0, (used + busy) / cores)


def measure_busy(
    works: Sequence[str] = WORKS,
    counts: Sequence[int] = (0, 1, 2, 4),
    nside: int = 64,
    report: Callable[[str], None] = lambda _: None,
    measured: Callable[[BusyRow], None] = lambda _: None,
) -> list[BusyRow]:
    """Time commands of PEAR beside busy processes, which this function starts and ends.

    Parameters
    ----------
    works
        Some of :data:`WORKS`.
    counts
        Numbers of busy processes; 0 is measured first in any case.
    nside
        Resolution of the rollout.
    report
        Receives the name of each stage.
    measured
        Receives each row when it is there.

    Returns
    -------
    list of BusyRow
        By work and number.

    Raises
    ------
    InputError
        If a work is unknown or a number negative.
    """
    for work in works:
        if work not in WORKS:
            raise InputError(f"unknown work {work!r}", field="--work", hint=", ".join(WORKS))
    if any(count < 0 for count in counts):
        raise InputError(f"{list(counts)} busy processes cannot be started", field="--busy")
    numbers = [0, *(count for count in dict.fromkeys(counts) if count)]
    folder = Path(tempfile.mkdtemp(prefix="pear-busy-"))
    try:
        report("preparing data")
        commands = _prepare(folder, works, len(numbers), nside)
        rows: list[BusyRow] = []
        for work in works:
            used, alone = 1.0, 1.0
            for index, busy in enumerate(numbers):
                report(f"{work} beside {busy} busy processes")
                with busy_processes(busy):
                    seconds, cpu = commands[work](index)
                if not busy:
                    used, alone = max(0.1, cpu / seconds), seconds
                fair = fair_slowdown(used, busy, usable_cores())
                rows.append(BusyRow(work, busy, seconds, seconds / alone, fair))
                measured(rows[-1])
        return rows
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def busy_processes(count: int) -> Iterator[list[int]]:
    """Keep processes busy beside the block; they end with it and with this process.

    Parameters
    ----------
    count
        Number of processes, of one thread each.

    Yields
    ------
    list of int
        Their process numbers.
    """
    command = [sys.executable, "-c", BUSY, str(os.getpid())]
    processes = [subprocess.Popen(command) for _ in range(count)]  # noqa: S603
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _prepare(
    folder: Path, works: Sequence[str], rounds: int, nside: int
) -> dict[str, Callable[[int], tuple[float, float]]]:
    """Make what the commands need; returns a function of the round for each work."""
    demo, runs = folder / "demo", folder / "rollout"
    if {"service", "training"} & set(works):
        _timed(["demo", "--once", "--output", str(demo)])
    if "rollout" in works:
        make_inputs(DataFolder.create(runs), nside, days=rounds)
        lead = f"{_STEPS['rollout']}d"
        first = str(_FIRST + rounds - 1)
        # Builds the kernels, if they are missing, and lists model and analysis.
        _timed(["forecast", "--data", str(runs), "--init", first, "--lead", "1d"])

    def forecast(turn: int) -> tuple[float, float]:
        init = str(_FIRST + turn)
        return _timed(["forecast", "--data", str(runs), "--init", init, "--lead", lead])

    def train(turn: int) -> tuple[float, float]:
        store, output = demo / "analyses" / "simulated.zarr", folder / f"train{turn}"
        steps = str(_STEPS["training"])
        return _timed(["train", "--analysis", str(store), "-o", str(output), "--steps", steps])

    return {
        "demo": lambda turn: _timed(["demo", "--once", "--output", str(folder / f"demo{turn}")]),
        "rollout": forecast,
        "service": lambda _: _serve(demo),
        "training": train,
    }


def _timed(words: Sequence[str]) -> tuple[float, float]:
    """Run a command of PEAR; returns its wall-clock and processor seconds."""
    began, before = time.perf_counter(), os.times()
    done = subprocess.run([*_COMMAND, *words], capture_output=True, text=True)  # noqa: S603
    seconds, after = time.perf_counter() - began, os.times()
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"pear {words[0]} ended with status {done.returncode}: {lines[-1]}")
    spent = after.children_user + after.children_system
    return seconds, spent - before.children_user - before.children_system


def _serve(data: Path) -> tuple[float, float]:
    """Serve a data folder and read points of a forecast; returns the seconds of the reading."""
    run = next(path.stem for path in sorted((data / "forecasts").glob("*.zarr")))
    command = [*_COMMAND, "serve", "--data", str(data), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            line = process.stderr.readline() if process.stderr else ""
            address = line.strip().rpartition(" ")[2]
            if not address.startswith("http"):
                raise RuntimeError(f"pear serve said {line!r}")
            path = address + _POINT.format(run=run)
            _read(address + "/healthz", time.perf_counter() + _START_SECONDS)
            _read(path, time.perf_counter() + _START_SECONDS)
            began = time.perf_counter()
            for _ in range(_REQUESTS):
                _read(path, began + _START_SECONDS)
            seconds = time.perf_counter() - began
            return seconds, seconds  # client and server take turns: one core
        finally:
            process.terminate()
            process.wait()


def _read(url: str, until: float) -> None:
    """Read an address, again until it answers or the time is over."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
                answer.read()
                return
        except OSError:
            if time.perf_counter() > until:
                raise
            time.sleep(0.1)
