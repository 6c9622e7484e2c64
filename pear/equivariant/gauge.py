"""Gauge-equivariant bilinear layers on matrices at the sites of a lattice.

A feature is a complex N × N matrix W per site and channel; a gauge transformation Ω changes it to
Ω†WΩ. Products of matrices at one site keep this, and so do factors that depend on traces alone
(GEBLNet, arXiv 2502.15376; Favoni et al., arXiv 2012.12901).

Tensors are (batch, site, channel, N, N). In the gauge in which the matrices of a site are diagonal
they are (batch, site, channel, N), eigenvalues; every layer takes both forms.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

Norm: TypeAlias = Literal["mean", "abs", "none"]
"""What TrNorm divides by: |mean Tr W|, mean |Tr W|, or nothing."""

_SMALLEST: Final = 1e-3
_FULL: Final = 5  # axes of full matrices


def trace(w: Tensor) -> Tensor:
    """Return the trace of each matrix, without 1/N.

    Parameters
    ----------
    w
        Full matrices or eigenvalues.

    Returns
    -------
    Tensor
        (batch, site, channel), complex.
    """
    if w.dim() == _FULL:
        w = w.diagonal(dim1=-2, dim2=-1)
    return w.sum(-1)


class GEBL(nn.Module):
    """Bilinear layer W′_γ = Σ_{μν} α_γμν W_μ W_ν over the channels [W, W†, 1].

    Parameters
    ----------
    inputs, outputs
        Channels.

    Attributes
    ----------
    weight
        α, (output, 2·input + 1, 2·input + 1), complex; real and imaginary parts N(0, 1/4w²) with
        w = 2·input + 1.

    Examples
    --------
    >>> from pear.equivariant.gauge import GEBL
    >>> w = torch.randn(1, 4, 2, 3, 3, dtype=torch.complex64)
    >>> tuple(GEBL(2, 5)(w).shape)
    (1, 4, 5, 3, 3)
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs, self.width = inputs, outputs, 2 * inputs + 1
        size = (outputs, self.width, self.width)
        parts = (torch.randn(size) / (2 * self.width), torch.randn(size) / (2 * self.width))
        self.weight = nn.Parameter(torch.complex(*parts))

    def forward(self, w: Tensor) -> Tensor:
        """Map (batch, site, input, …) to (batch, site, output, …)."""
        return self._full(w) if w.dim() == _FULL else self._diagonal(w)

    def _diagonal(self, w: Tensor) -> Tensor:
        """Multiply eigenvalues in the basis [Re W, Im W, 1], half the work of [W, W†, 1]."""
        rows = w.transpose(-1, -2)  # channels last
        basis = torch.cat([rows.real, rows.imag, torch.ones_like(rows[..., :1].real)], -1)
        basis = basis.reshape(-1, self.width)
        weight = torch.view_as_real(self._in_parts(self._in_parts(self.weight, 1), 2))
        # First over one channel of the pair: the table of products would be (2c + 1) times larger.
        half = basis @ weight.permute(1, 0, 3, 2).reshape(self.width, -1)
        parts = (half.view(-1, 2 * self.outputs, self.width) * basis[:, None]).sum(-1)
        out = torch.view_as_complex(parts.view(*rows.shape[:-1], self.outputs, 2))
        return out.transpose(-1, -2)

    def _in_parts(self, weight: Tensor, axis: int) -> Tensor:
        """Return coefficients of [Re W, Im W, 1] for those of [W, W†, 1] along an axis."""
        sizes = [self.inputs, self.inputs, 1]
        plain, adjoint, unit = torch.split(weight, sizes, dim=axis)
        return torch.cat([plain + adjoint, 1j * (plain - adjoint), unit], dim=axis)

    def _full(self, w: Tensor) -> Tensor:
        batch, sites, _, n, _ = w.shape
        unit = torch.eye(n, dtype=w.dtype, device=w.device).expand(batch, sites, 1, n, n)
        x = torch.cat([w, w.mH, unit], dim=2)
        half = torch.einsum("gmn,bsmij->bsginj", self.weight, x)
        half = half.reshape(batch, sites, self.outputs * n, self.width * n)
        out = half @ x.reshape(batch, sites, self.width * n, n)
        return out.view(batch, sites, self.outputs, n, n)


