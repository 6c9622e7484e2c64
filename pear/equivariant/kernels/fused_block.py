"""The transformer block for inference on processors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from pear.equivariant.attention import MirrorAttention
from pear.equivariant.block import Block
from pear.equivariant.kernels import compiled, mirror_block
from pear.equivariant.kernels.linear import onednn_dtype, product
from pear.equivariant.linear import Dense, MirrorLinear, MirrorNorm, Norm

Parts = Sequence[Tensor]
"""Plain features, or the even and the odd part of regular ones."""
_PIECE_BYTES: Final = 3 * 2**19
"""Bytes of features that go through a block together. With queries, keys, values and hidden
features, about twelve times as many, they stay in the caches of a few cores."""


class FusedBlock(Block):
    """A block that computes the same as another one in fewer passes over memory.

    A few windows at a time go through the whole block, so that only its input and output leave the
    processor's caches. Regular features in single precision go through one compiled function.
    Where that is not possible (gradients, other devices, no compiler, pre-norm, dropout), it runs
    as the block it was built from.

    Parameters
    ----------
    block
        The block; weights and settings are shared with it.

    Examples
    --------
    >>> from pear.equivariant.block import earth_block
    >>> from pear.sphere.windows import TokenGrid
    >>> grid = TokenGrid(nside=4, depths=2, window=16)
    >>> block = earth_block("r", grid, features=8, heads=2, shift=None)
    >>> x = torch.randn(1, grid.windows, grid.slots, 8)
    >>> with torch.no_grad():
    ...     torch.allclose(FusedBlock(block)(x), block(x), atol=1e-5)
    True
    """

    def __init__(self, block: Block) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(block.__dict__)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to features in window order; shape kept."""
        dtype = onednn_dtype(x)
        if dtype is None or not self._is_supported(x):
            return super().forward(x)
        attention, shift, windows = self.attention, self.attention.shift, x.shape[-3]
        bias: Tensor = attention.bias()
        if isinstance(attention, MirrorAttention):
            bias = torch.cat([bias, attention.mirrored(bias)])
        masks, runs = (bias.new_empty(0, *bias.shape[1:]), []) if shift is None else shift.masks
        numbers = compiled.mask_numbers((windows - sum(runs), *runs), windows)
        logits = bias.contiguous(), masks, numbers
        x = x.float().contiguous()  # the sums of the branches are as exact as the weights
        if dtype == torch.float32 and self.symmetry == "c4h":
            return mirror_block.apply(self, x.unbind(0), *logits)
        return self._by_pieces(x, dtype, *logits)

    def _is_supported(self, x: Tensor) -> bool:
        attention, regular = self.attention, self.symmetry == "c4h"
        drops = self.mlp.dropout.p or attention.dropout or self.drop_path.probability
        heads = attention.heads // 2 if regular else attention.heads
        return (
            not torch.is_grad_enabled()
            and not self.pre_norm
            and not (self.training and drops)
            and not (regular and attention.logit_scale is not None)
            and self.attention_norm.weight.dtype == torch.float32
            and compiled.has_kernel(x.dtype, slots=x.shape[-2], width=x.shape[-1] // heads)
        )

    def _by_pieces(
        self, x: Tensor, dtype: torch.dtype, bias: Tensor, masks: Tensor, numbers: Tensor
    ) -> Tensor:
        """Take some windows at a time through the block; arguments as of the attention kernel."""
        attention, mlp, shift = self.attention, self.mlp, self.attention.shift
        parts = x if self.symmetry == "c4h" else x[None]
        _, batch, windows, slots, features = parts.shape
        qkv, proj = _linear_map(attention.qkv, dtype), _linear_map(attention.proj, dtype)
        widen = _linear_map(mlp.widen, dtype, gelu=self.symmetry == "r")
        narrow = _linear_map(mlp.narrow, dtype)
        scale = None if attention.logit_scale is None else 1.0

        def attend(x: Parts, numbers: Tensor) -> Parts:
            cut = [y.view(batch, -1, slots, y.shape[-1]) for y in qkv(x)]
            heads = [attention.split_heads(y, len(bias) // len(cut)) for y in cut]
            operands = [(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)) for q, k, v in heads]
            mixed = compiled.window_attention(operands, bias, masks, numbers, scale)
            return proj([y.view(batch, -1, features) for y in mixed])

        def perceive(x: Parts) -> Parts:
            hidden = widen(x)
            if self.symmetry == "c4h":
                compiled.mirror_gelu_(*hidden)
            return narrow(hidden)

        out = torch.empty_like(parts)
        given, filled = parts.flatten(2, 3), out.flatten(2, 3)
        pieces = min(windows, max(1, round(x.numel() * dtype.itemsize / _PIECE_BYTES)))
        for piece in range(pieces):
            first, last = windows * piece // pieces, windows * (piece + 1) // pieces
            rows = slice(first * slots, last * slots)
            if shift is None:
                y: Parts = [part[:, rows].contiguous() for part in given]
            else:
                y = [part.index_select(1, shift.gather[rows]) for part in given]
            y = _residual(y, attend(y, numbers[first:last].repeat(batch)), self.attention_norm)
            y = _residual(y, perceive(y), self.mlp_norm)
            for to, part in zip(filled, y, strict=True):
                if shift is None:
                    to[:, rows] = part
                else:
                    to.index_copy_(1, shift.gather[rows], part)
        return out.view_as(x)


def _linear_map(
    layer: Dense | MirrorLinear, dtype: torch.dtype, *, gelu: bool = False
) -> Callable[[Parts], Parts]:
    """Return a linear map of parts, with an exact GELU if asked; weights are rounded once."""
    weight, bias = layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)
    maps = [(weight, bias)] if isinstance(layer, Dense) else [(weight[0], bias), (weight[1], None)]
    return lambda x: [
        product(part.to(dtype), w, b, gelu=gelu) for part, (w, b) in zip(x, maps, strict=True)
    ]


def _residual(x: Parts, branch: Parts, norm: Norm | MirrorNorm) -> Parts:
    weights = norm.weight.unbind(0) if isinstance(norm, MirrorNorm) else [norm.weight]
    return compiled.residual_norm(x, branch, weights, norm.bias)
