"""Memory and tasks of long ingestions, and ingestion on a dask cluster."""

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

from pear.datasets.base import FieldReader, Fields, SourceVariable
from pear.datasets.units import Conversion, Quantity
from pear.sphere.latlon import global_grid
from pear.store.reader import open_store
from pipelines.engine.cluster import Cluster
from pipelines.ingestion import executor
from pipelines.ingestion.ingest import ingest, ingest_plan
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.plan import Plan, make_plan
from pipelines.ingestion.report import IngestReport
from pipelines.ingestion.task import Task, TaskResult, run_task
from tests.fixtures.crashes import contents, dataset

T0 = np.datetime64("1980-01-01T00", "s")
GRID = global_grid(19, 36)
TURNS = int(os.environ.get("PEAR_TEST_TURNS", "5"))


@dataclass
class CountingReader:
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

    def select(self, positions: Sequence[int]) -> CountingReader:
        return self


def variable(
    times: int, reader: FieldReader, levels: tuple[int, ...] = (500, 850)
) -> SourceVariable:
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
    options = IngestOptions(nside=2, shard_times=shard_times, reserve_bytes=0)
    ingest_plan(plan, store, options, report)
    return report


def plan_of(times: int, reader: FieldReader) -> Plan:
    return make_plan([variable(times, reader)], IngestOptions(), IngestReport("", 2))


@pytest.mark.parametrize("times", [40, 160])
def test_source_fields_in_memory_do_not_grow_with_the_times(times: int, tmp_path: Path) -> None:
    reader = CountingReader()
    done = run(plan_of(times, reader), tmp_path / "s.zarr", shard_times=20)
    assert done.fields_written == 2 * times
    assert 2 <= reader.most <= 6


def test_planning_reads_nothing_and_tasks_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task for each variable and file of the store."""
    tasks: list[Task] = []

    def count(task: Task) -> TaskResult:
        tasks.append(task)
        return run_task(task)

    monkeypatch.setattr(executor, "run_task", count)
    for times in (40, 80, 160):
        reader = CountingReader()
        plan = plan_of(times, reader)
        assert reader.most == 0
        tasks.clear()
        run(plan, tmp_path / f"{times}.zarr", shard_times=20)
        assert len(tasks) == times // 20


@dataclass(frozen=True)
class IndexedReader:
    """A reader whose index grows with the times, like that of a GRIB file."""

    table: np.ndarray

    def read(self, position: int, row: int) -> Fields:
        return np.full(GRID.size, 250.0, dtype=np.float32)

    def select(self, positions: Sequence[int]) -> IndexedReader:
        return IndexedReader(self.table[list(positions)])


def test_a_task_carries_its_own_times_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 years of 6-hourly times: planned in seconds, each task a few kilobytes."""
    times = 58_440
    sizes: list[int] = []

    def measure(task: Task) -> TaskResult:
        sizes.append(len(pickle.dumps(task)))
        return TaskResult(task.variable, task.wanted.copy())

    monkeypatch.setattr(executor, "run_task", measure)
    began = time.perf_counter()
    plan = plan_of(times, IndexedReader(np.zeros((times, 2, 2), dtype=np.int64)))
    run(plan, tmp_path / "s.zarr", shard_times=5844)
    assert time.perf_counter() - began < 60
    assert len(sizes) == 10
    assert max(sizes) / 5844 < 100


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
    options = IngestOptions(nside=2, shard_times=1, reserve_bytes=0)
    source = tmp_path / "a.nc"
    dataset().to_netcdf(source)
    ingest([source], tmp_path / "one.zarr", options=options)
    (tmp_path / "dask").mkdir()
    with (
        cluster(tmp_path / "dask", 2) as address,
        closing(Cluster(1, 1, address)) as found,
    ):
        found.client.wait_for_workers(2, timeout=60)

        def client_for(total: int) -> Any:
            assert total == 24
            return found.client

        ingest([source], tmp_path / "two.zarr", options=options, client_for=client_for)
        assert len(found.client.run(os.getpid)) == 2
    assert contents(tmp_path / "two.zarr") == contents(tmp_path / "one.zarr")
    assert open_store(tmp_path / "two.zarr").sizes["time"] == 6


@pytest.mark.nightly
def test_two_workers_are_nearly_twice_as_fast(tmp_path: Path) -> None:
    """CPU-bound work: compressed files at ERA5's 0.25°. Clusters of one and of two take turns."""
    from pipelines.benchmarks.regridding import write_sample

    files = [write_sample(tmp_path / f"{t}.nc", 721, 1440, t) for t in range(36)]
    options = IngestOptions(nside=64, shard_times=2, overviews=())
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
                report = ingest(files, store, options=options, client_for=lambda _, c=client: c)
                shutil.rmtree(store)
                best[workers] = min(best[workers], report.seconds)
    sys.stderr.write(f"\n1 worker {best[1]:.2f} s, 2 workers {best[2]:.2f} s\n")
    assert best[1] / best[2] > 1.7, best
