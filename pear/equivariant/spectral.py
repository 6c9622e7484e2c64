"""Mixing of tokens on the whole sphere by zonal filters, depth by depth.

Tokens of one depth are analysed into spherical harmonics by the pseudo-inverse of the synthesis,
each degree l is multiplied by numbers of its own, and what comes out is summed at the tokens again:

    f′ = S W S⁺ f + V f + B f₋ + A f₊,

with W one matrix or one number a feature for each degree, the same for all orders m; V for what
lies beyond the largest degree; B and A for the tokens below and above. Every token hears all others
of its depth. Spherical Fourier neural operators (Bonev et al., arXiv 2306.03838) do this on
latitudes and longitudes.

The layers keep the symmetries of the grid exactly, since S⁺ is unique and thus commutes with them,
and all rotations of features that are band-limited. A zonal filter keeps reflections too, so that
for regular features (``"c4h"``) the even and the odd part are filtered each by itself.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.linear import Symmetry, check_features
from pear.equivariant.spherical import harmonic_tables
from pear.equivariant.window_shift import from_windows, to_windows
from pear.sphere.harmonics import filtered_degree
from pear.sphere.healpix import BASE_PIXELS
from pear.sphere.windows import TokenGrid


class SpectralConv(nn.Module):
    """Zonal convolution of tokens, a matrix for each degree.

    (batch, window, slot, input) to (batch, window, slot, output), or with symmetry ``"c4h"``
    (2, batch, window, slot, input/2) to (2, batch, window, slot, output/2).

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    grid
        Tokens and windows; the largest degree is
        :func:`pear.sphere.harmonics.filtered_degree` of its nside.
    inputs, outputs
        Widths.

    Raises
    ------
    ValueError
        If the grid does not cover the whole sphere, or a width does not fit the symmetry.

    Examples
    --------
    >>> from pear.equivariant.spectral import SpectralConv
    >>> grid = TokenGrid(nside=2, depths=2)
    >>> tuple(SpectralConv("c4h", grid, 4, 6)(torch.zeros(2, 1, 12, 8, 2)).shape)
    (2, 1, 12, 8, 3)
    """

    synthesis: Tensor
    analysis: Tensor

    def __init__(self, symmetry: Symmetry, grid: TokenGrid, inputs: int, outputs: int) -> None:
        super().__init__()
        self._build(symmetry, grid, check_features(symmetry, inputs), outputs)

    def _build(self, symmetry: Symmetry, grid: TokenGrid, inputs: int, outputs: int) -> None:
        """Draw weights (part, …, output, input), with one input for numbers a feature."""
        if grid.base_pixels != BASE_PIXELS:
            raise ValueError(f"harmonics need all 12 base pixels, got {grid.base_pixels}")
        self.symmetry: Symmetry = symmetry
        self.grid = grid
        check_features(symmetry, outputs)
        parts = 2 if symmetry == "c4h" else 1
        shape = outputs // parts, max(1, inputs // parts)
        self.degrees = filtered_degree(grid.nside) + 1
        terms = 4 if grid.depths > 1 else 2
        scale = (terms * shape[1]) ** -0.5
        self.filter = nn.Parameter(scale * torch.randn(parts, self.degrees, *shape))
        self.pointwise = nn.Parameter(scale * torch.randn(parts, *shape))
        self.vertical = nn.Parameter(scale * torch.randn(2, parts, *shape)) if terms == 4 else None
        self.bias = nn.Parameter(torch.zeros(outputs // parts))
        synthesis, analysis = harmonic_tables(grid.nside, self.degrees - 1)
        self.register_buffer("synthesis", synthesis, persistent=False)
        self.register_buffer("analysis", analysis, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve tokens in window order."""
        if self.symmetry == "r":
            return self._mix(x, 0)
        return torch.stack([self._mix(each, part) for part, each in enumerate(x.unbind(0))])

    def _mix(self, x: Tensor, part: int) -> Tensor:
        """Mix the plain features, or the even or odd part of regular ones."""
        tokens = from_windows(x, self.grid)
        coefficients = self.analysis.to(x.dtype) @ tokens
        out = self.synthesis.to(x.dtype) @ self._by_degree(coefficients, self.filter[part])
        out = out + self._map(tokens, self.pointwise[part])
        if part == 0:  # of the odd part a bias would not change its sign
            out = out + self.bias
        if self.vertical is not None:
            below, above = self.vertical[:, part]
            out = torch.cat([out[:, :1], out[:, 1:] + self._map(tokens[:, :-1], below)], 1)
            out = torch.cat([out[:, :-1] + self._map(tokens[:, 1:], above), out[:, -1:]], 1)
        return to_windows(out, self.grid)

    def _by_degree(self, coefficients: Tensor, weight: Tensor) -> Tensor:
        sizes = [2 * degree + 1 for degree in range(self.degrees)]
        parts = torch.split(coefficients, sizes, -2)
        return torch.cat([functional.linear(f, w) for f, w in zip(parts, weight, strict=True)], -2)

    def _map(self, tokens: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(tokens, weight)


class DepthwiseSpectral(SpectralConv):
    """Zonal convolution of tokens, a number for each degree and feature; shape kept.

    Features are not mixed.

    Parameters
    ----------
    symmetry, grid
        As in :class:`SpectralConv`.
    features
        Width.

    Raises
    ------
    ValueError
        As in :class:`SpectralConv`.

    Examples
    --------
    >>> from pear.equivariant.spectral import DepthwiseSpectral
    >>> grid = TokenGrid(nside=2, depths=2)
    >>> layer = DepthwiseSpectral("r", grid, 6)  # degrees 0 to 4
    >>> tuple(layer(torch.zeros(1, 12, 8, 6)).shape), sum(p.numel() for p in layer.parameters())
    ((1, 12, 8, 6), 54)
    """

    degree: Tensor

    def __init__(self, symmetry: Symmetry, grid: TokenGrid, features: int) -> None:
        nn.Module.__init__(self)
        self._build(symmetry, grid, 1, features)
        degrees = np.arange(self.degrees)
        degree = torch.from_numpy(np.repeat(degrees, 2 * degrees + 1))
        self.register_buffer("degree", degree, persistent=False)

    def _by_degree(self, coefficients: Tensor, weight: Tensor) -> Tensor:
        return coefficients * weight[self.degree, :, 0]

    def _map(self, tokens: Tensor, weight: Tensor) -> Tensor:
        return tokens * weight[:, 0]
