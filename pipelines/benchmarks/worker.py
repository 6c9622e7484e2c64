"""One network in a process of its own, stepped on demand.

Peak memory and the allocator belong to a process, so each network that is measured gets one. It
reads commands on standard input and answers each with one line of JSON on standard output:
``step`` advances once and gives the seconds, ``report`` gives what is known at the end. The parent
(:mod:`pipelines.benchmarks.step`) takes turns between its workers, so that a machine that is busy
for
a while is busy for all of them.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pear import device
from pear.errors import InputError
from pear.models.compiled import compile_model
from pipelines.benchmarks import machine
from pipelines.benchmarks.networks import build


@dataclass(frozen=True)
class Task:
    """What a worker builds and measures.

    Attributes
    ----------
    subject
        ``"twin"``, the slow published forward, or ``"pear"``, a network of the layer core.
    config
        Name of a configuration of :class:`pear.models.config.PearConfig`, and changes to it.
    nside, dtype, threads
        Resolution, ``float32`` or ``bfloat16``, and threads (None: torch's choice).
    train
        Measure a training step (loss, gradient, AdamW) instead of a forecast step.
    compiled
        Run the network through ``torch.compile``.
    keep_memory
        Let the allocator keep what was freed.
    seed
        Of the weights and the input.
    """

    subject: Literal["twin", "pear"] = "pear"
    config: str = "published"
    changes: dict[str, Any] = field(default_factory=dict)
    nside: int = 64
    dtype: str = "float32"
    threads: int | None = None
    train: bool = False
    compiled: bool = False
    keep_memory: bool = True
    seed: int = 0


class Subject:
    """A built network with its input, ready to step."""

    def __init__(self, task: Task) -> None:
        self.task = task
        if task.keep_memory:
            device.keep_memory()
        self.threads = device.set_threads(task.threads)
        model, inputs = build(task.subject, task.config, task.nside, task.seed, task.changes)
        model.train(task.train)
        self.model: nn.Module = model
        self.inputs: tuple[Tensor, ...] = inputs
        self.before = machine.current_memory()
        self.run = torch.compile(model, fullgraph=True) if task.compiled else compile_model(model)
        if task.train:
            self.optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(self) -> float:
        """Advance once; return the seconds it took."""
        start = time.perf_counter()
        if self.task.train:
            self._train(self.run)
            self.optimiser.step()
        else:
            with torch.inference_mode(), self._precision():
                self.output = self.run(*self.inputs)
        return time.perf_counter() - start

    def _precision(self) -> torch.autocast:
        """Half precision inside the network; its weights and fields stay single, as in use."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.task.dtype == "bfloat16")

    def report(self) -> dict[str, Any]:
        """Return what is known of the process and the network."""
        peak = machine.peak_memory()  # before the counting, which has modules of its own
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "flop": self._count_flop(),
            "threads": self.threads,
            "peak_memory_bytes": peak,
            "peak_memory_of_steps_bytes": peak - self.before,
        }

    def save(self, path: str) -> None:
        """Write the output of the last step, as single precision, to an ``.npz`` file."""
        surface, upper = (x.float().numpy() for x in self.output)
        np.savez(path, surface=surface, upper=upper)

    def _train(self, network: Any) -> None:
        with self._precision():
            surface, upper = network(*self.inputs)
            # The published loss, against the input itself: only its cost matters here.
            loss = (upper - self.inputs[1]).abs().mean()
            loss = loss + 0.25 * (surface - self.inputs[0]).abs().mean()
        network.zero_grad(set_to_none=True)
        loss.backward()

    def _count_flop(self) -> int:
        """Count on the smallest grid that has the same windows; the work grows with the cells.

        Only shapes are computed.
        """
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils.flop_counter import FlopCounterMode

        small = min(32, self.task.nside)
        task = self.task
        model, inputs = build(task.subject, task.config, small, task.seed, task.changes)
        counter = FlopCounterMode(display=False)
        with FakeTensorMode(allow_non_fake_inputs=True) as shapes, counter:
            surface, upper = model(*(shapes.from_tensor(x) for x in inputs))
            if task.train:
                (surface.mean() + upper.mean()).backward()
        total: int = counter.get_total_flops()
        return total * (task.nside // small) ** 2


def main() -> None:
    """Serve the task given as JSON in the first argument until standard input ends."""
    try:
        subject = Subject(Task(**json.loads(sys.argv[1])))
    except InputError as error:
        _answer({"error": str(error)})
        return
    _answer({"ready": True})
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "step":
            _answer({"seconds": subject.step()})
        elif command == "save":
            subject.save(argument)
            _answer({"saved": argument})
        else:
            _answer(subject.report())


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
