"""Rollouts with gradients: how a later state depends on the initial one.

The states are those of the forecaster, to the last bit: forward, each step runs by its fast kernels
and keeps its input alone; backward, it is computed again with gradients (one checkpoint a step,
Chen et al. 2016, arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pear.errors import InputError
from pear.rollout.forecaster import OneStepForecaster, rollout
from pear.state import State


def differentiable_rollout(
    forecaster: OneStepForecaster, initial: State, steps: int
) -> Iterator[State]:
    """Yield the states of a forecast with gradients by its initial state.

    An :class:`~pear.errors.InputError` is raised as by :func:`pear.rollout.rollout`, and if the
    forecaster has no gradients. Parameters get none.

    Parameters
    ----------
    forecaster
        Its step must be differentiable, see :meth:`OneStepForecaster.differentiable_step`.
    initial
        (batch, …), physical units, on the forecaster's device and in its dtype, as
        :meth:`OneStepForecaster.prepare` gives it; one of its tensors requires a gradient.
    steps
        Number of states.

    Returns
    -------
    Iterator of State
        As :meth:`OneStepForecaster.iterate`, with the same values.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from pear.rollout import Persistence, differentiable_rollout
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface = torch.full((1, 1, 12), 280.0, requires_grad=True)
    >>> initial = State(surface, torch.zeros(1, 0, 0, 12), np.datetime64("2001-01-01"), layout)
    >>> *_, last = differentiable_rollout(Persistence(layout, nside=1), initial, 3)
    >>> (last.surface * 2).sum().backward()
    >>> surface.grad[0, 0, :3]
    tensor([2., 2., 2.])
    """
    return rollout(
        lambda state: _checkpointed(forecaster, state),
        initial,
        steps,
        time_step=forecaster.time_step,
        context=getattr(forecaster, "context", forecaster.name),
    )


def _checkpointed(forecaster: OneStepForecaster, state: State) -> State:
    """Return the next state; reentrant, so that the forward pass runs without gradients."""

    def step(surface: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        given = State(surface, upper, state.valid_time, state.layout)
        following = forecaster.differentiable_step(given)
        return following.surface, following.upper

    if not (state.surface.requires_grad or state.upper.requires_grad):
        raise InputError("no tensor of the state requires a gradient", field="initial")
    surface, upper = checkpoint(
        step, state.surface, state.upper, use_reentrant=True, preserve_rng_state=False
    )
    return state.advanced(surface, upper, forecaster.time_step)
