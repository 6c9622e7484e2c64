"""Non-linearities with their derivatives, and quadratures for Gaussian means of both.

The quadratures stand in the frame of the covariance's Cholesky factor: Gauss–Hermite for smooth
non-linearities, and for piecewise linear ones a rule in polar coordinates that is exact between
their kinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

DEFAULT_ORDER: Final = 96
"""tanh has poles at ±iπ/2, which 64 points resolve to 1e-9 and 48 to 1e-7."""
MAX_ORDER: Final = 128
MAX_CORRELATION: Final = 0.999
"""Covariances of more parallel inputs are refused: their inverse loses the digits."""
_RADII: Final = 8
_ANGLES: Final = 24


@dataclass(frozen=True)
class Pointwise:
    """A non-linearity and its derivative.

    Attributes
    ----------
    name
        As in :data:`POINTWISE`.
    value, derivative
        Map a tensor to one of the same shape.
    kinked
        Whether it is linear on each side of 0, with different slopes.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    kinked: bool = False


def leaky_relu(slope: float) -> Pointwise:
    """Return the function z for z > 0 and slope · z else.

    Parameters
    ----------
    slope
        0 for ReLU.

    Returns
    -------
    Pointwise
        With a kink at 0.

    Examples
    --------
    >>> leaky_relu(0.5).value(torch.tensor([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """
    return Pointwise(
        "leaky_relu" if slope else "relu",
        lambda z: torch.where(z > 0, z, slope * z),
        lambda z: torch.where(z > 0, 1.0, slope).to(z.dtype),
        kinked=True,
    )


def _gelu_slope(z: Tensor) -> Tensor:
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return (1 + torch.erf(z / math.sqrt(2))) / 2 + z * density


POINTWISE: Final[Mapping[str, Pointwise]] = {
    each.name: each
    for each in (
        Pointwise("linear", lambda z: z, torch.ones_like),
        Pointwise("tanh", torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
        Pointwise("erf", torch.erf, lambda z: 2 / math.sqrt(math.pi) * torch.exp(-(z**2))),
        Pointwise("gelu", lambda z: z * (1 + torch.erf(z / math.sqrt(2))) / 2, _gelu_slope),
        leaky_relu(0.0),
        leaky_relu(0.2),
    )
}
"""Non-linearities by name; ``leaky_relu`` has slope 0.2."""


def gaussian_rule(
    covariance: Tensor, order: int = DEFAULT_ORDER, *, kinked: bool = False
) -> tuple[Tensor, Tensor]:
    """Return points and weights for means over m Gaussian numbers, m = 1 or 2.

    Parameters
    ----------
    covariance
        (m, m), float64, symmetric.
    order
        Gauss–Hermite points along each axis, even.
    kinked
        Whether the functions may jump or bend where a number is 0. They must then be sums of
        homogeneous pieces of even degree, up to 14, whose means are exact.

    Returns
    -------
    points, weights : Tensor
        (m, point) and (point,).

    Raises
    ------
    ValueError
        If m is neither 1 nor 2, or the order is odd or out of range.

    Examples
    --------
    >>> covariance = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    >>> z, weights = gaussian_rule(covariance)
    >>> round((z[0] ** 2 * z[1] ** 2 @ weights).item(), 12)
    2.5
    """
    if order % 2 or not 2 <= order <= MAX_ORDER:
        raise ValueError(f"the order must be even, 2 to {MAX_ORDER}, got {order}")
    if covariance.shape[-1] not in (1, 2):
        raise ValueError(f"means are over 1 or 2 numbers, not {covariance.shape[-1]}")
    root = torch.linalg.cholesky(covariance)
    if covariance.shape[-1] == 1:
        # Points are symmetric about 0 and none is 0: exact for kinks as well.
        frame, weights = _hermite(order)
    elif kinked:
        frame, weights = _sectors(root)
    else:
        frame, weights = _square(order)
    return root @ frame, weights


def _hermite(order: int) -> tuple[Tensor, Tensor]:
    """Return points (1, point) and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    return torch.from_numpy(nodes)[None], torch.from_numpy(weights / math.sqrt(2 * math.pi))


def _square(order: int) -> tuple[Tensor, Tensor]:
    """Return points (2, point) and weights of two standard normal numbers."""
    (nodes,), weights = _hermite(order)
    grid = torch.stack(torch.meshgrid(nodes, nodes, indexing="ij")).flatten(1)
    return grid, torch.outer(weights, weights).flatten()


def _sectors(root: Tensor) -> tuple[Tensor, Tensor]:
    """Return points and weights in the four sectors in which neither number changes its sign."""
    # z_1 is 0 at the angles ±π/2 and z_2 at φ and φ + π, which depend on the covariance.
    edge = torch.atan2(-root[1, 0], root[1, 1])
    quarter = torch.full_like(edge, math.pi / 2)
    edges = torch.stack([-quarter, edge, quarter, edge + math.pi, 3 * quarter])
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(_ANGLES))
    half = (edges[1:] - edges[:-1])[:, None] / 2
    angles = (edges[:-1, None] + half * (1 + nodes)).flatten()
    shares = (half * weights / (2 * math.pi)).flatten()
    # r²/2 of two standard normal numbers is exponentially distributed.
    halves, radial = (torch.from_numpy(each) for each in np.polynomial.laguerre.laggauss(_RADII))
    radius = (2 * halves).sqrt()[:, None]
    points = torch.stack([radius * torch.cos(angles), radius * torch.sin(angles)])
    return points.flatten(1), (radial[:, None] * shares).flatten()
