"""GEBLNet: predicts Chern numbers of lattice gauge fields, and two baselines.

arXiv 2502.15376. All take the plaquettes of a lattice and return one number g_k per site, whose
sum predicts the Chern number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pear.equivariant.gauge import GEBL, GEAct, Norm, TraceDense, TrNorm


class GEBLNet(nn.Module):
    """Blocks of GEBL, GEAct and TrNorm, then traces and a linear map: gauge invariant.

    Parameters
    ----------
    channels
        Output channels of the bilinear layers; each doubles the degree in W.
    norm
        See :class:`~pear.equivariant.gauge.TrNorm`.

    Examples
    --------
    >>> from pear.models.geblnet import GEBLNet, real_parameters
    >>> network = GEBLNet()
    >>> plaquettes = torch.linalg.qr(torch.randn(2, 9, 1, 3, 3, dtype=torch.complex64))[0]
    >>> tuple(network(plaquettes).shape), real_parameters(network)
    ((2, 9), 153217)
    """

    def __init__(self, channels: Sequence[int] = (32, 16, 8), norm: Norm = "mean") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for outputs in channels:
            layers += [GEBL(inputs, outputs), GEAct(), TrNorm(norm)]
            inputs = outputs
        self.layers = nn.Sequential(*layers, TraceDense(inputs))

    def forward(self, w: Tensor) -> Tensor:
        """Map plaquettes (batch, site, 1, N, N), or eigenvalues (batch, site, 1, N), to g."""
        out: Tensor = self.layers(w)
        return out


class DeepSpec(nn.Module):
    """A set network on the eigenvalues: Σ over eigenvalues of an MLP, then an MLP.

    Parameters
    ----------
    width
        Hidden features.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width))
        self.all = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, w: Tensor) -> Tensor:
        """Map eigenvalues (batch, site, 1, N) to (batch, site)."""
        features = self.each(torch.view_as_real(w[:, :, 0].contiguous()))
        out: Tensor = self.all(features.sum(-2))
        return out[..., 0]


class TrMLP(nn.Module):
    """An MLP on the traces of the powers W, W², … Wᵖ.

    Parameters
    ----------
    powers
        Highest power.
    width
        Hidden features.
    """

    def __init__(self, powers: int = 8, width: int = 256) -> None:
        super().__init__()
        self.powers = powers
        self.mlp = nn.Sequential(
            nn.Linear(2 * powers, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, w: Tensor) -> Tensor:
        """Map eigenvalues (batch, site, 1, N) to (batch, site)."""
        power, traces = w, []
        for _ in range(self.powers):
            traces.append(power[:, :, 0].mean(-1))
            power = power * w
        values = torch.stack(traces, -1)
        out: Tensor = self.mlp(torch.cat([values.real, values.imag], -1))
        return out[..., 0]


def real_parameters(network: nn.Module) -> int:
    """Return the number of real parameters; a complex one counts twice."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in network.parameters())
