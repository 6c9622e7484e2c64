"""Gradients through rollouts: the forecaster's own values, and derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.models.checkpoint import Checkpoint
from pear.rollout import (
    ClimatologyForecaster,
    OneStepForecaster,
    PearForecaster,
    differentiable_rollout,
)
from pear.state import State
from tests.fixtures import models

STEPS = 3


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    config = models.tiny(nside=4, patch=4, window=4, residual=True)
    normaliser = models.normaliser(config.layout)
    return Checkpoint(normaliser, {}, "0" * 64, models.built(config))


def start(checkpoint: Checkpoint, dtype: torch.dtype) -> State:
    surface, upper = checkpoint.normaliser.inverse(*models.fields(checkpoint.config)[:2])
    time = np.datetime64("2001-02-27")
    return State(surface.to(dtype), upper.to(dtype), time, checkpoint.config.layout)


def with_gradient(state: State) -> State:
    return state.map(lambda values: values.clone().requires_grad_())


def roll(forecaster: OneStepForecaster, initial: State) -> list[State]:
    state, states = initial, []
    for _ in range(STEPS):  # the small network leaves the physical ranges, which is checked above
        state = forecaster.step(state)
        states.append(state)
    return states


def test_states_are_those_of_the_forecaster(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pear.rollout.forecaster.check_physical", lambda state, _: state)
    forecaster = PearForecaster(checkpoint)
    initial = start(checkpoint, torch.float32)
    states = list(differentiable_rollout(forecaster, with_gradient(initial), STEPS))
    for found, wanted in zip(states, roll(forecaster, initial), strict=True):
        assert np.array_equal(found.valid_time, wanted.valid_time)
        assert torch.equal(found.surface.detach(), wanted.surface)
        assert torch.equal(found.upper.detach(), wanted.upper)


def test_gradients_agree_with_differences_and_leave_parameters_alone(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pear.rollout.forecaster.check_physical", lambda state, _: state)
    forecaster = PearForecaster(checkpoint, dtype=torch.float64)
    initial = start(checkpoint, torch.float64)
    leaf = with_gradient(initial)
    *_, last = differentiable_rollout(forecaster, leaf, STEPS)
    last.upper[0, 0, 1, :5].sum().backward()  # type: ignore[no-untyped-call]
    direction = torch.randn(initial.upper.shape, dtype=torch.float64)
    assert leaf.upper.grad is not None
    slope = float((leaf.upper.grad * direction).sum())

    def moved(step: float) -> float:
        there = State(
            initial.surface, initial.upper + step * direction, initial.valid_time, initial.layout
        )
        return float(roll(forecaster, there)[-1].upper[0, 0, 1, :5].sum())

    assert slope == pytest.approx((moved(1e-4) - moved(-1e-4)) / 2e-4, rel=1e-6)
    parameters = list(checkpoint.model.parameters())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in parameters)


def test_one_step_is_held_at_a_time(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pear.rollout.forecaster.check_physical", lambda state, _: state)
    forecaster, modes = PearForecaster(checkpoint), []
    inner = forecaster._advance

    def watched(state: State) -> State:
        modes.append(torch.is_grad_enabled())
        return inner(state)

    monkeypatch.setattr(forecaster, "_advance", watched)
    leaf = with_gradient(start(checkpoint, torch.float32))
    *_, last = differentiable_rollout(forecaster, leaf, STEPS)
    last.surface.sum().backward()  # type: ignore[no-untyped-call]
    assert modes == [False] * STEPS + [True] * STEPS


def test_what_has_no_gradients_is_named(checkpoint: Checkpoint) -> None:
    forecaster, initial = PearForecaster(checkpoint), start(checkpoint, torch.float32)
    with pytest.raises(InputError, match="no tensor of the state requires a gradient"):
        next(differentiable_rollout(forecaster, initial, 1))

    class Climate:
        layout, nside = forecaster.layout, forecaster.nside

        def at(self, _: object) -> tuple[object, ...]:
            return ()

    climatology = ClimatologyForecaster(Climate())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="forecaster climatology has no gradients"):
        next(differentiable_rollout(climatology, with_gradient(initial), 1))
