"""Speed of one step of a network, beside the published reference and the machine's best rate."""

from __future__ import annotations

import dataclasses
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from pear import device
from pear.environment import explicit_threads, usable_cores
from pear.errors import InputError
from pear.models.compiled import compile_model
from pear.progress import ProgressCallback, no_progress
from pipelines.benchmarks import machine
from pipelines.benchmarks.networks import build

Run = dict[str, float]
"""Figures of one network: ``seconds``, ``flop``, ``parameters``, ``peak_memory_bytes``, …"""


@dataclass(frozen=True)
class Task:
    """A network to measure.

    Attributes
    ----------
    network
        ``"reference"``, the slow published network, or ``"pear"``.
    config, changes
        Name of a configuration of :class:`pear.models.config.PearConfig`, and changes to it.
    nside, dtype, threads
        Resolution, ``float32`` or ``bfloat16``, and threads (None: all cores).
    train
        Measure a training step (loss, gradient, AdamW) instead of a forecast step.
    compiled
        Run the network through ``torch.compile`` instead of PEAR's kernels.
    keep_memory
        Let the allocator keep freed memory.
    seed
        Of the weights and the input.
    """

    network: Literal["pear", "reference"] = "pear"
    config: str = "published"
    changes: dict[str, Any] = field(default_factory=dict)
    nside: int = 64
    dtype: str = "float32"
    threads: int | None = None
    train: bool = False
    compiled: bool = False
    keep_memory: bool = True
    seed: int = 0

    def build(self, nside: int) -> tuple[torch.nn.Module, tuple[Tensor, ...]]:
        """Return the network at a resolution, and an input for it."""
        model, inputs = build(self.network, self.config, nside, self.seed, self.changes)
        return model.train(self.train), inputs


