"""Convolutions on HEALPix cells by the stencil that all cells share.

For plain features (symmetry ``"r"``) the convolution is f′(c) = Σ_k K_k f(nb_k(c)) over the cell
and its eight neighbours (:mod:`pear.sphere.stencils`). For regular features (``"c4h"``) it is

    a′ = Σ_k κ⁰_k a(nb_k) + κ¹_k b(nb_k),    b′ = Σ_k κ¹_{μ(k)} a(nb_k) + κ⁰_{μ(k)} b(nb_k).

In the e/o basis of :mod:`pear.equivariant.linear` the part of a kernel that is even under μ maps e
to e and o to o, its odd part maps between them: with K^e = κ⁰ + κ¹ and K^o = κ⁰ − κ¹,

    e′ = K^e₊ e + K^o₋ o,    o′ = K^e₋ e + K^o₊ o,    K_± = (K ± K∘μ)/2,

with free K^e, K^o. Neighbours are at the same depth. On grids with depths two more taps, which the
mirror does not move, read the tokens above and below: without them a network of stencils would
never mix depths.

The tokens are gathered once into base pixels with halos, on which the stencil is an ordinary
correlation, several times faster than nine gathers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.linear import Symmetry, check_features
from pear.sphere.healpix import BASE_PIXELS
from pear.sphere.stencils import halo
from pear.sphere.windows import TokenGrid


class Halos(nn.Module):
    """Tokens in window order to base pixels with halos, and correlations back to window order.

    Parameters
    ----------
    grid
        Tokens and windows.

    Raises
    ------
    ValueError
        If the grid does not cover the whole sphere.
    """

    source: Tensor
    target: Tensor
    missing: Tensor

    def __init__(self, grid: TokenGrid) -> None:
        super().__init__()
        self.grid = grid
        source, target = (torch.from_numpy(table.copy()) for table in halo(grid))
        self.register_buffer("source", source.clamp(min=0), persistent=False)
        self.register_buffer("target", target, persistent=False)
        self.register_buffer("missing", torch.nonzero(source < 0)[:, 0], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, window, slot, feature) as (batch, depth, face, y, x, feature)."""
        side = self.grid.nside + 2
        rows = x.flatten(1, 2).index_select(1, self.source).index_fill_(1, self.missing, 0.0)
        return rows.view(len(x), self.grid.depths, BASE_PIXELS, side, side, x.shape[-1])

    def correlate(self, halos: Tensor, kernel: Tensor) -> Tensor:
        """Correlate what :meth:`forward` returns with kernels.

        Parameters
        ----------
        halos
            (batch, depth, face, y, x, input).
        kernel
            (output, input, 3, 3), or (output, 1, 3, 3) for one kernel a feature.

        Returns
        -------
        Tensor
            (batch, depth, token, output) with tokens ordered by face, y, x.
        """
        # Rows of features, as they lie in memory, are images with channels last.
        images = halos.flatten(0, 2).movedim(-1, 1)
        groups = images.shape[1] // kernel.shape[1]
        out = functional.conv2d(images, kernel, groups=groups).movedim(1, -1)
        return out.reshape(len(halos), self.grid.depths, self.grid.tokens, -1)

    def to_windows(self, x: Tensor) -> Tensor:
        """Return (batch, depth, token, feature), ordered by face, y, x, in window order."""
        rows = x.flatten(1, 2).index_select(1, self.target)
        return rows.view(len(x), self.grid.windows, self.grid.slots, -1)


