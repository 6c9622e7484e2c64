"""Attention inside windows, with a position bias shared by all windows.

Since every window uses the same weights and the same bias, attention keeps the rotation R as it
stands. It is the instance ω = softmax_{g′}(…)·W_V (g⁻¹f)(g′) of the general equivariant map of
:mod:`pear.equivariant.general`.
"""

from __future__ import annotations

import itertools
import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.kernels import attention
from pear.equivariant.kernels import linear as products
from pear.equivariant.linear import (
    HALF_ROOT,
    INIT_STD,
    MirrorLinear,
    Parts,
    Symmetry,
    crossed,
    linear,
    parts_of,
    whole,
)
from pear.equivariant.window_shift import WindowShift
from pear.sphere.windows import TokenGrid

MASKED: Final = -100.0


"""Added to the logits of a pair that must not see each other, as in the published code."""


ALL: Final = slice(None)


"""Every window."""


_MAX_LOGIT_SCALE: Final = math.log(100.0)


class WindowMask(nn.Module):
    """Which slots see each other: only the last windows need a mask, and few masks serve them all.

    Parameters
    ----------
    labels
        (masked windows, slots) of the last windows; see :class:`pear.sphere.windows.WindowTable`.
    windows
        How many windows there are.

    Attributes
    ----------
    masks
        (run, slots, slots), added to the logits.
    runs
        How many consecutive windows use each of them.
    """

    masks: Tensor

    def __init__(self, labels: Tensor, windows: int) -> None:
        super().__init__()
        rows, runs = labels, labels.new_empty(0)
        if len(labels):
            rows, runs = torch.unique_consecutive(labels, dim=0, return_counts=True)
        self.windows = windows
        self.runs: list[int] = runs.int().tolist()
        differs = rows[:, :, None] != rows[:, None, :]
        self.register_buffer("masks", MASKED * differs.float(), persistent=False)

    def runs_of(self, windows: slice) -> list[int]:
        """Return the runs inside some consecutive windows; 0 for a mask that none of them uses."""
        ends = [self.windows - sum(self.runs[number:]) for number in range(len(self.runs) + 1)]
        start, stop, _ = windows.indices(self.windows)
        return [
            max(0, min(last, stop) - max(first, start)) for first, last in itertools.pairwise(ends)
        ]


