"""The two operations that take the time of a step, in the form that processors run fastest.

Both are exact rewritings of one line of torch, and the tests hold them against that line. They
are measured choices (``pear bench model`` shows the sum of them):

- :func:`linear`: torch hands single-precision products on x86 to MKL; oneDNN, which is part of
  torch as well, does the same product about twice as fast on AMD processors and takes the GELU
  along without another pass over memory.
- :func:`window_attention`: softmax attention inside windows, a few windows at a time, so that the
  logits stay in the processor's cache; they are never written to memory as a whole. The value
  product is done as Vᵀ·Pᵀ: with heads of 8 features its narrow side would otherwise be the inner
  loop. Gradients recompute the softmax from q and k in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as fn

_CACHE_BYTES: Final = 4 * 2**20
"""Size of one group's logits: what two cores' caches hold beside the operands."""


_HAS_ONEDNN: Final[bool] = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """Return ``x @ weight.T + bias``, with an exact GELU after it if asked.

    Parameters
    ----------
    x
        (…, features in).
    weight, bias
        (features out, features in) and (features out,).

    Returns
    -------
    Tensor
        (…, features out).
    """
    if _onednn_pays(x, weight, bias):
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else ""
        )
        return y
    y = fn.linear(x, weight, bias)
    return fn.gelu(y) if gelu else y


def _onednn_pays(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Single precision on a processor, outside of autograd and the compiler, if torch has it."""
    if x.dtype != torch.float32 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, weight, bias)
    ):
        return False
    return _HAS_ONEDNN


def window_attention(
    q: Tensor, k: Tensor, v: Tensor, table: Tensor, runs: Sequence[int] | None = None
) -> Tensor:
    """Return softmax(q·kᵀ/√d + table)·v inside each window.

    Parameters
    ----------
    q, k, v
        (batch, window, head, token, d); any strides.
    table
        (run, head, token, token): position bias plus mask, added to the logits.
    runs
        Number of consecutive windows that use each entry of ``table``, summing to the number of
        windows. None: every window uses the one entry.

    Returns
    -------
    Tensor
        (batch, window, token, head·d): heads side by side, ready for the projection.

    Raises
    ------
    ValueError
        If runs and table do not fit the windows.
    """
    batch, windows, heads, tokens, d = q.shape
    lengths = [windows] if runs is None else list(runs)
    if sum(lengths) != windows or tuple(table.shape) != (len(lengths), heads, tokens, tokens):
        raise ValueError(
            f"runs {lengths} and a table of shape {tuple(table.shape)} do not fit "
            f"{windows} windows of {tokens} tokens with {heads} heads"
        )
    if q.device.type != "cpu":
        return _by_library(q, k, v, table, lengths)
    out: Tensor = _attend(*(t.flatten(0, 1) for t in (q, k, v)), table, lengths)
    return out.reshape(batch, windows, heads * d, tokens).transpose(2, 3)


def _by_library(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lengths: list[int]) -> Tensor:
    """The same by torch's fused attention, which is the fastest there is on other devices."""
    batch, windows, heads, tokens, d = q.shape
    index = torch.repeat_interleave(
        torch.arange(len(lengths), device=q.device), torch.tensor(lengths, device=q.device)
    )
    bias = table[index].expand(batch, -1, -1, -1, -1).flatten(0, 1)
    y = fn.scaled_dot_product_attention(
        q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), attn_mask=bias.to(q.dtype)
    )
    return y.transpose(1, 2).reshape(batch, windows, tokens, heads * d)


