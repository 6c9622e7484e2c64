"""Ensembles: members by forecaster, perturbed at the start or at every step, and statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.rollout import (
    Ensemble,
    MemberGroup,
    Noise,
    Persistence,
    concat_states,
    ensemble_mean,
    ensemble_quantile,
    ensemble_spread,
    exceedance_probability,
    split_state,
    step_together,
)
from pear.rollout.ensemble import LARGEST_BATCH
from pear.state import State
from pear.variables import Layout

LAYOUT = Layout(("2m_temperature",), ("geopotential",), (500,))
DAY = np.timedelta64(86_400, "s")


def start(times: int = 1) -> State:
    when = np.datetime64("2001-01-01", "s") + DAY * np.arange(times)
    return State(
        torch.full((times, 1, 48), 280.0), torch.full((times, 1, 1, 48), 5e4), when, LAYOUT
    )


class Warmer:
    """Warms each member by its number."""

    def perturb(self, members: State, step: int = 0) -> State:
        numbers = torch.arange(members.batch)[:, None, None]
        return State(members.surface + numbers, members.upper, members.valid_time, LAYOUT)


class Warming(Persistence):
    """Warms by 0.1 K a step, to be told from persistence; records the sizes of its batches."""

    def __init__(self, largest: int = 1000) -> None:
        super().__init__(LAYOUT, 2)
        self.largest, self.sizes = largest, list[int]()

    def step(self, state: State) -> State:
        self.sizes.append(state.batch)
        if state.batch > self.largest:
            raise torch.OutOfMemoryError
        return state.advanced(state.surface + 0.1, state.upper, self.time_step)


def persistence(nside: int = 2) -> Persistence:
    return Persistence(LAYOUT, nside)


def test_members_start_apart_and_step_together() -> None:
    ensemble = Ensemble([MemberGroup(persistence(), 4, Warmer())])
    for k, state in enumerate(ensemble.iterate(start(), 3), 1):
        assert state.batch == ensemble.size == 4
        np.testing.assert_array_equal(state.valid_time, np.repeat(start().valid_time + k * DAY, 4))
        np.testing.assert_array_equal(state.surface[:, 0, 0].numpy(), [280, 281, 282, 283])


def test_perturbations_of_every_step_add_up() -> None:
    ensemble = Ensemble([MemberGroup(persistence(), 3, Warmer())] * 2, perturb_steps=True)
    for k, state in enumerate(ensemble.iterate(start(), 3), 1):
        one = [280.0, 280.0 + k, 280.0 + 2 * k]
        assert state.surface[:, 0, 0].tolist() == one * 2


def test_members_are_ordered_by_forecaster() -> None:
    ensemble = Ensemble(
        [
            MemberGroup(persistence(), 2, Warmer()),
            MemberGroup(Warming()),
            MemberGroup(Warming(), 2, Warmer()),
        ]
    )
    *_, last = ensemble.iterate(start(), 2)
    found = last.surface[:, 0, 0].tolist()
    np.testing.assert_allclose(found, [280, 281, 280.2, 280.2, 281.2], rtol=1e-6)


def test_a_single_forecast_is_an_ensemble_of_one() -> None:
    (state,) = Ensemble([MemberGroup(Warming())]).iterate(start(), 1)
    (expected,) = Warming().iterate(start(), 1)
    assert torch.equal(state.surface, expected.surface)


def test_states_of_one_forecaster_are_stepped_as_one_batch() -> None:
    one, other = Warming(), Warming()
    stepped = step_together([(one, start(2)), (other, start(3)), (one, start(1))])
    assert [state.batch for state in stepped] == [2, 3, 1]
    assert (one.sizes, other.sizes) == ([3], [3])
    assert all(float(state.surface.min()) > 280 for state in stepped)


@pytest.mark.parametrize(
    ("members", "largest", "sizes"),
    [
        (5, 2, [5, 2, 2, 1]),
        (LARGEST_BATCH + 1, 1000, [LARGEST_BATCH, 1]),
        (3, 1, [3, 1, 1, 1]),
    ],
)
def test_a_batch_that_does_not_fit_into_memory_is_stepped_in_pieces(
    members: int, largest: int, sizes: list[int]
) -> None:
    forecaster = Warming(largest)
    (state,) = step_together([(forecaster, start(members))])
    assert state.batch == members
    assert forecaster.sizes == sizes


def test_one_member_that_does_not_fit_into_memory_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        step_together([(Warming(0), start())])


def test_invalid_ensembles_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1 member of each model"):
        Ensemble([])
    with pytest.raises(InputError, match="at least 1 member of each model"):
        Ensemble([MemberGroup(persistence(), 0)])
    with pytest.raises(InputError, match="differ in channels, grid"):
        Ensemble([MemberGroup(persistence()), MemberGroup(persistence(4))])
    with pytest.raises(InputError, match="without a perturbation are copies of each other"):
        Ensemble([MemberGroup(persistence(), 2)])
    ensemble = Ensemble([MemberGroup(persistence(), 2, Warmer())])
    with pytest.raises(InputError, match="starts from one state, got a batch of 2"):
        ensemble.iterate(start(2), 1)


def test_a_perturbation_too_small_to_change_a_state_is_refused() -> None:
    noise = Noise(torch.tensor([1e-9]), torch.zeros(1, 1), length_km=2000, seed=1)
    ensemble = Ensemble([MemberGroup(persistence(), 3, noise)])
    with pytest.raises(InputError, match="members 0 and 1 are the same"):
        ensemble.iterate(start(), 1)


def test_a_member_that_becomes_unstable_is_named() -> None:
    class Hot(Persistence):
        def step(self, state: State) -> State:
            return state.advanced(state.surface * 10, state.upper, self.time_step)

    with pytest.raises(InputError, match="pear-ensemble: step 1 of 2: 2m_temperature reaches"):
        list(Ensemble([MemberGroup(Hot(LAYOUT, 2), 2, Warmer())]).iterate(start(), 2))


def members_of(batch: int) -> State:
    random = torch.Generator().manual_seed(0)
    surface = 280 + 10 * torch.randn(batch, 1, 768, generator=random)
    upper = 5e4 + 1e3 * torch.randn(batch, 1, 1, 768, generator=random)
    return State(surface, upper, np.repeat(np.datetime64("2001-03-01", "s"), batch), LAYOUT)


def test_a_batch_that_was_split_is_concatenated_again() -> None:
    whole = members_of(5)
    again = concat_states(split_state(whole, [2, 1, 2]))
    assert torch.equal(again.upper, whole.upper)
    assert (again.valid_time == whole.valid_time).all()
    with pytest.raises(ValueError, match="do not add up to a batch of 5"):
        split_state(whole, [2, 2])


def test_statistics_equal_those_of_numpy() -> None:
    members = members_of(7)
    values = members.upper.double().numpy()
    np.testing.assert_allclose(ensemble_mean(members).upper[0], values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        ensemble_spread(members).upper[0], values.std(axis=0, ddof=1), rtol=1e-5
    )
    np.testing.assert_allclose(
        ensemble_quantile(members, 30).upper[0], np.quantile(values, 0.3, axis=0), rtol=1e-6
    )
    assert ensemble_mean(members).valid_time == members.valid_time[0]
    assert float(ensemble_spread(members_of(1)).upper.abs().max()) == 0


def test_members_of_different_valid_times_have_no_mean() -> None:
    with pytest.raises(ValueError, match="valid at different times"):
        ensemble_mean(start(2))


def test_exceedance_probability_is_the_fraction_of_members() -> None:
    members = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 0.0]])
    assert exceedance_probability(members, 2.0).tolist() == [0.5, 0.75]


def test_quantiles_of_a_layout_without_upper_air() -> None:
    layout = Layout(("2m_temperature",), (), ())
    surface = torch.tensor([280.0, 282.0, 284.0])[:, None, None].expand(3, 1, 12)
    times = np.repeat(np.datetime64("2001-01-01"), 3)
    members = State(surface, torch.zeros(3, 0, 0, 12), times, layout)
    found = ensemble_quantile(members, 50.0)
    assert float(found.surface[0, 0, 0]) == 282.0
    assert tuple(found.upper.shape) == (1, 0, 0, 12)
