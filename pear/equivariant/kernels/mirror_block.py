"""A whole block on regular features as one compiled function, ``native/mirror_block.cpp``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from pear.equivariant.kernels.build import require_library
from pear.equivariant.kernels.compiled import pointers
from pear.equivariant.linear import EPS, MirrorLinear, MirrorNorm

if TYPE_CHECKING:
    from pear.equivariant.block import Block


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


def apply(
    block: Block, x: Sequence[Tensor], bias: Tensor, masks: Tensor, numbers: Tensor
) -> Tensor:
    """Apply a post-norm block on regular features.

    Parameters
    ----------
    block
        The block, float32, with a shape that :func:`~pear.equivariant.kernels.compiled.has_kernel`
        accepts and attention that is not cosine.
    x
        Even and odd part, (batch, window, slot, feature/2) each, float32 and contiguous.
    bias, masks, numbers
        As in :func:`pear.equivariant.kernels.compiled.window_attention`, float32 and contiguous.

    Returns
    -------
    Tensor
        (2, batch, window, slot, feature/2).
    """
    attention, mlp = block.attention, block.mlp
    batch, windows, slots, width = x[0].shape
    layers = [
        cast(MirrorLinear, layer)
        for layer in (attention.qkv, attention.proj, mlp.widen, mlp.narrow)
    ]
    norms = [cast(MirrorNorm, layer) for layer in (block.attention_norm, block.mlp_norm)]
    panels = [_panels(layer.weight) for layer in layers]
    tables = bias.new_empty((len(bias) + len(masks)) * slots * slots)
    out = x[0].new_empty(2, *x[0].shape)
    heads = len(bias) // 2
    arguments = _Block(
        pointers(*x),
        pointers(*out),
        None if attention.shift is None else attention.shift.gather.data_ptr(),
        *(_linear(*pair) for pair in zip(layers, panels, strict=True)),
        (_Scales * 2)(*(_Scales(pointers(*n.weight), n.bias.data_ptr()) for n in norms)),
        bias.data_ptr(),
        masks.data_ptr(),
        tables.data_ptr(),
        numbers.data_ptr(),
        batch,
        windows,
        slots,
        len(masks),
        heads,
        torch.get_num_threads(),
        EPS,
        (width // heads) ** -0.5,
    )
    require_library().pear_mirror_block(ctypes.byref(arguments))
    return out


def _linear(layer: MirrorLinear, panels: Tensor) -> _Linear:
    _, outputs, inputs = layer.weight.shape
    bias = None if layer.bias is None else layer.bias.data_ptr()
    return _Linear(pointers(*panels), bias, inputs, outputs, panels.shape[-1] // _lanes())


def _panels(weight: Tensor) -> Tensor:
    # Weights (part, output, input) in the order in which products read them: (part, panel, input,
    # output). A panel has the outputs of three or of two vectors, whichever leaves less unused.
    parts, outputs, inputs = weight.shape
    size = min((wide * _lanes() for wide in (3, 2)), key=lambda size: -outputs % size)
    table = functional.pad(weight, (0, 0, 0, -outputs % size))
    return table.view(parts, -1, size, inputs).transpose(2, 3).contiguous()


@lru_cache(maxsize=1)
def _lanes() -> int:
    return int(require_library().pear_lanes())
