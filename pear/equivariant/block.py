"""The transformer block, assembled from the layers of one symmetry."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.attention import EarthBias, MirrorAttention, WindowAttention
from pear.equivariant.linear import Symmetry, linear, norm, pointwise
from pear.equivariant.spectral import SpectralConv
from pear.equivariant.stencil import StencilConv
from pear.equivariant.window_shift import WindowShift
from pear.sphere.windows import TokenGrid


class MLP(nn.Module):
    """Linear to ``ratio`` times the width, exact GELU, linear back; dropout after both.

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    features
        Width.
    ratio
        Width of the hidden features over ``features``.
    dropout
        Probability in training.

    Examples
    --------
    >>> from pear.equivariant.block import MLP
    >>> tuple(MLP("c4h", 8)(torch.randn(2, 1, 12, 32, 4)).shape)
    (2, 1, 12, 32, 4)
    """

    def __init__(
        self, symmetry: Symmetry, features: int, ratio: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.symmetry: Symmetry = symmetry
        self.dropout = nn.Dropout(dropout)
        self.widen = linear(symmetry, features, ratio * features)
        self.narrow = linear(symmetry, ratio * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map features, shape kept."""
        hidden = self.dropout(pointwise(self.symmetry, functional.gelu, self.widen(x)))
        out: Tensor = self.dropout(self.narrow(hidden))
        return out


class DropPath(nn.Module):
    """Drop a whole branch for some entries of the batch in training (arXiv 1603.09382).

    Parameters
    ----------
    probability
        Probability that an entry is dropped.
    batch_axis
        Axis of the batch.

    Raises
    ------
    ValueError
        If the probability is outside of [0, 1).

    Examples
    --------
    >>> from pear.equivariant.block import DropPath
    >>> x = torch.ones(1000, 2)
    >>> kept = DropPath(0.5, batch_axis=0)(x)
    >>> kept.unique().tolist(), torch.equal(DropPath(0.5, batch_axis=0).eval()(x), x)
    ([0.0, 2.0], True)
    """

    def __init__(self, probability: float, batch_axis: int) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"drop-path probability must lie in [0, 1), got {probability}")
        self.probability, self.batch_axis = probability, batch_axis

    def forward(self, x: Tensor) -> Tensor:
        """Drop entries and scale the others by 1/(1 − p), which keeps the mean."""
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
        The attention; its symmetry is the block's.
    features
        Width.
    mlp_ratio
        Width of the MLP over ``features``.
    pre_norm
        Normalise before each branch instead of after it.
    dropout, drop_path
        Probabilities in training.

    Examples
    --------
    >>> from pear.equivariant.block import Block
    >>> grid = TokenGrid(nside=4, depths=2, window=16)
    >>> block = Block(WindowAttention(8, 2, EarthBias(grid, 2)), 8)
    >>> tuple(block(torch.randn(1, grid.windows, grid.slots, 8)).shape)
    (1, 12, 32, 8)
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
        self.mlp = MLP(symmetry, features, mlp_ratio, dropout)
        self.mlp_norm = norm(symmetry, features)
        self.drop_path = DropPath(drop_path, batch_axis=1 if symmetry == "c4h" else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to features in window order; shape kept."""
        if self.pre_norm:
            x = x + self.drop_path(self.attention(self.attention_norm(x)))
            x = x + self.drop_path(self.mlp(self.mlp_norm(x)))
        else:
            x = x + self.drop_path(self.attention_norm(self.attention(x)))
            x = x + self.drop_path(self.mlp_norm(self.mlp(x)))
        return x


class MixingBlock(nn.Module):
    """Any mixing of tokens and an MLP with residual connections, post-norm; shape kept.

    x ← x + norm(mix(x)), x ← x + norm(MLP(x)).

    Parameters
    ----------
    mix
        Layer on features in window order, shape kept; its symmetry is the block's.
    features
        Width.
    mlp_ratio
        Width of the MLP over ``features``.

    Examples
    --------
    >>> from pear.equivariant.block import MixingBlock
    >>> from pear.equivariant.stencil import DepthwiseStencil
    >>> grid = TokenGrid(nside=4, depths=2, window=16)
    >>> block = MixingBlock(DepthwiseStencil("r", grid, 8), 8)
    >>> tuple(block(torch.randn(1, grid.windows, grid.slots, 8)).shape)
    (1, 12, 32, 8)
    """

    def __init__(self, mix: StencilConv | SpectralConv, features: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.symmetry = symmetry = mix.symmetry
        self.mix = mix
        self.mix_norm = norm(symmetry, features)
        self.mlp = MLP(symmetry, features, mlp_ratio)
        self.mlp_norm = norm(symmetry, features)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to features in window order; shape kept."""
        x = x + self.mix_norm(self.mix(x))
        out: Tensor = x + self.mlp_norm(self.mlp(x))
        return out


def earth_block(
    symmetry: Symmetry,
    grid: TokenGrid,
    features: int,
    heads: int,
    shift: WindowShift | None,
    mlp_ratio: int = 4,
) -> Block:
    """Build PEAR's block: a free position bias, post-norm, no dropout.

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    grid
        Tokens and windows.
    features, heads
        Width, and number of heads of the attention.
    shift
        Shifted windows, or None for the windows of the grid.
    mlp_ratio
        Width of the MLP over ``features``.

    Returns
    -------
    Block
        The block.

    Examples
    --------
    >>> grid = TokenGrid(nside=4, depths=2, window=16)
    >>> block = earth_block("r", grid, features=8, heads=2, shift=None)
    >>> block(torch.zeros(1, grid.windows, grid.slots, 8)).shape
    torch.Size([1, 12, 32, 8])
    """
    attention: WindowAttention
    if symmetry == "c4h":
        attention = MirrorAttention(grid, features, heads, EarthBias(grid, heads // 2), shift)
    else:
        attention = WindowAttention(features, heads, EarthBias(grid, heads), shift)
    return Block(attention, features, mlp_ratio)
