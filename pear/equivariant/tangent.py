"""Layers on scalars and winds that do not depend on the choice of a frame in each cell.

A wind is one complex number w = u + iv per cell and channel, in the frame of that cell; turning the
frame by φ turns it to e^{iφ}w. Winds of neighbours are carried along the links of
:mod:`pear.sphere.transport` before they are added, and directions are bearings, which turn with the
frame like winds: a layer from these keeps every rotation of every frame (Cohen et al., Gauge
equivariant convolutional networks, arXiv 1902.04615; Favoni et al., arXiv 2012.12901).

Weights belong to the eight neighbours by their place in the stencil, which the rotation R of the
grid keeps. The mirror M exchanges north and south, conjugates winds, links and bearings, and
changes the sign of some scalars (vorticity is one); it is kept by weights of neighbours k and σ(k)
that are conjugates of each other up to the signs. In particular all real, symmetric ones.

Scalars are (…, scalar, cell), real; winds (…, wind, cell), complex.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.linear import SYMMETRIES, Symmetry
from pear.sphere.healpix import neighbours
from pear.sphere.transport import bearings, links
from pear.sphere.vectors import cell_frames

MIRRORED: Final = (2, 1, 0, 7, 6, 5, 4, 3)
"""Neighbour that the mirror exchanges with each of SW, W, NW, N, NE, E, SE, S."""
_NEIGHBOURS: Final = len(MIRRORED)
_SMALL: Final = 1e-12


@dataclass(frozen=True)
class TangentChannels:
    """Channels on each side of a layer.

    Attributes
    ----------
    signs
        Sign of each scalar under the mirror: 1, or -1 as for vorticity.
    winds
        Number of winds.

    Raises
    ------
    ValueError
        If a sign is not ±1, or the number of winds is negative.
    """

    signs: tuple[int, ...] = ()
    winds: int = 0

    def __post_init__(self) -> None:
        if any(sign not in (1, -1) for sign in self.signs):
            raise ValueError(f"signs of scalars must be 1 or -1, got {self.signs}")
        if self.winds < 0:
            raise ValueError(f"the number of winds must not be negative, got {self.winds}")

    @property
    def scalars(self) -> int:
        """Number of scalars."""
        return len(self.signs)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Neighbours of each cell with their links and bearings.

    Attributes
    ----------
    cells
        (8, cell), index of each neighbour; any cell for a missing one.
    links, bearings
        (8, cell) complex, 0 for a missing neighbour, see :mod:`pear.sphere.transport`.
    nearness
        (8, cell), √(area of a cell) / distance; 0 for a missing neighbour.
    """

    cells: Tensor
    links: Tensor
    bearings: Tensor
    nearness: Tensor

    @classmethod
    def of(cls, nside: int) -> Surroundings:
        """Return those of the geographic frames.

        Parameters
        ----------
        nside
            Resolution, a power of two.

        Returns
        -------
        Surroundings
            In double precision.
        """
        around = neighbours(nside)
        cells = np.ascontiguousarray(np.maximum(around, 0).T)
        xyz = cell_frames(nside).positions()
        chord = np.linalg.norm(xyz[:, None] - xyz[:, cells], axis=0)
        distance = 2 * np.arcsin(np.where(around.T >= 0, chord / 2, 1.0))
        near = np.where(around.T >= 0, np.sqrt(np.pi / 3) / nside / distance, 0.0)
        tables = (links(nside).T.copy(), bearings(nside).T.copy(), near)
        return cls(torch.from_numpy(cells), *map(torch.from_numpy, tables))


