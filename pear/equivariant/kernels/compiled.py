"""Calls of the compiled functions of ``native/``; each returns None where it has no kernel.

Gradients and other devices are the business of :mod:`pear.equivariant.kernels.attention`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor

from pear.equivariant.kernels.build import library

Operands = tuple[Tensor, Tensor, Tensor]
_TYPES: Final = (torch.float32, torch.bfloat16)


class _Arguments(ctypes.Structure):
    """``struct Arguments`` of window_attention.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p * 2) for name in "qkv"),
        *((name, ctypes.c_void_p) for name in ("strides", "bias", "masks", "tables", "mask_of")),
        ("out", ctypes.c_void_p * 2),
        *(
            (name, ctypes.c_int64)
            for name in ("windows", "slots", "masks_count", "heads", "d", "half", "threads")
        ),
        ("scale", ctypes.c_float),
    )


def window_attention(
    parts: Sequence[Operands], bias: Tensor, masks: Tensor, runs: Sequence[int], scale: float
) -> list[Tensor] | None:
    """Return softmax(q·kᵀ·scale + bias + mask)·v inside each window, or None if this cannot.

    Parameters
    ----------
    parts
        q, k and v of plain features; or those of the even part and of the odd part of mirrored
        ones, which attend in the a/b basis (:mod:`pear.equivariant.linear`). Each is
        (window, head, slot, d), float32 or bfloat16, features contiguous.
    bias, masks
        (head, slot, slot) and (mask, slot, slot). With two parts the bias has the heads of a,
        then those of b.
    runs
        How many windows have no mask, then how many have each; repeated until all have one.
    scale
        Factor of the products.

    Returns
    -------
    list of Tensor, or None
        (window, slot, head, d) for each part, in the type of q.
    """
    native = library()
    q, k, v = parts[0]
    windows, heads, slots, d = q.shape
    alike = all(
        t.stride() == first.stride()
        for part in parts
        for t, first in zip(part, parts[0], strict=True)
    )
    if native is None or not alike or any(_differs(t, q) for part in parts for t in part):
        return None
    bias, masks = bias.float().contiguous(), masks.float().contiguous()
    numbers = mask_of(tuple(runs), windows)
    tables = bias.new_empty((len(bias) + len(masks)) * slots * slots)
    out = [q.new_empty(windows, slots, heads, d) for _ in parts]
    strides = (ctypes.c_int64 * 6)(*(n for t in (q, k, v) for n in (t.stride(2), t.stride(1))))
    arguments = _Arguments(
        *(pointers(*(part[n] for part in parts)) for n in range(3)),
        ctypes.addressof(strides),
        bias.data_ptr(),
        masks.data_ptr(),
        tables.data_ptr(),
        numbers.data_ptr(),
        pointers(*out),
        windows,
        slots,
        len(masks),
        heads,
        d,
        q.dtype == torch.bfloat16,
        torch.get_num_threads(),
        scale,
    )
    return None if native.pear_window_attention(ctypes.byref(arguments)) else out


def _differs(x: Tensor, q: Tensor) -> bool:
    """Whether an operand is not of the first one's kind, or its rows are not evenly spaced."""
    known = q.dtype in (torch.float32, torch.bfloat16) and x.device.type == "cpu"
    window, _, row, one = x.stride()
    alike = (x.dtype, x.shape) == (q.dtype, q.shape)
    return not (known and alike and one == 1 and window == x.shape[2] * row)


def pointers(*tensors: Tensor) -> Any:
    return (ctypes.c_void_p * 2)(*(t.data_ptr() for t in tensors))


@lru_cache(maxsize=64)
def mask_of(runs: tuple[int, ...], windows: int) -> Tensor:
    """Number of every window's mask, or -1: (window,)."""
    one = torch.repeat_interleave(torch.arange(len(runs)) - 1, torch.tensor(runs))
    return one.repeat(windows // len(one)).int()


class _Residual(ctypes.Structure):
    """``struct Residual`` of pointwise.cpp."""

    _fields_ = (
        ("x", ctypes.c_void_p * 2),
        ("branch", ctypes.c_void_p * 2),
        ("weight", ctypes.c_void_p * 2),
        ("bias", ctypes.c_void_p),
        ("out", ctypes.c_void_p * 2),
        *((name, ctypes.c_int64) for name in ("rows", "width", "parts", "half", "threads")),
        ("epsilon", ctypes.c_float),
    )


def residual_norm(
    x: Sequence[Tensor] | None,
    branch: Sequence[Tensor],
    weight: Sequence[Tensor],
    bias: Tensor,
    epsilon: float,
) -> tuple[Tensor, ...] | None:
    """Return x + norm(branch), norm(branch) without an x, or None if this cannot.

    Parameters
    ----------
    x, branch
        (…, feature) of plain features, or the even and the odd part. ``x`` is float32, ``branch``
        float32 or bfloat16.
    weight, bias
        (feature,), a weight for each part; the bias is the first one's.
    epsilon
        Added to the variance.
    """
    native = library()
    first, width = branch[0], branch[0].shape[-1]
    known = first.dtype in _TYPES and first.device.type == "cpu"
    old = tuple(x or ())
    exact = all(t.dtype == torch.float32 for t in (*old, *weight, bias))
    alike = all(t.shape == first.shape for t in (*old, *branch))
    packed = all(t.is_contiguous() for t in (*old, *branch, *weight, bias))
    if native is None or not (known and exact and alike and packed):
        return None
    out = tuple(torch.empty_like(t, dtype=torch.float32) for t in branch)
    arguments = _Residual(
        pointers(*old),
        pointers(*branch),
        pointers(*weight),
        bias.data_ptr(),
        pointers(*out),
        first.numel() // width,
        width,
        len(branch),
        first.dtype == torch.bfloat16,
        torch.get_num_threads(),
        epsilon,
    )
    native.pear_residual_norm(ctypes.byref(arguments))
    return out


def mirror_gelu_(even: Tensor, odd: Tensor) -> bool:
    """Take the GELU of (e + o)/√2 and (e − o)/√2, back to e and o; return whether this could."""
    native = library()
    alike = (even.dtype, even.shape) == (odd.dtype, odd.shape) and even.dtype in _TYPES
    packed = even.is_contiguous() and odd.is_contiguous() and even.device.type == "cpu"
    if native is None or not (alike and packed):
        return False
    native.pear_mirror_gelu(
        ctypes.c_void_p(even.data_ptr()),
        ctypes.c_void_p(odd.data_ptr()),
        ctypes.c_int64(even.numel()),
        even.dtype == torch.bfloat16,
        torch.get_num_threads(),
    )
    return True
