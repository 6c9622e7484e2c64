"""Pointwise layers on plain and on mirror-regular features, behind one set of constructors.

A network is built for one *symmetry*:

``"r"``
    Features are plain vectors: (batch, window, slot, feature). Layers that act on every token
    alike keep the rotation R.
``"c4h"``
    Features are *regular* under the mirror M: (2, batch, window, slot, feature/2), the first axis
    holding the even part e and the odd part o. M moves the tokens and changes the sign of o. With
    e = (a + b)/√2 and o = (a − b)/√2 this is the regular representation, in which M swaps a and b;
    :func:`butterfly` changes between the two bases.

Linear maps and norms act in the e/o basis, pointwise functions in the a/b basis. They are the group
convolutions of the general equivariant map of :mod:`pear.equivariant.general` over the subgroup
{1, M}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

Symmetry = Literal["r", "c4h"]
SYMMETRIES: Final[tuple[str, ...]] = get_args(Symmetry)
INIT_STD: Final = 0.02
EPS: Final = 1e-5


def check_features(symmetry: Symmetry, features: int) -> int:
    """Return ``features`` if the symmetry allows that width.

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    features
        Width.

    Returns
    -------
    int
        The width.

    Raises
    ------
    ValueError
        If the symmetry is unknown, the width is not positive, or it is odd for ``"c4h"``.

    Examples
    --------
    >>> from pear.equivariant.linear import check_features
    >>> check_features("c4h", 8), check_features("r", 7)
    (8, 7)
    """
    if symmetry not in SYMMETRIES:
        raise ValueError(f"unknown symmetry {symmetry!r}; known: {', '.join(SYMMETRIES)}")
    if features < 1 or (symmetry == "c4h" and features % 2):
        raise ValueError(f"symmetry {symmetry!r} needs an even, positive width, got {features}")
    return features


def linear(
    symmetry: Symmetry, inputs: int, outputs: int, *, bias: bool = True
) -> Dense | MirrorLinear:
    """Build the linear map of a symmetry, with truncated-normal weights and zero bias.

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    inputs, outputs
        Widths.
    bias
        Whether a bias is added.

    Returns
    -------
    Dense or MirrorLinear
        The layer.

    Examples
    --------
    >>> linear("c4h", 8, 4)(torch.zeros(2, 1, 5, 16, 4)).shape
    torch.Size([2, 1, 5, 16, 2])
    """
    check_features(symmetry, inputs)
    check_features(symmetry, outputs)
    return (MirrorLinear if symmetry == "c4h" else Dense)(inputs, outputs, bias=bias)


def norm(symmetry: Symmetry, features: int) -> Norm | MirrorNorm:
    """Build the layer norm of a symmetry over all features of a token.

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    features
        Width.

    Returns
    -------
    Norm or MirrorNorm
        The layer.

    Examples
    --------
    >>> from pear.equivariant.linear import norm
    >>> y = norm("r", 8)(torch.randn(1, 12, 32, 8))
    >>> tuple(y.shape), bool(y.mean(dim=-1).abs().max() < 1e-5)
    ((1, 12, 32, 8), True)
    """
    check_features(symmetry, features)
    return (MirrorNorm if symmetry == "c4h" else Norm)(features)


def butterfly(x: Tensor) -> Tensor:
    """Change regular features from the e/o to the a/b basis, or back.

    Like the functions of torch it can be overridden by a ``TorchFunctionMode``.

    Parameters
    ----------
    x
        (2, …), both parts along the first axis.

    Returns
    -------
    Tensor
        ((x₀ + x₁)/√2, (x₀ − x₁)/√2), same shape; the map is orthogonal and its own inverse.

    Examples
    --------
    >>> x = torch.tensor([[1.0], [0.5]])
    >>> torch.allclose(butterfly(butterfly(x)), x)
    True
    """
    if has_torch_function_unary(x):
        return handle_torch_function(butterfly, (x,), x)
    first, second = x.unbind(0)
    return torch.stack([first + second, first - second]) * math.sqrt(0.5)


def pointwise(symmetry: Symmetry, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function to every feature, for regular features in the a/b basis.

    Parameters
    ----------
    symmetry
        Symmetry of the features.
    function
        Maps numbers one by one.
    x
        Features.

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> from pear.equivariant.linear import pointwise
    >>> x = torch.randn(2, 5, 4)  # even and odd part
    >>> y = pointwise("c4h", functional.gelu, x)
    >>> mirrored = pointwise("c4h", functional.gelu, torch.stack([x[0], -x[1]]))
    >>> torch.allclose(mirrored, torch.stack([y[0], -y[1]]), atol=1e-6)
    True
    """
    return function(x) if symmetry == "r" else butterfly(function(butterfly(x)))


