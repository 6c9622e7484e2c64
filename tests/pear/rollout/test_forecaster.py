"""The rollout, its checks, and the two baselines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.rollout import ClimatologyForecaster, Forecaster, Persistence, rollout
from pear.state import State
from pear.variables import Layout

DAY = np.timedelta64(86_400, "s")
LAYOUT = Layout(("2m_temperature",), ("geopotential", "specific_humidity"), (850, 500))
TIMES = np.array(["2000-02-28T00", "2000-12-31T00"], dtype="datetime64[s]")


def state() -> State:
    generator = torch.Generator().manual_seed(3)
    surface = 280 + torch.rand((2, 1, 48), generator=generator)
    upper = 0.01 + 0.001 * torch.rand((2, 2, 2, 48), generator=generator)
    return State(surface, upper, TIMES, LAYOUT)


class Steady:
    """A climatology whose temperature is 250 K plus the day of the year."""

    layout = LAYOUT
    nside = 2

    def at(self, valid_time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        days = (valid_time - valid_time.astype("datetime64[Y]")) / np.timedelta64(1, "D")
        surface = np.broadcast_to(200 + days[:, None, None] / 10, (len(valid_time), 1, 48))
        upper = np.full((len(valid_time), 2, 2, 48), 0.01)
        return surface.astype(np.float32), upper.astype(np.float32)


def test_states_are_yielded_one_by_one_with_their_valid_times() -> None:
    calls = []

    def warmer(x: State) -> State:
        calls.append(x.valid_time[0])
        return x.advanced(x.surface + 1, x.upper, DAY)

    states = rollout(warmer, state(), 4, time_step=DAY)
    assert isinstance(states, Iterator)
    first = next(states)
    assert len(calls) == 1, "a generator computes no step before it is asked for"
    torch.testing.assert_close(first.surface, state().surface + 1)
    rest = list(states)
    assert [str(s.valid_time[0])[:10] for s in [first, *rest]] == [
        "2000-02-29",
        "2000-03-01",
        "2000-03-02",
        "2000-03-03",
    ]
    torch.testing.assert_close(rest[-1].surface, state().surface + 4)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "step 3 of 5.*2m_temperature.*not finite"),
        (float("inf"), "step 3 of 5.*2m_temperature.*not finite"),
        (900.0, "step 3 of 5.*2m_temperature reaches 900 K.*unstable"),
    ],
)
def test_an_unphysical_step_stops_the_rollout_and_is_named(value: float, words: str) -> None:
    def step(x: State) -> State:
        surface = x.surface.clone()
        if x.valid_time[0] == TIMES[0] + 2 * DAY:
            surface[1, 0, 7] = value
        return x.advanced(surface, x.upper, DAY)

    states = rollout(step, state(), 5, time_step=DAY)
    assert len([next(states), next(states)]) == 2
    with pytest.raises(InputError, match=words):
        next(states)


def test_slightly_negative_humidity_is_accepted() -> None:
    def dry(x: State) -> State:
        return x.advanced(x.surface, x.upper * 0 - 1e-3, DAY)

    assert len(list(rollout(dry, state(), 2, time_step=DAY))) == 2


def test_wrong_time_step_layout_and_start_are_refused() -> None:
    def late(x: State) -> State:
        return x.advanced(x.surface, x.upper, 2 * DAY)

    with pytest.raises(InputError, match="valid at 2000-03-01T00:00:00Z, must be 2000-02-29"):
        next(rollout(late, state(), 1, time_step=DAY))

    def shrink(x: State) -> State:
        return State(x.surface[..., :12], x.upper[..., :12], x.valid_time + DAY, LAYOUT)

    with pytest.raises(InputError, match="layout, the grid"):
        next(rollout(shrink, state(), 1, time_step=DAY))
    with pytest.raises(InputError, match="steps 0 must be at least 1"):
        rollout(late, state(), 0, time_step=DAY)
    broken = state()
    broken.surface[0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"initial state.*not finite"):
        next(Persistence(LAYOUT, 2).iterate(broken, 1))


def test_persistence_keeps_the_fields_and_moves_the_time() -> None:
    forecaster: Forecaster = Persistence(LAYOUT, 2)
    start = state()
    for index, x in enumerate(forecaster.iterate(start, 3), start=1):
        assert x.surface.data_ptr() == start.surface.data_ptr(), "no new memory"
        np.testing.assert_array_equal(x.valid_time, TIMES + index * DAY)


def test_climatology_is_that_of_the_valid_time() -> None:
    forecaster: Forecaster = ClimatologyForecaster(Steady())
    *_, last = forecaster.iterate(state(), 3)
    # 2 March 2000 is day 61 of its leap year, 3 January 2001 is day 2: across both jumps.
    torch.testing.assert_close(last.surface[0, 0, 0], torch.tensor(206.1))
    torch.testing.assert_close(last.surface[1, 0, 0], torch.tensor(200.2))
    assert last.surface.dtype == torch.float32


def test_states_of_another_grid_or_layout_are_refused() -> None:
    with pytest.raises(InputError, match=r"nside 4, the state is at nside 2"):
        next(Persistence(LAYOUT, 4).iterate(state(), 1))
    with pytest.raises(InputError, match=r"persistence reads .*2m_temperature"):
        next(Persistence(Layout(), 2).iterate(state(), 1))
