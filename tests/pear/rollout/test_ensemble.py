"""Ensembles: members on the batch axis, dealt out to models, each from its own start."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.rollout import Ensemble, Persistence, concat_states
from pear.state import State
from pear.variables import Layout

LAYOUT = Layout(("2m_temperature",), ("geopotential",), (500,))
DAY = np.timedelta64(86_400, "s")


def start(times: int = 1) -> State:
    when = np.datetime64("2001-01-01", "s") + DAY * np.arange(times)
    return State(
        torch.full((times, 1, 48), 280.0), torch.full((times, 1, 1, 48), 5e4), when, LAYOUT
    )


def warmer(state: State, member: int) -> State:
    return State(state.surface + member, state.upper, state.valid_time, LAYOUT)


class Doubling(Persistence):
    """Warms by one kelvin a step, to be told from persistence."""

    def iterate(self, initial: State, steps: int):  # type: ignore[no-untyped-def]
        for k, state in enumerate(super().iterate(initial, steps), 1):
            yield State(state.surface + 0.1 * k, state.upper, state.valid_time, LAYOUT)


def test_members_start_apart_and_step_together() -> None:
    ensemble = Ensemble([Persistence(LAYOUT, 2)], 4, warmer)
    for k, state in enumerate(ensemble.iterate(start(), 3), 1):
        assert state.batch == 4
        np.testing.assert_array_equal(state.valid_time, np.repeat(start().valid_time + k * DAY, 4))
        np.testing.assert_array_equal(state.surface[:, 0, 0].numpy(), [280, 281, 282, 283])


def test_sustained_perturbations_add_up_step_by_step() -> None:
    ensemble = Ensemble([Persistence(LAYOUT, 2), Persistence(LAYOUT, 2)], 4, warmer, sustained=True)
    for k, state in enumerate(ensemble.iterate(start(), 3), 1):
        np.testing.assert_array_equal(state.valid_time, np.repeat(start().valid_time + k * DAY, 4))
        found = sorted(state.surface[:, 0, 0].tolist())
        assert found == [280.0, 280.0 + k, 280.0 + 2 * k, 280.0 + 3 * k]


def test_members_are_dealt_out_to_models_in_turn() -> None:
    ensemble = Ensemble([Persistence(LAYOUT, 2), Doubling(LAYOUT, 2)], 5, warmer)
    *_, last = ensemble.iterate(start(), 2)
    found = sorted(last.surface[:, 0, 0].tolist())
    np.testing.assert_allclose(found, [280, 281.2, 282, 283.2, 284], rtol=1e-6)


def test_what_is_refused() -> None:
    model = Persistence(LAYOUT, 2)
    with pytest.raises(InputError, match="cannot have 1 members"):
        Ensemble([model], 1, warmer)
    with pytest.raises(InputError, match="3 models cannot have 2"):
        Ensemble([model] * 3, 2, warmer)
    with pytest.raises(InputError, match="differ in channels, grid"):
        Ensemble([model, Persistence(LAYOUT, 4)], 2, warmer)
    with pytest.raises(InputError, match="starts from one state, not from 2"):
        Ensemble([model], 2, warmer).iterate(start(2), 1)
    assert concat_states([start(), start(2)]).batch == 3
