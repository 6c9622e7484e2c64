"""Gradients of the divergence, and trainings that reach what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.boltzmann.graphs import ring
from pear.boltzmann.ising import log_probabilities, sample, states
from pear.boltzmann.rbm import RBM, ising_machine
from pear.boltzmann.training import Contrastive, exact_divergence, fit_contrastively, fit_exactly
from tests.fixtures.layer_checks import randomise

SITES, COUPLING = 5, 0.6
EVERY = torch.from_numpy(states(SITES))
TARGET = torch.from_numpy(log_probabilities(ring(SITES), COUPLING))


def test_the_gradient_is_a_difference_of_correlations() -> None:
    rbm = randomise(RBM(SITES, 3).double())
    value = exact_divergence(rbm, EVERY, TARGET)
    chance = torch.softmax(rbm.log_weight(EVERY), 0)
    direct = (TARGET.exp() * (TARGET - chance.log())).sum()
    torch.testing.assert_close(value, direct, rtol=1e-12, atol=0)
    (found,) = torch.autograd.grad(value, [rbm.weight])
    excess = (chance - TARGET.exp()).detach()
    want = torch.einsum("s,sv,sh->vh", excess, EVERY, rbm(EVERY))
    torch.testing.assert_close(found, want, rtol=1e-10, atol=1e-14)


def test_exact_training_reaches_the_distribution() -> None:
    torch.manual_seed(0)
    rbm = RBM(SITES, SITES, 0.1).double()
    curve = fit_exactly(rbm, EVERY, TARGET, 80)
    assert curve[0] > 0.3
    assert curve[-1] < 1e-4
    assert len(curve) == 81


@pytest.mark.parametrize("persistent", [True, False])
def test_contrastive_training_comes_close(persistent: bool) -> None:
    drawn = torch.from_numpy(sample(ring(SITES), COUPLING, 4000, np.random.default_rng(0)))
    torch.manual_seed(0)
    rbm = RBM(SITES, 4).double()
    with torch.no_grad():
        before = float(exact_divergence(rbm, EVERY, TARGET))
    how = Contrastive(steps=200, rate=0.03, persistent=persistent)
    generator = torch.Generator().manual_seed(0)
    chains = fit_contrastively(rbm, drawn, how, generator)
    assert chains.shape == (how.chains, SITES)
    with torch.no_grad():
        assert float(exact_divergence(rbm, EVERY, TARGET)) < before / 5


def test_a_trained_machine_stays_where_it_is() -> None:
    """The exact model is a fixed point: gradients of data and chains cancel."""
    rbm = ising_machine(ring(SITES), COUPLING)
    assert float(exact_divergence(rbm, EVERY, TARGET).detach()) == pytest.approx(0, abs=1e-13)
    gradients = torch.autograd.grad(exact_divergence(rbm, EVERY, TARGET), list(rbm.parameters()))
    assert max(float(each.abs().max()) for each in gradients) < 1e-13


def test_samples_that_are_no_spins_are_refused() -> None:
    for data in (torch.zeros(2, SITES), torch.full((2, SITES), torch.nan), torch.ones(0, SITES)):
        with pytest.raises(ValueError, match="spins of 1 and -1"):
            fit_contrastively(RBM(SITES, 2), data, Contrastive(steps=1), torch.Generator())
