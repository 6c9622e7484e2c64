"""Corrections of order 1/width: references, closed forms, drawn networks, and wrong recursions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor
from torch.func import jacrev

from pear.kernels import finite_width
from pear.kernels.architecture import mlp
from pear.kernels.finite_width import (
    Cumulants,
    finite_width_kernels,
    next_layer,
    susceptibilities,
)
from pear.kernels.gaussian import relu_means
from pear.kernels.pointwise import POINTWISE, gaussian_rule, leaky_relu
from pear.kernels.sampling import Draws, Family, draw_networks
from tests.fixtures.layer_checks import noise

X = torch.tensor([[1, 0.3, -0.5], [0.2, -0.8, 0.9]], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.3, -0.4], [-0.4, 0.8]], dtype=torch.float64)


@pytest.mark.parametrize("name", POINTWISE)
def test_derivatives_of_the_functions(name: str) -> None:
    z = noise(50).requires_grad_()
    (slope,) = torch.autograd.grad(POINTWISE[name].value(z).sum(), z)
    torch.testing.assert_close(POINTWISE[name].derivative(z.detach()), slope)


def mean(
    function: Callable[[Tensor], Tensor], covariance: Tensor, *, kinked: bool = False
) -> Tensor:
    z, weights = gaussian_rule(covariance, kinked=kinked)
    return function(z) @ weights


def test_means_over_sectors_are_exact() -> None:
    """Against the closed forms of ReLU, and a moment with as many powers as occur."""
    relu = POINTWISE["relu"]
    want = relu_means(COVARIANCE[0, 0], COVARIANCE[0, 1], COVARIANCE[1, 1])
    for function, value in zip((relu.value, relu.derivative), want, strict=True):
        got = mean(lambda z, f=function: f(z).prod(0), COVARIANCE, kinked=True)
        torch.testing.assert_close(got, value, rtol=1e-14, atol=0)
    density = stats.multivariate_normal(cov=COVARIANCE.numpy()).pdf
    moment, _ = integrate.dblquad(
        lambda b, a: a**3 * b * density([a, b]), 0, 10, 0, 10, epsabs=1e-7, epsrel=1e-7
    )
    got = mean(lambda z: relu.value(z[0]) ** 3 * relu.value(z[1]), COVARIANCE, kinked=True)
    assert got.item() == pytest.approx(moment, rel=1e-6)


@pytest.mark.parametrize("kinked", [False, True])
def test_hermite_polynomials_are_derivatives_by_the_covariance(kinked: bool) -> None:
    """Against autograd of closed forms: E[z_1² z_2²], and T and Ṫ of ReLU."""

    def closed(k: Tensor) -> Tensor:
        k = (k + k.mT) / 2
        if kinked:
            return torch.stack(relu_means(k[0, 0], k[0, 1], k[1, 1]))
        return (k[0, 0] * k[1, 1] + 2 * k[0, 1] ** 2)[None]

    z, weights = gaussian_rule(COVARIANCE, kinked=kinked)
    value = (z**2).prod(0)[None]
    if kinked:
        relu = POINTWISE["relu"]
        value = torch.stack([relu.value(z).prod(0), relu.derivative(z).prod(0)])
    one, two = jacrev(closed), jacrev(jacrev(closed))
    wanted = (closed(COVARIANCE), one(COVARIANCE), two(COVARIANCE))
    polynomials = finite_width._hermite_polynomials(z, COVARIANCE)
    for polynomial, want in zip(polynomials, wanted, strict=True):
        got = torch.einsum("nq,...q->n...", value, polynomial * weights)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-11)


def test_reference_values_of_one_input() -> None:
    start = torch.tensor([[0.344999]], dtype=torch.float64)
    second = next_layer(Cumulants.first(start, start), POINTWISE["tanh"])
    third = next_layer(second, POINTWISE["tanh"])
    for layer, wanted in (
        (second, {"v": 0.047478, "d": 0.025578, "f": 0.027529, "k1": 0.0, "theta1": 0.0}),
        (
            third,
            {"v": 0.042871, "d": 0.025654, "f": 0.040527, "theta1": -0.063113, "k1": -0.027871},
        ),
    ):
        for name, value in wanted.items():
            assert getattr(layer, name).item() == pytest.approx(value, abs=5e-7), name


def test_reference_values_of_two_inputs() -> None:
    tanh = finite_width_kernels(X, POINTWISE["tanh"], 4)[-1].theta1
    gelu = finite_width_kernels(X, POINTWISE["gelu"], 4, 2.0)
    for got, wanted, digits in (
        (tanh, (-0.1497, 0.0743, -0.1482), (5e-5,) * 3),
        (gelu[2].theta1, (0.3667, -0.1002, 0.3487), (5e-5,) * 3),
        (gelu[3].theta1, (1.71, -0.155, 1.67), (5e-3, 5e-4, 5e-3)),
    ):
        found = (got[0, 0], got[0, 1], got[1, 1])
        for one, value, digit in zip(found, wanted, digits, strict=True):
            assert one.item() == pytest.approx(value, abs=digit)
        torch.testing.assert_close(got, got.mT)


def test_the_order_of_the_quadrature_does_not_matter() -> None:
    few, many = (finite_width_kernels(X, POINTWISE["gelu"], 3, 2.0, order) for order in (64, 96))
    for name in ("theta", "theta1", "k1", "v", "d", "f"):
        torch.testing.assert_close(
            getattr(few[-1], name), getattr(many[-1], name), rtol=0, atol=1e-10
        )


def test_deep_linear_networks() -> None:
    gram = X @ X.mT / 3
    for layer, got in enumerate(finite_width_kernels(X, POINTWISE["linear"], 5), 1):
        pair = layer * (layer - 1)
        both = torch.einsum("ik,jl->ijkl", gram, gram)
        crossed = both + both.transpose(2, 3)  # K_13 K_24 + K_14 K_23
        zero = torch.zeros(2, 2, dtype=torch.float64)
        for found, wanted in (
            (got.k, gram),
            (got.theta, layer * gram),
            (got.k1, zero),
            (got.theta1, zero),
            (got.v, (layer - 1) * crossed),
            (got.d, pair / 2 * crossed),
            # F_1324 in the order of its indices: K_12 K_34, of which one input alone sees K².
            (got.f[0, 0, 0, 0], pair / 2 * gram[0, 0] ** 2),
        ):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("function", ["relu", "erf"])
def test_infinite_width_is_the_kernel_of_the_architecture(function: str) -> None:
    """Θ there has σ_w² on the last layer's derivative as on all, here C is on none."""
    variance = 2.0 if function == "relu" else 1.0
    got = finite_width_kernels(X, POINTWISE[function], 4, variance)[-1]
    want = mlp(3, 3, function).kernels(X[:, None], X[:, None])  # type: ignore[arg-type]
    torch.testing.assert_close(got.k, want.k12[..., 0, 0], rtol=1e-10, atol=0)
    torch.testing.assert_close(got.theta, want.tangent / variance, rtol=1e-10, atol=0)


