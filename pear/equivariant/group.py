"""Lifting, convolution and pooling on any finite group, with global kernels.

All in correlation form, [κ ⋆ f](g) = Σ_h κ(g⁻¹h) f(h): these are all the linear maps that commute
with the regular representation (g·f)(h) = f(g⁻¹h) (Cohen and Welling, arXiv 1602.07576). The form
Σ_h f(h)ψ(gh), also printed, turns left translations into right ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pear.sphere.groups import FiniteGroup
from pear.typing import Int64


class GroupConv(nn.Module):
    """Convolution f′(g) = Σ_h κ(g⁻¹h) f(h) + bias: (batch, input, |G|) to (batch, output, |G|).

    Parameters
    ----------
    group
        The group.
    inputs, outputs
        Channels.

    Examples
    --------
    >>> from pear.equivariant.group import GroupConv
    >>> from pear.sphere.groups import dihedral
    >>> tuple(GroupConv(dihedral(3), 2, 4)(torch.randn(1, 2, 6)).shape)
    (1, 4, 6)
    """

    left: Tensor

    def __init__(self, group: FiniteGroup, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(
            torch.randn(group.order, outputs, inputs) / (group.order * inputs) ** 0.5
        )
        # One number per channel: a bias that depended on g would break the symmetry.
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("left", torch.from_numpy(group.left.copy()), persistent=False)

    def forward(self, f: Tensor) -> Tensor:
        """Convolve over the group."""
        return torch.einsum("ghoi,bih->bog", self.kernel[self.left], f) + self.bias[:, None]


class Lifting(nn.Module):
    """Lifting f′(g) = Σ_x κ(ρ(g⁻¹)x) f(x) + bias: (batch, input, |X|) to (batch, output, |G|).

    Parameters
    ----------
    moves
        (|G|, |X|): where each element moves each point, ρ(g)x.
    inputs, outputs
        Channels.

    Raises
    ------
    ValueError
        If an element does not permute the points.

    Examples
    --------
    >>> from pear.equivariant.group import Lifting
    >>> from pear.sphere.groups import cyclic
    >>> turns = cyclic(3).product  # C3 on three points
    >>> tuple(Lifting(turns, 1, 2)(torch.randn(5, 1, 3)).shape)
    (5, 2, 3)
    """

    back: Tensor

    def __init__(self, moves: Int64, inputs: int, outputs: int) -> None:
        super().__init__()
        points = moves.shape[1]
        if not np.array_equal(np.sort(moves, axis=1), np.tile(np.arange(points), (len(moves), 1))):
            raise ValueError("an element of the group does not permute the points")
        self.kernel = nn.Parameter(torch.randn(points, outputs, inputs) / (points * inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        back = np.argsort(moves, axis=1)  # ρ(g⁻¹)x
        self.register_buffer("back", torch.from_numpy(back), persistent=False)

    def forward(self, f: Tensor) -> Tensor:
        """Lift to the group."""
        return torch.einsum("gxoi,bix->bog", self.kernel[self.back], f) + self.bias[:, None]


class GroupPool(nn.Module):
    """The mean over the group, invariant: (batch, channel, |G|) to (batch, channel)."""

    def forward(self, f: Tensor) -> Tensor:
        """Average over the elements."""
        return f.mean(-1)
