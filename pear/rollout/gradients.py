"""Rollouts with gradients: how a later state depends on the initial one.

The states are those of the forecaster, to the last bit: forward, each step runs by its fast kernels
and keeps its input alone; backward, it is computed again with gradients (one checkpoint a step,
Chen et al. 2016, arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from pear.errors import InputError
from pear.rollout.forecaster import OneStepForecaster, rollout
from pear.state import State
from pear.typing import TensorPair


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
    """Return the next state, with gradients by recomputation."""
    if not (state.surface.requires_grad or state.upper.requires_grad):
        raise InputError("no tensor of the state requires a gradient", field="initial")

    def step(surface: Tensor, upper: Tensor) -> TensorPair:
        given = State(surface, upper, state.valid_time, state.layout)
        following = forecaster.differentiable_step(given)
        return following.surface, following.upper

    surface, upper = _Recomputed.apply(step, state.surface, state.upper)  # type: ignore[no-untyped-call]
    return state.advanced(surface, upper, forecaster.time_step)


class _Recomputed(torch.autograd.Function):
    """A step that keeps its input alone and is computed again for its gradient.

    As ``torch.utils.checkpoint`` with ``use_reentrant=True``, whose first use takes seconds to
    import the compiler of torch.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, step: Callable[[Tensor, Tensor], TensorPair], *state: Tensor
    ) -> TensorPair:
        """Return the next fields, without a graph."""
        ctx.save_for_backward(*state)
        ctx.step = step  # type: ignore[attr-defined]
        surface, upper = step(*state)
        return surface.view_as(surface), upper.view_as(upper)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by the fields given."""
        needed = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]  # type: ignore[attr-defined]
        with torch.enable_grad():
            found = ctx.step(*needed)  # type: ignore[attr-defined]
            kept = [
                (out, by) for out, by in zip(found, gradients, strict=True) if out.requires_grad
            ]
        outputs, by = zip(*kept, strict=True)
        return None, *torch.autograd.grad(outputs, needed, by, allow_unused=True)