def test_piecewise_linear_functions_have_no_correction_on_the_diagonal() -> None:
    for function in (POINTWISE["relu"], leaky_relu(0.3)):
        last = finite_width_kernels(X, function, 4, 2.0)[-1]
        assert last.theta1.diagonal().abs().max() < 1e-12
        assert last.theta1[0, 1].abs() > 0.1
        assert finite_width_kernels(X[:1], function, 4, 2.0)[-1].theta1.abs().item() < 1e-12
    assert abs(finite_width_kernels(X[:1], POINTWISE["gelu"], 3, 2.0)[-1].theta1.item()) > 0.1


def test_criticality() -> None:
    assert susceptibilities(POINTWISE["relu"], 0.3, 2.0) == pytest.approx((1.0, 1.0), rel=1e-12)
    assert susceptibilities(POINTWISE["tanh"], 1e-8, 1.0) == pytest.approx((1.0, 1.0), abs=1e-6)
    # Roberts, Yaida, Hanin (2106.10165), section 5.3.4: GELU at K* = (3 + √17)/2.
    fixed = (3 + math.sqrt(17)) / 2
    assert susceptibilities(POINTWISE["gelu"], fixed, 1.98305826) == pytest.approx(
        (1.0, 1.0), rel=1e-6
    )
    layers = finite_width_kernels(X[:1], POINTWISE["relu"], 10, 2.0)
    unit = (X[0] ** 2).mean().item()
    for place, layer in enumerate(layers, 1):
        assert layer.theta.item() == pytest.approx(place * unit, rel=1e-12)


@pytest.fixture(scope="module")
def drawn() -> Draws:
    return draw_networks(X, Family(POINTWISE["gelu"], 3, 24, 2.0), 1000, seed=1)


