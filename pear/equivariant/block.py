"""The transformer block, assembled from the layers of one symmetry."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.attention import ALL, EarthBias, MirrorAttention, WindowAttention
from pear.equivariant.kernels import compiled, mirror_block
from pear.equivariant.kernels import linear as products
from pear.equivariant.linear import (
    HALF_ROOT,
    MirrorLinear,
    MirrorNorm,
    Norm,
    Parts,
    Symmetry,
    crossed,
    linear,
    norm,
    parts_of,
    whole,
)
from pear.equivariant.window_shift import WindowShift
from pear.sphere.windows import TokenGrid

_PIECE: Final = 3 * 2**19
"""Bytes of features that go through a block together: with queries, keys, values and hidden
features, some twelve times as many, they stay in the caches of a few cores."""


class MLP(nn.Module):
    """Linear to ``ratio`` times the width, exact GELU, linear back; dropout after both."""

    symmetry: Symmetry = "r"

    def __init__(self, features: int, ratio: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.widen = linear(self.symmetry, features, ratio * features)
        self.narrow = linear(self.symmetry, ratio * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map features, shape kept."""
        return whole(self.parts(parts_of(self.symmetry, x)))

    def parts(self, x: Parts) -> Parts:
        """Map features; the result's parts are fresh tensors."""
        return (self.dropout(self.narrow(self.dropout(self.widen(x[0], gelu=True)))),)


class MirrorMLP(MLP):
    """The MLP on regular features; the GELU acts on a and b."""

    symmetry: Symmetry = "c4h"
    widen: MirrorLinear
    narrow: MirrorLinear

    def parts(self, x: Parts) -> Parts:
        """Map an even and an odd part, (…, features/2) each."""
        if products.fused(x[0]) and not (self.training and self.dropout.p):
            hidden = self.widen.parts(*x)
            if compiled.mirror_gelu_(*hidden):
                return self.narrow.parts(*hidden)
        a, b = crossed(*self.widen.parts(*x, after=HALF_ROOT))
        hidden = crossed(self._hidden(a), self._hidden(b))
        even, odd = self.narrow.parts(*hidden, before=HALF_ROOT)
        return self.dropout(even), self.dropout(odd)

    def _hidden(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(functional.gelu(x))
        return out


def mlp(symmetry: Symmetry, features: int, ratio: int = 4, dropout: float = 0.0) -> MLP:
    """Build the MLP of this symmetry."""
    return (MirrorMLP if symmetry == "c4h" else MLP)(features, ratio, dropout)


class DropPath(nn.Module):
    """Drop a whole branch for some entries of the batch in training (arXiv 1603.09382)."""

    def __init__(self, probability: float, batch_axis: int) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"drop-path probability must lie in [0, 1), got {probability}")
        self.probability, self.batch_axis = probability, batch_axis

    def forward(self, x: Tensor) -> Tensor:
        """Scale kept entries by 1/(1 − p), so that the mean is kept."""
        if not self.training or self.probability == 0.0:
            return x
        shape = [1] * x.dim()
        shape[self.batch_axis] = x.shape[self.batch_axis]
        keep = torch.empty(shape, dtype=x.dtype, device=x.device)
        return x * keep.bernoulli_(1 - self.probability) / (1 - self.probability)


