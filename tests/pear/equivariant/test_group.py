"""Group layers on a group that does not commute, against double loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import equivariance_error
from pear.equivariant.group import GroupConv, GroupPool, Lifting
from pear.equivariant.representations import Invariant, Regular
from pear.sphere.groups import FiniteGroup, c4h, dihedral
from tests.fixtures.layer_checks import assert_same, noise, randomise

GROUP = dihedral(3)
REGULAR = Regular(GROUP, axis=-1)
# D3 on the corners of a triangle: the rotation r and the reflection s at corner 0.
CORNERS = np.array(
    [[(r + (-x if s else x)) % 3 for x in range(3)] for s in (0, 1) for r in range(3)]
)


class Points:
    """Signals on the corners, (g·f)(x) = f(ρ(g⁻¹)x)."""

    def act(self, element: int, x: Tensor) -> Tensor:
        return x[..., np.argsort(CORNERS[element])]


class RightConvolution(GroupConv):
    """κ(hg⁻¹): equivariant on groups that commute alone."""

    def __init__(self, group: FiniteGroup) -> None:
        super().__init__(group, 2, 3)
        table = group.product[:, group.inverse].T
        self.left = torch.from_numpy(table.copy())


class BiasByElement(GroupConv):
    def forward(self, f: Tensor) -> Tensor:
        return super().forward(f) + torch.arange(f.shape[-1])


def worst(layer: nn.Module, x: Tensor, source: object, target: object) -> float:
    return max(
        equivariance_error(layer, g, x, source, target, gradients=True)  # type: ignore[arg-type]
        for g in range(GROUP.order)
    )


def test_layers_are_equivariant() -> None:
    x = noise(2, 2, 6)
    assert worst(randomise(GroupConv(GROUP, 2, 3)), x, REGULAR, REGULAR) < 1e-12
    assert worst(randomise(Lifting(CORNERS, 2, 3)), noise(2, 2, 3), Points(), REGULAR) < 1e-12
    assert worst(GroupPool(), x, REGULAR, Invariant()) < 1e-12
    network = nn.Sequential(
        Lifting(CORNERS, 2, 3), nn.ReLU(), GroupConv(GROUP, 3, 2), nn.Tanh(), GroupPool()
    )
    assert worst(randomise(network), noise(2, 2, 3), Points(), Invariant()) < 1e-12


def test_what_is_not_equivariant_is_caught() -> None:
    x = noise(2, 2, 6)
    assert worst(randomise(RightConvolution(GROUP)), x, REGULAR, REGULAR) > 0.05
    assert worst(BiasByElement(GROUP, 2, 3), x, REGULAR, REGULAR) > 0.05
    # On a commutative group the wrong side passes: C4h alone would hide it.
    commutative = Regular(c4h())
    error = equivariance_error(RightConvolution(c4h()), 5, noise(2, 2, 8), commutative, commutative)
    assert error < 1e-12


def test_layers_against_their_definition() -> None:
    conv = randomise(GroupConv(GROUP, 2, 3)).double()

    def convolve(f: Tensor) -> Tensor:
        rows = []
        for g in range(6):
            terms = [
                f[:, :, h] @ conv.kernel[int(GROUP.product[GROUP.inverse[g], h])].T
                for h in range(6)
            ]
            rows.append(sum(terms[1:], terms[0]) + conv.bias)
        return torch.stack(rows, -1)

    assert_same(conv, convolve, [noise(2, 2, 6)], list(conv.parameters()))
    lifting = randomise(Lifting(CORNERS, 2, 3)).double()

    def lift(f: Tensor) -> Tensor:
        rows = []
        for g in range(6):
            inverse = CORNERS[GROUP.inverse[g]]
            terms = [f[:, :, x] @ lifting.kernel[int(inverse[x])].T for x in range(3)]
            rows.append(sum(terms[1:], terms[0]) + lifting.bias)
        return torch.stack(rows, -1)

    assert_same(lifting, lift, [noise(2, 2, 3)], list(lifting.parameters()))


def test_points_that_are_not_permuted_are_refused() -> None:
    with pytest.raises(ValueError, match="does not permute"):
        Lifting(np.array([[0, 1], [0, 0]]), 1, 1)
