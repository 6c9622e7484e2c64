"""Polynomial group-convolution networks: how many functions they are (arXiv 2603.29566).

The network is z ← θ_k ⋆ z, then z ← z^r in all layers but the last, with one channel. Its functions
form a set of dimension L(|G| − 1) + 1, whatever r and whatever the structure of the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.func import jacrev

from pear.progress import ProgressCallback
from pear.sphere.groups import FiniteGroup, c4h, cyclic, dihedral
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values

PAPER: Final = "arXiv 2603.29566"
INPUTS: Final = 60
"""Random inputs; their outputs are many more than parameters."""
SMALLEST: Final = 1e-9
"""Singular values below this part of the largest are zero."""
_DEPTHS: Final = (1, 2, 3)
_POWERS: Final = (2, 3)


@dataclass(frozen=True, kw_only=True)
class PolynomialStudy(ClaimStudy):
    """Dimensions and fibres of polynomial networks on C3, C4, D3, D4 and C4h."""

    name: ClassVar[str] = "polynomial"
    help: ClassVar[str] = "Count the dimensions of polynomial group-convolution networks."
    usual_time: ClassVar[str] = "5 s"
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "dimension",
            "largest deviation from L(|G|-1)+1, five groups, L = 1, 2, 3, r = 2, 3",
            PAPER,
            "at most",
            0.0,
            0.0,
        ),
        Claim("scaling", "change of the function by scaling two layers", PAPER, "at most", 1e-12),
        Claim("translation", "change by translating two layers, D3", PAPER, "at most", 1e-12),
        Claim("other_side", "change by translating on the other side, D3", PAPER, "at least", 1e-2),
        Claim("c4h", "dimension of three layers on C4h (24 parameters)", PAPER, "near", 0.0, 22.0),
    )

    def parts(self) -> list[Part]:
        """Return the dimensions and the fibres."""
        return [Part("dimension", self._dimensions, 5 * len(_DEPTHS)), Part("fibre", self._fibre)]

    def _dimensions(self, tick: ProgressCallback) -> Values:
        worst, largest = 0, 0
        for group in (cyclic(3), cyclic(4), dihedral(3), dihedral(4), c4h()):
            for depth in _DEPTHS:
                for power in _POWERS:
                    found = dimension(group, depth, power, self.seed)
                    worst = max(worst, abs(found - depth * (group.order - 1) - 1))
                    if group is c4h() and depth == 3:
                        largest = found
                tick(1, group.name)
        return {"dimension": float(worst), "c4h": float(largest)}

    def _fibre(self, tick: ProgressCallback) -> Values:
        group, power, scale = dihedral(3), 2, 1.7
        generator = torch.Generator().manual_seed(self.seed)
        theta = torch.randn(3, group.order, generator=generator, dtype=torch.float64)
        z = torch.randn(INPUTS, group.order, generator=generator, dtype=torch.float64)
        before = evaluate(group, theta, z, power)
        product, a = torch.from_numpy(group.product.copy()), 1
        back = int(group.inverse[a])
        changed = {
            "scaling": [theta[0] * scale, theta[1] * scale**-power, theta[2]],
            "translation": [theta[0][product[a]], theta[1][product[:, back]], theta[2]],
            "other_side": [theta[0][product[:, a]], theta[1][product[back]], theta[2]],
        }
        size = float(before.abs().max())
        return {
            name: float((evaluate(group, rows, z, power) - before).abs().max()) / size
            for name, rows in changed.items()
        }


def evaluate(group: FiniteGroup, theta: Sequence[Tensor] | Tensor, z: Tensor, power: int) -> Tensor:
    """Return the outputs of a network.

    Parameters
    ----------
    group
        The group G.
    theta
        (layer, |G|), kernels.
    z
        (input, |G|).
    power
        r.

    Returns
    -------
    Tensor
        (input, |G|).
    """
    left = torch.from_numpy(group.left.copy())
    for layer, kernel in enumerate(theta):
        z = z**power if layer else z
        z = z @ kernel[left].mT
    return z


def dimension(group: FiniteGroup, depth: int, power: int, seed: int) -> int:
    """Return the rank of the derivative of the outputs by the kernels.

    Parameters
    ----------
    group, power
        As for :func:`evaluate`.
    depth
        Layers L.
    seed
        Random seed of kernels and inputs.

    Returns
    -------
    int
        The dimension of the set of functions, at a random point of it.
    """
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(depth, group.order, generator=generator, dtype=torch.float64)
    z = torch.randn(INPUTS, group.order, generator=generator, dtype=torch.float64)
    jacobian = jacrev(lambda kernels: evaluate(group, kernels, z, power))(theta)
    values = torch.linalg.svdvals(jacobian.reshape(-1, theta.numel()))
    return int((values > SMALLEST * values[0]).sum())