def _groups(windows: int, lengths: list[int], bytes_each: int) -> Iterator[tuple[int, int, int]]:
    """Yield (table entry, first window, last window + 1) of groups that fit the cache."""
    size = max(1, _CACHE_BYTES // bytes_each)
    start = 0
    while start < windows:
        for entry, length in enumerate(lengths):
            parts = -(-length // size)
            for part in range(parts):
                first, last = length * part // parts, length * (part + 1) // parts
                yield entry, start + first, start + last
            start += length


def _packed(t: Tensor, first: int, last: int) -> Tensor:
    """(window, head, token, d) → (window·head, d, token) of one group, contiguous."""
    _, heads, tokens, d = t.shape
    return t[first:last].transpose(2, 3).reshape((last - first) * heads, d, tokens)


def _softmax(q: Tensor, k: Tensor, bias: Tensor, scale: float, out: Tensor) -> Tensor:
    """softmax(qᵀ·k·scale + bias) of one group, in place in ``out``."""
    group = len(q) // len(bias)
    p = out[: len(q)]
    p.view(group, *bias.shape).copy_(bias.expand(group, *bias.shape))
    torch.baddbmm(p, q.transpose(1, 2), k, alpha=scale, out=p)
    return torch.softmax(p, -1, out=p)


def _workspace(q: Tensor, bytes_each: int) -> Tensor:
    windows, heads, tokens, _ = q.shape
    size = min(windows, max(1, _CACHE_BYTES // bytes_each))
    return q.new_empty(size * heads, tokens, tokens)


@torch.library.custom_op("pear::window_attention", mutates_args=())
def _attend(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lengths: list[int]) -> Tensor:
    """(window, head, token, d) → (window, head, d, token)."""
    windows, heads, tokens, d = q.shape
    bytes_each = heads * tokens * tokens * q.element_size()
    work, scale = _workspace(q, bytes_each), d**-0.5
    out = q.new_empty(windows, heads, d, tokens)
    for entry, first, last in _groups(windows, lengths, bytes_each):
        p = _softmax(_packed(q, first, last), _packed(k, first, last), table[entry], scale, work)
        torch.bmm(_packed(v, first, last), p.transpose(1, 2), out=out[first:last].flatten(0, 1))
    return out


@_attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lengths: list[int]) -> Tensor:
    return q.new_empty(*q.shape[:2], q.shape[3], q.shape[2])


@torch.library.custom_op("pear::window_attention_backward", mutates_args=())
def _attend_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, table: Tensor, lengths: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v as (window, head, d, token), and of the table.

    With P the softmax: dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP − rowsum(P∘dP)), dQ = dS·K·scale,
    dK = dSᵀ·Q·scale, dB = Σ dS over the windows of the table's entry.
    """
    windows, heads, tokens, d = q.shape
    bytes_each = 2 * heads * tokens * tokens * q.element_size()
    work, scale = _workspace(q, bytes_each), d**-0.5
    work_grad = torch.empty_like(work)
    dq, dk, dv = (q.new_empty(windows, heads, d, tokens) for _ in range(3))
    dtable = torch.zeros_like(table)
    for entry, first, last in _groups(windows, lengths, bytes_each):
        qg, kg, vg = (_packed(t, first, last) for t in (q, k, v))
        here = slice(first, last)
        dout = grad[here].reshape(-1, d, tokens)
        p = _softmax(qg, kg, table[entry], scale, work)
        torch.bmm(dout, p, out=dv[here].flatten(0, 1))
        dp = torch.bmm(dout.transpose(1, 2), vg, out=work_grad[: len(p)])
        ds = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)
        dtable[entry] += ds.view(last - first, heads, tokens, tokens).sum(0)
        torch.bmm(kg, ds.transpose(1, 2), out=dq[here].flatten(0, 1)).mul_(scale)
        torch.bmm(qg, ds, out=dk[here].flatten(0, 1)).mul_(scale)
    return dq, dk, dv, dtable


@_attend_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, table: Tensor, lengths: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    one, two, three = (torch.empty_like(grad) for _ in range(3))
    return one, two, three, torch.empty_like(table)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    q, k, v, table, lengths = inputs
    ctx.save_for_backward(q, k, v, table)
    ctx.lengths = lengths


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, table = ctx.saved_tensors
    dq, dk, dv, dtable = _attend_backward(grad, q, k, v, table, ctx.lengths)
    return dq.transpose(2, 3), dk.transpose(2, 3), dv.transpose(2, 3), dtable, None


_attend.register_autograd(_backward, setup_context=_save)
