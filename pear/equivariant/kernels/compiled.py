"""Calls of the compiled functions of ``native/``, without gradients and on processors only."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from pear.equivariant.kernels.build import library, require_library
from pear.equivariant.linear import EPS

Operands = tuple[Tensor, Tensor, Tensor]
_SLOTS: Final = (16, 32, 64, 128)
_MOST_WIDTH: Final = 64


def has_kernel(dtype: torch.dtype, *, slots: int, width: int) -> bool:
    """Return whether windows of ``slots`` tokens and heads of ``width`` features have a kernel."""
    known = dtype in (torch.float32, torch.bfloat16) and slots in _SLOTS
    return known and 1 <= width <= _MOST_WIDTH and library() is not None


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
    parts: Sequence[Operands], bias: Tensor, masks: Tensor, numbers: Tensor, scale: float | None
) -> list[Tensor]:
    """Return softmax(q·kᵀ·scale + bias + mask)·v inside each window.

    Parameters
    ----------
    parts
        q, k and v of plain features; or those of the even and of the odd part of regular ones,
        which attend in the a/b basis (:mod:`pear.equivariant.linear`). Each is
        (window, head, slot, d), float32 or bfloat16, of a shape that :func:`has_kernel` accepts.
    bias, masks
        (head, slot, slot) and (mask, slot, slot). With two parts the bias has the heads of a,
        then those of b.
    numbers
        (window,) number of each window's mask from :func:`mask_numbers`, or -1 without a mask.
    scale
        Factor of the products; 1/√d if None.

    Returns
    -------
    list of Tensor
        (window, slot, head, d) for each part, in the type of q.
    """
    windows, heads, slots, d = parts[0][0].shape
    if not all(
        _is_evenly_spaced(t, first)
        for part in parts
        for t, first in zip(part, parts[0], strict=True)
    ):
        parts = [(_spaced(q), _spaced(k), _spaced(v)) for q, k, v in parts]
    q, k, v = parts[0]
    bias, masks = bias.float().contiguous(), masks.float().contiguous()
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
        d**-0.5 if scale is None else scale,
    )
    require_library().pear_window_attention(ctypes.byref(arguments))
    return out


def _spaced(x: Tensor) -> Tensor:
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def _is_evenly_spaced(x: Tensor, first: Tensor) -> bool:
    """Return whether the rows of all windows are evenly spaced, as those of ``first``."""
    window, _, row, one = x.stride()
    return one == 1 and window == x.shape[2] * row and x.stride() == first.stride()


def pointers(*tensors: Tensor) -> ctypes.Array[ctypes.c_void_p]:
    """Return the addresses of up to two tensors."""
    return (ctypes.c_void_p * 2)(*(t.data_ptr() for t in tensors))


@lru_cache(maxsize=64)
def mask_numbers(runs: tuple[int, ...], windows: int) -> Tensor:
    """Return the number of each window's mask, -1 without a mask: (window,) int32.

    Parameters
    ----------
    runs
        Number of windows without a mask, then of those with each mask; repeated over the windows.
    windows
        Number of windows.

    Returns
    -------
    Tensor
        The numbers.
    """
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
    x: Sequence[Tensor], branch: Sequence[Tensor], weight: Sequence[Tensor], bias: Tensor
) -> list[Tensor]:
    """Return x + norm(branch) of plain features, or of the even and the odd part.

    Parameters
    ----------
    x, branch
        (…, feature), contiguous. ``x`` is float32, ``branch`` float32 or bfloat16.
    weight, bias
        (feature,) float32, a weight for each part; the bias is the first one's.

    Returns
    -------
    list of Tensor
        As ``x``.
    """
    first = branch[0]
    out = [torch.empty_like(old) for old in x]
    arguments = _Residual(
        pointers(*x),
        pointers(*branch),
        pointers(*weight),
        bias.data_ptr(),
        pointers(*out),
        first.numel() // first.shape[-1],
        first.shape[-1],
        len(branch),
        first.dtype == torch.bfloat16,
        torch.get_num_threads(),
        EPS,
    )
    require_library().pear_residual_norm(ctypes.byref(arguments))
    return out


def mirror_gelu_(even: Tensor, odd: Tensor) -> None:
    """Apply the GELU in the a/b basis to features in the e/o basis, in place.

    Parameters
    ----------
    even, odd
        Contiguous, of one shape, float32 or bfloat16.
    """
    require_library().pear_mirror_gelu(
        ctypes.c_void_p(even.data_ptr()),
        ctypes.c_void_p(odd.data_ptr()),
        ctypes.c_int64(even.numel()),
        even.dtype == torch.bfloat16,
        torch.get_num_threads(),
    )
