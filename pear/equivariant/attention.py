"""Attention inside windows, with a position bias shared by all windows.

Since every window uses the same weights and the same bias, attention keeps the rotation R. It is
the instance ω = softmax_{g′}(…)·W_V (g⁻¹f)(g′) of the general equivariant map of
:mod:`pear.equivariant.general`.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention
from torch.overrides import handle_torch_function, has_torch_function

from pear.equivariant.linear import INIT_STD, Symmetry, butterfly, linear
from pear.equivariant.window_shift import Masks, WindowShift
from pear.sphere.windows import TokenGrid

_MAX_LOGIT_SCALE: Final = math.log(100.0)


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
    """Return softmax(q·kᵀ·scale + bias + mask)·v inside each window.

    Like the functions of torch it can be overridden by a ``TorchFunctionMode``.

    Parameters
    ----------
    query, key, value
        (batch, window, head, slot, d).
    bias
        (head, query slot, key slot), shared by all windows.
    masks
        Masks of the last windows, added to the logits of all heads; None without masks.
    scale
        Factor of the products; 1/√d if None.
    dropout
        Probability that an attention weight is dropped.

    Returns
    -------
    Tensor
        (batch, window, slot, head·d).

    Examples
    --------
    >>> q, k, v = torch.randn(3, 1, 4, 2, 16, 8)
    >>> window_attention(q, k, v, bias=torch.zeros(2, 16, 16)).shape
    torch.Size([1, 4, 16, 16])
    """
    qkv = query, key, value
    if has_torch_function(qkv):
        return handle_torch_function(
            window_attention, qkv, *qkv, bias, masks, scale=scale, dropout=dropout
        )
    _, windows, heads, slots, width = query.shape
    values, runs = (bias.new_empty(0), []) if masks is None else masks
    lengths, biases = [windows - sum(runs), *runs], [bias, *(bias + mask for mask in values)]
    mixed = []
    for q, k, v, added in zip(*(torch.split(x, lengths, dim=1) for x in qkv), biases, strict=True):
        flat = [x.flatten(0, 1) for x in (q, k, v)]
        out = scaled_dot_product_attention(
            flat[0], flat[1], flat[2], added.to(q.dtype), dropout_p=dropout, scale=scale
        )
        mixed.append(out.transpose(1, 2).reshape(*q.shape[:2], slots, heads * width))
    return torch.cat(mixed, dim=1)


class WindowAttention(nn.Module):
    """Multi-head attention inside (shifted) windows: (batch, window, slot, feature), shape kept.

    Parameters
    ----------
    features, heads
        Width, and number of heads it is split into.
    bias
        Module that returns the position bias (heads, slot, slot).
    shift
        Shifted windows, or None for the windows of the grid.
    cosine
        Cosine attention with a learned scale per head (Liu et al., arXiv 2111.09883).
    dropout
        Probability that an attention weight is dropped in training.

    Raises
    ------
    ValueError
        If the heads do not divide the features.

    Examples
    --------
    >>> from pear.equivariant.attention import EarthBias, WindowAttention
    >>> grid = TokenGrid(nside=4, depths=2, window=16)
    >>> attention = WindowAttention(8, 2, EarthBias(grid, 2))
    >>> tuple(attention(torch.randn(1, grid.windows, grid.slots, 8)).shape)
    (1, 12, 32, 8)
    """

    symmetry: Symmetry = "r"

    def __init__(
        self,
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
        scales = heads if self.symmetry == "r" else heads // 2
        self.logit_scale = nn.Parameter(torch.full((scales,), math.log(10.0))) if cosine else None

    def forward(self, x: Tensor) -> Tensor:
        """Let the slots of each window attend to each other; shape kept."""
        x = x if self.shift is None else self.shift(x)
        x = self.proj(self.attend(self.qkv(x), self.bias()))
        return x if self.shift is None else self.shift.inverse(x)

    def attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attend inside windows that are already cut.

        Parameters
        ----------
        qkv
            (batch, window, slot, 3·heads·d), ordered (3, heads, d) along the last axis.
        bias
            (heads, slot, slot).

        Returns
        -------
        Tensor
            (batch, window, slot, heads·d).
        """
        query, key, value = self.split_heads(qkv, len(bias))
        masks = None if self.shift is None else self.shift.masks
        scale = None if self.logit_scale is None else 1.0
        dropout = self.dropout if self.training else 0.0
        return window_attention(query, key, value, bias, masks, scale=scale, dropout=dropout)

    def split_heads(self, qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value, (batch, window, head, slot, d); unit vectors if cosine."""
        split = qkv.reshape(*qkv.shape[:3], 3, heads, -1)
        query, key, value = split.permute(3, 0, 1, 4, 2, 5).unbind(0)
        if self.logit_scale is not None:
            scale = self.logit_scale.clamp(max=_MAX_LOGIT_SCALE).exp().to(qkv.dtype)
            query = normalize(query, dim=-1) * scale[:, None, None]
            key = normalize(key, dim=-1)
        return query, key, value


class MirrorAttention(WindowAttention):
    """Window attention on regular features by pairs of heads that the mirror exchanges.

    Queries, keys and values are brought to the a/b basis; a gives the first half of the heads and
    b the second. The bias of head h + heads/2 is that of head h with both slots passed through σ,
    so ``bias`` returns (heads/2, slot, slot).

    Parameters
    ----------
    grid
        Tokens and windows; it gives the mirror image σ of each slot.
    features, heads, bias, shift, cosine, dropout
        As in :class:`WindowAttention`.

    Raises
    ------
    ValueError
        If the number of heads is odd or does not divide the features.

    Examples
    --------
    >>> from pear.equivariant.attention import EarthBias, MirrorAttention
    >>> from pear.equivariant.contract import Tokens, equivariance_error
    >>> from pear.sphere.symmetry import M
    >>> grid = TokenGrid(nside=4, depths=2, window=16)
    >>> tokens, x = Tokens(grid, "c4h"), torch.randn(2, 1, grid.windows, grid.slots, 4)
    >>> attention = MirrorAttention(grid, 8, 2, EarthBias(grid, 1))
    >>> equivariance_error(attention, M, x, tokens, tokens) < 1e-12
    True
    """

    symmetry: Symmetry = "c4h"
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
            raise ValueError(
                f"mirror-equivariant attention needs an even number of heads, got {heads}"
            )
        super().__init__(features, heads, bias, shift, cosine=cosine, dropout=dropout)
        self.register_buffer("sigma", torch.from_numpy(grid.mirrored_slots()), persistent=False)

    def attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attend in the a/b basis: (2, batch, window, slot, 3·heads/2·d), as in the base class."""
        a, b = butterfly(qkv).unbind(0)
        a, b = super().attend(a, bias), super().attend(b, self.mirrored(bias))
        return butterfly(torch.stack([a, b]))

    def mirrored(self, bias: Tensor) -> Tensor:
        """Pass both slots of a position bias (heads/2, slot, slot) through σ."""
        return bias.index_select(1, self.sigma).index_select(2, self.sigma)


class EarthBias(nn.Module):
    """Position bias with a free number for every head and pair of slots: (heads, slots, slots).

    Examples
    --------
    >>> from pear.equivariant.attention import EarthBias
    >>> tuple(EarthBias(TokenGrid(nside=4, depths=2, window=16), heads=2)().shape)
    (2, 32, 32)
    """

    def __init__(self, grid: TokenGrid, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(heads, grid.slots, grid.slots))
        nn.init.trunc_normal_(self.table, std=INIT_STD)

    def forward(self) -> Tensor:
        """Return the bias (heads, query slot, key slot)."""
        return self.table


class RelativeBias(nn.Module):
    """Position bias with a number for every head and difference of positions in a window.

    Positions are the depth and the coordinates x, y of the nested (Morton) order, so the table has
    (2·depths − 1)·(2·side − 1)² rows (Liu et al., arXiv 2103.14030; HEAL-SWIN, arXiv 2307.07313).

    Examples
    --------
    >>> from pear.equivariant.attention import RelativeBias
    >>> bias = RelativeBias(TokenGrid(nside=4, depths=2, window=16), heads=2)
    >>> tuple(bias().shape), tuple(bias.table.shape)  # 3 · 7 · 7 differences
    ((2, 32, 32), (147, 2))
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
