"""The search: exact for linear functions, convergent for others, and refusals by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pear.counterfactual.search import MOST_ITERATIONS, HappensAlreadyError, find_smallest
from pear.errors import InputError

SLOPE = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)


def linear(z: Tensor) -> Tensor:
    return z @ SLOPE - 1


@pytest.mark.parametrize("unit", [1.0, 1e5, 1e-5])
def test_one_step_solves_a_linear_function_in_any_unit(unit: float) -> None:
    found = find_smallest(lambda z: unit * linear(z), 3, 9 * unit, dtype=torch.float64)
    assert torch.allclose(found.z, 10 * SLOPE / 25, rtol=1e-3)
    assert found.gradients == 2  # at the start, and where the step ended
    assert found.converged
    assert found.value >= 9 * unit
    assert found.length == pytest.approx(2, rel=1e-3)
    assert found.probability == pytest.approx(0.02275, rel=1e-2)


def test_a_curved_function_is_solved_with_halved_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(30, 30, generator=generator, dtype=torch.float64) / 30**0.5

    def curved(z: Tensor) -> Tensor:
        return torch.sin(3 * mixing @ z).sum() - (z[0] - 0.2) ** 2

    found = find_smallest(curved, 30, 15.0, dtype=torch.float64)
    assert found.converged
    assert found.gradients <= MOST_ITERATIONS
    assert found.cosine > 0.98
    leaf = found.z.clone().requires_grad_()
    value = curved(leaf)
    assert value.item() == pytest.approx(found.value)
    for factor in (0.7, 0.9):  # what is shorter does not reach the goal
        assert curved(factor * found.z).item() < 15


def test_points_that_are_refused_are_stepped_over() -> None:
    refused = []

    def limited(z: Tensor) -> Tensor:
        if z.detach().norm() > 1.5:
            refused.append(1)
            raise InputError("the forecast is unstable")
        return z @ SLOPE - 1 + 4 * (z @ SLOPE).square() / 25

    found = find_smallest(limited, 3, 7.0, dtype=torch.float64)
    assert refused
    assert found.value >= 7


def test_what_cannot_be_sought_is_named() -> None:
    with pytest.raises(HappensAlreadyError, match="the event happens already: -1, where -2"):
        find_smallest(linear, 3, -2.0, dtype=torch.float64)
    with pytest.raises(InputError, match="does not depend on the initial state"):
        find_smallest(lambda z: 0 * z.sum(), 3, 1.0, dtype=torch.float64)
    with pytest.raises(InputError, match=r"no change was found that brings the event: 1 of 1\.5"):
        find_smallest(lambda z: torch.tanh(z @ SLOPE), 3, 1.5, dtype=torch.float64)
    with pytest.raises(InputError, match="it is unstable"):
        find_smallest(_refuse, 3, 1.5, dtype=torch.float64)


def _refuse(z: Tensor) -> Tensor:
    raise InputError("it is unstable")