class Dense(nn.Linear):
    """Linear map of plain features, (…, inputs) to (…, outputs).

    Examples
    --------
    >>> from pear.equivariant.linear import Dense
    >>> tuple(Dense(8, 4)(torch.zeros(1, 12, 32, 8)).shape)
    (1, 12, 32, 4)
    """

    symmetry: Symmetry = "r"

    def reset_parameters(self) -> None:
        """Draw truncated-normal weights; the bias is zero."""
        nn.init.trunc_normal_(self.weight, std=INIT_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Norm(nn.LayerNorm):
    """Layer norm of plain features over the last axis.

    Examples
    --------
    >>> from pear.equivariant.linear import Norm
    >>> bool(Norm(8)(torch.randn(5, 8)).mean(dim=-1).abs().max() < 1e-5)
    True
    """

    symmetry: Symmetry = "r"

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=EPS)


class MirrorLinear(nn.Module):
    """Linear map between regular features: e′ = We·e + b, o′ = Wo·o.

    (2, …, inputs/2) to (2, …, outputs/2), with half the parameters and half the products of the
    dense map. All linear maps that commute with M are of this form (Schur's lemma).

    Examples
    --------
    >>> from pear.equivariant.linear import MirrorLinear
    >>> layer, x = MirrorLinear(8, 4), torch.randn(2, 5, 4)
    >>> y, mirrored = layer(x), layer(torch.stack([x[0], -x[1]]))
    >>> tuple(y.shape), torch.allclose(mirrored, torch.stack([y[0], -y[1]]))
    ((2, 5, 2), True)
    """

    symmetry: Symmetry = "c4h"

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, outputs // 2, inputs // 2))
        nn.init.trunc_normal_(self.weight, std=INIT_STD)
        self.bias = nn.Parameter(torch.zeros(outputs // 2)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (2, …, inputs/2) to (2, …, outputs/2)."""
        even, odd = x.unbind(0)
        even = functional.linear(even, self.weight[0], self.bias)
        odd = functional.linear(odd, self.weight[1])
        return torch.stack([even, odd])


class MirrorNorm(nn.Module):
    """Layer norm of a regular feature over the whole vector, (2, …, features/2).

    The mean is that of e alone, since the mean of o changes sign under M; the variance is
    (mean((e − mean e)²) + mean(o²)) / 2. Both parts are scaled, the offset acts on e.

    Examples
    --------
    >>> from pear.equivariant.linear import MirrorNorm
    >>> layer, x = MirrorNorm(8), torch.randn(2, 5, 4)
    >>> y, mirrored = layer(x), layer(torch.stack([x[0], -x[1]]))
    >>> torch.allclose(mirrored, torch.stack([y[0], -y[1]]))
    True
    """

    symmetry: Symmetry = "c4h"

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, features // 2))
        self.bias = nn.Parameter(torch.zeros(features // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (2, …, features/2), shape kept."""
        even, odd = x.unbind(0)
        even = even - even.mean(-1, keepdim=True)
        variance = (even.square().mean(-1, keepdim=True) + odd.square().mean(-1, keepdim=True)) / 2
        scale = torch.rsqrt(variance + EPS)
        return torch.stack(
            [even * scale * self.weight[0] + self.bias, odd * scale * self.weight[1]]
        )
