"""Deep machines against sums over all states of all levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pear.boltzmann.deep import DeepBoltzmannMachine
from pear.boltzmann.graphs import parent_patches, ring
from pear.boltzmann.ising import log_probabilities, sample, states
from pear.boltzmann.rbm import RBM, SharedRBM
from pear.boltzmann.training import Contrastive
from tests.fixtures.layer_checks import noise, randomise

SIZES = (4, 3, 2)


def every(units: int) -> Tensor:
    return torch.from_numpy(states(units))


def machine() -> DeepBoltzmannMachine:
    deep = DeepBoltzmannMachine([RBM(4, 3).double(), RBM(3, 2).double()])
    return randomise(deep)  # type: ignore[return-value]


def all_units() -> list[Tensor]:
    """Return all states of all levels, (2^9, unit) each."""
    whole = every(sum(SIZES))
    return list(whole.split(SIZES, 1))


def test_exact_weights_are_sums_over_the_hidden_levels() -> None:
    deep, units = machine(), all_units()
    logs = deep.log_joint(units)
    # The first four bits of the number of a state are the visible units.
    table = logs.reshape(2**5, 2**4).T
    torch.testing.assert_close(
        deep.log_weight(every(4)), torch.logsumexp(table, 1), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        deep.log_partition(), torch.logsumexp(logs, 0), rtol=1e-12, atol=1e-12
    )


def test_the_mean_field_is_a_bound_that_sweeps_raise() -> None:
    deep, v = machine(), every(4)
    with torch.no_grad():
        exact = deep.log_weight(v)
        bounds = [deep.bound(v, deep.mean_field(v, sweeps)) for sweeps in (0, 1, 5, 30)]
        other = deep.bound(v, [torch.zeros(16, 3).double(), torch.full((16, 2), 0.3).double()])
    for lower, higher in zip([other, *bounds[:-1]], bounds, strict=True):
        assert (higher > lower - 1e-12).all()
        assert (higher <= exact + 1e-12).all()
    # Without the second level the means are exact, and so is the bound.
    with torch.no_grad():
        deep.layer(1).weight.zero_()  # type: ignore[union-attr,operator]
        alone = deep.bound(v, deep.mean_field(v))
    torch.testing.assert_close(alone, deep.log_weight(v).detach(), rtol=1e-10, atol=1e-10)


def test_fields_are_differences_of_the_joint_weight() -> None:
    deep, units = machine(), [noise(5, size, seed=size) for size in SIZES]
    for level, size in enumerate(SIZES):
        for unit in range(size):
            up, down = ([each.clone() for each in units] for _ in range(2))
            up[level][:, unit], down[level][:, unit] = 1.0, -1.0
            want = (deep.log_joint(up) - deep.log_joint(down)) / 2
            torch.testing.assert_close(deep.field(level, units)[:, unit], want)


def test_chains_keep_the_distribution() -> None:
    deep, units = machine(), all_units()
    generator = torch.Generator().manual_seed(0)
    chance = torch.softmax(deep.log_joint(units), 0).detach()
    drawn = torch.multinomial(chance, 20_000, replacement=True, generator=generator)
    ended = torch.cat(deep.gibbs([each[drawn] for each in units], 2, generator), 1)
    pairs = ended.T @ ended / len(ended)
    whole = torch.cat(units, 1)
    want = torch.einsum("s,si,sj->ij", chance, whole, whole)
    assert (pairs - want).abs().max() < 4.5 / len(ended) ** 0.5


def test_training_learns_a_ring() -> None:
    target = torch.from_numpy(log_probabilities(ring(4), 0.6))
    data = torch.from_numpy(sample(ring(4), 0.6, 3000, np.random.default_rng(0)))
    torch.manual_seed(0)
    deep = DeepBoltzmannMachine([RBM(4, 4).double(), RBM(4, 2).double()])
    deep.fit(data, Contrastive(steps=60, rate=0.03), torch.Generator().manual_seed(0))
    with torch.no_grad():
        log_p = deep.log_weight(every(4)) - deep.log_partition()
    assert float((target.exp() * (target - log_p)).sum()) < 0.25


def test_levels_of_the_sphere_stand_on_each_other() -> None:
    layers = [SharedRBM(parent_patches(4), 1), SharedRBM(parent_patches(2), 1)]
    deep = randomise(DeepBoltzmannMachine(layers)).double()
    v = torch.sign(noise(2, 192))
    means = deep.mean_field(v)
    assert [tuple(mean.shape) for mean in means] == [(2, 48), (2, 12)]
    units = deep.gibbs([v, *means], 1, torch.Generator().manual_seed(0))
    assert all((each.abs() == 1).all() for each in units)
    with pytest.raises(ValueError, match="at most 12 units"):
        deep.log_weight(v)
