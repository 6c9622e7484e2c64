"""Window attention for processors, one head of a few windows at a time.

The logits of such a group stay in the processor's cache and are never written to memory as a whole.
Queries, keys and values are read where the linear map left them; gradients recompute the softmax
from queries and keys in the same way. Where a compiler is available, the forward pass is
:func:`pear.equivariant.kernels.compiled.window_attention`, which takes a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import torch
from torch import Tensor

from pear.equivariant import attention
from pear.equivariant.kernels import compiled

_CACHE_BYTES: Final = 4 * 2**20
"""Size of the logits of a group; they fit the caches of two cores beside the operands."""
_NARROW: Final = 16
"""Heads of fewer features are multiplied as Vᵀ·Pᵀ, since they would be the inner loop."""


def window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor,
    masks: Tensor | None = None,
    runs: Sequence[int] = (),
    *,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Compute :func:`pear.equivariant.attention.window_attention` without storing the logits.

    Parameters
    ----------
    query, key, value, bias, masks, runs, scale, dropout
        As there; any strides.

    Returns
    -------
    Tensor
        (batch, window, slot, head·d).

    Raises
    ------
    ValueError
        If masks and runs do not fit each other and the windows.
    """
    if query.device.type != "cpu" or dropout:
        return attention.window_attention(
            query, key, value, bias, masks, runs, scale=scale, dropout=dropout
        )
    batch, windows, _, slots, width = query.shape
    masks = query.new_empty(0, slots, slots) if masks is None else masks.to(query.dtype)
    if len(runs) != len(masks) or sum(runs) > windows:
        raise ValueError(f"{len(masks)} masks in runs of {list(runs)} do not fit {windows} windows")
    qkv = (x.flatten(0, 1) for x in (query, key, value))
    lengths, factor = [windows - sum(runs), *runs], width**-0.5 if scale is None else scale
    out = _Attention.apply(*qkv, bias, masks, lengths, factor)  # type: ignore[no-untyped-call]
    return cast(Tensor, out).reshape(batch, windows, slots, -1)


def _groups(windows: int, lengths: list[int], size: int) -> Iterator[tuple[int, slice]]:
    """Yield (mask number or -1, windows) of groups of at most ``size``."""
    start = 0
    while start < windows:
        for number, length in enumerate(lengths):
            parts = -(-length // size)
            for part in range(parts):
                first, last = length * part // parts, length * (part + 1) // parts
                yield number - 1, slice(start + first, start + last)
            start += length


class _Softmax:
    """Compute softmax(q·kᵀ·scale + bias + mask) of one head of some windows in one workspace."""

    def __init__(self, q: Tensor, bias: Tensor, masks: Tensor, scale: float, buffers: int) -> None:
        windows, _, slots, _ = q.shape
        self.bias, self.masks, self.scale = bias.to(q.dtype), masks, scale
        self.size = max(1, _CACHE_BYTES // (buffers * slots * slots * q.element_size()))
        self.work = q.new_empty(min(windows, self.size), slots, slots)

    def __call__(self, q: Tensor, k: Tensor, head: int, mask: int) -> Tensor:
        """Return (window, slot, slot); valid until the next call."""
        p = self.work[: len(q)]
        added = self.bias[head] if mask < 0 else self.bias[head] + self.masks[mask]
        p.copy_(added.expand_as(p))
        torch.baddbmm(p, q, k.mT, alpha=self.scale, out=p)
        return torch.softmax(p, -1, out=p)


def _product(weights: Tensor, values: Tensor, out: Tensor) -> None:
    """Multiply (window, slot, slot) and (window, slot, d) into a strided ``out``."""
    if out.shape[-1] < _NARROW:
        out.copy_(torch.bmm(values.mT, weights.mT).mT)
    else:
        torch.bmm(weights, values, out=out)


def _forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, masks: Tensor, lengths: list[int], scale: float
) -> Tensor:
    """Map (window, head, slot, d) to (window, slot, head, d)."""
    windows, heads, slots, d = q.shape
    if compiled.has_kernel(q.dtype, slots=slots, width=d):
        numbers = compiled.mask_numbers(tuple(lengths), windows)
        return compiled.window_attention([(q, k, v)], bias, masks, numbers, scale)[0]
    softmax = _Softmax(q, bias, masks, scale, 1)
    out = q.new_empty(windows, slots, heads, d)
    for mask, here in _groups(windows, lengths, softmax.size):
        for head in range(heads):
            p = softmax(q[here, head], k[here, head], head, mask)
            _product(p, v[here, head], out[here, :, head])
    return out


class _Attention(torch.autograd.Function):
    """Attention of (window, head, slot, d) whose gradients recompute the softmax.

    With P the softmax: dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP − rowsum(P∘dP)), dQ = dS·K·scale,
    dK = dSᵀ·Q·scale, dB = Σ dS over the windows.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, ctx.lengths, ctx.scale = inputs
        ctx.save_for_backward(*tensors)
        return _forward(*inputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, masks = ctx.saved_tensors
        windows, heads, slots, d = q.shape
        softmax = _Softmax(q, bias, masks, ctx.scale, 2)
        work = torch.empty_like(softmax.work)
        dqkv = q.new_empty(windows, slots, 3, heads, d)
        # Sums over many windows need more digits than half precision has.
        dbias = torch.zeros_like(bias, dtype=torch.promote_types(bias.dtype, torch.float32))
        for mask, here in _groups(windows, ctx.lengths, softmax.size):
            for head in range(heads):
                one_q, one_k, one_v = q[here, head], k[here, head], v[here, head]
                dout = grad[here, :, head]
                p = softmax(one_q, one_k, head, mask)
                one_dq, one_dk, one_dv = dqkv[here, :, :, head].unbind(2)
                _product(p.mT, dout, one_dv)
                dp = torch.bmm(dout, one_v.mT, out=work[: len(p)])
                ds = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)
                dbias[head] += ds.sum(0)
                _product(ds, one_k, one_dq)
                _product(ds.mT, one_q, one_dk)
        dqkv[:, :, :2] *= ctx.scale
        dq, dk, dv = dqkv.permute(2, 0, 3, 1, 4).unbind(0)
        return dq, dk, dv, dbias.to(bias.dtype), None, None, None
