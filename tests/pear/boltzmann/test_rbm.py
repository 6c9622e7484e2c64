"""Machines against sums over hidden states, detailed balance, symmetry of shared weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pear.boltzmann.graphs import Patches, cells, parent_patches, torus, torus_patches
from pear.boltzmann.ising import log_probabilities, states
from pear.boltzmann.rbm import RBM, BoltzmannMachine, SharedRBM, ising_machine, log_2cosh
from pear.equivariant.contract import Fields, equivariance_error
from pear.sphere.symmetry import M, R
from tests.fixtures.layer_checks import assert_keeps, noise, randomise


def every(sites: int) -> Tensor:
    return torch.from_numpy(states(sites))


def machine(visible: int = 4, hidden: int = 3) -> RBM:
    return randomise(RBM(visible, hidden).double())  # type: ignore[return-value]


def test_log_weight_is_the_sum_over_hidden_units() -> None:
    rbm, v, h = machine(), every(4), every(3)
    terms = torch.stack([rbm.log_joint(v, row.expand(len(v), -1)) for row in h], 1)
    torch.testing.assert_close(rbm.log_weight(v), torch.logsumexp(terms, 1), rtol=1e-12, atol=0)
    direct = v @ rbm.weight @ h.T + (v @ rbm.visible_bias)[:, None] + h @ rbm.hidden_bias
    torch.testing.assert_close(terms, direct, rtol=1e-12, atol=1e-12)


def transition(rbm: BoltzmannMachine, visible: int, hidden: int) -> Tensor:
    """Return p(v′|v) of a Gibbs sweep, (v, v′)."""
    v, h = every(visible), every(hidden)

    def chances(field: Tensor, spins: Tensor) -> Tensor:
        return torch.exp((field[:, None] * spins - log_2cosh(field)[:, None]).sum(-1))

    return chances(rbm.hidden_input(v), h) @ chances(rbm.visible_input(h), v)


def test_gibbs_sweeps_are_in_detailed_balance() -> None:
    """On 2×2 spins with a hidden unit a bond, and for random weights and biases."""
    for rbm, hidden in ((ising_machine(torus(2), 0.4), 4), (machine(), 3)):
        chance = torch.softmax(rbm.log_weight(every(4)), 0)
        flow = chance[:, None] * transition(rbm, 4, hidden)
        torch.testing.assert_close(flow, flow.T, rtol=1e-12, atol=1e-16)
        torch.testing.assert_close(flow.sum(1), chance, rtol=1e-12, atol=0)


def test_chains_draw_the_transition() -> None:
    rbm = machine()
    start = every(4)[5].expand(20_000, -1)
    ended = rbm.gibbs(start, 1, torch.Generator().manual_seed(0))
    number = ((ended + 1) / 2 @ torch.tensor([1.0, 2, 4, 8]).double()).long()
    share = torch.bincount(number, minlength=16) / len(start)
    want = transition(rbm, 4, 3)[5]
    assert ((share - want).abs() < 4.5 * (want * (1 - want) / len(start)).sqrt() + 1e-6).all()


@pytest.mark.parametrize("graph", [torus(3), torus(2), cells(1)])
def test_one_unit_a_bond_is_the_ising_model(graph: object) -> None:
    rbm = ising_machine(graph, 0.35)  # type: ignore[arg-type]
    found = torch.log_softmax(rbm.log_weight(every(graph.sites)), 0)  # type: ignore[attr-defined]
    want = log_probabilities(graph, 0.35)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.detach().numpy(), want, atol=1e-12)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        ising_machine(torus(2), -1.0)


@pytest.mark.parametrize("patches", [torus_patches(3, 2), parent_patches(2)])
def test_shared_weights_are_a_dense_machine(patches: Patches) -> None:
    """Built tap by tap; some taps of parents are missing."""
    shared = randomise(SharedRBM(patches, 2).double())
    places = len(patches.table)
    dense = RBM(patches.sites, 2 * places).double()
    with torch.no_grad():
        dense.weight.zero_()
        for place, row in enumerate(patches.table):
            for tap, site in enumerate(row):
                if site >= 0:
                    dense.weight[site, place::places] += shared.kernel[patches.classes[tap]]
        dense.visible_bias.fill_(float(shared.visible_bias))
        dense.hidden_bias.copy_(shared.hidden_bias.expand(2, places).flatten())
    v, h = noise(3, patches.sites), noise(3, 2, places, seed=1)
    torch.testing.assert_close(
        shared.hidden_input(v).flatten(1), dense.hidden_input(v), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        shared.visible_input(h), dense.visible_input(h.flatten(1)), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        shared.log_joint(v, h), dense.log_joint(v, h.flatten(1)), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(shared.log_weight(v), dense.log_weight(v), rtol=1e-12, atol=1e-12)


class Upwards(SharedRBM):
    """The fields on visible units, of hidden ones on the parents."""

    def forward(self, h: Tensor) -> Tensor:
        return self.visible_input(h)[:, None]


def test_parents_keep_all_of_c4h() -> None:
    parents = randomise(SharedRBM(parent_patches(4), 2))
    assert_keeps(parents, noise(2, 192), Fields(4), Fields(2), "c4h")
    upwards = randomise(Upwards(parent_patches(4), 2))
    assert_keeps(upwards, noise(2, 2, 48), Fields(2), Fields(4), "c4h")


class BiasByParent(SharedRBM):
    def hidden_input(self, v: Tensor) -> Tensor:
        return super().hidden_input(v) + torch.arange(len(self.table)) / 10


def test_what_is_not_equivariant_is_caught() -> None:
    patches, x = parent_patches(4), noise(2, 192)
    free = Patches(patches.sites, patches.table, np.arange(16))
    untied = randomise(SharedRBM(free, 2))
    assert equivariance_error(untied, R, x, Fields(4), Fields(2)) < 1e-12
    assert equivariance_error(untied, M, x, Fields(4), Fields(2)) > 0.05
    biased = randomise(BiasByParent(patches, 2))
    assert equivariance_error(biased, R, x, Fields(4), Fields(2)) > 0.05
