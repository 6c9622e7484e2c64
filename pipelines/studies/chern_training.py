"""Training on Chern numbers of random lattices, in minutes instead of the paper's hours.

Two exact reductions: the network is gauge invariant, so it is trained in the gauge where the
plaquettes are diagonal, on eigenvalues that the labels need anyway; and it is local, so it is
trained on 2 × 2 lattices, whose sums tie only four unknown numbers, and tested on larger ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pear.equivariant.lattice import chern_number, haar, plaquette
from pear.progress import ProgressCallback

POOL: Final = 50_000
BATCH: Final = 64
WARMUP: Final = 100
LEARNING_RATE: Final = 2e-3
SPREAD: Final = 0.5
TEST_LATTICES: Final = 1000
_TIMED_STEPS: Final = 12
_SAVE_EVERY: Final = 200
_CURVE_POINTS: Final = 10
_CHUNK_SITES: Final = 1000


@dataclass(frozen=True)
class Lattices:
    """Lattices in the diagonal gauge.

    Attributes
    ----------
    eigenvalues
        (lattice, site, 1, N), complex64, of the plaquettes.
    chern
        (lattice,), float32, integers.
    """

    eigenvalues: Tensor
    chern: Tensor

    def take(self, index: Tensor) -> Lattices:
        """Return some of the lattices."""
        return Lattices(self.eigenvalues[index], self.chern[index])


def draw(count: int, side: int, bands: int, seed: int, *, trivial: bool = False) -> Lattices:
    """Draw lattices with Haar-distributed links.

    Parameters
    ----------
    count
        Number of lattices.
    side
        Sites along each axis.
    bands
        N.
    seed
        Random seed.
    trivial
        Keep only lattices with Chern number 0.

    Returns
    -------
    Lattices
        As many as asked for.
    """
    generator = torch.Generator().manual_seed(seed)
    values, labels, left = [], [], count
    while left > 0:
        links = haar((max(left, 64), side, side, 2), bands, generator)
        eigenvalues = torch.linalg.eigvals(plaquette(links))
        chern = chern_number(eigenvalues).round()
        keep = torch.nonzero(chern == 0)[:, 0] if trivial else torch.arange(len(chern))
        keep = keep[:left]
        values.append(eigenvalues[keep].flatten(1, 2)[:, :, None].to(torch.complex64))
        labels.append(chern[keep].float())
        left -= len(keep)
    return Lattices(torch.cat(values), torch.cat(labels))


def loss(g: Tensor, chern: Tensor) -> Tensor:
    """Return the mean of |f − C| + |min(std_k g_k, δ) − δ| over lattices.

    The second term keeps the network from the constant 0 where only C = 0 is shown.

    Parameters
    ----------
    g
        (lattice, site).
    chern
        (lattice,).

    Returns
    -------
    Tensor
        A number.
    """
    error = (g.sum(1) - chern).abs()
    return (error + (g.std(1).clamp_max(SPREAD) - SPREAD).abs()).mean()


@torch.no_grad()
def training_loss(network: nn.Module, pool: Lattices) -> float:
    """Return the loss of a network over the first lattices that it was trained on."""
    shown = pool.take(torch.arange(min(len(pool.chern), TEST_LATTICES)))
    return float(loss(network(shown.eigenvalues), shown.chern))


@torch.no_grad()
def predict(network: nn.Module, lattices: Lattices) -> Tensor:
    """Return f = Σ_k g_k of each lattice, (lattice,)."""
    chunk = max(_CHUNK_SITES // lattices.eigenvalues.shape[1], 1)
    parts = torch.split(lattices.eigenvalues, chunk)
    return torch.cat([network(part).sum(1) for part in parts])


def accuracy(prediction: Tensor, chern: Tensor) -> float:
    """Return the share of lattices whose rounded prediction is the Chern number."""
    return float((prediction.round() == chern).float().mean())


def rescale(prediction: Tensor, chern: Tensor) -> float:
    """Return R = Σ C f / Σ f², the least-squares factor of a network that saw C = 0 alone."""
    power = float((prediction**2).sum())
    return float((chern * prediction).sum()) / power if power else math.nan


@dataclass
class Training:
    """One training, resumed from its file where it was stopped.

    Attributes
    ----------
    network
        Maps eigenvalues to one number per site.
    pool
        Training lattices.
    steps
        Optimiser steps; None with ``minutes``.
    minutes
        Length on this machine if nothing else runs on it; a few steps are timed first, by the
        time of the processor, so that a loaded machine takes longer and not fewer steps.
    path
        File of the state.
    seed
        Random seed of the order of the lattices.
    """

    network: nn.Module
    pool: Lattices
    path: Path
    seed: int
    steps: int | None = None
    minutes: float | None = None

    def run(
        self, measure: Callable[[nn.Module], float], tick: ProgressCallback
    ) -> tuple[list[float], list[float]]:
        """Train.

        Parameters
        ----------
        measure
            Accuracy of the network; called ten times.
        tick
            Called with the share of the training done since the last call.

        Returns
        -------
        steps, accuracies : list
            The curve.
        """
        optimiser = torch.optim.Adam(self.network.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
        generator = torch.Generator().manual_seed(self.seed)
        done, total, curve = self._restore(optimiser, generator)
        if done:
            tick(done / total)
        every = max(total // _CURVE_POINTS, 1)
        for step in range(done, total):
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * one_cycle(step, total)
            self._step(optimiser, generator)
            if (step + 1) % every == 0 or step + 1 == total:
                curve.append((step + 1, measure(self.network)))
            if (step + 1) % _SAVE_EVERY == 0:
                self._save(optimiser, generator, step + 1, total, curve)
            tick(1 / total, f"{self.path.stem}: step {step + 1} of {total}")
        self.path.unlink(missing_ok=True)
        return [float(step) for step, _ in curve], [value for _, value in curve]

    def _step(self, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> None:
        batch = self.pool.take(torch.randint(len(self.pool.chern), (BATCH,), generator=generator))
        value = loss(self.network(batch.eigenvalues), batch.chern)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        optimiser.step()

    def _plan(self) -> int:
        """Return the number of steps; with ``minutes`` time some, on a copy of the weights."""
        if self.minutes is None:
            return self.steps or 1
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        optimiser = torch.optim.Adam(self.network.parameters(), LEARNING_RATE)
        generator, times = torch.Generator().manual_seed(0), []
        for _ in range(_TIMED_STEPS):
            started = time.process_time()
            self._step(optimiser, generator)
            times.append((time.process_time() - started) / torch.get_num_threads())
        self.network.load_state_dict(kept)
        return max(round(60 * self.minutes / float(np.median(times))), 1)

    def _restore(
        self, optimiser: torch.optim.Optimizer, generator: torch.Generator
    ) -> tuple[int, int, list[tuple[int, float]]]:
        if not self.path.exists():
            return 0, self._plan(), []
        state = torch.load(self.path, weights_only=True)
        self.network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"])
        return state["step"], state["total"], [(int(s), float(a)) for s, a in state["curve"]]

    def _save(
        self,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
        step: int,
        total: int,
        curve: list[tuple[int, float]],
    ) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "generator": generator.get_state(),
            "step": step,
            "total": total,
            "curve": curve,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)


def one_cycle(step: int, total: int) -> float:
    """Return the factor of the learning rate: a linear warm-up, then half a cosine.

    Parameters
    ----------
    step, total
        The step, from 0, and the length of the training.

    Returns
    -------
    float
        In [0, 1].
    """
    warmup = min(WARMUP, total // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