@dataclass(frozen=True)
class ModelReport:
    """Result of :func:`measure_model`.

    Attributes
    ----------
    task
        The network that was measured.
    machine
        Best rates of matrix products on this machine, FLOP/s.
    runs
        Figures by run: ``pear`` (the network of the task), ``reference`` (the published network,
        same seed, single precision, default allocator), ``reference_kept`` (the same with PEAR's
        allocator settings) and ``pear_float32`` if another precision was asked for.
    ratios
        ``speed`` (reference over pear), ``speed_over_reference_kept``, ``speed_median``,
        ``memory`` (peak above network and input, pear over reference), ``memory_of_process``,
        ``share_of_machine`` (of the best rate), ``parameters`` and, for bfloat16,
        ``speed_over_float32``.
    differences
        Largest difference over largest value of the outputs: to the ``reference`` if the weights
        are the same, to ``float32`` if another precision was asked for.
    """

    task: Task
    machine: dict[str, float]
    runs: dict[str, Run]
    ratios: dict[str, float]
    differences: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-serialisable values."""
        return dataclasses.asdict(self)


def measure_model(
    task: Task, repetitions: int = 5, progress: ProgressCallback = no_progress
) -> ModelReport:
    """Measure a network and the published reference, each in its own process, taking turns.

    Times are the best of the repetitions, since other work of the machine only adds to them.

    Parameters
    ----------
    task
        The network.
    repetitions
        Steps that are timed, after one that is not.
    progress
        Called after each step.

    Returns
    -------
    ModelReport
        The figures.

    Raises
    ------
    InputError
        If the configuration is invalid or ``repetitions`` is not positive.
    """
    if repetitions < 1:
        raise InputError(f"repetitions must be positive, got {repetitions}", field="repetitions")
    reference = Task(
        network="reference",
        nside=task.nside,
        threads=task.threads,
        train=task.train,
        keep_memory=False,
        seed=task.seed,
    )
    tasks = {
        "pear": task,
        "reference": reference,
        "reference_kept": dataclasses.replace(reference, keep_memory=True),
    }
    if task.dtype != "float32":
        tasks["pear_float32"] = dataclasses.replace(task, dtype="float32")
    flop = {name: count_flop(one) for name, one in tasks.items()}
    with ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        pools = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for name in tasks
        }
        for name, pool in pools.items():
            pool.submit(_start, tasks[name]).result()
        seconds: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(repetitions + 1):
            for name, pool in pools.items():
                seconds[name].append(pool.submit(_step).result())
                progress()
        runs = {
            name: pool.submit(_figures).result() | _rates(seconds[name][1:], flop[name])
            for name, pool in pools.items()
        }
        outputs = {name: pool.submit(_output).result() for name, pool in pools.items()}
    rates = machine.best_matmul_rates()
    progress()
    differences = {}
    if not task.train and task.config == "published" and not task.changes:
        differences["reference"] = _difference(outputs["pear"], outputs["reference"])
    if not task.train and "pear_float32" in outputs:
        differences["float32"] = _difference(outputs["pear"], outputs["pear_float32"])
    return ModelReport(task, rates, runs, _ratios(task, runs, rates), differences)


def count_flop(task: Task) -> int:
    """Count the floating-point operations of a step, without computing it.

    The count is that of the smallest grid with the same windows; the work grows with the cells.

    Parameters
    ----------
    task
        The network.

    Returns
    -------
    int
        Operations; a multiplication and an addition are two.
    """
    small = min(32, task.nside)
    model, inputs = task.build(small)
    counter = FlopCounterMode(display=False)
    with FakeTensorMode(allow_non_fake_inputs=True) as shapes, counter:
        surface, upper = model(*(shapes.from_tensor(x) for x in inputs))
        if task.train:
            (surface.mean() + upper.mean()).backward()
    return int(counter.get_total_flops()) * (task.nside // small) ** 2


class Stepper:
    """A network with its input, ready to step.

    Parameters
    ----------
    task
        The network.

    Attributes
    ----------
    model
        The network.
    output
        Fields of the last forecast step.
    figures
        Parameters, threads and resident memory before the first step.
    """

    def __init__(self, task: Task) -> None:
        if task.keep_memory:
            device.keep_memory()
        threads = device.set_threads(task.threads or explicit_threads() or usable_cores())
        self.task, (self.model, self.inputs) = task, task.build(task.nside)
        whole = partial(torch.compile, fullgraph=True) if task.compiled else compile_model
        self.run = whole(self.model) if task.network == "pear" else self.model
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-5)
        self.output: tuple[Tensor, ...] = ()
        parameters = sum(p.numel() for p in self.model.parameters())
        self.figures: Run = {"parameters": parameters, "threads": threads}
        self.memory_before = machine.current_memory()

    def step(self) -> float:
        """Advance once and return the seconds it took."""
        start = time.perf_counter()
        mixed = torch.autocast("cpu", torch.bfloat16, enabled=self.task.dtype == "bfloat16")
        if self.task.train:
            with mixed:
                surface, upper = self.run(*self.inputs)
                # The published loss, against the input: only its cost matters here.
                loss = (upper - self.inputs[1]).abs().mean()
                loss = loss + 0.25 * (surface - self.inputs[0]).abs().mean()
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
        else:
            with torch.inference_mode(), mixed:
                self.output = self.run(*self.inputs)
        return time.perf_counter() - start


_stepper: Stepper
"""The network of a worker process."""


def _start(task: Task) -> None:
    global _stepper
    _stepper = Stepper(task)


def _step() -> float:
    return _stepper.step()


def _figures() -> Run:
    peak = machine.peak_memory()
    return _stepper.figures | {
        "peak_memory_bytes": peak,
        "peak_memory_of_steps_bytes": peak - _stepper.memory_before,
    }


def _output() -> list[npt.NDArray[np.float32]]:
    return [x.float().numpy() for x in _stepper.output]


def _rates(seconds: list[float], flop: int) -> Run:
    return {
        "seconds": min(seconds),
        "seconds_median": statistics.median(seconds),
        "repetitions": len(seconds),
        "flop": flop,
        "flop_per_second": flop / min(seconds),
    }


def _ratios(task: Task, runs: dict[str, Run], rates: dict[str, float]) -> dict[str, float]:
    pear, reference = runs["pear"], runs["reference"]
    best = max(rate for name, rate in rates.items() if name.endswith(task.dtype))
    peak = "peak_memory_of_steps_bytes"
    ratios = {
        "speed": reference["seconds"] / pear["seconds"],
        "speed_over_reference_kept": runs["reference_kept"]["seconds"] / pear["seconds"],
        "speed_median": reference["seconds_median"] / pear["seconds_median"],
        "memory": pear[peak] / reference[peak],
        "memory_of_process": pear["peak_memory_bytes"] / reference["peak_memory_bytes"],
        "share_of_machine": pear["flop_per_second"] / best,
        "parameters": pear["parameters"] / reference["parameters"],
    }
    if "pear_float32" in runs:
        ratios["speed_over_float32"] = runs["pear_float32"]["seconds"] / pear["seconds"]
    return ratios


def _difference(
    ours: list[npt.NDArray[np.float32]], theirs: list[npt.NDArray[np.float32]]
) -> float:
    """Return the largest difference over the largest value, the worse of both kinds of fields."""
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
