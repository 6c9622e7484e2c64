"""Gaussian means of non-linearities and their derivatives, in closed form.

For (z, z′) normal with covariance (k11, k12; k12, k22): T = E[σ(z)σ(z′)] and Ṫ = E[σ̇(z)σ̇(z′)]
(ReLU: Cho and Saul, 2009; erf: Williams, 1997).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

Nonlinearity: TypeAlias = Literal["relu", "erf"]
_PARALLEL: Final = 1e-14
Mean: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def relu_means(k11: Tensor, k12: Tensor, k22: Tensor) -> tuple[Tensor, Tensor]:
    """Return T and Ṫ of ReLU.

    The angle is an atan2: acos loses half of the digits where the inputs are almost parallel.
    Inputs within an angle of 1e-7 count as parallel: rounding of k12 alone makes as much of equal
    ones, and Ṫ is linear in the angle.

    Parameters
    ----------
    k11, k12, k22
        Variances and covariance; shapes broadcast.

    Returns
    -------
    t, derivative : Tensor
        Of the broadcast shape.

    Examples
    --------
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> [round(each.item(), 12) for each in relu_means(one, one, one)]
    [0.5, 0.5]
    """
    square = k11 * k22
    sine2 = square - k12**2
    sine = torch.where(sine2 > _PARALLEL * square, sine2, 0.0).sqrt()  # times √(k11 k22), as k12
    angle = torch.atan2(sine, k12)
    t = (sine + (math.pi - angle) * k12) / (2 * math.pi)
    return t, (math.pi - angle) / (2 * math.pi)


def erf_means(k11: Tensor, k12: Tensor, k22: Tensor) -> tuple[Tensor, Tensor]:
    """Return T and Ṫ of the error function.

    Parameters
    ----------
    k11, k12, k22
        Variances and covariance; shapes broadcast.

    Returns
    -------
    t, derivative : Tensor
        Of the broadcast shape.
    """
    square = (1 + 2 * k11) * (1 + 2 * k22)
    root = (square - 4 * k12**2).sqrt()
    return 2 / math.pi * torch.atan2(2 * k12, root), 4 / math.pi / root


MEANS: Final[Mapping[Nonlinearity, Mean]] = {"relu": relu_means, "erf": erf_means}
FUNCTIONS: Final[Mapping[Nonlinearity, Callable[[Tensor], Tensor]]] = {
    "relu": torch.relu,
    "erf": torch.erf,
}
