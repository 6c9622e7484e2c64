"""Data-parallel training: every process takes its part of a batch, gradients are averaged.

Processes are started by ``torchrun``, which sets RANK and WORLD_SIZE; without it there is one.
The gradients are averaged here and not by ``DistributedDataParallel``, which regroups its buckets
after the first step: with three or more processes the order of additions, and with it the last
bit of the weights, would differ between a resumed and an unbroken training.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class ProcessGroup:
    """The processes that train together.

    Attributes
    ----------
    rank
        Number of this process.
    size
        Number of processes.

    Examples
    --------
    >>> from pear.training.distributed import ProcessGroup
    >>> processes = ProcessGroup()  # without torchrun
    >>> processes.size, processes.is_main, processes.mean(2.0)
    (1, True, 2.0)
    """

    def __init__(self) -> None:
        if "RANK" in os.environ and "WORLD_SIZE" in os.environ and not dist.is_initialized():
            dist.init_process_group("gloo")
        running = dist.is_initialized()
        self.rank = dist.get_rank() if running else 0
        self.size = dist.get_world_size() if running else 1

    @property
    def is_main(self) -> bool:
        """True in the process that writes files and reports progress."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes, in one exchange."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        vector = parameters_to_vector(gradients)
        dist.all_reduce(vector)
        vector_to_parameters(vector / self.size, gradients)

    def mean(self, value: float) -> float:
        """Return the mean of a number over the processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor) / self.size

    def broadcast(self, value: float) -> float:
        """Return the number of the main process in every process."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(tensor, 0)
        return float(tensor)

    def close(self) -> None:
        """Leave the group."""
        if dist.is_initialized():
            dist.destroy_process_group()
