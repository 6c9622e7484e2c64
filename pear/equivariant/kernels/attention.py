"""Window attention for processors, one head of a few windows at a time.

The logits of such a group stay in the processor's cache and are never written to memory as a whole.
Queries, keys and values are read where the linear map left them; gradients recompute the softmax
from queries and keys in the same way. Where a compiler is available, the forward pass is
:func:`pear.equivariant.kernels.compiled.window_attention`, which takes a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from pear.equivariant import attention
from pear.equivariant.autograd import Context
from pear.equivariant.kernels import compiled
from pear.equivariant.window_shift import Masks

_CACHE_BYTES: Final = 4 * 2**20
"""Size of the logits of a group; they fit the caches of two cores beside the operands."""
_NARROW: Final = 16
"""Heads of fewer features are multiplied as Vᵀ·Pᵀ, since they would be the inner loop."""


def window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor,
    masks: Masks | None = None,
    *,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Compute :func:`pear.equivariant.attention.window_attention` without storing the logits.

    Parameters
    ----------
    query, key, value, bias, masks, scale, dropout
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
            query, key, value, bias, masks, scale=scale, dropout=dropout
        )
    batch, windows, _, slots, width = query.shape
    values, runs = (bias.new_empty(0, slots, slots), []) if masks is None else masks
    if len(runs) != len(values) or sum(runs) > windows:
        raise ValueError(
            f"{len(values)} masks in runs of {list(runs)} do not fit {windows} windows"
        )
    qkv = (x.flatten(0, 1) for x in (query, key, value))
    logits = _Logits(
        values.to(query.dtype),
        [windows - sum(runs), *runs],
        width**-0.5 if scale is None else scale,
    )
    out = _Attention.apply(*qkv, bias, logits)  # type: ignore[no-untyped-call]
    return cast(Tensor, out).reshape(batch, windows, slots, -1)


class _Logits(NamedTuple):
    """How logits are made of products.

    Attributes
    ----------
    masks
        (mask, slot, slot), in the type of the operands.
    lengths
        Number of windows without a mask, then of those with each mask.
    scale
        Factor of the products.
    """

    masks: Tensor
    lengths: Sequence[int]
    scale: float


def _groups(windows: int, lengths: Sequence[int], size: int) -> Iterator[tuple[int, slice]]:
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

    def __init__(self, q: Tensor, bias: Tensor, logits: _Logits, buffers: int) -> None:
        windows, _, slots, _ = q.shape
        self.bias, self.logits = bias.to(q.dtype), logits
        self.size = max(1, _CACHE_BYTES // (buffers * slots * slots * q.element_size()))
        self.work = q.new_empty(min(windows, self.size), slots, slots)

    def __call__(self, q: Tensor, k: Tensor, head: int, mask: int) -> Tensor:
        """Return (window, slot, slot); valid until the next call."""
        p = self.work[: len(q)]
        added = self.bias[head] if mask < 0 else self.bias[head] + self.logits.masks[mask]
        p.copy_(added.expand_as(p))
        torch.baddbmm(p, q, k.mT, alpha=self.logits.scale, out=p)
        return torch.softmax(p, -1, out=p)


def _product(weights: Tensor, values: Tensor, out: Tensor) -> None:
    """Multiply (window, slot, slot) and (window, slot, d) into a strided ``out``."""
    if out.shape[-1] < _NARROW:
        out.copy_(torch.bmm(values.mT, weights.mT).mT)
    else:
        torch.bmm(weights, values, out=out)


def _forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, logits: _Logits) -> Tensor:
    """Map (window, head, slot, d) to (window, slot, head, d)."""
    windows, heads, slots, d = q.shape
    if compiled.has_kernel(q.dtype, slots=slots, width=d):
        numbers = compiled.mask_numbers(tuple(logits.lengths), windows)
        operands = [(q, k, v)]
        return compiled.window_attention(operands, bias, logits.masks, numbers, logits.scale)[0]
    softmax = _Softmax(q, bias, logits, buffers=1)
    out = q.new_empty(windows, slots, heads, d)
    for mask, here in _groups(windows, logits.lengths, softmax.size):
        for head in range(heads):
            p = softmax(q[here, head], k[here, head], head, mask)
            _product(p, v[here, head], out[here, :, head])
    return out


class _Context(Context, Protocol):
    logits: _Logits


class _Attention(torch.autograd.Function):
    """Attention of (window, head, slot, d) whose gradients recompute the softmax.

    With P the softmax: dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP − rowsum(P∘dP)), dQ = dS·K·scale,
    dK = dSᵀ·Q·scale, dB = Σ dS over the windows.
    """

    @staticmethod
    def forward(
        ctx: _Context, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, logits: _Logits
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, bias)
        ctx.logits = logits
        return _forward(q, k, v, bias, logits)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias = ctx.saved_tensors
        logits = ctx.logits
        windows, heads, slots, d = q.shape
        softmax = _Softmax(q, bias, logits, buffers=2)
        work = torch.empty_like(softmax.work)
        dqkv = q.new_empty(windows, slots, 3, heads, d)
        # Sums over many windows need more digits than half precision has.
        dbias = torch.zeros_like(bias, dtype=torch.promote_types(bias.dtype, torch.float32))
        for mask, here in _groups(windows, logits.lengths, softmax.size):
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
        dqkv[:, :, :2] *= logits.scale
        dq, dk, dv = dqkv.permute(2, 0, 3, 1, 4).unbind(0)
        return dq, dk, dv, dbias.to(bias.dtype), None