class GEAct(nn.Module):
    """Activation W′ = ReLU(Re Tr W) W."""

    def forward(self, w: Tensor) -> Tensor:
        """Scale each matrix by a function of its trace; shape kept."""
        factor = torch.relu(trace(w).real)
        return w * (factor[..., None, None] if w.dim() == _FULL else factor[..., None])


class TrNorm(nn.Module):
    """Normalisation W′_γ = W_γ / max(|mean_γ Tr W_γ|, 10⁻³).

    Parameters
    ----------
    norm
        ``"mean"`` as above, ``"abs"`` with the mean of |Tr W_γ|, ``"none"`` for the identity.
    """

    def __init__(self, norm: Norm = "mean") -> None:
        super().__init__()
        self.norm = norm

    def forward(self, w: Tensor) -> Tensor:
        """Divide all channels of a site by one number; shape kept."""
        if self.norm == "none":
            return w
        traces = trace(w)
        size = traces.mean(-1).abs() if self.norm == "mean" else traces.abs().mean(-1)
        size = size.clamp_min(_SMALLEST)[:, :, None, None]
        return w / (size[..., None] if w.dim() == _FULL else size)


class TraceDense(nn.Module):
    """Real linear map of the real and imaginary parts of 1/N Tr W to one number per site.

    Parameters
    ----------
    inputs
        Channels.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * inputs, 1)

    def forward(self, w: Tensor) -> Tensor:
        """Map (batch, site, channel, …) to (batch, site), real."""
        traces = trace(w) / w.shape[-1]
        out: Tensor = self.linear(torch.cat([traces.real, traces.imag], -1))
        return out[..., 0]


class GEConv(nn.Module):
    """Convolution Σ_{d, μ} ω_dμ U_dμ W_{k+dμ̂} U_dμ† along the axes of a periodic lattice.

    The only layer that uses links: U_dμ is the product of links from site k to site k + dμ̂, which
    carries the neighbour's matrix into the basis of k.

    Parameters
    ----------
    inputs, outputs
        Channels.
    axes
        Dimensions of the lattice.
    reach
        Largest distance d, in both directions.

    Examples
    --------
    >>> from pear.equivariant.gauge import GEConv
    >>> w = torch.randn(1, 3, 3, 2, 2, 2, dtype=torch.complex64)
    >>> links = torch.eye(2, dtype=torch.complex64).expand(1, 3, 3, 2, 2, 2)
    >>> tuple(GEConv(2, 4, axes=2)(w, links).shape)
    (1, 3, 3, 4, 2, 2)
    """

    def __init__(self, inputs: int, outputs: int, axes: int, reach: int = 1) -> None:
        super().__init__()
        self.axes, self.reach = axes, reach
        taps = 2 * reach * axes + 1
        size = (taps, outputs, inputs)
        scale = (2 * taps * inputs) ** -0.5
        self.weight = nn.Parameter(torch.complex(torch.randn(size), torch.randn(size)) * scale)

    def forward(self, w: Tensor, links: Tensor) -> Tensor:
        """Mix channels and neighbours.

        Parameters
        ----------
        w
            (batch, *sites, input, N, N).
        links
            (batch, *sites, direction, N, N), unitary.

        Returns
        -------
        Tensor
            (batch, *sites, output, N, N).
        """
        taps = [w]
        for axis in range(self.axes):
            step = links[..., axis, None, :, :]
            ahead, behind = w, w
            for _ in range(self.reach):
                # From k to k + μ̂ by U(k), and from k to k − μ̂ by U(k − μ̂)†.
                ahead = step @ ahead.roll(-1, 1 + axis) @ step.mH
                back = step.roll(1, 1 + axis)
                behind = back.mH @ behind.roll(1, 1 + axis) @ back
                taps += [ahead, behind]
        out: Tensor = torch.einsum("toi,t...inm->...onm", self.weight, torch.stack(taps))
        return out
