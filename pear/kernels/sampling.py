"""Tangent kernels of drawn networks of finite width, the weights behind each layer averaged out.

Given the numbers z of a layer of n, the mean over the next layer's weights of what a network adds
to K and Θ is (C/n) Σ σσ and (1/n) Σ_k (σσ + C σ′σ′ Θ̂_kk): the same means as of whole networks, with
a tenth of the scatter. Networks are those of :mod:`pear.kernels.finite_width`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pear.kernels.pointwise import Pointwise
from pear.progress import ProgressCallback, no_progress

BATCH_NUMBERS: Final = 2_000_000
"""Numbers of the tangent kernels of a batch of networks."""


@dataclass(frozen=True)
class Family:
    """Networks that differ in their weights alone.

    Attributes
    ----------
    function
        Non-linearity.
    depth
        Layers, two at least.
    width
        Numbers n of each hidden layer.
    variance
        C of the weights.

    Raises
    ------
    ValueError
        If there are fewer than two layers, or a layer of width 0.
    """

    function: Pointwise
    depth: int
    width: int
    variance: float = 1.0

    def __post_init__(self) -> None:
        if self.depth < 2 or self.width < 1:
            raise ValueError(
                f"need two layers and one number in each; got {self.depth} and {self.width}"
            )


@dataclass(frozen=True, eq=False)
class Draws:
    """Kernels of drawn networks at layers 2 to ``depth``, float64.

    Attributes
    ----------
    width
        n.
    covariance, tangent
        (layer, network, m, m): K̂ and Θ̂ of one output.
    crossed
        (network, m, m, m, m): what two outputs have in common with the tangent kernel between
        them, F_1324 at the last layer up to O(1/n).
    """

    width: int
    covariance: Tensor
    tangent: Tensor
    crossed: Tensor

    def correction(self, theta: Tensor, layer: int = -1) -> tuple[Tensor, Tensor]:
        """Return n(E[Θ̂] − Θ) at a layer and its standard error, (m, m).

        Parameters
        ----------
        theta
            Θ of infinitely wide networks, (m, m).
        layer
            Position among the layers.

        Returns
        -------
        mean, error : Tensor
            The mean is Θ¹ up to O(1/n).
        """
        off = self.width * (self.tangent[layer] - theta)
        return off.mean(0), off.std(0) / len(off) ** 0.5


def draw_networks(
    x: Tensor,
    family: Family,
    networks: int,
    *,
    seed: int = 0,
    tick: ProgressCallback = no_progress,
) -> Draws:
    """Draw networks and compute their kernels.

    Parameters
    ----------
    x
        (input, n₀).
    family
        What the networks have in common.
    networks
        Networks to draw, two at least.
    seed
        Random seed.
    tick
        Called with the number of networks done.

    Returns
    -------
    Draws

    Raises
    ------
    ValueError
        If there are fewer than two networks.

    Examples
    --------
    >>> from pear.kernels.pointwise import POINTWISE
    >>> draws = draw_networks(torch.ones(1, 3), Family(POINTWISE["tanh"], 3, width=4), networks=10)
    >>> tuple(draws.tangent.shape), tuple(draws.crossed.shape)
    ((2, 10, 1, 1), (10, 1, 1, 1, 1))
    """
    if networks < 2:
        raise ValueError(f"a scatter needs two networks, not {networks}")
    generator = torch.Generator().manual_seed(seed)
    batch = max(BATCH_NUMBERS // (len(x) ** 2 * family.width**2), 1)
    parts = []
    for start in range(0, networks, batch):
        count = min(batch, networks - start)
        parts.append(_batch(x.double(), family, _Weights(generator, count, family.variance)))
        tick(count, f"width {family.width}")
    covariance, tangent = (torch.cat([part[i] for part in parts], 1) for i in (0, 1))
    return Draws(family.width, covariance, tangent, torch.cat([part[2] for part in parts]))


@dataclass(frozen=True, eq=False)
class _Weights:
    """Draws weights of variance C for a batch of networks."""

    generator: torch.Generator
    count: int
    variance: float

    def __call__(self, outputs: int, inputs: int) -> Tensor:
        shape = (self.count, outputs, inputs)
        drawn = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return drawn * math.sqrt(self.variance)


def _batch(x: Tensor, family: Family, draw: _Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Return K̂ and Θ̂ of all layers, (layer, network, m, m), and F at the last."""
    function, depth, n, c = family.function, family.depth, family.width, family.variance
    size = x.shape[1]
    z = draw(n, size) @ x.mT / size**0.5  # (network, n, m)
    gram = x @ x.mT / size
    eye = torch.eye(n, dtype=x.dtype)
    theta = (gram[..., None, None] * eye).expand(len(z), -1, -1, -1, -1)  # (network, m, m, n, n)
    covariance, tangent = [], []
    crossed = torch.zeros(())
    for layer in range(2, depth + 1):
        s, ds = function.value(z).mT, function.derivative(z).mT  # (network, m, n)
        own = s @ s.mT / n
        local = theta.diagonal(dim1=-2, dim2=-1)
        steep = (ds[:, :, None] * ds[:, None] * local).sum(-1) / n
        covariance.append(c * own)
        tangent.append(own + c * steep)
        if layer == depth:
            u = s[:, :, None] * ds[:, None]  # σ_1 σ′_3, (network, i, k, n)
            crossed = c**2 / n * torch.einsum("wikp,wklpq,wjlq->wikjl", u, theta, u)
            break
        w = draw(n, n)
        z = (w @ s.mT) / n**0.5
        inner = ds[:, :, None, :, None] * theta * ds[:, None, :, None]
        weights = w[:, None, None]
        theta = own[..., None, None] * eye + weights @ inner @ weights.mT / n
    return torch.stack(covariance), torch.stack(tangent), crossed