def heads_of(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split (batch, window, slot, 3·heads·d) into q, k and v, (batch, window, head, slot, d)."""
    split = qkv.reshape(*qkv.shape[:3], 3, heads, -1)
    query, key, value = split.permute(3, 0, 1, 4, 2, 5).unbind(0)
    return query, key, value


class WindowAttention(nn.Module):
    """Multi-head attention inside (shifted) windows: (batch, window, slot, feature), shape kept.

    Parameters
    ----------
    grid
        Tokens and windows.
    features, heads
        Width, and number of heads it is split into.
    bias
        Module that returns the position bias (heads, slot, slot).
    shift
        Shifted windows, or None for the windows as they are.
    cosine
        Cosine attention with a learnt scale per head (Liu et al., arXiv 2111.09883).
    dropout
        Probability that an attention weight is dropped in training.

    Raises
    ------
    ValueError
        If the heads do not divide the features.
    """

    symmetry: Symmetry = "r"

    def __init__(
        self,
        grid: TokenGrid,
        features: int,
        heads: int,
        bias: nn.Module,
        shift: WindowShift | None = None,
        *,
        cosine: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if heads < 1 or features % heads:
            raise ValueError(f"{heads} heads do not divide {features} features")
        self.heads, self.dropout = heads, dropout
        self.qkv = linear(self.symmetry, features, 3 * features)
        self.proj = linear(self.symmetry, features, features)
        self.bias, self.shift = bias, shift
        self.logit_scale = nn.Parameter(torch.full((heads,), math.log(10.0))) if cosine else None
        labels = torch.empty(0, grid.slots) if shift is None else shift.labels
        self.mask = WindowMask(labels, grid.windows)

    def forward(self, x: Tensor) -> Tensor:
        """Let the slots of each window attend to each other; shape kept."""
        if self.shift is not None:
            x = self.shift(x)
        x = whole(self.inside(parts_of(self.symmetry, x), self.biases()))
        return x if self.shift is None else self.shift.inverse(x)

    def biases(self) -> Tensor:
        """Return the position bias of every head: (heads, slot, slot)."""
        bias: Tensor = self.bias()
        return bias

    def inside(self, x: Parts, bias: Tensor, windows: slice = ALL) -> Parts:
        """Attend inside windows that are already cut; the result's parts are fresh tensors.

        Parameters
        ----------
        x
            (batch, window, slot, feature).
        bias
            From :meth:`biases`.
        windows
            Which windows these are.
        """
        mixed = self.attend(self.qkv(x[0]), self.heads, bias, windows)
        return (self.proj(mixed),)

    def attend(self, qkv: Tensor, heads: int, bias: Tensor, windows: slice) -> Tensor:
        """Return softmax(q·kᵀ·scale + bias + mask)·v in every window.

        Parameters
        ----------
        qkv
            (batch, window, slot, 3·heads·d), ordered (3, heads, d) along the last axis.
        heads
            Number of heads.
        bias
            (heads, slot, slot).
        windows
            Which windows these are.

        Returns
        -------
        Tensor
            (batch, window, slot, heads·d).
        """
        query, key, value = heads_of(qkv, heads)
        if self.logit_scale is not None:
            factor = self.logit_scale.clamp(max=_MAX_LOGIT_SCALE).exp().to(qkv.dtype)
            query = functional.normalize(query, dim=-1) * factor[:, None, None]
            key = functional.normalize(key, dim=-1)
        return attention.window_attention(
            query,
            key,
            value,
            bias,
            self.mask.masks,
            self.mask.runs_of(windows),
            scale=None if self.logit_scale is None else 1.0,
            dropout=self.dropout if self.training else 0.0,
        )


class MirrorAttention(WindowAttention):
    """Window attention on regular features by pairs of heads that the mirror exchanges.

    Queries, keys and values are brought to the a/b basis; a gives the first half of the heads and
    b the second. The bias of head h + heads/2 is that of head h with both slots passed through σ,
    so ``bias`` returns (heads/2, slot, slot).

    Raises
    ------
    ValueError
        If the number of heads is odd.
    """

    symmetry: Symmetry = "c4h"
    qkv: MirrorLinear
    proj: MirrorLinear
    sigma: Tensor

    def __init__(
        self,
        grid: TokenGrid,
        features: int,
        heads: int,
        bias: nn.Module,
        shift: WindowShift | None = None,
        *,
        cosine: bool = False,
        dropout: float = 0.0,
    ) -> None:
        if heads % 2:
            raise ValueError(f"mirror-equivariant attention pairs its heads, got {heads} of them")
        super().__init__(grid, features, heads, bias, shift, cosine=cosine, dropout=dropout)
        if cosine:
            self.logit_scale = nn.Parameter(torch.full((heads // 2,), math.log(10.0)))
        sigma = torch.from_numpy(grid.mirrored_slots())
        self.register_buffer("sigma", sigma, persistent=False)

    def biases(self) -> Tensor:
        """Return the position bias of every head, those of a before those of b."""
        bias: Tensor = self.bias()
        heads, slots, _ = bias.shape
        pairs = (self.sigma[:, None] * slots + self.sigma).flatten()  # one fast gather of numbers
        return torch.cat([bias, bias.flatten(1).index_select(1, pairs).view(heads, slots, slots)])

    def inside(self, x: Parts, bias: Tensor, windows: slice = ALL) -> Parts:
        """Attend inside windows that are already cut: (batch, window, slot, feature/2) twice."""
        heads = self.heads // 2
        if self.logit_scale is None and products.fused(x[0]):
            even, odd = (heads_of(part, heads) for part in self.qkv.parts(*x))
            runs = self.mask.runs_of(windows)
            done = attention.mirrored_window_attention(even, odd, bias, self.mask.masks, runs)
            if done is not None:
                return self.proj.parts(*done)
        a, b = crossed(*self.qkv.parts(*x, after=HALF_ROOT))
        a = self.attend(a, heads, bias[:heads], windows)
        b = self.attend(b, heads, bias[heads:], windows)
        return self.proj.parts(*crossed(a, b), before=HALF_ROOT)


class EarthBias(nn.Module):
    """A free number for every head and pair of slots of a window: returns (heads, slots, slots)."""

    def __init__(self, grid: TokenGrid, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(heads, grid.slots, grid.slots))
        nn.init.trunc_normal_(self.table, std=INIT_STD)

    def forward(self) -> Tensor:
        """Return the bias (heads, query slot, key slot)."""
        return self.table


class RelativeBias(nn.Module):
    """A number for every head and difference of positions inside a window.

    Positions are the depth and the coordinates x, y of the nested (Morton) order, so the table has
    (2·depths − 1)·(2·side − 1)² rows (Liu et al., arXiv 2103.14030; HEAL-SWIN, arXiv 2307.07313).
    """

    index: Tensor

    def __init__(self, grid: TokenGrid, heads: int) -> None:
        super().__init__()
        position = torch.from_numpy(grid.slot_positions())
        spans = torch.tensor([2 * grid.window_depth - 1, 2 * grid.side - 1, 2 * grid.side - 1])
        steps = position[:, None] - position[None] + spans // 2
        index = (steps[..., 0] * spans[1] + steps[..., 1]) * spans[2] + steps[..., 2]
        self.register_buffer("index", index, persistent=False)
        self.table = nn.Parameter(torch.empty(int(spans.prod()), heads))
        nn.init.trunc_normal_(self.table, std=INIT_STD)

    def forward(self) -> Tensor:
        """Return the bias (heads, query slot, key slot)."""
        return self.table[self.index].permute(2, 0, 1)
