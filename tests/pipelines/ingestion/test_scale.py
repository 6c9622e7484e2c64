"""Ingestion stays small whatever the number of times, and runs on an existing cluster."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dask.callbacks import Callback

from pear.datasets.base import Fields, SourceVariable
from pear.datasets.units import Conversion, Quantity
from pear.progress import no_progress
from pear.sphere.latlon import global_grid
from pear.store.reader import open_store
from pipelines.engine.cluster import Cluster
from pipelines.ingestion import task
from pipelines.ingestion.executor import Ingestion, Settings
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.plan import Plan, make_plan
from pipelines.ingestion.report import IngestReport
from tests.fixtures.crashes import contents, dataset

T0 = np.datetime64("1980-01-01T00", "s")
GRID = global_grid(19, 36)
TURNS = int(os.environ.get("PEAR_TEST_TURNS", "5"))


@dataclass
class Counted:
    """Makes fields and counts how many of them are alive at once."""

    alive: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def read(self, position: int, row: int) -> Fields:
        out = np.full(GRID.size, 250.0 + row, dtype=np.float32)
        with self.lock:
            self.alive += 1
            self.most = max(self.most, self.alive)
        weakref.finalize(out, self._gone)
        return out

    def _gone(self) -> None:
        with self.lock:
            self.alive -= 1

    def take(self, positions: Sequence[int]) -> Counted:
        return self


def slab(times: int, reader: Any, levels: tuple[int, ...] = (500, 850)) -> SourceVariable:
    axis = T0 + np.arange(times) * np.timedelta64(6, "h")
    return SourceVariable(
        "made",
        "t",
        Quantity("temperature"),
        Conversion(1.0, 0.0, "K", "K"),
        axis,
        levels,
        GRID,
        np.ones((times, len(levels)), dtype=bool),
        reader,
    )


def run(plan: Plan, store: Path, shard_times: int) -> IngestReport:
    report = IngestReport(str(store), 2)
    settings = Settings(nside=2, shard_times=shard_times, reserve_bytes=0)
    Ingestion(plan, store, settings, report, None, lambda _: no_progress).run()
    return report


@pytest.mark.parametrize("times", [40, 160])
def test_source_fields_in_memory_do_not_grow_with_the_times(times: int, tmp_path: Path) -> None:
    reader = Counted()
    report = IngestReport("", 2)
    plan = make_plan([slab(times, reader)], (850, 500), "stop", report)
    done = run(plan, tmp_path / "s.zarr", shard_times=20)
    assert done.fields_written == 2 * times
    assert 2 <= reader.most <= 6


class Tasks(Callback):  # type: ignore[misc]
    """Counts the tasks that dask runs."""

    def __init__(self) -> None:
        self.count = self.largest = 0

    def _start(self, dsk: Any) -> None:
        self.largest = max(self.largest, len(dsk))

    def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
        self.count += 1


def test_planning_computes_nothing_and_tasks_are_few(tmp_path: Path) -> None:
    counts = {}
    for times in (40, 80, 160):
        with Tasks() as tasks:
            plan = make_plan([slab(times, Counted())], (850, 500), "stop", IngestReport("", 2))
            assert tasks.count == 0
            run(plan, tmp_path / f"{times}.zarr", shard_times=20)
        counts[times] = tasks.count
        assert tasks.largest == 1  # one job at a time: the graph does not grow at all
    assert counts == {40: 2, 80: 4, 160: 8}  # one for each file of the store


@dataclass(frozen=True)
class Indexed:
    """A reader whose index grows with the times, like that of a GRIB file."""

    table: np.ndarray

    def read(self, position: int, row: int) -> Fields:
        return np.full(GRID.size, 250.0, dtype=np.float32)

    def take(self, positions: Sequence[int]) -> Indexed:
        return Indexed(self.table[list(positions)])


def test_a_job_carries_its_own_times_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 years of 6-hourly times: planned in seconds, each job a few kilobytes."""
    times = 58_440
    sizes: list[int] = []

    def small(job: task.Job) -> task.TaskResult:
        sizes.append(len(pickle.dumps(job)))
        return task.TaskResult(job.variable, job.wanted.copy(), [])

    monkeypatch.setattr(task, "run", small)
    reader = Indexed(np.zeros((times, 2, 2), dtype=np.int64))
    began = time.perf_counter()
    plan = make_plan([slab(times, reader)], (850, 500), "stop", IngestReport("", 2))
    run(plan, tmp_path / "s.zarr", shard_times=5844)
    assert time.perf_counter() - began < 60
    assert len(sizes) == 10
    per_time = max(sizes) / 5844
    assert per_time < 100


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler and workers, each a process of its own."""
    note = folder / "scheduler.json"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    dask = [sys.executable, "-m", "dask"]
    options = ["--scheduler-file", str(note)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [
        subprocess.Popen(
            [*dask, "scheduler", *options, "--port", "0", "--no-dashboard", "--host", "127.0.0.1"],
            env=env,
            **quiet,
        )
    ]
    try:
        for _ in range(workers):
            command = [
                *dask,
                "worker",
                *options,
                "--nthreads",
                "1",
                "--no-dashboard",
                "--no-nanny",
                "--local-directory",
                str(folder),
            ]
            started.append(subprocess.Popen(command, env=env, **quiet))
        until = time.monotonic() + 60
        while not note.exists() or not note.read_text():
            assert time.monotonic() < until, "the scheduler did not start"
            time.sleep(0.2)
        yield str(json.loads(note.read_text())["address"])
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(30)


@pytest.mark.slow
def test_a_cluster_of_two_workers_writes_the_bytes_of_one_process(tmp_path: Path) -> None:
    settings = Settings(nside=2, shard_times=1, reserve_bytes=0)
    source = tmp_path / "a.nc"
    dataset().to_netcdf(source)
    ingest([source], tmp_path / "one.zarr", settings=settings)
    (tmp_path / "dask").mkdir()
    with (
        cluster(tmp_path / "dask", 2) as address,
        closing(Cluster(1, 1, address)) as found,
    ):
        found.client.wait_for_workers(2, timeout=60)

        def client_for(total: int) -> Any:
            assert total == 24
            return found.client

        ingest([source], tmp_path / "two.zarr", settings=settings, client_for=client_for)
        assert len(found.client.run(os.getpid)) == 2
    assert contents(tmp_path / "two.zarr") == contents(tmp_path / "one.zarr")
    assert open_store(tmp_path / "two.zarr").sizes["time"] == 6


@pytest.mark.nightly
def test_two_workers_are_nearly_twice_as_fast(tmp_path: Path) -> None:
    """CPU-bound work: compressed files at ERA5's 0.25°. Clusters of one and of two take turns."""
    from pipelines.benchmarks.regridding import write_sample

    files = [write_sample(tmp_path / f"{t}.nc", 721, 1440, t) for t in range(36)]
    settings = Settings(nside=64, shard_times=2, coarser=())
    best = {1: np.inf, 2: np.inf}
    with ExitStack() as stack:
        clients = {}
        for workers in best:
            folder = tmp_path / f"dask{workers}"
            folder.mkdir()
            address = stack.enter_context(cluster(folder, workers))
            clients[workers] = stack.enter_context(closing(Cluster(1, 1, address))).client
            clients[workers].wait_for_workers(workers, timeout=60)
        for turn in range(TURNS):
            for workers, client in clients.items():
                store = tmp_path / f"{workers}-{turn}.zarr"
                report = ingest(files, store, settings=settings, client_for=lambda _, c=client: c)
                shutil.rmtree(store)
                best[workers] = min(best[workers], report.seconds)
    sys.stderr.write(f"\n1 worker {best[1]:.2f} s, 2 workers {best[2]:.2f} s\n")
    assert best[1] / best[2] > 1.7, best
