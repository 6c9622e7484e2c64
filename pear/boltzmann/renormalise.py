"""Renormalisation of spins: block spins, the couplings between them, and machines as steps.

A step sums over the fine spins v for fixed coarse ones h, e^{−H′(h)} = Σ_v e^{T(v, h) − H(v)}.
Kadanoff's T assigns every spin to a block; on the sphere the block is a nested parent cell with its
four children, without a seam. A Boltzmann machine is such a step with T = log joint weight + H
(Mehta and Schwab, arXiv 1410.3831), and an exact one, Σ_h e^T the same for all v, if and only if it
has learnt the distribution of v.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import eval_legendre, expit

from pear.boltzmann.graphs import Graph
from pear.sphere.healpix import angular_power
from pear.typing import Float64

CHILDREN: Final = 4
_NEWTON_STEPS: Final = 50
_CONVERGED: Final = 1e-10
_ANGLES: Final = 2000


def decimated_coupling(coupling: float) -> float:
    """Return K′ of the Ising chain without every other spin, tanh K′ = tanh² K.

    Returns
    -------
    float
        Smaller than ``coupling``: a chain has no order at any coupling.

    Examples
    --------
    >>> from pear.boltzmann.renormalise import decimated_coupling
    >>> round(decimated_coupling(1.0), 6)
    0.662501
    """
    return math.atanh(math.tanh(coupling) ** 2)


def decimate(spins: Float64) -> Float64:
    """Keep the first child of each parent.

    Parameters
    ----------
    spins
        (…, cell), nested.

    Returns
    -------
    ndarray
        (…, cell/4).
    """
    return spins[..., ::CHILDREN]


def majority(spins: Float64, random: np.random.Generator) -> Float64:
    """Give each parent the sign of the sum of its four children; a coin decides ties.

    Parameters
    ----------
    spins
        (…, cell), nested.
    random
        The coin.

    Returns
    -------
    ndarray
        (…, cell/4), ±1.

    Examples
    --------
    >>> from pear.boltzmann.renormalise import majority
    >>> majority(np.array([1.0, 1, 1, -1, -1, -1, -1, -1]), np.random.default_rng(0)).tolist()
    [1.0, -1.0]
    """
    total = block_sums(spins)
    coin = 2.0 * random.integers(2, size=total.shape) - 1
    return np.where(total == 0, coin, np.sign(total))


def block_sums(spins: Float64) -> Float64:
    """Return the sum over the four children of each parent, (…, cell/4).

    Returns
    -------
    ndarray
        Between −4 and 4 for spins.
    """
    return np.asarray(spins.reshape(*spins.shape[:-1], -1, CHILDREN).sum(-1))


def estimate_couplings(graphs: Sequence[Graph], spins: Float64) -> Float64:
    """Estimate the couplings of an Ising model from samples, by their pseudo-likelihood.

    The product over all spins of p(s_i | the others) is a concave function of the couplings and
    needs no partition function (Besag, 1975); its maximum converges to the couplings of the model
    that drew the samples, if that has these pairs alone.

    Parameters
    ----------
    graphs
        Pairs of each coupling, as nearest and next ones.
    spins
        (sample, site), ±1.

    Returns
    -------
    ndarray
        (graph,).

    Raises
    ------
    ValueError
        If the samples have no finite estimate, as spins that all agree.

    Examples
    --------
    >>> from pear.boltzmann.graphs import cells
    >>> from pear.boltzmann.ising import sample
    >>> spins = sample(cells(4), 0.3, 400, np.random.default_rng(0))
    >>> found = estimate_couplings([cells(4), cells(4, "next")], spins)
    >>> np.allclose(found, [0.3, 0], atol=0.02)
    True
    """
    seen = np.stack([_neighbour_sums(graph, spins) * spins for graph in graphs], -1)
    seen = 2 * seen.reshape(-1, len(graphs))
    # Equal rows, of which there are few, are counted.
    rows, counts = np.unique(seen, axis=0, return_counts=True)
    share = counts / counts.sum()
    found = np.zeros(len(graphs))
    for _ in range(_NEWTON_STEPS):
        wrong = expit(-rows @ found)
        slope = rows.T @ (share * wrong)
        curvature = (rows.T * (share * wrong * (1 - wrong))) @ rows
        try:
            step = np.linalg.solve(curvature, slope)
        except np.linalg.LinAlgError:
            break
        # Far from the maximum the full step may leave the region where it is a good one.
        found = found + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < _CONVERGED:
            return found
    raise ValueError("the samples have no finite couplings: too few, or all spins agree")


def identity_spread(log_weight: Float64, energy: Float64, log_target: Float64) -> float:
    """Return how far a machine is from an exact step, the spread of log Σ_h e^T.

    Parameters
    ----------
    log_weight
        (state,) of the machine, log Σ_h of its joint weight.
    energy
        (state,) H.
    log_target
        (state,) log P, with which states are weighted.

    Returns
    -------
    float
        Standard deviation of log weight + H; 0 for an exact step.
    """
    weight, exponent = np.exp(log_target), log_weight + energy
    centred = exponent - (weight * exponent).sum()
    return float(np.sqrt((weight * centred**2).sum()))


def correlation_angle(fields: Float64) -> float:
    """Return the angle at which the correlation of fields on the sphere falls to 1/e.

    The correlation is Σ_l (2l + 1) C_l P_l(cos θ), of the mean angular power without the global
    mean.

    Parameters
    ----------
    fields
        (sample, cell), nested, finite.

    Returns
    -------
    float
        Radians; π if it does not fall so far.
    """
    power = angular_power(fields).mean(0)
    degree = np.arange(1, len(power))
    weight = (2 * degree + 1) * power[1:]
    angles = np.linspace(0, np.pi, _ANGLES)
    legendre = eval_legendre(degree[:, None], np.cos(angles))
    correlation = weight @ legendre / weight.sum()
    below = np.flatnonzero(correlation < math.exp(-1))
    return float(angles[below[0]]) if len(below) else math.pi


def _neighbour_sums(graph: Graph, spins: Float64) -> Float64:
    """Return for each spin the sum of those that it is coupled to, (sample, site)."""
    return np.asarray((graph.adjacency() @ spins.T).T)
