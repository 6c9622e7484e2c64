"""Exact solutions against sums over all states, and samples against both."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from pear.boltzmann.graphs import Graph, cells, ring, torus
from pear.boltzmann.ising import (
    log_probabilities,
    nearest_correlation,
    onsager_correlation,
    pair_sum,
    sample,
    states,
    torus_correlation,
    torus_log_partition,
)


def mean_pair(graph: Graph, coupling: float) -> float:
    chance = np.exp(log_probabilities(graph, coupling))
    return float(chance @ pair_sum(graph, states(graph.sites))) / len(graph.bonds)


def test_probabilities_against_a_loop() -> None:
    weights = {}
    for s in itertools.product((-1, 1), repeat=3):
        weights[s] = np.exp(0.7 * (s[0] * s[1] + s[1] * s[2] + s[2] * s[0]))
    found = np.exp(log_probabilities(ring(3), 0.7))
    for row, chance in zip(states(3), found, strict=True):
        assert chance == pytest.approx(weights[tuple(row)] / sum(weights.values()), rel=1e-12)


def test_a_ring_of_two_is_one_pair() -> None:
    """Its two bonds are the same; counted twice, the correlation would be tanh 2K."""
    assert mean_pair(ring(2), 0.3) == pytest.approx(np.tanh(0.3), rel=1e-12)


@pytest.mark.parametrize("coupling", [0.1, 0.4406, 0.4407, 0.8])
def test_kaufman_against_enumeration(coupling: float) -> None:
    K = torch.tensor(coupling, dtype=torch.float64)
    direct = np.logaddexp.reduce(coupling * pair_sum(torus(4), states(16)))
    assert float(torus_log_partition(4, K)) == pytest.approx(direct, rel=1e-12)
    assert torus_correlation(4, coupling) == pytest.approx(mean_pair(torus(4), coupling), rel=1e-11)
    direct = np.logaddexp.reduce(coupling * pair_sum(torus(3), states(9)))
    assert float(torus_log_partition(3, K)) == pytest.approx(direct, rel=1e-12)


@pytest.mark.parametrize("coupling", [0.2, 0.7])
def test_large_lattices_are_onsagers(coupling: float) -> None:
    assert torus_correlation(40, coupling) == pytest.approx(onsager_correlation(coupling), rel=1e-9)


@pytest.mark.parametrize(("graph", "coupling"), [(cells(1), 0.3), (torus(4), 0.5), (torus(2), 0.2)])
def test_samples_have_the_exact_correlation(graph: Graph, coupling: float) -> None:
    spins = sample(graph, coupling, 1500, np.random.default_rng(0), sweeps=12)
    means = pair_sum(graph, spins) / len(graph.bonds)
    error = means.std() / len(means) ** 0.5
    assert abs(nearest_correlation(graph, spins) - mean_pair(graph, coupling)) < 4.5 * error
    assert abs(spins.mean()) < 0.1
    assert set(np.unique(spins)) == {-1.0, 1.0}


def test_what_is_not_defined_is_refused() -> None:
    with pytest.raises(ValueError, match="side of 3 or more"):
        torus_log_partition(2, torch.tensor(0.4))
    with pytest.raises(ValueError, match="K > 0"):
        torus_log_partition(4, torch.tensor(float("nan")))
    with pytest.raises(ValueError, match=r"coupling of 0 or more, got -0\.1"):
        sample(ring(3), -0.1, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="not of 21"):
        states(21)
