"""The fast forms against the plain lines of torch they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as fn

from pear.equivariant import kernels

RUNS = [[5], [2, 3], [1, 1, 3]]


def plain(q: Tensor, k: Tensor, v: Tensor, table: Tensor, runs: list[int]) -> Tensor:
    bias = torch.cat([table[i : i + 1].expand(n, -1, -1, -1) for i, n in enumerate(runs)])
    logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias
    return (torch.softmax(logits, -1) @ v).transpose(2, 3).flatten(3)


def operands(runs: list[int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    heads, tokens, d = 3, 8, 4
    # Strided, as a slice of one product is.
    qkv = torch.randn(2, sum(runs), tokens, 3, heads, d, generator=generator, dtype=dtype)
    q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
    table = torch.randn(len(runs), heads, tokens, tokens, generator=generator, dtype=dtype)
    table[-1, :, 0, 1:3] = -100
    return [t.detach().requires_grad_() for t in (q, k, v, table)]


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("cache", [1, 2 * 3 * 64 * 8, 2**20])
def test_window_attention_and_its_gradients_equal_the_plain_line(
    runs: list[int], cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_CACHE_BYTES", cache)
    ours, theirs = operands(runs), operands(runs)
    a = kernels.window_attention(*ours, runs)
    b = plain(*theirs, runs)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    weight = torch.randn(a.shape, dtype=a.dtype, generator=torch.Generator().manual_seed(4))
    (a * weight).sum().backward()
    (b * weight).sum().backward()
    for left, right in zip(ours, theirs, strict=True):
        assert left.grad is not None
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-11, atol=1e-12)


def test_window_attention_is_a_sound_operator() -> None:
    q, k, v, table = (t.flatten(0, 1) if t.dim() == 5 else t for t in operands([2, 3]))
    q, k, v = (t.detach()[:5].requires_grad_() for t in (q, k, v))
    torch.library.opcheck(torch.ops.pear.window_attention.default, (q, k, v, table, [2, 3]))


def test_the_way_of_other_devices_gives_the_same() -> None:
    runs = [1, 1, 3]
    q, k, v, table = operands(runs)
    torch.testing.assert_close(
        kernels._by_library(q, k, v, table, runs), plain(q, k, v, table, runs)
    )


def test_window_attention_refuses_runs_that_do_not_fit() -> None:
    q, k, v, table = operands([5])
    with pytest.raises(ValueError, match=r"runs \[4\].*5 windows"):
        kernels.window_attention(q, k, v, table, [4])


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
        torch.testing.assert_close(kernels.linear(x, w, bias, gelu=gelu), want)


def test_linear_keeps_gradients() -> None:
    x, w = torch.randn(4, 8, requires_grad=True), torch.randn(16, 8, requires_grad=True)
    kernels.linear(x, w, gelu=True).sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    # Inputs alone may need them too (frozen weights).
    y = kernels.linear(x, w.detach())
    assert y.requires_grad
