"""Pointwise layers, dense and M-regular, behind one set of constructors.

A network is built for one *symmetry*:

``"r"``
    Features are plain vectors: (batch, window, slot, feature). Layers that act on every token
    alike keep the rotation R by themselves.
``"c4h"``
    Features are *regular* under the mirror M: (2, batch, window, slot, feature/2), the first axis
    holding the even part e and the odd part o. M moves the tokens and changes the sign of o. With
    e = (a + b)/√2 and o = (a − b)/√2 this is the regular representation in which M swaps a and b;
    the *butterfly* goes between both bases and is its own inverse.

Linear maps and norms act in the e/o basis, pointwise functions in the a/b basis. They are the group
convolutions of the general equivariant map of :mod:`pear.equivariant.general` over the subgroup
{1, M}.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from pear.equivariant.kernels import compiled
from pear.equivariant.kernels import linear as products

Symmetry = Literal["r", "c4h"]
Parts = tuple[Tensor, ...]
"""Plain features, or the even and the odd part of regular ones, each (…, feature)."""
SYMMETRIES: Final[tuple[str, ...]] = get_args(Symmetry)
INIT_STD: Final = 0.02
EPS: Final = 1e-5
HALF_ROOT: Final = 0.5**0.5


def check_features(symmetry: Symmetry, features: int) -> int:
    """Return ``features`` if the symmetry can hold as many.

    Raises
    ------
    ValueError
        If the symmetry is unknown, or ``"c4h"`` is asked for an odd number of features.
    """
    if symmetry not in SYMMETRIES:
        raise ValueError(f"unknown symmetry {symmetry!r}; known: {', '.join(SYMMETRIES)}")
    if features < 1 or (symmetry == "c4h" and features % 2):
        raise ValueError(f"symmetry {symmetry!r} needs an even, positive width, got {features}")
    return features


def linear(
    symmetry: Symmetry, inputs: int, outputs: int, bias: bool = True
) -> Dense | MirrorLinear:
    """Build the linear map of this symmetry, with truncated-normal weights and zero bias."""
    check_features(symmetry, inputs)
    check_features(symmetry, outputs)
    return (MirrorLinear if symmetry == "c4h" else Dense)(inputs, outputs, bias)


def norm(symmetry: Symmetry, features: int) -> Norm | MirrorNorm:
    """Build the layer norm of this symmetry over all features of a token."""
    check_features(symmetry, features)
    return (MirrorNorm if symmetry == "c4h" else Norm)(features)


class Dense(nn.Linear):
    """Linear map of plain features, (…, inputs) to (…, outputs)."""

    symmetry: Symmetry = "r"

    def reset_parameters(self) -> None:
        """Draw truncated-normal weights; the bias is zero."""
        nn.init.trunc_normal_(self.weight, std=INIT_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """Map (…, inputs) to (…, outputs), with an exact GELU after it if asked."""
        return products.linear(x, self.weight, self.bias, gelu=gelu)


class Norm(nn.LayerNorm):
    """Layer norm of plain features over the last axis."""

    symmetry: Symmetry = "r"

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=EPS)

    def parts(self, x: Parts) -> Parts:
        """Normalise the only part."""
        return (self(x[0]),)

    def added(self, x: Parts, branch: Parts) -> Parts:
        """Return x + norm(branch)."""
        return _added(self, (self.weight,), x, branch)


def parts_of(symmetry: Symmetry, x: Tensor) -> Parts:
    """Split features into even and odd part; plain features are their only part."""
    return (x,) if symmetry == "r" else x.unbind(0)


def whole(parts: Parts) -> Tensor:
    """Put together what :func:`parts_of` split."""
    return parts[0] if len(parts) == 1 else torch.stack(parts)


def crossed(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return √2 times the butterfly of two tensors and use up the first one's memory.

    The first must be fresh: no leaf, and nothing that its maker keeps for the gradient.
    """
    return first + second, first.sub_(second)


class MirrorLinear(nn.Module):
    """Linear map between regular features: e′ = We·e + b, o′ = Wo·o.

    (2, …, inputs/2) to (2, …, outputs/2), with half the parameters and half the products of the
    dense map. All linear maps that commute with M are of this form (Schur's lemma).
    """

    symmetry: Symmetry = "c4h"

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, outputs // 2, inputs // 2))
        nn.init.trunc_normal_(self.weight, std=INIT_STD)
        self.bias = nn.Parameter(torch.zeros(outputs // 2)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (2, …, inputs/2) to (2, …, outputs/2)."""
        return torch.stack(self.parts(x[0], x[1]))

    def parts(
        self, even: Tensor, odd: Tensor, *, before: float = 1.0, after: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Return e′ and o′ as two fresh tensors.

        Parameters
        ----------
        even, odd
            (…, inputs/2) each.
        before, after
            Factors of the input and the output. They go into the weights, so that the √½ of a
            butterfly before or after costs no pass over the features.
        """
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if before * after != 1.0:
            weight = before * after * weight
        if bias is not None and after != 1.0:
            bias = after * bias
        return products.linear(even, weight[0], bias), products.linear(odd, weight[1])


class MirrorNorm(nn.Module):
    """Layer norm of a regular feature over the whole vector, (2, …, features/2).

    The mean is taken from e alone, since that of o would change sign under M; the variance is
    (mean((e − mean e)²) + mean(o²)) / 2. Scales are free for both, the offset acts on e.
    """

    symmetry: Symmetry = "c4h"

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, features // 2))
        self.bias = nn.Parameter(torch.zeros(features // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (2, …, features/2), shape kept."""
        return whole(self.parts((x[0], x[1])))

    def parts(self, x: Parts) -> Parts:
        """Normalise the even and the odd part."""
        if products.fused(x[0]):
            done = compiled.residual_norm(None, x, self.weight.unbind(), self.bias, EPS)
            if done is not None:
                return done
        even, odd = x
        even = even - even.mean(-1, keepdim=True)
        power = [torch.linalg.vector_norm(y, dim=-1, keepdim=True).square() for y in (even, odd)]
        scale = torch.rsqrt((power[0] + power[1]) / (2 * even.shape[-1]) + EPS)
        even = torch.addcmul(self.bias, even * scale, self.weight[0])
        return even, odd * scale * self.weight[1]

    def added(self, x: Parts, branch: Parts) -> Parts:
        """Return x + norm(branch)."""
        return _added(self, self.weight.unbind(), x, branch)


def _added(layer: Norm | MirrorNorm, weight: Parts, x: Parts, branch: Parts) -> Parts:
    if products.fused(x[0]):
        done = compiled.residual_norm(x, branch, weight, layer.bias, EPS)
        if done is not None:
            return done
    return tuple(old + new for old, new in zip(x, layer.parts(branch), strict=True))
