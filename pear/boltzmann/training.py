"""Training of Boltzmann machines: exactly by enumeration, or by contrastive divergence.

Both descend the divergence D(P‖p) = Σ P log(P/p), whose gradient is the mean of ∂(−log weight)
over the data less that over the machine's own states: of all of them, or of chains of its sampler.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pear.boltzmann.rbm import BoltzmannMachine
from pear.progress import ProgressCallback, no_progress


def exact_divergence(machine: BoltzmannMachine, states: Tensor, log_target: Tensor) -> Tensor:
    """Return D(P‖p) by the sum over all states.

    Parameters
    ----------
    machine
        Any machine.
    states
        (state, visible), all of them.
    log_target
        (state,) log P.

    Returns
    -------
    Tensor
        A number, not negative but for rounding.
    """
    log_weight = machine.log_weight(states)
    expected = (log_target.exp() * (log_target - log_weight)).sum()
    return expected + torch.logsumexp(log_weight, 0)


def fit_exactly(
    machine: BoltzmannMachine,
    states: Tensor,
    log_target: Tensor,
    steps: int,
    tick: ProgressCallback = no_progress,
) -> list[float]:
    """Minimise D(P‖p) over all states by L-BFGS, in place.

    Parameters
    ----------
    machine
        Of few visible units; float64.
    states, log_target
        As for :func:`exact_divergence`.
    steps
        Steps, each with a line search.
    tick
        Called after each step.

    Returns
    -------
    list of float
        The divergence before the first step and after each.
    """
    optimiser = torch.optim.LBFGS(
        machine.parameters(),
        max_iter=1,
        max_eval=10,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimiser.zero_grad()
        value = exact_divergence(machine, states, log_target)
        torch.autograd.backward(value)
        return float(value.detach())

    curve = []
    for _ in range(steps):
        curve.append(float(optimiser.step(closure)))  # type: ignore[no-untyped-call]
        tick()
    with torch.no_grad():
        curve.append(float(exact_divergence(machine, states, log_target)))
    return curve


@dataclass(frozen=True, kw_only=True)
class Contrastive:
    """How a machine is trained by contrastive divergence.

    Attributes
    ----------
    steps
        Optimiser steps (Adam); the rate falls linearly to zero.
    batch
        Samples of a step.
    chains
        Chains of the sampler.
    sweeps
        Gibbs sweeps of each chain in a step.
    rate
        First learning rate.
    persistent
        Whether chains go on where they stood; otherwise they begin at the samples of each step, as
        in contrastive divergence proper, whose fixed point is biased.
    """

    steps: int
    batch: int = 100
    chains: int = 100
    sweeps: int = 1
    rate: float = 0.01
    persistent: bool = True


def fit_contrastively(
    machine: BoltzmannMachine,
    data: Tensor,
    how: Contrastive,
    generator: torch.Generator,
    tick: ProgressCallback = no_progress,
) -> Tensor:
    """Train on samples by ⟨∂ log weight⟩ over data less that over chains, in place.

    Parameters
    ----------
    machine
        Any machine.
    data
        (sample, visible), ±1, of the machine's type.
    how
        Steps, chains and rate.
    generator
        Random numbers.
    tick
        Called after each step.

    Returns
    -------
    Tensor
        (chain, visible), where the chains ended.

    Raises
    ------
    ValueError
        If there are no samples, or one that is not ±1.
    """
    if not len(data) or not bool((data.abs() == 1).all()):
        raise ValueError("samples are spins of 1 and -1, and there is one at least")
    optimiser = torch.optim.Adam(machine.parameters(), how.rate)
    chains = pick(data, how.chains, generator)
    for step in range(how.steps):
        for group in optimiser.param_groups:
            group["lr"] = how.rate * (1 - step / how.steps)
        batch = pick(data, how.batch, generator)
        chains = machine.gibbs(chains if how.persistent else batch, how.sweeps, generator)
        optimiser.zero_grad()
        loss = machine.log_weight(chains).mean() - machine.log_weight(batch).mean()
        torch.autograd.backward(loss)
        optimiser.step()
        tick()
    return chains


def pick(data: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return random rows, with repetition.

    Returns
    -------
    Tensor
        (count, visible).
    """
    return data[torch.randint(len(data), (count,), generator=generator)]
