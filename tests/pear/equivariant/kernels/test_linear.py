"""Linear maps by oneDNN against the plain lines of torch they stand for."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as fn

from pear.equivariant.kernels import linear


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_linear_equals_torch(gelu: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, w, b = (
        torch.randn(shape, generator=generator).to(dtype) for shape in ((2, 7, 48), (96, 48), (96,))
    )
    for bias in (b, None):
        want = fn.linear(x, w, bias)
        want = fn.gelu(want) if gelu else want
        got = linear.linear(x, w, bias, gelu=gelu)
        if dtype == torch.bfloat16:  # one rounding instead of two, if the GELU rides along
            torch.testing.assert_close(got, want, rtol=2**-6, atol=2**-8)
        else:
            torch.testing.assert_close(got, want)


@pytest.mark.parametrize("gelu", [False, True])
def test_linear_follows_autocast(gelu: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(shape, generator=generator) for shape in ((7, 48), (96, 48), (96,)))
    with torch.autocast("cpu", torch.bfloat16):
        got = linear.linear(x, w, b, gelu=gelu)
        want = fn.linear(x, w, b)
    assert got.dtype == torch.bfloat16
    # One rounding instead of two, if the GELU rides along.
    torch.testing.assert_close(got, fn.gelu(want) if gelu else want, rtol=2**-6, atol=2**-8)
    with torch.autocast("cpu", torch.bfloat16):
        exact = linear.linear(x.double(), w.double(), b.double())
    assert exact.dtype == torch.float64


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("features", [(8, 16), (16, 8)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients_of_linear_equal_those_of_torch(
    gelu: bool, features: tuple[int, int], with_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 7, features[0]), features[::-1], features[1:]][: 2 + with_bias]
    leaves = [torch.randn(shape, generator=generator) for shape in shapes]
    found = []
    for function in (linear.linear, fn.linear):
        own = [t.clone().requires_grad_() for t in leaves]
        y = function(*own, gelu=True) if gelu and function is linear.linear else function(*own)
        y = fn.gelu(y) if gelu and function is fn.linear else y
        (y * y.detach().sin()).sum().backward()
        found.append([y, *(t.grad for t in own)])
    for ours, theirs in zip(*found, strict=True):
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_frozen_weights_still_pass_gradients_to_the_input() -> None:
    x, w = torch.randn(4, 8, requires_grad=True), torch.randn(16, 8)
    linear.linear(x, w).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, w.sum(0).expand(4, 8))
    frozen = torch.randn(16, 8, requires_grad=True)
    y = linear.linear(torch.randn(4, 8), frozen)
    y.sum().backward()
    assert frozen.grad is not None


def test_weights_are_held_only_inside() -> None:
    x, w = torch.ones(2, 4), torch.ones(3, 4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        with linear.weights_held():
            first = linear.linear(x, w)
            torch.testing.assert_close(linear.linear(x, w), first, rtol=0, atol=0)
        w.zero_()
        with linear.weights_held():
            assert not linear.linear(x, w).any()
        w.fill_(2.0)
        torch.testing.assert_close(linear.linear(x, w), 2 * first, rtol=0, atol=0)