def test_drawn_networks_have_the_kernels_and_corrections(drawn: Draws) -> None:
    layers = finite_width_kernels(X, POINTWISE["gelu"], 3, 2.0)
    for place, layer in enumerate(layers[1:]):
        mean, error = drawn.correction(layer.theta, place)
        assert ((mean - layer.theta1).abs() < 4 * error).all()
        off = 24 * (drawn.covariance[place] - layer.k)
        assert ((off.mean(0) - layer.k1).abs() < 4 * off.std(0) / 1000**0.5).all()
    last, k, t = layers[-1], drawn.covariance[-1], drawn.tangent[-1]
    k, t = k - k.mean(0), t - t.mean(0)
    for got, wanted in (
        (24 * torch.einsum("wij,wkl->ijkl", k, k) / 1000, last.v),
        (24 * torch.einsum("wij,wkl->ijkl", k, t) / 1000, last.d),
        (drawn.crossed.mean(0), last.f),
    ):
        # Scatter and the next order in 1/n; a wrong term is off by its whole size.
        assert (got - wanted).abs().max() < 0.35 * wanted.abs().max()
        assert torch.corrcoef(torch.stack([got.flatten(), wanted.flatten()]))[0, 1] > 0.99


def test_tangent_kernels_of_drawn_networks_are_those_of_derivatives() -> None:
    """The recursion of Θ̂ against autograd: mean over the last weights of whole networks."""
    n, count = 3, 2000
    tanh = POINTWISE["tanh"]
    draws = draw_networks(X, Family(tanh, 3, n), 2000, seed=5)
    weights = [noise(count, n, 3, seed=1), noise(count, n, n, seed=2), noise(count, 1, n, seed=3)]

    def output(w1: Tensor, w2: Tensor, w3: Tensor, x: Tensor) -> Tensor:
        z = w1 @ x / 3**0.5
        z = w2 @ torch.tanh(z) / n**0.5
        return (w3 @ torch.tanh(z) / n**0.5)[0]

    gradients = torch.func.vmap(
        torch.func.vmap(torch.func.grad(output, (0, 1, 2)), (None, None, None, 0)), (0, 0, 0, None)
    )(*weights, X)
    flat = torch.cat([g.flatten(2) for g in gradients], -1)
    whole = flat @ flat.mT
    total = whole.mean(0) - draws.tangent[-1].mean(0)
    error = (whole.var(0) / count + draws.tangent[-1].var(0) / 2000).sqrt()
    assert (total.abs() < 4 * error).all()
    assert (error < 0.03).all()


def test_a_factor_of_the_variance_on_the_derivative_is_caught(
    monkeypatch: pytest.MonkeyPatch, drawn: Draws
) -> None:
    right = finite_width.omega
    monkeypatch.setattr(
        finite_width, "omega", lambda p, s, theta, c: (c - 1) * p + right(p, s, theta, c)
    )
    wrong = finite_width_kernels(X, POINTWISE["gelu"], 3, 2.0)[-1]
    mean, error = drawn.correction(wrong.theta)
    assert ((mean - wrong.theta1).abs() > 10 * error).any()


def test_refusals() -> None:
    tanh = POINTWISE["tanh"]
    with pytest.raises(ValueError, match=r"correlation 1\.0000"):
        finite_width_kernels(torch.stack([X[0], 2 * X[0]]), tanh, 2)
    with pytest.raises(ValueError, match="1 or 2 inputs, not 3"):
        finite_width_kernels(torch.eye(3), tanh, 2)
    with pytest.raises(ValueError, match="at least one layer, not 0"):
        finite_width_kernels(X, tanh, 0)
    with pytest.raises(ValueError, match="not finite or not positive"):
        finite_width_kernels(torch.zeros(1, 3), tanh, 2)
    with pytest.raises(ValueError, match="not finite or not positive"):
        finite_width_kernels(torch.full((1, 3), np.nan), tanh, 2)
    with pytest.raises(ValueError, match="even, 2 to 128, got 7"):
        gaussian_rule(COVARIANCE, 7)
    with pytest.raises(ValueError, match="over 1 or 2 numbers, not 3"):
        gaussian_rule(torch.eye(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="two layers and one number in each; got 2 and 0"):
        Family(tanh, 2, 0)
    with pytest.raises(ValueError, match="two networks, not 1"):
        draw_networks(X, Family(tanh, 2, 4), 1)
