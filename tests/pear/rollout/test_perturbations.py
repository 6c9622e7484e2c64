"""Members: noise of the size asked for, the control unperturbed, reductions as numpy has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.rollout import concat_states
from pear.rollout.perturbations import (
    Noise,
    exceedance,
    mean,
    perturb,
    quantile,
    split_state,
    spread,
)
from pear.state import State
from pear.variables import Layout

LAYOUT = Layout(("2m_temperature",), ("specific_humidity", "temperature"), (1000, 850, 500))
NSIDE = 8
CELLS = 12 * NSIDE**2


def state(batch: int = 1, seed: int = 0) -> State:
    random = torch.Generator().manual_seed(seed)
    surface = 280 + 10 * torch.randn(batch, 1, CELLS, generator=random)
    upper = torch.rand(batch, 2, 3, CELLS, generator=random)
    upper[:, 0] *= 1e-5
    upper[:, 1] = 250 + 10 * upper[:, 1]
    times = np.repeat(np.datetime64("2001-03-01", "s"), batch)
    return State(surface, upper, times, LAYOUT)


def noise_of(seed: int = 1) -> Noise:
    amplitude = torch.tensor([[1e-3, 1e-3, 1e-3], [0.5, 1.0, 2.0]])
    return Noise(torch.tensor([0.7]), amplitude, 1500.0, seed)


def made(members: int, seed: int = 1) -> State:
    return perturb(state(), members, noise_of(seed))


def test_the_first_member_is_the_state_and_the_others_have_the_amplitude() -> None:
    initial, batch = state(), made(60)
    torch.testing.assert_close(batch.surface[:1], initial.surface, rtol=0, atol=0)
    assert (batch.valid_time == initial.valid_time[0]).all()
    noise = batch.surface[1:] - initial.surface
    assert float(noise.std()) == pytest.approx(0.7, rel=0.05)
    levels = (batch.upper[1:, 1] - initial.upper[:, 1]).std(dim=(0, 2))
    np.testing.assert_allclose(levels, [0.5, 1.0, 2.0], rtol=0.08)


def test_the_noise_of_neighbouring_levels_is_correlated_and_of_variables_is_not() -> None:
    noise = made(60).upper[1:] - state().upper
    flat = noise[:, 1].transpose(0, 1).reshape(3, -1)
    found = np.corrcoef(flat.numpy())
    assert found[0, 1] == pytest.approx(0.8, abs=0.05)
    assert found[0, 2] == pytest.approx(0.64, abs=0.08)
    surface = (made(60).surface[1:] - state().surface).reshape(-1)
    assert abs(np.corrcoef(surface.numpy(), flat[0].numpy())[0, 1]) < 0.08


def test_humidity_is_not_made_negative() -> None:
    assert float(made(20).upper[:, 0].min()) >= 0


def test_a_member_depends_on_the_seed_and_its_number_only() -> None:
    few, many, other = made(3), made(6), made(3, seed=2)
    torch.testing.assert_close(few.surface, many.surface[:3], rtol=0, atol=0)
    assert not torch.equal(few.surface[1], other.surface[1])
    assert not torch.equal(few.surface[1], few.surface[2])


def test_only_one_state_can_be_perturbed() -> None:
    with pytest.raises(InputError, match="batch of 2"):
        perturb(state(2), 3, noise_of())


def test_every_step_has_noise_of_its_own_and_never_for_the_first_member() -> None:
    given = made(3)
    first, second = (noise_of().perturb(given, step) for step in (1, 2))
    again = noise_of().perturb(split_state(given, [2, 1])[0], 1)
    torch.testing.assert_close(first.surface[:2], again.surface, rtol=0, atol=0)
    torch.testing.assert_close(first.surface[:1], given.surface[:1], rtol=0, atol=0)
    one, two = first.surface - given.surface, second.surface - given.surface
    assert float(one[1:].std()) == pytest.approx(0.7, rel=0.2)
    for other in (two, given.surface - state().surface):
        found = np.corrcoef(one[1:].flatten().numpy(), other[1:].flatten().numpy())[0, 1]
        assert abs(found) < 0.3
    assert float(first.upper[:, 0].min()) >= 0


def test_a_batch_taken_apart_goes_together_again() -> None:
    whole = state(5)
    again = concat_states(split_state(whole, [2, 1, 2]))
    assert torch.equal(again.upper, whole.upper)
    assert (again.valid_time == whole.valid_time).all()


def test_reductions_are_those_of_numpy() -> None:
    members = state(7)
    values = members.upper.double().numpy()
    np.testing.assert_allclose(mean(members).upper[0], values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(spread(members).upper[0], values.std(axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(
        quantile(members, 30).upper[0], np.quantile(values, 0.3, axis=0), rtol=1e-6
    )
    assert mean(members).valid_time == members.valid_time[0]
    assert float(spread(state(1)).upper.abs().max()) == 0


def test_exceedance_counts_members() -> None:
    members = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 0.0]])
    assert exceedance(members, 2.0).tolist() == [0.5, 0.75]
