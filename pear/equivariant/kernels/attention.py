"""Window attention, in the form that processors run fastest.

An exact rewriting of one line of torch, which the tests hold it against: softmax attention inside
windows, one head of a few windows at a time, so that the logits stay in the processor's cache and
are never written to memory as a whole. Queries, keys and values are read where the linear map left
them. Gradients recompute the softmax from q and k in the same way. Where a compiler is at hand,
:mod:`pear.equivariant.kernels.compiled` does it in a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as fn

from pear.equivariant.kernels import compiled, linear

_CACHE_BYTES: Final = 4 * 2**20
"""Size of one group's logits: what two cores' caches hold beside the operands."""
_NARROW: Final = 16
"""Heads of fewer features are multiplied as Vᵀ·Pᵀ: they would be the library's inner loop."""


def window_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    masks: Tensor | None = None,
    runs: Sequence[int] = (),
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return softmax(q·kᵀ·scale + bias + mask)·v inside each window.

    Parameters
    ----------
    q, k, v
        (batch, window, head, slot, d); any strides.
    bias
        (head, query slot, key slot), shared by all windows.
    masks
        (run, query slot, key slot), added to the logits of all heads. The last ``sum(runs)``
        windows have one; None if no window has.
    runs
        How many consecutive windows use each mask.
    scale
        Factor of the products, 1/√d if None.
    dropout
        Probability that a weight is dropped.

    Returns
    -------
    Tensor
        (batch, window, slot, head·d): heads side by side, ready for the projection.

    Raises
    ------
    ValueError
        If masks and runs do not fit each other and the windows.
    """
    batch, windows, heads, slots, d = q.shape
    masks = q.new_empty(0, slots, slots) if masks is None else masks.to(q.dtype)
    if len(runs) != len(masks) or sum(runs) > windows:
        raise ValueError(f"{len(masks)} masks in runs of {list(runs)} do not fit {windows} windows")
    factor = d**-0.5 if scale is None else scale
    if q.device.type != "cpu" or dropout:
        return _by_library(q, k, v, bias, masks, runs, factor, dropout)
    lengths = [windows - sum(runs), *runs]
    q, k, v = (t.flatten(0, 1) for t in (q, k, v))
    # Without gradients the function itself: the operator brings torch's compiler along, 50 MB.
    here = linear.plain_processor(q) and not linear.wants_gradient(q, k, v, bias)
    out: Tensor = (_forward if here else _attend)(q, k, v, bias, masks, lengths, factor)
    return out.reshape(batch, windows, slots, heads * d)


def mirrored_window_attention(
    even: compiled.Operands,
    odd: compiled.Operands,
    bias: Tensor,
    masks: Tensor,
    runs: Sequence[int],
    scale: float | None = None,
) -> tuple[Tensor, Tensor] | None:
    """Attend in the a/b basis of mirrored features that are given, and returned, in the e/o basis.

    With a = (e + o)/√2 and b = (e − o)/√2 the result is (A + B)/√2 and (A − B)/√2, where A and B
    are the attentions of a and b.

    Parameters
    ----------
    even, odd
        q, k and v of the even and of the odd part, each (batch, window, head, slot, d).
    bias
        (2·head, slot, slot): for a, then for b.
    masks, runs, scale
        As in :func:`window_attention`.

    Returns
    -------
    tuple of Tensor, or None
        (batch, window, slot, head·d) twice; None where there is no compiled function for it. There
        are no gradients.
    """
    batch, windows, _, _, d = even[0].shape
    parts = [tuple(t.flatten(0, 1) for t in part) for part in (even, odd)]
    lengths = [windows - sum(runs), *runs]
    factor = d**-0.5 if scale is None else scale
    out = compiled.window_attention([(q, k, v) for q, k, v in parts], bias, masks, lengths, factor)
    if out is None:
        return None
    first, second = (t.view(batch, windows, t.shape[1], -1) for t in out)
    return first, second


def _by_library(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    masks: Tensor,
    runs: Sequence[int],
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """The same by torch's fused attention, the fastest there is on other devices."""
    out, stop = [], 0
    free = q.shape[1] - sum(runs)
    for mask, length in zip((None, *masks), (free, *runs), strict=True):
        start, stop = stop, stop + length
        if length:
            added = (bias if mask is None else bias + mask).to(q.dtype)
            parts = [t[:, start:stop].flatten(0, 1) for t in (q, k, v)]
            mixed = fn.scaled_dot_product_attention(
                parts[0], parts[1], parts[2], attn_mask=added[None], scale=scale, dropout_p=dropout
            )
            out.append(mixed.transpose(1, 2).reshape(len(q), length, q.shape[3], -1))
    return torch.cat(out, dim=1)


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
    """softmax(q·kᵀ·scale + bias + mask) of one head in a group of windows, in one workspace."""

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
    """(window, slot, slot) times (window, slot, d), into a strided ``out``."""
    if out.shape[-1] < _NARROW:
        out.copy_(torch.bmm(values.mT, weights.mT).mT)
    else:
        torch.bmm(weights, values, out=out)


