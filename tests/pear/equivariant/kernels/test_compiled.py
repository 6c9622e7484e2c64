"""The compiled functions against the same in torch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from pear.equivariant.kernels import attention, compiled
from pear.equivariant.kernels.build import library as native
from pear.equivariant.linear import MirrorNorm, Norm
from pear.equivariant.window_shift import Masks


@pytest.fixture
def library() -> None:
    """Skip where nothing can be compiled."""
    if native() is None:
        pytest.skip("no compiled window attention here: no compiler, or no Linux")


def operands(slots: int, heads: int, d: int, windows: int = 5) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(slots * d)
    qkv = torch.randn(windows, slots, 3, heads, d, generator=generator)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    bias = torch.randn(heads, slots, slots, generator=generator)
    masks = torch.where(torch.randn(2, slots, slots, generator=generator) > 0.5, -100.0, 0.0)
    return q, k, v, bias, masks


def in_torch(*tensors: Tensor, runs: list[int], scale: float) -> Tensor:
    """The Python path in double precision, (window, slot, head, d)."""
    q, k, v, bias, masks = (t.double() for t in tensors)
    y = attention.window_attention(
        q[None], k[None], v[None], bias, Masks(masks, runs[1:]), scale=scale
    )
    return y[0].reshape(len(q), q.shape[2], q.shape[1], q.shape[3])


def compute(*tensors: Tensor, runs: list[int], scale: float = 1.0) -> Tensor:
    """The compiled function, (window, slot, head, d)."""
    q, k, v, bias, masks = tensors
    numbers = compiled.mask_numbers(tuple(runs), len(q))
    return compiled.window_attention([(q, k, v)], bias, masks, numbers, scale)[0]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("slots", [16, 32, 64, 128])
@pytest.mark.parametrize("d", [1, 8, 16, 24, 32, 40, 64])
def test_it_equals_torch(slots: int, d: int) -> None:
    tensors, runs = operands(slots, 3, d), [2, 1, 2]
    want = in_torch(*tensors, runs=runs, scale=0.3)
    got = compute(*tensors, runs=runs, scale=0.3)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=2e-6 * float(want.abs().max()))
    half = [t.bfloat16() for t in tensors]
    got = compute(*half, runs=runs, scale=0.3)
    assert got.dtype == torch.bfloat16
    want = in_torch(*half, runs=runs, scale=0.3)
    # The output is rounded, and where the processor multiplies pairs, the weights are.
    torch.testing.assert_close(got.double(), want, rtol=2**-8, atol=2**-9 * float(want.abs().max()))


@pytest.mark.usefixtures("library")
def test_masks_repeat_for_every_entry_of_the_batch() -> None:
    q, k, v, bias, masks = operands(16, 2, 8, windows=6)
    got = compute(q, k, v, bias, masks, runs=[1, 1, 1], scale=1.0)
    for start in (0, 3):
        part = [t[start : start + 3] for t in (q, k, v)]
        want = in_torch(*part, bias, masks, runs=[1, 1, 1], scale=1.0)
        torch.testing.assert_close(got[start : start + 3].double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("size", [1e-30, 30.0, 1e4])
def test_logits_of_any_size(size: float) -> None:
    tensors = operands(64, 1, 8)
    large = (tensors[0] * size, *tensors[1:])
    got = compute(*large, runs=[2, 1, 2], scale=1.0)
    want = in_torch(*large, runs=[2, 1, 2], scale=1.0)
    # A logit of 1e4 has an absolute error of 1e-3 in single precision.
    torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-4 if size < 1e3 else 2e-2)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("which", [0, 1, 2, 3])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_not_lost(which: int, value: float) -> None:
    tensors = [t.clone() for t in operands(32, 1, 8)]
    tensors[which].view(-1)[5] = value
    want = in_torch(*tensors, runs=[5, 0, 0], scale=1.0)
    got = compute(*tensors, runs=[5, 0, 0], scale=1.0)
    assert torch.equal(torch.isnan(got), torch.isnan(want))
    assert torch.equal(torch.isinf(got), torch.isinf(want))


@pytest.mark.usefixtures("library")
def test_operands_of_any_layout() -> None:
    q, k, v, bias, masks = operands(16, 2, 8)
    spread = torch.randn(5, 2, 8, 16).mT
    for one in ((spread, k, v), (q.contiguous(), k, v)):
        want = in_torch(*one, bias, masks, runs=[2, 1, 2], scale=1.0)
        got = compute(*one, bias, masks, runs=[2, 1, 2])
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("library")
def test_shapes_without_a_kernel_are_computed_in_torch() -> None:
    assert compiled.has_kernel(torch.float32, slots=16, width=64)
    assert not compiled.has_kernel(torch.float64, slots=16, width=64)
    assert not compiled.has_kernel(torch.float32, slots=48, width=64)
    assert not compiled.has_kernel(torch.float32, slots=16, width=65)
    odd = operands(48, 1, 8)
    y = attention.window_attention(*(t[None] for t in odd[:3]), odd[3], Masks(odd[4], [1, 2]))
    assert y.shape == (1, 5, 48, 8)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("d", [8, 24, 32])
def test_mirrored_parts_attend_in_the_other_basis(dtype: torch.dtype, d: int) -> None:
    even, odd = (operands(64, 2, d, windows) for windows in (5, 6))
    q, k, v = (t[:5] * 0.5 for t in odd[:3])
    odd_parts, even_parts = (q, k, v), even[:3]
    bias = torch.cat([even[3], odd[3]])
    masks, runs = even[4], [2, 1, 2]

    def stored(tensors: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.stack([t.transpose(1, 2) for t in tensors], 2).to(dtype)
        one, two, three = rows.permute(2, 0, 3, 1, 4).unbind(0)
        return one, two, three

    numbers = compiled.mask_numbers(tuple(runs), 5)
    both = [stored(even_parts), stored(odd_parts)]
    got = compiled.window_attention(both, bias, masks, numbers, 0.3)
    pairs = list(zip(stored(even_parts), stored(odd_parts), strict=True))
    a = [(e.double() + o.double()) * 0.5**0.5 for e, o in pairs]
    b = [(e.double() - o.double()) * 0.5**0.5 for e, o in pairs]
    first = in_torch(*a, bias[:2], masks, runs=runs, scale=0.3)
    second = in_torch(*b, bias[2:], masks, runs=runs, scale=0.3)
    exact = 2e-6 if dtype == torch.float32 else 2e-2
    for ours, theirs in zip(got, (first + second, first - second), strict=True):
        theirs = theirs * 0.5**0.5
        assert ours.dtype == dtype
        size = float(theirs.abs().max())
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=exact * size)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layer", [Norm(44), Norm(7), MirrorNorm(88), MirrorNorm(14)])
def test_residual_norm_equals_torch(layer: Norm | MirrorNorm, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = layer.weight.data.normal_()
    layer.bias.data.normal_()
    count, width = (2, weight.shape[-1]) if weight.dim() == 2 else (1, len(weight))
    x = tuple(torch.randn(3, 5, width) for _ in range(count))
    branch = tuple((3 * torch.randn(3, 5, width) + 1).to(dtype) for _ in range(count))
    with torch.no_grad():
        weights = tuple(weight) if count == 2 else (weight,)
        got = compiled.residual_norm(x, branch, weights, layer.bias)
        whole = torch.stack(branch) if count == 2 else branch[0]
        exact = copy.deepcopy(layer).double()(whole.double())
    for ours, old, new in zip(got, x, exact if count == 2 else [exact], strict=True):
        torch.testing.assert_close(ours.double(), old + new, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mirrored_gelu_equals_torch(dtype: torch.dtype) -> None:
    even, odd = (4 * torch.randn(3, 37, generator=torch.Generator().manual_seed(0)) for _ in "eo")
    even, odd = even.to(dtype), (odd.flip(0) * 0.7).to(dtype)
    root = 0.5**0.5
    a, b = (
        torch.nn.functional.gelu(y.double() * root)
        for y in (even.double() + odd, even.double() - odd)
    )
    compiled.mirror_gelu_(even, odd)
    close = (
        {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2**-8, "atol": 1e-5}
    )
    torch.testing.assert_close(even.double(), (a + b) * root, **close)
    torch.testing.assert_close(odd.double(), (a - b) * root, **close)
