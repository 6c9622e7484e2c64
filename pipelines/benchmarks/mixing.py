"""Time of a block by each way of mixing tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from pear.equivariant.block import MLP, MixingBlock, earth_block
from pear.equivariant.linear import Symmetry
from pear.equivariant.spectral import DepthwiseSpectral, SpectralConv
from pear.equivariant.stencil import DepthwiseStencil, StencilConv
from pear.errors import InputError
from pear.progress import ProgressCallback, no_progress
from pear.sphere.windows import TokenGrid

KINDS: Final = ("attention", "stencil", "full_stencil", "spectral", "full_spectral", "mlp")
"""Blocks, with their MLP, by what they mix by; and the MLP alone."""


@dataclass(frozen=True)
class MixingTask:
    """Blocks to measure.

    Attributes
    ----------
    nside, depths
        Grid of the tokens.
    features
        Width.
    symmetry
        Symmetry of the features.
    """

    nside: int = 4
    depths: int = 8
    features: int = 128
    symmetry: Symmetry = "r"

    def build(self, kind: str) -> nn.Module:
        """Return one of :data:`KINDS`."""
        symmetry, width, grid = self.symmetry, self.features, self.grid
        heads = max(2, width // 32)
        layers: dict[str, Callable[[], nn.Module]] = {
            "attention": lambda: earth_block(symmetry, grid, width, heads, None),
            "stencil": lambda: MixingBlock(DepthwiseStencil(symmetry, grid, width), width),
            "full_stencil": lambda: MixingBlock(StencilConv(symmetry, grid, width, width), width),
            "spectral": lambda: MixingBlock(DepthwiseSpectral(symmetry, grid, width), width),
            "full_spectral": lambda: MixingBlock(SpectralConv(symmetry, grid, width, width), width),
            "mlp": lambda: MLP(symmetry, width),
        }
        try:
            return layers[kind]()
        except ValueError as error:  # a width that the symmetry or the heads do not allow
            raise InputError(str(error), field="--features") from error

    @property
    def grid(self) -> TokenGrid:
        """Tokens and windows."""
        try:
            return TokenGrid(self.nside, self.depths)
        except ValueError as error:
            raise InputError(str(error), field="--depths") from error

    def input(self) -> Tensor:
        """Return random features of one state."""
        shape = 1, self.grid.windows, self.grid.slots
        if self.symmetry == "c4h":
            return torch.randn(2, *shape, self.features // 2)
        return torch.randn(*shape, self.features)


@dataclass(frozen=True)
class MixingTime:
    """Times of a block.

    Attributes
    ----------
    kind
        One of :data:`KINDS`.
    forward_ms, training_ms
        Milliseconds of one processor for the output, and with the gradients of input and weights.
    parameters
        Learned numbers.
    """

    kind: str
    forward_ms: float
    training_ms: float
    parameters: int


def measure_mixing(
    task: MixingTask, repetitions: int = 10, tick: ProgressCallback = no_progress
) -> list[MixingTime]:
    """Measure each of :data:`KINDS` on one thread.

    Times are those of the processor, and the best of the repetitions, so that other work of the
    machine disturbs them little.

    Parameters
    ----------
    task
        The blocks.
    repetitions
        Calls that are timed, after one that is not.
    tick
        Called after each block.

    Returns
    -------
    list of MixingTime
        In the order of :data:`KINDS`.

    Notes
    -----
    An ``InputError`` is raised if the sizes do not fit each other.
    """
    blocks = {kind: task.build(kind) for kind in KINDS}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = []
        for kind, block in blocks.items():
            x = task.input()
            with torch.no_grad():
                forward = _best(lambda block=block, x=x: block(x), repetitions)  # type: ignore[misc]
            leaf = x.clone().requires_grad_()
            training = _best(
                lambda block=block, x=leaf: block(x).square().mean().backward(),  # type: ignore[misc]
                repetitions,
            )
            parameters = sum(p.numel() for p in block.parameters())
            found.append(MixingTime(kind, forward, training, parameters))
            tick(1, kind)
        return found
    finally:
        torch.set_num_threads(before)


def _best(call: Callable[[], object], repetitions: int) -> float:
    """Return the least processor time of a call in milliseconds, after one to warm up."""
    call()
    times = []
    for _ in range(repetitions):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return 1e3 * min(times)
