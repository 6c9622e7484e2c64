"""Block spins, couplings from samples, and the identity of an exact step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.boltzmann.graphs import cells, ring, torus
from pear.boltzmann.ising import log_probabilities, pair_sum, sample, states
from pear.boltzmann.rbm import ising_machine
from pear.boltzmann.renormalise import (
    correlation_angle,
    decimate,
    decimated_coupling,
    estimate_couplings,
    identity_spread,
    majority,
)
from pear.sphere.healpix import centres, gaussian_fields


def test_decimation_of_a_chain_by_its_definition() -> None:
    K = 0.8
    weights = {}
    for s in states(6):
        key = tuple(s[::2])
        weights[key] = weights.get(key, 0.0) + np.exp(K * pair_sum(ring(6), s))
    coarse = np.array([decimated_coupling(K) * pair_sum(ring(3), np.array(k)) for k in weights])
    np.testing.assert_allclose(np.ptp(np.log(list(weights.values())) - coarse), 0, atol=1e-13)


def test_majorities_and_their_coin() -> None:
    four = states(4)
    random = np.random.default_rng(0)
    found = np.array([majority(four, random)[:, 0] for _ in range(400)])
    total = four.sum(1)
    assert (found[:, total != 0] == np.sign(total)[total != 0]).all()
    assert np.abs(found[:, total == 0].mean(0)).max() < 0.25
    np.testing.assert_array_equal(decimate(np.arange(48.0)), np.arange(0, 48.0, 4))


def test_couplings_are_those_of_the_model() -> None:
    """Also where next neighbours are coupled, by weights of all states."""
    near, far = torus(3), torus(3, "next")
    every = states(9)
    log_p = 0.25 * pair_sum(near, every) - 0.1 * pair_sum(far, every)
    chance = np.exp(log_p) / np.exp(log_p).sum()
    drawn = every[np.random.default_rng(0).choice(512, 20_000, p=chance)]
    np.testing.assert_allclose(estimate_couplings([near, far], drawn), [0.25, -0.1], atol=0.01)
    spins = sample(cells(2), 0.4, 500, np.random.default_rng(1))
    np.testing.assert_allclose(
        estimate_couplings([cells(2), cells(2, "next")], spins), [0.4, 0], atol=0.04
    )


def test_samples_without_finite_couplings_are_refused() -> None:
    with pytest.raises(ValueError, match="no finite couplings"):
        estimate_couplings([ring(4)], np.ones((10, 4)))


def test_an_exact_machine_is_an_exact_step() -> None:
    graph, K = torus(3), 0.3
    every, log_p = states(9), log_probabilities(graph, K)
    energy = -K * pair_sum(graph, every)
    weights = []
    for coupling in (K, 0.9 * K):
        rbm = ising_machine(graph, coupling)
        weights.append(rbm.log_weight(torch.from_numpy(every)).detach().numpy())
    assert identity_spread(weights[0], energy, log_p) < 1e-12
    # Σ_h e^T is e^{(K′ − K) Σ ss}, whose spread is that of the bonds.
    pairs = pair_sum(graph, every)
    chance = np.exp(log_p)
    spread = 0.1 * K * np.sqrt(chance @ pairs**2 - (chance @ pairs) ** 2)
    assert identity_spread(weights[1], energy, log_p) == pytest.approx(spread, rel=1e-10)


def test_correlation_angles() -> None:
    """One degree has the correlation P_l; white noise none beyond a cell."""
    lat = np.sin(np.deg2rad(centres(16)[0]))
    assert correlation_angle(lat[None]) == pytest.approx(np.arccos(np.exp(-1)), abs=0.01)
    power = np.zeros(9)
    power[8] = 1.0
    narrow = correlation_angle(gaussian_fields(power, 8, 3, np.random.default_rng(0)))
    assert 0.1 < narrow < 0.3