def _forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, masks: Tensor, lengths: list[int], scale: float
) -> Tensor:
    """(window, head, slot, d) → (window, slot, head, d)."""
    fast = compiled.window_attention([(q, k, v)], bias, masks, lengths, scale)
    if fast is not None:
        return fast[0]
    windows, heads, slots, d = q.shape
    softmax = _Softmax(q, bias, masks, scale, 1)
    out = q.new_empty(windows, slots, heads, d)
    for mask, here in _groups(windows, lengths, softmax.size):
        for head in range(heads):
            p = softmax(q[here, head], k[here, head], head, mask)
            _product(p, v[here, head], out[here, :, head])
    return out


_attend = torch.library.custom_op("pear::window_attention", _forward, mutates_args=())


@_attend.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, masks: Tensor, lengths: list[int], scale: float
) -> Tensor:
    return q.new_empty(q.shape[0], q.shape[2], q.shape[1], q.shape[3])


@torch.library.custom_op("pear::window_attention_backward", mutates_args=())
def _attend_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    masks: Tensor,
    lengths: list[int],
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Gradients of q, k, v as one (window, slot, 3, head, d), and of the bias.

    With P the softmax: dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP − rowsum(P∘dP)), dQ = dS·K·scale,
    dK = dSᵀ·Q·scale, dB = Σ dS over the windows.
    """
    windows, heads, slots, d = q.shape
    softmax = _Softmax(q, bias, masks, scale, 2)
    work = torch.empty_like(softmax.work)
    dqkv = q.new_empty(windows, slots, 3, heads, d)
    # Sums over many windows need more digits than half precision has.
    dbias = torch.zeros_like(bias, dtype=torch.promote_types(bias.dtype, torch.float32))
    for mask, here in _groups(windows, lengths, softmax.size):
        for head in range(heads):
            one_q, one_k, one_v = q[here, head], k[here, head], v[here, head]
            dout = grad[here, :, head]
            p = softmax(one_q, one_k, head, mask)
            dq, dk, dv = dqkv[here, :, :, head].unbind(2)
            _product(p.mT, dout, dv)
            dp = torch.bmm(dout, one_v.mT, out=work[: len(p)])
            ds = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)
            dbias[head] += ds.sum(0)
            _product(ds, one_k, dq)
            _product(ds.mT, one_q, dk)
    dqkv[:, :, :2] *= scale
    return dqkv, dbias.to(bias.dtype)


@_attend_backward.register_fake
def _(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    masks: Tensor,
    lengths: list[int],
    scale: float,
) -> tuple[Tensor, Tensor]:
    windows, heads, slots, d = q.shape
    return q.new_empty(windows, slots, 3, heads, d), torch.empty_like(bias)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.lengths, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    dqkv, dbias = _attend_backward(grad, *ctx.saved_tensors, ctx.lengths, ctx.scale)
    dq, dk, dv = dqkv.permute(2, 0, 3, 1, 4).unbind(0)
    return dq, dk, dv, dbias, None, None, None


_attend.register_autograd(_backward, setup_context=_save)
