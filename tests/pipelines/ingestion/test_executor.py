"""Workload, tasks and commits of an ingestion, in this process and on a dask cluster."""

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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.datasets.base import FieldReader, Fields, SourceVariable
from pear.errors import InputError
from pear.sphere.latlon import global_grid
from pear.store.reader import open_store
from pipelines.engine.cluster import Cluster
from pipelines.engine.config import EngineConfig
from pipelines.ingestion import executor
from pipelines.ingestion.executor import (
    StoreContents,
    diff,
    execute,
    make_tasks,
    run_on,
)
from pipelines.ingestion.ingest import ingest, ingest_plan
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.plan import Plan, make_plan
from pipelines.ingestion.report import IngestReport
from pipelines.ingestion.task import StoreTarget, Task, TaskResult, run_task
from tests.fixtures.crashes import contents as file_contents
from tests.fixtures.crashes import dataset
from tests.fixtures.ingestion import H6, T0, nearly, source_variable

T, U = "temperature", "u_component_of_wind"
GRID = global_grid(19, 36)
TURNS = int(os.environ.get("PEAR_TEST_TURNS", "5"))


@dataclass
class CountingReader:
    """Makes fields and counts how many of them are alive at once."""

    alive: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def read(self, position: int, row: int) -> Fields:
        out = nearly(250.0 + row, (GRID.size,)).astype(np.float32)
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


def run(plan: Plan, store: Path, shard_times: int) -> IngestReport:
    report = IngestReport(str(store), 2)
    options = IngestOptions(nside=2, shard_times=shard_times, reserve_bytes=0)
    ingest_plan(plan, store, options, report)
    return report


def plan_of(times: int, reader: FieldReader) -> Plan:
    variable = replace(source_variable("temperature", times, reader=reader), idealised=True)
    return make_plan([variable], IngestOptions(), IngestReport("", 2))


def plan_of_variables(*variables: SourceVariable) -> Plan:
    return make_plan(variables, IngestOptions(), IngestReport("", 2))


def contents(times: int, complete: int = 1) -> StoreContents:
    """Return the contents of a store with temperature and wind at two levels."""
    axis = T0 + np.arange(times) * H6
    channels = tuple(f"{name}@{level}" for name in (T, U) for level in (500, 850))
    flags = np.full((times, 4), complete, dtype=np.uint8)
    return StoreContents(axis, flags, channels, (500, 850))


def test_workload_of_a_new_store() -> None:
    workload = diff(plan_of_variables(source_variable(T, 3)), contents(0))
    assert (workload.n_present, workload.n_added, workload.n_filled) == (0, 3, 0)
    assert workload.wanted[T].tolist() == [[True, True]] * 3
    assert workload.too_early.size == 0


def test_workload_of_fields_that_the_store_lacks() -> None:
    store = contents(4)
    store.complete[1, 1] = 0  # temperature at 850 hPa
    store.complete[2, 3] = 0  # wind, which no source has
    workload = diff(plan_of_variables(source_variable(T, 5)), store)
    assert np.argwhere(workload.wanted[T]).tolist() == [[1, 1], [4, 0], [4, 1]]
    assert (workload.n_added, workload.n_filled, workload.n_complete) == (1, 1, 3)


def test_workload_excludes_times_before_the_end_of_the_store() -> None:
    store = contents(4)
    store = replace(store, times=store.times + 2 * H6)
    workload = diff(plan_of_variables(source_variable(T, 7)), store)
    assert workload.too_early.tolist() == (T0 + np.arange(2) * H6).tolist()
    assert (workload.n_added, workload.n_filled, workload.n_complete) == (1, 0, 4)


def test_nothing_to_do() -> None:
    workload = diff(plan_of_variables(source_variable(T, 4)), contents(4))
    assert workload.blocks(2) == []
    assert (workload.n_added, workload.n_filled, workload.n_complete) == (0, 0, 4)


def test_blocks_end_at_the_borders_of_files() -> None:
    store = contents(5)
    store.complete[[0, 3], 0] = 0
    plan = plan_of_variables(source_variable(T, 8), source_variable(U, 1, start=7))
    blocks = diff(plan, store).blocks(3)
    assert [(block.start, block.stop) for block in blocks] == [(0, 1), (3, 6), (6, 8)]
    assert [list(block.wanted) for block in blocks] == [[T], [T], [T, U]]
    assert [block.n_fields for block in blocks] == [1, 3, 6]
    tasks = list(make_tasks(blocks, plan, store, StoreTarget(Path(), Path(), 2)))
    assert [(task.variable, task.start, task.is_new) for task in tasks] == [
        (T, 0, False),
        (T, 3, False),
        (T, 6, True),
        (U, 6, True),
    ]
    assert [task.sources[0].variable.times.size for task in tasks] == [1, 2, 2, 1]


def result_of(task: Task) -> TaskResult:
    return TaskResult(task.variable, task.wanted.copy())


