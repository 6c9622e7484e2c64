"""The Ising model p(s) ∝ exp(K Σ s_i s_j): enumeration, exact solutions, and samples.

Samples are drawn cluster by cluster (Swendsen and Wang, 1987), which mixes at the critical point
where single spins do not, and needs no colouring of the graph.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import ellipkm1, logsumexp
from torch import Tensor

from pear.boltzmann.graphs import Graph
from pear.progress import ProgressCallback, no_progress
from pear.typing import Float64

CRITICAL: Final = math.log1p(math.sqrt(2)) / 2
"""Coupling at which the infinite square lattice orders, .4407."""
MOST_SITES: Final = 20
"""Spins of which all states are enumerated."""


def states(sites: int) -> Float64:
    """Return all states of some spins.

    Parameters
    ----------
    sites
        Number of spins, at most 20.

    Returns
    -------
    ndarray
        (2^site, site), ±1; bit i of the number of a state is set where its spin i is 1.

    Raises
    ------
    ValueError
        If there are too many.

    Examples
    --------
    >>> from pear.boltzmann.ising import states
    >>> states(2).tolist()
    [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    if not 1 <= sites <= MOST_SITES:
        raise ValueError(f"states of 1 to {MOST_SITES} spins can be enumerated, not of {sites}")
    bits = np.arange(2**sites)[:, None] >> np.arange(sites) & 1
    return np.asarray(2 * bits - 1, dtype=np.float64)


def log_probabilities(graph: Graph, coupling: float) -> Float64:
    """Return log p of every state, by enumeration.

    Parameters
    ----------
    graph
        Pairs of coupled spins.
    coupling
        K, positive for ferromagnets.

    Returns
    -------
    ndarray
        (2^site,), in the order of :func:`states`.

    Examples
    --------
    >>> from pear.boltzmann.graphs import ring
    >>> np.exp(log_probabilities(ring(2), np.log(2.0))).round(12).tolist()
    [0.4, 0.1, 0.1, 0.4]
    """
    weights = coupling * pair_sum(graph, states(graph.sites))
    return np.asarray(weights - logsumexp(weights))


def pair_sum(graph: Graph, spins: Float64) -> Float64:
    """Return Σ s_i s_j over the bonds, of spins (…, site).

    Returns
    -------
    ndarray
        (…,).
    """
    first, second = graph.bonds.T
    return np.asarray((spins[..., first] * spins[..., second]).sum(-1, dtype=np.float64))


def nearest_correlation(graph: Graph, spins: Float64) -> float:
    """Return the mean of s_i s_j over bonds and samples.

    Parameters
    ----------
    graph
        Pairs of spins.
    spins
        (sample, site).

    Returns
    -------
    float
        In [−1, 1].
    """
    return float(pair_sum(graph, spins).mean()) / len(graph.bonds)


def torus_log_partition(side: int, coupling: Tensor) -> Tensor:
    """Return log Z of the periodic square lattice, exactly (Kaufman, 1949).

    Parameters
    ----------
    side
        Sites along each side, at least 3; on shorter lattices bonds would count twice.
    coupling
        K > 0, a number in float64; its derivative over 2 side² is the nearest correlation.

    Returns
    -------
    Tensor
        A number.

    Raises
    ------
    ValueError
        If the side is shorter than 3 or K is not positive.

    Examples
    --------
    >>> from pear.boltzmann.graphs import torus
    >>> K = torch.tensor(0.4, dtype=torch.float64)
    >>> here = float(torus_log_partition(4, K))
    >>> bool(np.isclose(here, logsumexp(0.4 * pair_sum(torus(4), states(16))), rtol=1e-13))
    True
    """
    if side < 3 or not coupling.item() > 0:
        raise ValueError(f"a side of 3 or more and K > 0, not {side} and {coupling.item():g}")
    double = 2 * coupling
    gammas = []
    for number in range(2 * side):
        cosh = torch.cosh(double) ** 2 / torch.sinh(double) - math.cos(math.pi * number / side)
        # γ₀ changes its sign at the critical coupling, where its cosh is 1.
        gamma = double + torch.log(torch.tanh(coupling)) if number == 0 else torch.acosh(cosh)
        gammas.append(side * gamma / 2)
    odd, even = torch.stack(gammas[1::2]), torch.stack(gammas[::2])
    logs = torch.stack([_log_cosh(odd), _log_sinh(odd), _log_cosh(even), _log_sinh(even)])
    signs = torch.ones(4, dtype=torch.float64)
    # The sum below takes the branch γ₀ > 0 above the critical coupling with a plus sign.
    signs[3] = torch.sign(even[0])
    largest = logs.max().detach()
    total = largest + torch.log((signs * torch.exp(logs - largest)).sum())
    return total - math.log(2) + side**2 / 2 * torch.log(2 * torch.sinh(double))


def torus_correlation(side: int, coupling: float) -> float:
    """Return the exact nearest correlation of the periodic square lattice.

    Parameters
    ----------
    side, coupling
        As for :func:`torus_log_partition`, which raises for wrong ones.

    Returns
    -------
    float
        The derivative of log Z over the number of bonds.
    """
    leaf = torch.tensor(coupling, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torus_log_partition(side, leaf), leaf)
    return float(slope) / (2 * side**2)


def onsager_correlation(coupling: float) -> float:
    """Return the nearest correlation of the infinite square lattice (Onsager, 1944).

    Parameters
    ----------
    coupling
        K > 0.

    Returns
    -------
    float
        √½ at the critical coupling.

    Examples
    --------
    >>> from pear.boltzmann.ising import CRITICAL, onsager_correlation
    >>> round(onsager_correlation(CRITICAL + 1e-9), 6)
    0.707107
    """
    double = 2 * coupling
    modulus = 2 * math.sinh(double) / math.cosh(double) ** 2
    factor = 2 * math.tanh(double) ** 2 - 1
    # ellipkm1 takes 1 − modulus², which is factor²; at factor 0 the product vanishes.
    part = factor * float(ellipkm1(factor**2)) if factor and modulus else 0.0
    return (1 + 2 / math.pi * part) / (2 * math.tanh(double))


def sample(
    graph: Graph,
    coupling: float,
    count: int,
    random: np.random.Generator,
    *,
    sweeps: int = 50,
    tick: ProgressCallback = no_progress,
) -> Float64:
    """Draw independent samples, each the end of its own chain of cluster sweeps.

    A sweep opens bonds between equal spins with probability 1 − e^(−2K) and gives every cluster a
    spin of its own. Chains begin with all spins up.

    Parameters
    ----------
    graph
        Pairs of coupled spins.
    coupling
        K, not negative.
    count
        Samples.
    random
        Generator; the same seed gives the same samples.
    sweeps
        Sweeps of each chain.
    tick
        Called after each sweep.

    Returns
    -------
    ndarray
        (count, site), ±1.

    Raises
    ------
    ValueError
        If K is negative: clusters are those of ferromagnets.

    Examples
    --------
    >>> from pear.boltzmann.graphs import cells
    >>> sample(cells(1), 0.3, 5, np.random.default_rng(0)).shape
    (5, 12)
    """
    if not coupling >= 0:
        raise ValueError(f"clusters need a coupling of 0 or more, got {coupling}")
    sites, bonds = graph.sites, len(graph.bonds)
    first, second = ((np.arange(count)[:, None] * sites + end).ravel() for end in graph.bonds.T)
    spins = np.ones(count * sites, dtype=np.int8)
    chance = -math.expm1(-2 * coupling)
    for _ in range(sweeps):
        opened = (spins[first] == spins[second]) & (random.random(count * bonds) < chance)
        pairs = first[opened], second[opened]
        links = coo_array((np.ones(len(pairs[0]), dtype=np.int8), pairs), shape=(len(spins),) * 2)
        clusters, label = connected_components(links, directed=False)
        spins = (2 * random.integers(2, size=clusters, dtype=np.int8) - 1)[label]
        tick()
    return spins.reshape(count, sites).astype(np.float64)


def _log_cosh(x: Tensor) -> Tensor:
    """Return Σ log 2cosh(x)."""
    size = x.abs()
    return (size + torch.log1p(torch.exp(-2 * size))).sum()


def _log_sinh(x: Tensor) -> Tensor:
    """Return Σ log |2 sinh(x)|."""
    size = x.abs()
    return (size + torch.log(-torch.expm1(-2 * size))).sum()