class TangentConv(nn.Module):
    """Linear map of scalars and winds of a cell and its neighbours.

    With q the neighbour k of cell p, g the link from q to p and β the bearing of q from p,

    w′_p = a w_p + Σ_k [a_k g w_q + c_k β² conj(g w_q) + β (b_k s_q + b°_k s_p)],
    s′_p = d s_p + Σ_k [d_k s_q + Re(conj(β) (e_k g w_q + e°_k w_p))] + bias.

    The terms e include divergence (real e) and vorticity (imaginary e), the terms b gradients of
    scalars: with e° = −e and b° = −b they are differences, without which a uniform wind would
    diverge wherever the cells around are not a regular lattice.

    Parameters
    ----------
    nside
        Resolution, a power of two.
    source, target
        Channels before and after.
    symmetry
        ``"c4h"`` ties the weights of mirrored neighbours; ``"r"`` leaves all free, which keeps the
        rotation alone.
    falloff
        Neighbours count as (typical distance / distance) to this power.

    Attributes
    ----------
    wind_wind, flipped, wind_scalar
        a (target wind, source wind, 9, 2), the cell itself first; c (…, 8, 2); b, then b°
        (target wind, source scalar, 16, 2): real and imaginary parts.
    scalar_scalar, scalar_wind
        d (target scalar, source scalar, 9); e, then e° (target scalar, source wind, 16, 2).
    bias
        Of each target scalar of sign 1; with ``"r"`` of each.

    Raises
    ------
    ValueError
        If the symmetry is unknown.

    Examples
    --------
    >>> from pear.equivariant.tangent import TangentChannels, TangentConv
    >>> layer = TangentConv(4, TangentChannels((1,), winds=2), TangentChannels((1, -1), winds=3))
    >>> scalars, winds = layer(torch.randn(5, 1, 192), torch.randn(5, 2, 192) + 0j)
    >>> tuple(scalars.shape), tuple(winds.shape), winds.is_complex()
    ((5, 2, 192), (5, 3, 192), True)
    """

    around: Tensor
    links: Tensor
    bearings: Tensor
    biased: Tensor
    nearness: Tensor

    def __init__(
        self,
        nside: int,
        source: TangentChannels,
        target: TangentChannels,
        symmetry: Symmetry = "c4h",
        falloff: float = 0.0,
    ) -> None:
        super().__init__()
        if symmetry not in SYMMETRIES:
            raise ValueError(f"unknown symmetry {symmetry!r}; known: {', '.join(SYMMETRIES)}")
        self.source, self.target, self.symmetry = source, target, symmetry
        near = Surroundings.of(nside)
        self.register_buffer("around", near.cells, persistent=False)
        for name, table in (("links", near.links), ("bearings", near.bearings)):
            self.register_buffer(name, torch.view_as_real(table), persistent=False)
        # Zero to the power of 0 would count neighbours that do not exist.
        near_enough = torch.where(near.nearness > 0, near.nearness**falloff, 0.0)
        self.register_buffer("nearness", near_enough, persistent=False)
        places, pair = _NEIGHBOURS + 1, 2 * _NEIGHBOURS
        self.wind_wind = nn.Parameter(torch.empty(target.winds, source.winds, places, 2))
        self.flipped = nn.Parameter(torch.empty(target.winds, source.winds, _NEIGHBOURS, 2))
        self.wind_scalar = nn.Parameter(torch.empty(target.winds, source.scalars, pair, 2))
        self.scalar_scalar = nn.Parameter(torch.empty(target.scalars, source.scalars, places))
        self.scalar_wind = nn.Parameter(torch.empty(target.scalars, source.winds, pair, 2))
        fan = places * (source.scalars + 2 * source.winds)
        for parameter in self.parameters():
            # Keeps the unit variance of the inputs.
            nn.init.normal_(parameter, std=fan**-0.5 if fan else 0.0)
        biased = [sign > 0 or symmetry == "r" for sign in target.signs]
        self.bias = nn.Parameter(torch.zeros(sum(biased)))
        self.register_buffer("biased", torch.tensor(biased, dtype=torch.bool), persistent=False)

    def forward(
        self,
        scalars: Tensor,
        winds: Tensor,
        links: Tensor | None = None,
        bearings: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Map scalars (…, scalar, cell) and winds (…, wind, cell).

        Parameters
        ----------
        scalars, winds
            Real and complex, the same leading axes; either may have no channels.
        links, bearings
            (8, cell) complex, of other frames; default: of the geographic ones.

        Returns
        -------
        scalars, winds : Tensor
            Target channels.
        """
        link = self._table(self.links, winds) if links is None else links
        bearing = self._table(self.bearings, winds) if bearings is None else bearings
        near = self.nearness.to(scalars.dtype)
        carried = near * link * winds[..., self.around]  # (…, wind, 8, cell)
        own = near * winds[..., None, :]
        beside = near * scalars[..., self.around]
        seen = torch.cat([bearing.conj() * carried, bearing.conj() * own], -2)
        steps = torch.cat([bearing * beside, bearing * near * scalars[..., None, :]], -2)
        return (
            self._to_scalars(scalars, beside, seen),
            self._to_winds(winds, carried, bearing, steps),
        )

    def _to_scalars(self, scalars: Tensor, beside: Tensor, seen: Tensor) -> Tensor:
        signs, ours = self.target.signs, self.source.signs
        if not signs:
            return scalars[..., :0, :]
        plain = self._tied(self.scalar_scalar, signs, ours)
        taps = torch.cat([scalars[..., None, :], beside], -2)
        out = plain.flatten(1) @ taps.flatten(-3, -2)
        # Re(e z) of winds that are seen along the bearing: both numbers turn with no frame.
        weight = self._tied(self.scalar_wind, signs, (1,) * self.source.winds)
        real, imaginary = weight.flatten(1, 2).unbind(-1)
        z = seen.flatten(-3, -2)
        out = out + real @ z.real - imaginary @ z.imag
        if self.bias.numel():
            bias = self.bias.new_zeros(self.target.scalars).masked_scatter(self.biased, self.bias)
            out = out + bias[:, None]
        return out

    def _to_winds(self, winds: Tensor, carried: Tensor, bearing: Tensor, steps: Tensor) -> Tensor:
        if not self.target.winds:
            return winds[..., :0, :]
        ones = (1,) * self.target.winds
        weights = [
            self._tied(self.wind_wind, ones, (1,) * self.source.winds),
            self._tied(self.flipped, ones, (1,) * self.source.winds),
            self._tied(self.wind_scalar, ones, self.source.signs),
        ]
        taps = [
            torch.cat([winds[..., None, :], carried], -2),
            bearing**2 * carried.conj(),
            steps,
        ]
        weight = torch.cat([torch.view_as_complex(each).flatten(1) for each in weights], -1)
        return weight @ torch.cat([tap.flatten(-3, -2) for tap in taps], -2)

    def _tied(self, weight: Tensor, target: Sequence[int], source: Sequence[int]) -> Tensor:
        """Return the part of weights (target, source, place[, 2]) that keeps the symmetry."""
        if self.symmetry == "r":
            return weight.contiguous()
        first = weight.shape[2] % _NEIGHBOURS  # 1 where the cell itself comes first
        blocks = range(first, weight.shape[2], _NEIGHBOURS)
        mirrored = weight[:, :, [*range(first), *(start + k for start in blocks for k in MIRRORED)]]
        if weight.dim() == 4:
            mirrored = mirrored * mirrored.new_tensor([1.0, -1.0])
        signs = weight.new_tensor(target)[:, None] * weight.new_tensor(source)
        return 0.5 * (weight + mirrored * signs.view(*signs.shape, *[1] * (weight.dim() - 2)))

    def _table(self, table: Tensor, winds: Tensor) -> Tensor:
        return torch.view_as_complex(table.contiguous()).to(winds.dtype)


class TangentGate(nn.Module):
    """Non-linearity: invariants gate what is not one, GELU acts on scalars of sign 1.

    Invariants are the scalars of sign 1 and the speeds |w|. Winds become w tanh|w|/|w| times a
    gate, the sigmoid of a linear map of the invariants; scalars of sign -1 are multiplied by
    another gate.

    Parameters
    ----------
    channels
        Channels, kept.

    Examples
    --------
    >>> from pear.equivariant.tangent import TangentChannels, TangentGate
    >>> gate = TangentGate(TangentChannels((1, -1), winds=1))
    >>> scalars, winds = gate(torch.ones(2, 48), torch.full((1, 48), 3 + 4j))
    >>> bool(winds.abs().max() < 1), bool(torch.allclose(winds.angle(), torch.tensor(0.9273)))
    (True, True)
    """

    even: Tensor
    odd: Tensor

    def __init__(self, channels: TangentChannels) -> None:
        super().__init__()
        signs = torch.tensor(channels.signs, dtype=torch.int64)
        self.register_buffer("even", torch.nonzero(signs > 0)[:, 0], persistent=False)
        self.register_buffer("odd", torch.nonzero(signs < 0)[:, 0], persistent=False)
        gates = channels.winds + len(self.odd)
        self.linear = nn.Linear(len(self.even) + channels.winds, gates)

    def forward(self, scalars: Tensor, winds: Tensor) -> tuple[Tensor, Tensor]:
        """Map scalars and winds, shapes kept."""
        size = speed(winds)
        even = scalars[..., self.even, :]
        invariants = torch.cat([even, size], -2)
        gates = torch.sigmoid(self.linear(invariants.mT)).mT
        count = winds.shape[-2]
        kept = torch.empty_like(scalars)
        kept[..., self.even, :] = functional.gelu(even)
        kept[..., self.odd, :] = scalars[..., self.odd, :] * gates[..., count:, :]
        return kept, winds * (gates[..., :count, :] * torch.tanh(size) / size)


class TangentNorm(nn.Module):
    """Division of all winds of a cell by the root mean square of their speeds; scalars are kept.

    A norm of the components u and v would depend on the frame.
    """

    def forward(self, scalars: Tensor, winds: Tensor) -> tuple[Tensor, Tensor]:
        """Map scalars and winds, shapes kept."""
        square = (winds.real**2 + winds.imag**2).mean(-2, keepdim=True)
        return scalars, winds * torch.rsqrt(square + _SMALL)


def speed(winds: Tensor) -> Tensor:
    """Return |w|, smooth where the wind is zero.

    Parameters
    ----------
    winds
        Complex.

    Returns
    -------
    Tensor
        Real, positive.
    """
    return torch.sqrt(winds.real**2 + winds.imag**2 + _SMALL)
