"""Winds of a network's tokens: embedded, read by the trunk, changed by it, and recovered.

The trunk of a network works on features that no frame turns. So winds stay outside of it, as
complex features of each token in the frame of the token's centre, and meet it in two tangent
layers: one lets it see the winds of a token and its neighbours along their bearings, the other
turns features into winds along the bearings. Nothing is lost, since winds seen along the bearing of
a neighbour are ordinary numbers and determine the wind; and nothing depends on a frame, since every
step keeps their rotations. Attention, windows, shifts and their fast kernels are used as they are:
the simplest network that is exact in every choice of frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pear.equivariant.linear import INIT_STD, Symmetry, linear
from pear.equivariant.tangent import TangentChannels, TangentConv
from pear.sphere.symmetry import block_mirror
from pear.sphere.transport import ancestor_links


class WindPatches(nn.Module):
    """Linear map between the winds of a patch's cells and those of its token, in either direction.

    Winds are carried between the centre of the patch and its cells. With symmetry ``"c4h"`` the
    weights of cells that the mirror exchanges are conjugates.

    Parameters
    ----------
    symmetry
        Symmetry that is kept.
    nside
        Resolution of the cells.
    cells
        Consecutive nested cells in a patch.
    winds, levels, features
        Winds and levels of a cell, and winds of a token.

    Attributes
    ----------
    weight
        (feature, wind, level, cell of a patch, 2), real and imaginary parts.

    Examples
    --------
    >>> from pear.equivariant.wind_tokens import WindPatches
    >>> patches = WindPatches("c4h", nside=4, cells=4, winds=1, levels=2, features=3)
    >>> tokens = patches.embed(torch.randn(5, 1, 6, 192) + 0j)
    >>> tuple(tokens.shape), tuple(patches.recover(tokens).shape)
    ((5, 3, 3, 48), (5, 1, 6, 192))
    """

    carry: Tensor

    def __init__(
        self, symmetry: Symmetry, nside: int, cells: int, winds: int, levels: int, features: int
    ) -> None:
        super().__init__()
        self.symmetry, self.cells, self.levels = symmetry, cells, levels
        self.mirrored = block_mirror(cells).tolist()
        carry = torch.from_numpy(ancestor_links(nside, nside // math.isqrt(cells)).copy())
        self.register_buffer("carry", torch.view_as_real(carry), persistent=False)
        self.weight = nn.Parameter(torch.empty(features, winds, levels, cells, 2))
        # Keeps the unit variance of both components.
        nn.init.normal_(self.weight, std=max(2 * winds * levels * cells, 1) ** -0.5)

    def embed(self, winds: Tensor) -> Tensor:
        """Map winds of cells (batch, wind, depth·level, cell) to (batch, depth, feature, token)."""
        batch, count, heights, cells = winds.shape
        sizes = heights // self.levels, self.levels, cells // self.cells, self.cells
        tokens = winds * self._carry(winds).conj()
        tokens = tokens.reshape(batch, count, *sizes)
        out: Tensor = torch.einsum("fwlc,bwdltc->bdft", self._weight(), tokens)
        return out

    def recover(self, tokens: Tensor) -> Tensor:
        """Map winds of tokens (batch, depth, feature, token) back to those of cells."""
        out = torch.einsum("fwlc,bdft->bwdltc", self._weight().conj(), tokens)
        out = out.flatten(4).flatten(2, 3)
        return out * self._carry(out)

    def _weight(self) -> Tensor:
        weight = torch.view_as_complex(self.weight)
        if self.symmetry == "r":
            return weight
        return 0.5 * (weight + weight[..., self.mirrored].conj())

    def _carry(self, winds: Tensor) -> Tensor:
        return torch.view_as_complex(self.carry.contiguous()).to(winds.dtype)


class WindTokens(nn.Module):
    """Winds of all tokens, at the surface and aloft, beside the features of a trunk.

    Parameters
    ----------
    symmetry
        Symmetry of the trunk's features.
    nside, cells
        Resolution of the cells, and cells in a patch.
    surface, upper
        Winds of a cell at the surface, and at each level.
    levels
        Levels in a patch.
    width
        Features of the trunk's tokens; what it returns is twice as wide.

    Examples
    --------
    >>> from pear.equivariant.wind_tokens import WindTokens
    >>> tokens = WindTokens("r", 4, 4, surface=1, upper=1, levels=2, width=8)
    >>> winds = tokens.embed(torch.randn(3, 1, 1, 192) + 0j, torch.randn(3, 1, 2, 192) + 0j)
    >>> tuple(winds.shape), tuple(tokens.features(winds).shape)
    ((3, 2, 2, 48), (3, 2, 48, 8))
    """

    def __init__(
        self,
        symmetry: Symmetry,
        nside: int,
        cells: int,
        *,
        surface: int,
        upper: int,
        levels: int,
        width: int,
    ) -> None:
        super().__init__()
        self.symmetry = symmetry
        winds, scalars = max(width // 4, 1), 2 * max(width // 4, 1)
        coarse = nside // math.isqrt(cells)
        ends = (surface, 1), (upper, levels)
        self.embed_surface, self.embed_upper = (
            WindPatches(symmetry, nside, cells, count, depth, winds) for count, depth in ends
        )
        self.enter = TangentConv(
            coarse,
            TangentChannels(winds=winds),
            TangentChannels(self._signs(width)),
            symmetry,
        )
        self.project = linear(symmetry, 2 * width, scalars)
        self.leave = TangentConv(
            coarse,
            TangentChannels(self._signs(scalars), winds),
            TangentChannels(winds=winds),
            symmetry,
        )
        self.recover_surface, self.recover_upper = (
            WindPatches(symmetry, nside, cells, count, depth, winds) for count, depth in ends
        )
        for recovery in (self.recover_surface, self.recover_upper):
            nn.init.trunc_normal_(recovery.weight, std=INIT_STD)

    def zero(self) -> None:
        """Set the recoveries to zero, so that a residual network starts as persistence."""
        for recovery in (self.recover_surface, self.recover_upper):
            nn.init.zeros_(recovery.weight)

    def embed(self, surface: Tensor, upper: Tensor) -> Tensor:
        """Return the winds of tokens.

        Parameters
        ----------
        surface, upper
            (batch, wind, 1, cell) and (batch, wind, depth·level, cell), complex.

        Returns
        -------
        Tensor
            (batch, 1 + depth, feature, token), complex, in the frames of the tokens' centres.
        """
        return torch.cat([self.embed_surface.embed(surface), self.embed_upper.embed(upper)], 1)

    def features(self, winds: Tensor) -> Tensor:
        """Return what the trunk sees of winds, in the form of its features, depth before token."""
        none = winds.real[..., :0, :]
        scalars, _ = self.enter(none, winds)
        tokens: Tensor = scalars.mT
        return tokens if self.symmetry == "r" else torch.stack(tokens.chunk(2, -1))

    def recover(self, features: Tensor, winds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the winds of cells from those of tokens and what the trunk makes of all.

        Parameters
        ----------
        features
            Twice as wide as those of :meth:`features`.
        winds
            From :meth:`embed`.

        Returns
        -------
        surface, upper : Tensor
            As given to :meth:`embed`.
        """
        # Never in half precision, which would round the output of all layers before.
        with torch.autocast(features.device.type, enabled=False):
            x = self.project(features.to(winds.real.dtype))
            scalars = x if self.symmetry == "r" else torch.cat([x[0], x[1]], -1)
            _, out = self.leave(scalars.mT, winds)
            surface = self.recover_surface.recover(out[:, :1])
            return surface, self.recover_upper.recover(out[:, 1:])

    def _signs(self, count: int) -> tuple[int, ...]:
        """Return the sign of each feature: the second half of mirror-regular ones is odd."""
        odd = count // 2 if self.symmetry == "c4h" else 0
        return (1,) * (count - odd) + (-1,) * odd