@pytest.mark.parametrize("sizes", [[1] * 6, [6], [1, 3, 2], [2, 2, 2]])
def test_finished_blocks_are_yielded_together(sizes: list[int]) -> None:
    """Each block has two tasks; results arrive in groups of any size."""
    plan, store = plan_of_variables(source_variable(T, 3), source_variable(U, 3)), contents(0)
    blocks = diff(plan, store).blocks(1)
    tasks = make_tasks(blocks, plan, store, StoreTarget(Path(), Path(), 2))

    def run(tasks: Iterable[Task]) -> Iterator[list[TaskResult]]:
        queue = iter(tasks)
        for size in sizes:
            yield [result_of(task) for task in islice(queue, size)]

    batches = list(execute(blocks, tasks, run))
    assert [one.block for batch in batches for one in batch] == blocks
    whole = np.cumsum(sizes) // 2
    expected = np.diff(whole, prepend=0)
    assert [len(batch) for batch in batches] == expected[expected > 0].tolist()


class FakeFuture:
    def __init__(self, client: FakeClient, task: Task) -> None:
        self.client, self.task = client, task

    def result(self) -> TaskResult:
        self.client.flight.remove(self)
        if self.task.start == self.client.fails_at:
            raise InputError("damaged")
        return result_of(self.task)

    def done(self) -> bool:
        return self.task.start % 3 != 0


@dataclass
class FakeClient:
    """A dask client with two workers, whose every third task is late."""

    fails_at: int = -1
    flight: list[FakeFuture] = field(default_factory=list)
    most: int = 0

    def nthreads(self) -> dict[str, int]:
        return {"a": 1, "b": 1}

    def submit(self, function: object, task: Task, *, pure: bool) -> FakeFuture:
        assert not pure
        self.flight.append(FakeFuture(self, task))
        self.most = max(self.most, len(self.flight))
        return self.flight[-1]

    def cancel(self, futures: list[FakeFuture]) -> None:
        assert futures == self.flight
        self.flight = []


def test_a_client_gets_a_few_tasks_at_a_time_and_results_keep_their_order() -> None:
    plan, store = plan_of_variables(source_variable(T, 20)), contents(0)
    blocks = diff(plan, store).blocks(1)
    tasks = make_tasks(blocks, plan, store, StoreTarget(Path(), Path(), 2))
    client: Any = FakeClient()
    batches = list(execute(blocks, tasks, run_on(client)))
    assert [one.block for batch in batches for one in batch] == blocks
    assert [len(batch) for batch in batches] == [3] * 6 + [2]
    assert client.most == 6
    assert client.flight == []


def test_a_failed_task_cancels_those_in_flight() -> None:
    plan, store = plan_of_variables(source_variable(T, 20)), contents(0)
    blocks = diff(plan, store).blocks(1)
    tasks = make_tasks(blocks, plan, store, StoreTarget(Path(), Path(), 2))
    client: Any = FakeClient(fails_at=4)
    with pytest.raises(InputError, match="damaged"):
        list(execute(blocks, tasks, run_on(client)))
    assert client.flight == []


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
        return nearly(250.0, (GRID.size,)).astype(np.float32)

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
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                # On a busy machine a worker may take longer to say goodbye than anybody waits for.
                process.kill()
                process.wait()


@pytest.mark.slow
def test_a_cluster_of_two_workers_writes_the_bytes_of_one_process(tmp_path: Path) -> None:
    options = IngestOptions(nside=2, shard_times=1, reserve_bytes=0)
    source = tmp_path / "a.nc"
    dataset().to_netcdf(source)
    ingest([source], tmp_path / "one.zarr", options=options)
    (tmp_path / "dask").mkdir()
    with (
        cluster(tmp_path / "dask", 2) as address,
        closing(Cluster(EngineConfig(scheduler=address))) as found,
    ):
        found.client.wait_for_workers(2, timeout=60)

        def client_for(total: int) -> Any:
            assert total == 24
            return found.client

        ingest([source], tmp_path / "two.zarr", options=options, client_for=client_for)
        assert len(found.client.run(os.getpid)) == 2
    assert file_contents(tmp_path / "two.zarr") == file_contents(tmp_path / "one.zarr")
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
            clients[workers] = stack.enter_context(
                closing(Cluster(EngineConfig(scheduler=address)))
            ).client
            clients[workers].wait_for_workers(workers, timeout=60)
        for turn in range(TURNS):
            for workers, client in clients.items():
                store = tmp_path / f"{workers}-{turn}.zarr"
                report = ingest(files, store, options=options, client_for=lambda _, c=client: c)
                shutil.rmtree(store)
                best[workers] = min(best[workers], report.seconds)
    sys.stderr.write(f"\n1 worker {best[1]:.2f} s, 2 workers {best[2]:.2f} s\n")
    assert best[1] / best[2] > 1.7, best
