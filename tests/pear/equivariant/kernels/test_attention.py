"""Window attention for processors against one plain line of torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pear.equivariant import attention as layers
from pear.equivariant.kernels import attention
from pear.equivariant.window_shift import Masks

WINDOWS = 5
RUNS: list[list[int]] = [[], [2], [1, 3]]
HEADS, SLOTS, WIDTH = 3, 8, 4


def plain(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, masks: Tensor, runs: list[int], scale: float
) -> Tensor:
    added = torch.zeros(WINDOWS, 1, SLOTS, SLOTS, dtype=q.dtype)
    start = WINDOWS - sum(runs)
    for mask, length in zip(masks, runs, strict=True):
        added[start : start + length] = mask
        start += length
    logits = q @ k.transpose(-1, -2) * scale + bias + added
    return (torch.softmax(logits, -1) @ v).transpose(2, 3).flatten(3)


def operands(runs: list[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    # Strided, as slices of one product are.
    qkv = draw(2, WINDOWS, SLOTS, 3, HEADS, WIDTH)
    q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
    leaves = [t.detach().requires_grad_() for t in (q, k, v, draw(HEADS, SLOTS, SLOTS))]
    masks = torch.where(draw(len(runs), SLOTS, SLOTS) > 1, -100.0, 0.0).double()
    return [*leaves, masks]


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("cache", [1, 2 * HEADS * SLOTS**2 * 8, 2**20])
def test_window_attention_and_its_gradients_equal_the_plain_line(
    runs: list[int], cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_CACHE_BYTES", cache)
    ours, theirs = operands(runs), operands(runs)
    a = attention.window_attention(*ours[:4], Masks(ours[4], runs), scale=0.7)
    b = plain(*theirs, runs, 0.7)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    weight = torch.randn(a.shape, dtype=a.dtype, generator=torch.Generator().manual_seed(4))
    (a * weight).sum().backward()
    (b * weight).sum().backward()
    for left, right in zip(ours[:4], theirs[:4], strict=True):
        assert left.grad is not None
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-11, atol=1e-12)


def test_the_default_scale_is_the_root_of_the_width() -> None:
    *tensors, masks = operands([2])
    a = attention.window_attention(*tensors, Masks(masks, [2]))
    torch.testing.assert_close(a, plain(*tensors, masks, [2], WIDTH**-0.5))


@pytest.mark.parametrize("runs", RUNS)
def test_the_layers_function_equals_the_plain_line(runs: list[int]) -> None:
    tensors = operands(runs)
    got = layers.window_attention(*tensors[:4], Masks(tensors[4], runs), scale=0.7)
    torch.testing.assert_close(got, plain(*tensors, runs, 0.7))


@pytest.mark.parametrize("runs", [[6], [1, 1]])
def test_window_attention_refuses_runs_that_do_not_fit(runs: list[int]) -> None:
    q, k, v, bias, masks = operands([5])
    with pytest.raises(ValueError, match="do not fit 5 windows"):
        attention.window_attention(q, k, v, bias, Masks(masks, runs))
