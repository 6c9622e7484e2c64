"""Linear maps by oneDNN against torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as fn

from pear.equivariant import linear as layers
from pear.equivariant.kernels import linear


def operands(*widths: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in widths]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_linear_equals_torch(dtype: torch.dtype) -> None:
    x, w, b = operands((2, 7, 48), (96, 48), (96,), dtype=dtype)
    for bias in (b, None):
        torch.testing.assert_close(linear.linear(x, w, bias), fn.linear(x, w, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_product_with_gelu_equals_torch(dtype: torch.dtype) -> None:
    x, w, b = operands((2, 7, 48), (96, 48), (96,), dtype=dtype)
    if linear.onednn_dtype(x) is None:
        pytest.skip("oneDNN has no product of this type here")
    want = fn.gelu(fn.linear(x, w, b))
    half = {"rtol": 2**-6, "atol": 2**-8}  # one rounding instead of two
    torch.testing.assert_close(
        linear.product(x, w, b, gelu=True), want, **(half if dtype == torch.bfloat16 else {})
    )


def test_linear_follows_autocast() -> None:
    x, w, b = operands((7, 48), (96, 48), (96,))
    with torch.autocast("cpu", torch.bfloat16):
        got, want = linear.linear(x, w, b), fn.linear(x, w, b)
        exact = linear.linear(x.double(), w.double(), b.double())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, want, rtol=2**-6, atol=2**-8)
    assert exact.dtype == torch.float64


@pytest.mark.parametrize("features", [(8, 16), (16, 8)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients_of_linear_equal_those_of_torch(
    features: tuple[int, int], with_bias: bool
) -> None:
    leaves = operands(*[(2, 7, features[0]), features[::-1], features[1:]][: 2 + with_bias])
    found = []
    for function in (linear.linear, fn.linear):
        own = [t.clone().requires_grad_() for t in leaves]
        y = function(*own)
        (y * y.detach().sin()).sum().backward()
        found.append([y, *(t.grad for t in own)])
    for ours, theirs in zip(*found, strict=True):
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


def test_butterfly_and_its_gradient_equal_the_layers() -> None:
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(linear.butterfly(x), layers.butterfly(x))
    assert torch.autograd.gradcheck(linear.butterfly, x)
    assert torch.autograd.gradgradcheck(linear.butterfly, x)
