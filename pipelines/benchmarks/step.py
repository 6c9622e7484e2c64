"""How fast a step is: a network of the core beside the slow twin and the machine's best rate."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pear.errors import InputError
from pear.progress import ProgressCallback, no_progress
from pipelines.benchmarks import machine
from pipelines.benchmarks.worker import Task


class Worker:
    """The parent's end of a :mod:`pipelines.benchmarks.worker` process."""

    def __init__(self, task: Task, process: subprocess.Popen[str]) -> None:
        self.task, self._process = task, process
        self.seconds: list[float] = []
        self._read()

    def step(self, record: bool = True) -> None:
        """Let it advance once."""
        seconds = float(self._ask("step")["seconds"])
        if record:
            self.seconds.append(seconds)

    def output(self, folder: Path) -> dict[str, Any]:
        """Return the fields of the last step."""
        path = folder / f"{id(self)}.npz"
        self._ask(f"save {path}")
        with np.load(path) as fields:
            return {name: fields[name] for name in ("surface", "upper")}

    def report(self) -> dict[str, Any]:
        """Return seconds a step, parameters, FLOP, rate and peak memory."""
        report = self._ask("report")
        best = min(self.seconds)
        return {
            **report,
            "seconds": best,
            "seconds_median": statistics.median(self.seconds),
            "repetitions": len(self.seconds),
            "flop_per_second": report["flop"] / best,
        }

    def _ask(self, command: str) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("the worker was started without a way to speak to it")
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(
                f"the process that measures {self.task} ended with status {self._process.wait()}"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer


@contextmanager
def started(task: Task) -> Iterator[Worker]:
    """Start a worker for this task and end it afterwards."""
    command = [sys.executable, "-m", "pipelines.benchmarks.worker"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    with subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        [*command, json.dumps(dataclasses.asdict(task))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield Worker(task, process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.terminate()


@dataclass(frozen=True)
class ModelReport:
    """The outcome of :func:`measure_model`.

    Attributes
    ----------
    task
        What was measured.
    machine
        Best matrix-product rates of this run, FLOP/s.
    runs
        Figures by run: ``pear`` (the network as asked for), ``twin`` (the slow published forward,
        same seed, single precision, default allocator), ``twin_kept`` (the same with the package's
        allocator settings) and ``pear_float32`` if another precision was asked for.
    ratios
        ``speed`` and ``memory`` against the twin (how many times faster; share of what its steps
        need at most above network and input), ``memory_of_process`` with all of both processes,
        ``speed_over_twin_kept`` (without what the allocator gives), ``share_of_machine`` of the
        best rate, and for bfloat16 ``speed_over_float32``.
    differences
        Largest difference over largest value of the outputs: ``twin`` if the weights are the
        twin's, ``float32`` if another precision was asked for.
    """

    task: Task
    machine: dict[str, float]
    runs: dict[str, dict[str, Any]]
    ratios: dict[str, float]
    differences: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return dataclasses.asdict(self)


def measure_model(
    task: Task, repetitions: int = 5, tick: ProgressCallback = no_progress
) -> ModelReport:
    """Measure a network beside the twin, each in its own process, taking turns.

    Times are the best of ``repetitions``, since a machine's other work only ever adds to them.

    Raises
    ------
    InputError
        If the configuration does not build, or no repetition is asked for.
    """
    if repetitions < 1:
        raise InputError(f"{repetitions} repetitions measure nothing", field="repetitions")
    twin = _twin_of(task)
    tasks = {"pear": task, "twin": twin, "twin_kept": dataclasses.replace(twin, keep_memory=True)}
    if task.dtype != "float32":
        tasks["pear_float32"] = dataclasses.replace(task, dtype="float32")
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        workers = {name: stack.enter_context(started(one)) for name, one in tasks.items()}
        for turn in range(repetitions + 1):
            for worker in workers.values():
                worker.step(record=turn > 0)
                tick()
        runs = {name: worker.report() for name, worker in workers.items()}
        differences = {} if task.train else _differences(workers, Path(folder))
    rates = machine.best_matmul_rates()
    tick()
    return ModelReport(task, rates, runs, _ratios(task, runs, rates), differences)


def _twin_of(task: Task) -> Task:
    """The published forward, written down plainly and run as any program would."""
    return Task(
        subject="twin",
        nside=task.nside,
        threads=task.threads,
        train=task.train,
        seed=task.seed,
        keep_memory=False,
    )


def _ratios(
    task: Task, runs: dict[str, dict[str, Any]], rates: dict[str, float]
) -> dict[str, float]:
    pear, twin = runs["pear"], runs["twin"]
    peak = "peak_memory_of_steps_bytes"
    best = max(rate for name, rate in rates.items() if name.endswith(task.dtype))
    ratios = {
        "speed": twin["seconds"] / pear["seconds"],
        "speed_over_twin_kept": runs["twin_kept"]["seconds"] / pear["seconds"],
        "speed_median": twin["seconds_median"] / pear["seconds_median"],
        "memory": pear[peak] / twin[peak],
        "memory_of_process": pear["peak_memory_bytes"] / twin["peak_memory_bytes"],
        "share_of_machine": pear["flop_per_second"] / best,
        "parameters": pear["parameters"] / twin["parameters"],
    }
    if "pear_float32" in runs:
        ratios["speed_over_float32"] = runs["pear_float32"]["seconds"] / pear["seconds"]
    return ratios


def _differences(workers: dict[str, Worker], folder: Path) -> dict[str, float]:
    fields = {name: worker.output(folder) for name, worker in workers.items()}
    task, found = workers["pear"].task, {}
    if task.config == "published" and not task.changes:
        found["twin"] = _difference(fields["pear"], fields["twin"])
    if "pear_float32" in fields:
        found["float32"] = _difference(fields["pear"], fields["pear_float32"])
    return found


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Return the largest difference over the largest value, the worse of both kinds of fields."""
    return max(
        float(np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max()) for name in ours
    )
