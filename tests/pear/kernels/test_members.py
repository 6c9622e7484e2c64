"""Ensembles of finite networks: their training by hand-written gradients, and its limit."""

from __future__ import annotations

import pytest
import torch

from pear.kernels.architecture import mlp
from pear.kernels.empirical import empirical_kernel
from pear.kernels.members import Members, descended_mean
from pear.kernels.predict import MeanPrediction
from tests.fixtures.layer_checks import noise

X, Y = noise(6, 5), noise(6, 2, seed=3)


def test_a_step_is_that_of_autograd() -> None:
    members = Members.draw(5, 7, 2, count=3, seed=0)
    first, last = (each.clone().requires_grad_() for each in (members.first, members.last))
    loss = ((Members(first, last)(X) - Y) ** 2).sum() / (2 * len(X))
    loss.backward()
    assert first.grad is not None
    assert last.grad is not None
    want = first - 0.3 * first.grad, last - 0.3 * last.grad
    members.train(X, Y, steps=1, rate=0.3)
    torch.testing.assert_close(members.first, want[0].detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(members.last, want[1].detach(), rtol=1e-12, atol=1e-14)


def test_members_are_networks_of_the_architecture() -> None:
    members = Members.draw(5, 4, 1, count=1, seed=0)
    network = mlp(5, hidden=1).network(1, 4)
    with torch.no_grad():
        network[0].weight.copy_(members.first[0])
        network[2].weight.copy_(members.last[0])
    torch.testing.assert_close(network(X[:, None])[:, 0], members(X)[0])
    assert empirical_kernel(network, X[:, None], X[:, None]).shape == (6, 6)


def test_wide_members_follow_the_kernel() -> None:
    kernel = mlp(5, hidden=1).kernels(X[:, None], X[:, None]).tangent
    mean = descended_mean(kernel, Y, kernel, steps=30, rate=0.5)
    members = Members.draw(5, 2048, 2, count=24, seed=1)
    members.train(X, Y, steps=30, rate=0.5)
    values = members(X)
    error = values.std(0) / 24**0.5
    assert ((values.mean(0) - mean).abs() < 4.5 * error).all()
    assert (mean - Y).abs().max() < 0.7 * Y.abs().max()


def test_many_small_steps_are_gradient_flow() -> None:
    kernel = mlp(5, hidden=1).kernels(X[:, None], X[:, None]).tangent
    flow = MeanPrediction(kernel, Y).at(2.0, kernel)
    steps = descended_mean(kernel, Y, kernel, steps=20_000, rate=1e-4)
    torch.testing.assert_close(steps, flow, rtol=0, atol=1e-3)


def test_divergence_is_refused() -> None:
    kernel = mlp(5, hidden=1).kernels(X[:, None], X[:, None]).tangent
    with pytest.raises(ValueError, match="learning rate 100 is above"):
        descended_mean(kernel, Y, kernel, steps=2, rate=100.0)
    with pytest.raises(ValueError, match="diverge at learning rate 100"):
        Members.draw(5, 4, 2, count=2, seed=0).train(X, Y, steps=400, rate=100.0)
