"""The transformer block, assembled from the layers of one symmetry."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.attention import MirrorAttention, WindowAttention
from pear.equivariant.linear import HALF_ROOT, MirrorLinear, Symmetry, crossed, linear, norm
from pear.equivariant.position import EarthBias
from pear.equivariant.shift import WindowShift
from pear.sphere.windows import TokenGrid


class MLP(nn.Module):
    """Linear to ``ratio`` times the width, exact GELU, linear back; dropout after both."""

    symmetry: Symmetry = "r"

    def __init__(self, features: int, ratio: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.widen = linear(self.symmetry, features, ratio * features)
        self.narrow = linear(self.symmetry, ratio * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map features in window order, shape kept."""
        out: Tensor = self.dropout(self.narrow(self.dropout(self.widen(x, gelu=True))))
        return out


class MirrorMLP(MLP):
    """The MLP on regular features; the GELU acts on a and b."""

    symmetry: Symmetry = "c4h"
    widen: MirrorLinear
    narrow: MirrorLinear

    def forward(self, x: Tensor) -> Tensor:
        """Map features (2, …, features/2), shape kept."""
        a, b = crossed(*self.widen.parts(x[0], x[1], after=HALF_ROOT))
        even, odd = crossed(self._hidden(a), self._hidden(b))
        out: Tensor = self.dropout(torch.stack(self.narrow.parts(even, odd, before=HALF_ROOT)))
        return out

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
        self, attention: WindowAttention, features: int, mlp_ratio: int = 4, *,
        pre_norm: bool = False, dropout: float = 0.0, drop_path: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.symmetry = symmetry = attention.symmetry
        self.pre_norm = pre_norm
        self.attention = attention
        self.attention_norm = norm(symmetry, features)
        self.mlp = mlp(symmetry, features, mlp_ratio, dropout)
        self.mlp_norm = norm(symmetry, features)
        self.drop_path = DropPath(drop_path, batch_axis=1 if symmetry == "c4h" else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to features in window order."""
        if self.pre_norm:
            x = self._add(x, self.attention(self.attention_norm(x)))
            return self._add(x, self.mlp(self.mlp_norm(x)))
        x = self._add(x, self.attention_norm(self.attention(x)))
        return self._add(x, self.mlp_norm(self.mlp(x)))

    def _add(self, x: Tensor, branch: Tensor) -> Tensor:
        kept: Tensor = self.drop_path(branch)
        return x + kept


def earth_block(
    symmetry: Symmetry, grid: TokenGrid, features: int, heads: int, shift: WindowShift | None,
    mlp_ratio: int = 4,
) -> Block:  # fmt: skip
    """Build PEAR's block: a free position bias, post-norm, no dropout."""
    kind = MirrorAttention if symmetry == "c4h" else WindowAttention
    pairs = 2 if symmetry == "c4h" else 1
    bias = EarthBias(grid, heads // pairs)
    return Block(kind(grid, features, heads, bias, shift), features, mlp_ratio)
