"""Perturbations: of the size asked for, reproducible, and never of the control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.rollout import Noise, RandomFieldPerturbation, concat_states
from pear.state import State
from pear.typing import Float32, Times
from pear.variables import Layout

LAYOUT = Layout(("2m_temperature",), ("specific_humidity", "temperature"), (1000, 850, 500))
NSIDE = 8
CELLS = 12 * NSIDE**2
DAY = np.timedelta64(86_400, "s")
INIT = np.datetime64("2001-03-01", "s")


def state(members: int = 1) -> State:
    """Return copies of one state."""
    random = torch.Generator().manual_seed(0)
    surface = 280 + 10 * torch.randn(1, 1, CELLS, generator=random)
    upper = torch.rand(1, 2, 3, CELLS, generator=random)
    upper[:, 0] *= 1e-5
    upper[:, 1] = 250 + 10 * upper[:, 1]
    return concat_states([State(surface, upper, INIT, LAYOUT)] * members)


def noise_of(seed: int = 1) -> Noise:
    scale = torch.tensor([[1e-3, 1e-3, 1e-3], [0.5, 1.0, 2.0]])
    return Noise(torch.tensor([0.7]), scale, 1500.0, seed)


def perturbed(members: int, seed: int = 1, step: int = 0) -> State:
    return noise_of(seed).perturb(state(members), step)


def test_the_control_is_unperturbed_and_the_others_have_the_scale() -> None:
    initial, batch = state(), perturbed(60)
    torch.testing.assert_close(batch.surface[:1], initial.surface, rtol=0, atol=0)
    assert (batch.valid_time == initial.valid_time[0]).all()
    noise = batch.surface[1:] - initial.surface
    assert float(noise.std()) == pytest.approx(0.7, rel=0.05)
    levels = (batch.upper[1:, 1] - initial.upper[:, 1]).std(dim=(0, 2))
    np.testing.assert_allclose(levels, [0.5, 1.0, 2.0], rtol=0.08)


def test_noise_is_correlated_between_levels_and_not_between_variables() -> None:
    batch = perturbed(60)
    noise = batch.upper[1:] - state().upper
    flat = noise[:, 1].transpose(0, 1).reshape(3, -1)
    found = np.corrcoef(flat.numpy())
    assert found[0, 1] == pytest.approx(0.8, abs=0.05)
    assert found[0, 2] == pytest.approx(0.64, abs=0.08)
    surface = (batch.surface[1:] - state().surface).reshape(-1)
    assert abs(np.corrcoef(surface.numpy(), flat[0].numpy())[0, 1]) < 0.08


def test_humidity_does_not_become_negative() -> None:
    assert float(perturbed(20).upper[:, 0].min()) >= 0


def test_noise_of_a_member_depends_on_the_seed_and_its_number_only() -> None:
    few, many, other = perturbed(3), perturbed(6), perturbed(3, seed=2)
    torch.testing.assert_close(few.surface, many.surface[:3], rtol=0, atol=0)
    assert not torch.equal(few.surface[1], other.surface[1])
    assert not torch.equal(few.surface[1], few.surface[2])


def test_every_step_has_its_own_noise_and_the_control_has_none() -> None:
    given = state(3)
    first, second = perturbed(3, step=1), perturbed(3, step=2)
    torch.testing.assert_close(first.surface[:1], given.surface[:1], rtol=0, atol=0)
    one, two = first.surface - given.surface, second.surface - given.surface
    assert float(one[1:].std()) == pytest.approx(0.7, rel=0.2)
    for other in (two, perturbed(3).surface - given.surface):
        found = np.corrcoef(one[1:].flatten().numpy(), other[1:].flatten().numpy())[0, 1]
        assert abs(found) < 0.3


@dataclass
class Past:
    """Past states: daily fields drawn from the time."""

    times: Times

    def read(self, time: np.datetime64) -> Float32:
        assert time in self.times
        rng = np.random.default_rng(int(time.astype(np.int64)))
        return rng.normal(size=(7, CELLS)).astype("f4")


def random_fields(count: int = 800, seed: int = 0) -> RandomFieldPerturbation:
    past = Past(INIT - 400 * DAY + DAY * np.arange(count))
    return RandomFieldPerturbation(past, DAY, scale=0.2, seed=seed)


def test_random_fields_come_in_pairs_of_opposite_sign_around_the_control() -> None:
    given = state(4)
    found = random_fields().perturb(given)
    control, plus, minus, other = found.surface
    assert torch.equal(control, given.surface[0])
    torch.testing.assert_close((plus + minus) / 2, control, rtol=1e-6, atol=1e-4)
    assert not torch.allclose(plus, other)
    # Differences of independent fields of unit variance, over √2, have unit variance.
    assert float((plus - control).std()) == pytest.approx(0.2, rel=0.1)
    assert float(found.upper[:, 0].min()) >= 0


def test_random_fields_are_drawn_before_the_init_time_and_from_the_season() -> None:
    drawn: list[np.datetime64] = []

    class Recorded(Past):
        def read(self, time: np.datetime64) -> Float32:
            drawn.append(time)
            return super().read(time)

    past = Recorded(random_fields().analysis.times)
    members = state(12)
    later = State(members.surface, members.upper, members.valid_time + 10 * DAY, LAYOUT)
    RandomFieldPerturbation(past, DAY, 0.2).perturb(later, step=10)
    assert len(drawn) == 12
    assert max(drawn) < INIT
    days = [abs((INIT + 10 * DAY - time) / DAY) % 365.2425 for time in drawn]
    assert all(min(apart, 365.2425 - apart) <= 31 for apart in days)


def test_random_fields_depend_on_seed_member_and_valid_time_only() -> None:
    few, many = (random_fields().perturb(state(members)) for members in (3, 6))
    torch.testing.assert_close(few.surface, many.surface[:3], rtol=0, atol=0)
    other = random_fields(seed=1).perturb(state(3))
    assert not torch.equal(few.surface[1], other.surface[1])


def test_random_fields_need_past_times() -> None:
    past = Past(INIT - 19 * DAY + DAY * np.arange(100))
    with pytest.raises(InputError, match=r"need 20 analysis times before the init time .* are 19"):
        RandomFieldPerturbation(past, DAY, 0.2).perturb(state(2))
