"""A whole block on mirrored features by one compiled function, ``native/mirror_block.cpp``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as fn

from pear.equivariant.kernels import compiled
from pear.equivariant.kernels.build import library
from pear.equivariant.linear import EPS, MirrorLinear, MirrorNorm

_SLOTS: Final = (16, 32, 64, 128)


@dataclass(frozen=True)
class Layers:
    """What a block consists of: x ← x + norm(attention(x)), x ← x + norm(MLP(x)).

    Attributes
    ----------
    qkv, proj, widen, narrow
        Linear maps with a bias.
    norms
        After the attention and after the MLP.
    heads
        Pairs of heads of the attention.
    bias
        (2·heads, slot, slot): of a, then of b.
    masks, runs
        As of :func:`pear.equivariant.kernels.attention.window_attention`.
    gather
        (windows·slots,) row of each slot of the shifted windows, or None.
    """

    qkv: MirrorLinear
    proj: MirrorLinear
    widen: MirrorLinear
    narrow: MirrorLinear
    norms: tuple[MirrorNorm, MirrorNorm]
    heads: int
    bias: Tensor
    masks: Tensor
    runs: Sequence[int]
    gather: Tensor | None


class _Linear(ctypes.Structure):
    _fields_ = (
        ("panels", ctypes.c_void_p * 2),
        ("bias", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("inputs", "outputs", "wide")),
    )


class _Scales(ctypes.Structure):
    _fields_ = (("weight", ctypes.c_void_p * 2), ("bias", ctypes.c_void_p))


class _Block(ctypes.Structure):
    """``struct Block`` of mirror_block.cpp."""

    _fields_ = (
        ("x", ctypes.c_void_p * 2),
        ("out", ctypes.c_void_p * 2),
        ("gather", ctypes.c_void_p),
        *((name, _Linear) for name in ("qkv", "proj", "widen", "narrow")),
        ("norms", _Scales * 2),
        *((name, ctypes.c_void_p) for name in ("bias", "masks", "tables", "mask_of")),
        *(
            (name, ctypes.c_int64)
            for name in ("batch", "windows", "slots", "masks_count", "heads", "threads")
        ),
        ("epsilon", ctypes.c_float),
        ("scale", ctypes.c_float),
    )


def apply(layers: Layers, x: Sequence[Tensor], out: Sequence[Tensor]) -> bool:
    """Fill in the output of a block; returns whether this could.

    Parameters
    ----------
    layers
        The block.
    x, out
        Even and odd part, (batch, window, slot, feature) each, float32 and contiguous.
    """
    native = library()
    batch, windows, slots, width = x[0].shape
    tensors = [*x, *out, layers.bias, layers.masks]
    for layer in (layers.qkv, layers.proj, layers.widen, layers.narrow, *layers.norms):
        tensors += [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    single = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    packed = all(t.is_contiguous() for t in (*x, *out))
    if native is None or slots not in _SLOTS or not (single and packed):
        return False
    kept: list[Tensor] = []  # what is pointed to lives as long as the call
    bias, masks = layers.bias.contiguous(), layers.masks.contiguous()
    tables = bias.new_empty((len(bias) + len(masks)) * slots * slots)
    numbers = compiled.mask_of((windows - sum(layers.runs), *layers.runs), windows)
    arguments = _Block(
        compiled.pointers(*x),
        compiled.pointers(*out),
        None if layers.gather is None else layers.gather.data_ptr(),
        *(_linear(layer, kept) for layer in (layers.qkv, layers.proj, layers.widen, layers.narrow)),
        (_Scales * 2)(*(_scales(norm) for norm in layers.norms)),
        bias.data_ptr(),
        masks.data_ptr(),
        tables.data_ptr(),
        numbers.data_ptr(),
        batch,
        windows,
        slots,
        len(masks),
        layers.heads,
        torch.get_num_threads(),
        EPS,
        (width // layers.heads) ** -0.5,
    )
    return not native.pear_mirror_block(ctypes.byref(arguments))


def _linear(layer: MirrorLinear, kept: list[Tensor]) -> Any:
    table = _panels(layer.weight)
    kept.append(table)
    _, outputs, inputs = layer.weight.shape
    bias = None if layer.bias is None else layer.bias.data_ptr()
    wide = table.shape[-1] // _lanes()
    return _Linear(compiled.pointers(*table), bias, inputs, outputs, wide)


def _scales(norm: MirrorNorm) -> Any:
    return _Scales(compiled.pointers(*norm.weight), norm.bias.data_ptr())


def _panels(weight: Tensor) -> Tensor:
    """Order weights (part, output, input) as products read them: (part, panel, input, output).

    A panel is as many outputs as three or two vectors hold, whichever leaves less room unused.
    """
    parts, outputs, inputs = weight.shape
    size = min((wide * _lanes() for wide in (3, 2)), key=lambda size: -outputs % size)
    table = fn.pad(weight, (0, 0, 0, -outputs % size))
    return table.view(parts, -1, size, inputs).transpose(2, 3).contiguous()


@lru_cache(maxsize=1)
def _lanes() -> int:
    native = library()
    return 1 if native is None else int(native.pear_lanes())
