"""Convolutions of fields on the sphere by zonal filters, in coefficients of spherical harmonics.

A zonal filter multiplies each degree of a field by numbers of its own, f′_l = W_l f_l: these are
all the linear maps between scalar fields that commute with rotations (Schur's lemma). Fields on
cells are analysed by the pseudo-inverse of the synthesis, so that

- rotations of fields that are band-limited to the largest degree are exact, to rounding;
- the symmetries of the grid are exact on any field, since the pseudo-inverse is unique and
  therefore commutes with them.

Pointwise functions make degrees beyond the largest one, which the grid takes for lower ones. Under
rotations that are not symmetries of the grid a network is therefore exact up to its
non-linearities; :class:`SampledActivation` says how much that is.

Coefficients are (…, channel, (lmax + 1)²), those of real harmonics real.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.sphere.harmonics import analysis, synthesis


class Synthesis(nn.Module):
    """Coefficients (…, (lmax + 1)²) of real harmonics to fields (…, cell).

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Largest degree, at most 2 nside.

    Examples
    --------
    >>> from pear.equivariant.spherical import Analysis, Synthesis
    >>> c = torch.randn(2, 3, 25, dtype=torch.float64)
    >>> field = Synthesis(2, 4)(c)
    >>> tuple(field.shape), torch.allclose(Analysis(2, 4)(field), c)
    ((2, 3, 48), True)
    """

    table: Tensor

    def __init__(self, nside: int, lmax: int) -> None:
        super().__init__()
        self.register_buffer("table", harmonic_tables(nside, lmax)[0], persistent=False)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Sum the harmonics at the cell centres."""
        # Kept in float64, so that a layer in double precision is exact to its rounding.
        return coefficients @ self.table.to(coefficients.dtype).mT


class Analysis(nn.Module):
    """Fields (…, cell) to coefficients (…, (lmax + 1)²) of real harmonics, by the pseudo-inverse.

    Parameters
    ----------
    nside, lmax
        As in :class:`Synthesis`.
    """

    table: Tensor

    def __init__(self, nside: int, lmax: int) -> None:
        super().__init__()
        self.register_buffer("table", harmonic_tables(nside, lmax)[1], persistent=False)

    def forward(self, field: Tensor) -> Tensor:
        """Return the coefficients whose field is nearest in the mean square."""
        return field @ self.table.to(field.dtype).mT


class ZonalConv(nn.Module):
    """Convolution by zonal filters, f′_l = W_l f_l, on coefficients; exact for every rotation.

    (…, input, (lmax + 1)²) to (…, output, (lmax + 1)²).

    Parameters
    ----------
    lmax
        Largest degree.
    inputs, outputs
        Channels.

    Examples
    --------
    >>> from pear.equivariant.spherical import ZonalConv
    >>> tuple(ZonalConv(4, 3, 5)(torch.zeros(2, 3, 25)).shape)
    (2, 5, 25)
    """

    def __init__(self, lmax: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(lmax + 1, outputs, inputs) / inputs**0.5)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Filter each degree."""
        sizes = [2 * degree + 1 for degree in range(len(self.weight))]
        parts = torch.split(coefficients.mT, sizes, -2)
        weights = self.weight.to(coefficients.dtype)
        return torch.cat([part @ w.mT for part, w in zip(parts, weights, strict=True)], -2).mT


class SphereMixing(nn.Module):
    """Zonal convolution of fields, plus a linear map in each cell of the unfiltered field.

    (batch, input, cell) to (batch, output, cell). The second map lets through what lies beyond the
    largest degree.

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Largest degree, at most 2 nside.
    inputs, outputs
        Channels.

    Examples
    --------
    >>> from pear.equivariant.spherical import SphereMixing
    >>> tuple(SphereMixing(2, 3, 1, 5)(torch.zeros(2, 1, 48)).shape)
    (2, 5, 48)
    """

    def __init__(self, nside: int, lmax: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.analysis, self.synthesis = Analysis(nside, lmax), Synthesis(nside, lmax)
        self.filter = ZonalConv(lmax, inputs, outputs)
        self.pointwise = nn.Linear(inputs, outputs)

    def forward(self, field: Tensor) -> Tensor:
        """Convolve fields."""
        out: Tensor = self.synthesis(self.filter(self.analysis(field)))
        beside: Tensor = self.pointwise(field.mT)
        return out + beside.mT


class SampledActivation(nn.Module):
    """A pointwise function of a signal that is given by coefficients: synthesis, σ, analysis.

    On the sphere or on the rotations. It commutes with those symmetries of the samples that are
    rotations exactly, with others as far as the samples resolve σ(f). Under these the largest
    error, over the largest value, of GELU on fields of variance 1 with all degrees up to lmax is
    .01 where lmax is 1.5 nside and .02 to .05 where it is 2 nside; that of tanh on signals of
    variance 1 on the rotations, up to degree 4, is .05 on nside 2 and 9 angles, .003 on nside 4 and
    16, .0003 on nside 8 and 32. Of larger values tanh makes more high degrees: thirteen times as
    large the first two are .39 and .08. A lower degree or more samples lower the error.

    Parameters
    ----------
    synthesis, analysis
        Coefficients to samples, and back.
    function
        σ, on real numbers.

    Examples
    --------
    >>> from pear.equivariant.spherical import Analysis, SampledActivation, Synthesis
    >>> layer = SampledActivation(Synthesis(4, 3), Analysis(4, 3), lambda values: 2 * values)
    >>> c = torch.randn(2, 16, dtype=torch.float64)
    >>> torch.allclose(layer(c), 2 * c)
    True
    """

    def __init__(
        self,
        synthesis: nn.Module,
        analysis: nn.Module,
        function: Callable[[Tensor], Tensor] = functional.gelu,
    ) -> None:
        super().__init__()
        self.synthesis, self.analysis, self.function = synthesis, analysis, function

    def forward(self, coefficients: Tensor) -> Tensor:
        """Apply the function; shape kept."""
        out: Tensor = self.analysis(self.function(self.synthesis(coefficients)))
        return out


@lru_cache(maxsize=8)
def harmonic_tables(nside: int, lmax: int) -> tuple[Tensor, Tensor]:
    """Return synthesis (cell, (lmax + 1)²) and analysis ((lmax + 1)², cell), float64."""
    both = synthesis(nside, lmax), analysis(nside, lmax)
    with torch.inference_mode(mode=False):  # the tables may serve a training later
        return torch.from_numpy(both[0].copy()), torch.from_numpy(both[1].copy())