class Block(nn.Module):
    """Attention and MLP with residual connections; shape kept.

    Post-norm (the published networks): x ← x + norm(attention(x)), x ← x + norm(MLP(x)).
    Pre-norm: x ← x + attention(norm(x)), x ← x + MLP(norm(x)).

    Parameters
    ----------
    attention
        The attention to use; its symmetry is the block's.
    features
        Width.
    mlp_ratio
        Width of the MLP over ``features``.
    pre_norm
        Normalise before each branch instead of after it.
    dropout, drop_path
        Probabilities in training; the defaults drop nothing.
    """

    def __init__(
        self,
        attention: WindowAttention,
        features: int,
        mlp_ratio: int = 4,
        *,
        pre_norm: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.symmetry = symmetry = attention.symmetry
        self.pre_norm = pre_norm
        self.attention = attention
        self.attention_norm = norm(symmetry, features)
        self.mlp = mlp(symmetry, features, mlp_ratio, dropout)
        self.mlp_norm = norm(symmetry, features)
        self.drop_path = DropPath(drop_path, batch_axis=1 if symmetry == "c4h" else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to features in window order.

        The windows of a shifted block stay shifted until its end: all but the attention is
        pointwise. Without gradients, processors take some windows at a time through the whole
        block, so that nothing but its input and output ever leaves their caches.
        """
        windows = x.shape[-3]
        if torch.is_grad_enabled() or not products.plain_processor(x):
            shift = self.attention.shift
            x = x if shift is None else shift(x)
            parts = self._inside(parts_of(self.symmetry, x), self.attention.biases(), ALL)
            x = whole(parts)
            return x if shift is None else shift.inverse(x)
        # In half precision the sums of the branches are kept as exactly as the weights are.
        exact = torch.promote_types(x.dtype, self.attention_norm.weight.dtype)
        x, out = x.to(exact), x.new_empty(x.shape, dtype=exact)
        given, filled = parts_of(self.symmetry, x), parts_of(self.symmetry, out)
        bias = self.attention.biases().contiguous()
        if self._at_once(given, filled, bias):
            return out
        size = 2 if torch.is_autocast_enabled("cpu") else x.element_size()
        pieces = min(windows, max(1, round(x.numel() * size / _PIECE)))
        with products.weights_held():
            for piece in range(pieces):
                here = slice(windows * piece // pieces, windows * (piece + 1) // pieces)
                self._piece(given, filled, bias, here)
        return out

    def _at_once(self, x: Parts, out: Parts, bias: Tensor) -> bool:
        """Fill in the output by one compiled function, if there is one for this block."""
        attention, mlp, norms = self.attention, self.mlp, (self.attention_norm, self.mlp_norm)
        if not (isinstance(attention, MirrorAttention) and isinstance(mlp, MirrorMLP)):
            return False
        first, second = norms
        if not (isinstance(first, MirrorNorm) and isinstance(second, MirrorNorm)):
            return False
        drops = self.training and (mlp.dropout.p or attention.dropout or self.drop_path.probability)
        plain = attention.logit_scale is None and not self.pre_norm and not drops
        if not plain or torch.is_autocast_enabled("cpu") or not products.fused(x[0]):
            return False
        shift, mask = attention.shift, attention.mask
        layers = mirror_block.Layers(
            attention.qkv,
            attention.proj,
            mlp.widen,
            mlp.narrow,
            (first, second),
            attention.heads // 2,
            bias,
            mask.masks,
            mask.runs_of(ALL),
            None if shift is None else shift.gather,
        )
        return mirror_block.apply(layers, x, out)

    def _piece(self, x: Parts, out: Parts, bias: Tensor, windows: slice) -> None:
        """Fill in the output of some windows."""
        batch, _, slots, features = x[0].shape
        shift = self.attention.shift
        if shift is None:
            done = self._inside(tuple(y[:, windows].contiguous() for y in x), bias, windows)
            for to, part in zip(out, done, strict=True):
                to[:, windows] = part
            return
        where = shift.gather[windows.start * slots : windows.stop * slots]
        rows = (y.reshape(batch, -1, features).index_select(1, where) for y in x)
        cut = tuple(y.view(batch, -1, slots, features) for y in rows)
        for to, part in zip(out, self._inside(cut, bias, windows), strict=True):
            to.view(batch, -1, features).index_copy_(1, where, part.flatten(1, 2))

    def _inside(self, x: Parts, bias: Tensor, windows: slice) -> Parts:
        """Apply the block to windows that are already cut."""
        if self.pre_norm:
            x = self._plus(x, self.attention.inside(self.attention_norm.parts(x), bias, windows))
            return self._plus(x, self.mlp.parts(self.mlp_norm.parts(x)))
        x = self._post(x, self.attention_norm, self.attention.inside(x, bias, windows))
        return self._post(x, self.mlp_norm, self.mlp.parts(x))

    def _post(self, x: Parts, norm: Norm | MirrorNorm, branch: Parts) -> Parts:
        if self.training and self.drop_path.probability:
            return self._plus(x, norm.parts(branch))
        return norm.added(x, branch)

    def _plus(self, x: Parts, branch: Parts) -> Parts:
        kept = self.drop_path(whole(branch))
        new = parts_of(self.symmetry, kept)
        return tuple(old + one for old, one in zip(x, new, strict=True))


def earth_block(
    symmetry: Symmetry,
    grid: TokenGrid,
    features: int,
    heads: int,
    shift: WindowShift | None,
    mlp_ratio: int = 4,
) -> Block:
    """Build PEAR's block: a free position bias, post-norm, no dropout."""
    kind = MirrorAttention if symmetry == "c4h" else WindowAttention
    pairs = 2 if symmetry == "c4h" else 1
    bias = EarthBias(grid, heads // pairs)
    return Block(kind(grid, features, heads, bias, shift), features, mlp_ratio)