class StencilConv(nn.Module):
    """Convolution of tokens with their neighbours, a matrix a neighbour.

    (batch, window, slot, input) to (batch, window, slot, output), or with symmetry ``"c4h"``
    (2, batch, window, slot, input/2) to (2, batch, window, slot, output/2).

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    grid
        Tokens and windows.
    inputs, outputs
        Widths.

    Raises
    ------
    ValueError
        If the grid does not cover the whole sphere, or a width does not fit the symmetry.

    Examples
    --------
    >>> from pear.equivariant.stencil import StencilConv
    >>> grid = TokenGrid(nside=2, depths=2)
    >>> tuple(StencilConv("c4h", grid, 4, 6)(torch.zeros(2, 1, 12, 8, 2)).shape)
    (2, 1, 12, 8, 3)
    """

    def __init__(self, symmetry: Symmetry, grid: TokenGrid, inputs: int, outputs: int) -> None:
        super().__init__()
        self._build(symmetry, grid, check_features(symmetry, inputs), outputs)

    def _build(self, symmetry: Symmetry, grid: TokenGrid, inputs: int, outputs: int) -> None:
        """Draw kernels (part, output, input, …) with one input for kernels a feature."""
        self.symmetry: Symmetry = symmetry
        self.halos = Halos(grid)
        check_features(symmetry, outputs)
        parts = 2 if symmetry == "c4h" else 1
        taps = 11 if grid.depths > 1 else 9
        shape = parts, outputs // parts, max(1, inputs // parts)
        # Each part of the input is read by an even and an odd kernel, which sum to the drawn one.
        scale = (taps * shape[2]) ** -0.5
        self.kernel = nn.Parameter(scale * torch.randn(*shape, 3, 3))
        self.vertical = nn.Parameter(scale * torch.randn(2, *shape)) if grid.depths > 1 else None
        self.bias = nn.Parameter(torch.zeros(outputs // parts))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve tokens in window order."""
        if self.symmetry == "r":
            halos = self.halos(x)
            out = self.halos.correlate(halos, self.kernel[0]) + self.bias
            return self.halos.to_windows(self._add_vertical(out, halos, 0))
        even, odd = (self.halos(part) for part in x.unbind(0))
        straight, crossed = even_and_odd(self.kernel)
        correlate = self.halos.correlate
        e = correlate(even, straight[0]) + correlate(odd, crossed[1]) + self.bias
        o = correlate(odd, straight[1]) + correlate(even, crossed[0])
        both = self._add_vertical(e, even, 0), self._add_vertical(o, odd, 1)
        return torch.stack([self.halos.to_windows(part) for part in both])

    def _add_vertical(self, out: Tensor, halos: Tensor, part: int) -> Tensor:
        """Add what the tokens below and above give."""
        if self.vertical is None:
            return out
        tokens = halos[..., 1:-1, 1:-1, :].flatten(2, 4)
        below, above = self.vertical[:, part]
        out = torch.cat([out[:, :1], out[:, 1:] + self._map(tokens[:, :-1], below)], 1)
        return torch.cat([out[:, :-1] + self._map(tokens[:, 1:], above), out[:, -1:]], 1)

    def _map(self, tokens: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(tokens, weight)


class DepthwiseStencil(StencilConv):
    """Convolution of tokens with their neighbours, a number for every neighbour and feature.

    Shape kept. Features are not mixed, but for the two parts of regular ones.

    Parameters
    ----------
    symmetry, grid
        As in :class:`StencilConv`.
    features
        Width.

    Raises
    ------
    ValueError
        As in :class:`StencilConv`.

    Examples
    --------
    >>> from pear.equivariant.stencil import DepthwiseStencil
    >>> grid = TokenGrid(nside=2, depths=2)
    >>> layer = DepthwiseStencil("r", grid, 6)
    >>> tuple(layer(torch.zeros(1, 12, 8, 6)).shape), sum(p.numel() for p in layer.parameters())
    ((1, 12, 8, 6), 72)
    """

    def __init__(self, symmetry: Symmetry, grid: TokenGrid, features: int) -> None:
        nn.Module.__init__(self)
        self._build(symmetry, grid, 1, features)

    def _map(self, tokens: Tensor, weight: Tensor) -> Tensor:
        return tokens * weight[:, 0]


class StencilLifting(nn.Module):
    """Fields to features of their cells: a′ = Σ_k K_k f(nb_k), b′ = Σ_k K_{μ(k)} s f(nb_k).

    (batch, channel, cell) to (batch, window, slot, feature), or with symmetry ``"c4h"`` to
    (2, batch, window, slot, feature/2).

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    grid
        Cells in window order: a grid of one depth.
    signs
        Sign s of each channel under the mirror.
    features
        Width.

    Raises
    ------
    ValueError
        If the grid has several depths or does not cover the whole sphere, or the width does not
        fit the symmetry.

    Examples
    --------
    >>> from pear.equivariant.stencil import StencilLifting
    >>> grid = TokenGrid(nside=2, depths=1, window=4, window_depth=1)
    >>> tuple(StencilLifting("c4h", grid, (1, -1), 6)(torch.zeros(5, 2, 48)).shape)
    (2, 5, 12, 4, 3)
    """

    signs: Tensor

    def __init__(
        self, symmetry: Symmetry, grid: TokenGrid, signs: Sequence[int], features: int
    ) -> None:
        super().__init__()
        if grid.depths != 1:
            raise ValueError(f"fields are lifted to one depth, got {grid.depths}")
        self.symmetry: Symmetry = symmetry
        self.halos = Halos(grid)
        width = check_features(symmetry, features) // (2 if symmetry == "c4h" else 1)
        shape = width, len(signs), 3, 3
        self.kernel = nn.Parameter(torch.randn(shape) / (9 * len(signs)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(width))
        numbers = torch.tensor(signs, dtype=torch.float32)
        self.register_buffer("signs", numbers[:, None, None], persistent=False)

    def forward(self, f: Tensor) -> Tensor:
        """Lift fields to regular features, or map them to plain ones."""
        grid = self.halos.grid
        # In window order a single depth is in nested order.
        halos = self.halos(f.mT.reshape(len(f), grid.windows, grid.slots, -1))
        if self.symmetry == "r":
            return self.halos.to_windows(self.halos.correlate(halos, self.kernel) + self.bias)
        mirrored = self.signs * mirrored_kernel(self.kernel)
        e = self.halos.correlate(halos, (self.kernel + mirrored) * 0.5**0.5) + self.bias
        o = self.halos.correlate(halos, (self.kernel - mirrored) * 0.5**0.5)
        return torch.stack([self.halos.to_windows(part) for part in (e, o)])


def mirrored_kernel(kernel: Tensor) -> Tensor:
    """Return K_{μ(k)}: the mirror takes the step (x, y) to (−y, −x).

    Parameters
    ----------
    kernel
        (…, y, x), 3×3.

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> from pear.equivariant.stencil import mirrored_kernel
    >>> mirrored_kernel(torch.arange(9).view(3, 3)).tolist()
    [[8, 5, 2], [7, 4, 1], [6, 3, 0]]
    """
    return kernel.mT.flip(-2, -1)


def even_and_odd(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts of 3×3 kernels that keep, and that change, their sign under μ."""
    mirrored = mirrored_kernel(kernel)
    return (kernel + mirrored) / 2, (kernel - mirrored) / 2
