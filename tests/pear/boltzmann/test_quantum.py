"""Hamiltonians by Kronecker products, the metric by second derivatives, entropies by traces."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch
from scipy.linalg import logm
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector

from pear.boltzmann.graphs import Graph, ring
from pear.boltzmann.ising import states
from pear.boltzmann.quantum import (
    TranslationInvariantState,
    amplitudes,
    entanglement_entropy,
    ground_state,
    minimise_energy,
    paired_state,
    random_state,
    reconfiguration,
    ring_energy,
    transverse_ising,
    wave_function,
)
from pear.equivariant.contract import equivariance_error
from pear.equivariant.representations import Invariant, Regular
from pear.sphere.groups import cyclic

UP, FLIP = np.diag([-1.0, 1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])


def operator(sites: int, *placed: tuple[int, np.ndarray]) -> np.ndarray:
    factors = [np.eye(2)] * sites
    for site, matrix in placed:
        factors[site] = matrix
    return reduce(np.kron, factors[::-1])  # site 0 is the lowest bit


def kronecker(sites: int, pairs: list[tuple[int, int]], field: float) -> np.ndarray:
    total = -sum(operator(sites, (i, UP), (j, UP)) for i, j in pairs)
    return total - field * sum(operator(sites, (i, FLIP)) for i in range(sites))


def test_the_hamiltonian_by_kronecker_products() -> None:
    want = kronecker(4, [(0, 1), (1, 2), (2, 3), (3, 0)], 0.7)
    np.testing.assert_allclose(transverse_ising(ring(4), 0.7).toarray(), want, atol=1e-14)


@pytest.mark.parametrize("field", [0.5, 1.0, 2.0])
def test_free_fermions_against_diagonalisation(field: float) -> None:
    for sites in (3, 8):
        energy, state = ground_state(transverse_ising(ring(sites), field))
        assert energy == pytest.approx(ring_energy(sites, field), rel=1e-11)
        assert (state > 0).all()


def test_a_ring_of_two_has_one_bond() -> None:
    """The formula of free fermions counts it twice."""
    energy = np.linalg.eigvalsh(transverse_ising(ring(2), 0.5).toarray())[0]
    assert energy == pytest.approx(-np.sqrt(1 + 4 * 0.25), rel=1e-12)
    twice = np.linalg.eigvalsh(kronecker(2, [(0, 1), (1, 0)], 0.5))[0]
    assert twice == pytest.approx(-2 * np.sqrt(1 + 0.25), rel=1e-12)
    with pytest.raises(ValueError, match="3 sites or more, not 2"):
        ring_energy(2, 0.5)


def small_state() -> tuple[TranslationInvariantState, Tensor]:
    torch.manual_seed(1)
    state = TranslationInvariantState(4, 2, spread=0.4)
    with torch.no_grad():
        state.visible_bias.fill_(0.1)
        state.conv.bias.copy_(torch.tensor([0.2, -0.3]))
    return state, torch.from_numpy(states(4))


def test_force_and_metric_are_derivatives() -> None:
    state, every = small_state()
    hamiltonian = transverse_ising(ring(4), 0.7)
    dense = torch.from_numpy(hamiltonian.toarray())
    names = [name for name, _ in state.named_parameters()]
    shapes = [p.shape for p in state.parameters()]
    start = parameters_to_vector(state.parameters()).detach()
    here = torch.from_numpy(wave_function(state, every))

    def psi(vector: Tensor) -> Tensor:
        pieces = vector.split([shape.numel() for shape in shapes])
        weights = {n: p.view(s) for n, p, s in zip(names, pieces, shapes, strict=True)}
        amplitude = torch.exp(functional_call(state, weights, (every,)))
        return amplitude / amplitude.norm()

    def energy(vector: Tensor) -> Tensor:
        return psi(vector) @ dense @ psi(vector)

    def loss(vector: Tensor) -> Tensor:
        return -torch.log((psi(vector) @ here) ** 2)

    found, metric, force = reconfiguration(state, every, hamiltonian)
    assert found == pytest.approx(float(energy(start)), rel=1e-12)
    slope = torch.autograd.functional.jacobian(energy, start)
    np.testing.assert_allclose(force, slope.numpy() / 2, atol=1e-12)
    # Without the means of O taken out, S is not the curvature of the overlap.
    curvature = torch.autograd.functional.hessian(loss, start)
    np.testing.assert_allclose(metric, curvature.numpy() / 2, atol=1e-10)
    assert np.linalg.eigvalsh(metric)[0] > -1e-12


def test_states_do_not_change_by_translations() -> None:
    state, every = small_state()
    group = Regular(cyclic(4))
    for shift in range(4):
        error = equivariance_error(state, shift, every, group, Invariant(), gradients=True)
        assert error < 1e-12
    psi = wave_function(state, every).reshape((2,) * 4)
    np.testing.assert_allclose(psi, psi.transpose(1, 2, 3, 0), rtol=1e-13)


class OneSiteMore(TranslationInvariantState):
    def forward(self, v: Tensor) -> Tensor:
        return super().forward(v) + 0.1 * v[:, 0]


def test_a_state_with_a_preferred_site_is_caught() -> None:
    torch.manual_seed(0)
    spins = torch.from_numpy(states(4))
    group = Regular(cyclic(4))
    error = equivariance_error(OneSiteMore(4, 1), 1, spins, group, Invariant())
    assert error > 0.01


@pytest.mark.parametrize("field", [0.5, 2.0])
def test_energies_fall_to_the_ground_state(field: float) -> None:
    hamiltonian = transverse_ising(ring(6), field)
    torch.manual_seed(0)
    state = TranslationInvariantState(6, 2)
    energies = minimise_energy(state, hamiltonian, 80)
    assert (np.diff(energies) < 0).all()
    exact, truth = ground_state(hamiltonian)
    assert 0 <= 1 - energies[-1] / exact < 2e-5
    assert wave_function(state, torch.from_numpy(states(6))) @ truth > 0.9999


def test_entropies_against_the_reduced_density_matrix() -> None:
    psi = random_state(5, np.random.default_rng(0), local=False)
    table = psi.reshape(8, 4)
    reduced = table.T @ table.conj()
    want = -np.trace(reduced @ logm(reduced)).real
    assert entanglement_entropy(psi, 2) == pytest.approx(want, rel=1e-9)
    product = amplitudes(np.zeros((4, 1)), [0.3])
    assert entanglement_entropy(product, 2) == pytest.approx(0, abs=1e-12)


def test_amplitudes_against_the_sum_over_hidden_units() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 2))
    w, b = weight[0] + 1j * weight[1], bias[0] + 1j * bias[1]
    psi = sum(np.exp(states(3) @ w @ h + b @ h) for h in states(2))
    np.testing.assert_allclose(amplitudes(w, b), psi / np.linalg.norm(psi), atol=1e-13)
    with pytest.raises(ValueError, match="all vanish or are not finite"):
        amplitudes(np.full((2, 1), np.nan), [0.0])


def test_area_and_volume_laws() -> None:
    assert entanglement_entropy(paired_state(8), 4) == pytest.approx(4 * np.log(2), abs=1e-13)
    with pytest.raises(ValueError, match="even number of spins, got 5"):
        paired_state(5)
    for seed in range(10):
        psi = random_state(8, np.random.default_rng(seed), local=True)
        assert entanglement_entropy(psi, 4) <= 2 * np.log(2)
        # Each of two units is a sum of two products of states.
        assert np.linalg.matrix_rank(psi.reshape(16, 16), tol=1e-10) <= 4


def test_other_graphs_have_hamiltonians_too() -> None:
    triangle = Graph.from_table(np.array([[1, 2], [2, 0], [0, 1]]))
    np.testing.assert_allclose(
        transverse_ising(triangle, 1.0).toarray(), transverse_ising(ring(3), 1.0).toarray()
    )
