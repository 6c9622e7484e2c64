"""Linear maps, norms and pointwise functions: exact symmetry and dense references."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.block import MLP
from pear.equivariant.contract import Tokens
from pear.equivariant.linear import MirrorLinear, MirrorNorm, linear, norm
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import assert_keeps, assert_same, butterfly, noise, randomise

GRID = TokenGrid(2, 2)
SHAPE = (GRID.windows, GRID.slots)


def test_butterfly_is_its_own_inverse_and_keeps_length() -> None:
    x = noise(2, 3, 5)
    torch.testing.assert_close(butterfly(butterfly(x)), x)
    torch.testing.assert_close(butterfly(x).norm(), x.norm())


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_the_dense_map_that_commutes_with_the_swap(bias: bool) -> None:
    layer = randomise(MirrorLinear(6, 10, bias=bias)).double()
    assert isinstance(layer, MirrorLinear)

    def dense(x: Tensor) -> Tensor:
        a, b = butterfly(x).unbind(0)
        same, other = (
            (layer.weight[0] + layer.weight[1]) / 2,
            (layer.weight[0] - layer.weight[1]) / 2,
        )
        matrix = torch.cat([torch.cat([same, other], 1), torch.cat([other, same], 1)])
        offset = None if layer.bias is None else (layer.bias / 2**0.5).repeat(2)
        y = functional.linear(torch.cat([a, b], -1), matrix, offset)
        return butterfly(torch.stack(y.chunk(2, -1)))

    assert_same(layer, dense, [noise(2, 4, 3, 3)], list(layer.parameters()))


def test_norm_is_the_layer_norm_of_the_whole_vector() -> None:
    layer = randomise(MirrorNorm(8)).double()
    assert isinstance(layer, MirrorNorm)

    def dense(x: Tensor) -> Tensor:
        whole = torch.cat(list(butterfly(x)), -1)
        normed = functional.layer_norm(whole, (8,))
        even, odd = butterfly(torch.stack(normed.chunk(2, -1))).unbind(0)
        return torch.stack([even * layer.weight[0] + layer.bias, odd * layer.weight[1]])

    assert_same(layer, dense, [3 + noise(2, 5, 4)], list(layer.parameters()))


def test_mirror_mlp_acts_on_a_and_b() -> None:
    layer = randomise(MLP("c4h", 6)).double()
    first, second = (m for m in layer.modules() if isinstance(m, MirrorLinear))

    def reference(x: Tensor) -> Tensor:
        return second(butterfly(functional.gelu(butterfly(first(x)))))

    assert_same(layer, reference, [noise(2, 5, 3)], list(layer.parameters()))


def test_dense_mlp() -> None:
    layer = randomise(MLP("r", 6)).double()
    first, second = (m for m in layer.modules() if isinstance(m, nn.Linear))

    def reference(x: Tensor) -> Tensor:
        hidden = functional.gelu(x @ first.weight.T + first.bias)
        return hidden @ second.weight.T + second.bias

    assert_same(layer, reference, [noise(5, 6)], list(layer.parameters()))


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize(
    "build",
    [
        lambda s: linear(s, 8, 12),
        lambda s: linear(s, 8, 4, bias=False),
        lambda s: norm(s, 8),
        lambda s: MLP(s, 8),
    ],
    ids=["linear", "without bias", "norm", "mlp"],
)
def test_symmetry(symmetry: str, build: object) -> None:
    layer = randomise(build(symmetry))  # type: ignore[operator]
    shape = (2, 1, *SHAPE, 4) if symmetry == "c4h" else (1, *SHAPE, 8)
    rep = Tokens(GRID, symmetry)  # type: ignore[arg-type]
    assert_keeps(layer, noise(*shape), rep, rep, symmetry)


def test_half_the_parameters() -> None:
    counts = [
        sum(p.numel() for p in linear(s, 64, 32, bias=False).parameters()) for s in ("r", "c4h")
    ]
    assert counts == [64 * 32, 64 * 32 // 2]


@pytest.mark.parametrize(("symmetry", "width"), [("c4h", 7), ("r", 0), ("c4h", -2), ("d4", 8)])
def test_impossible_widths(symmetry: str, width: int) -> None:
    with pytest.raises(ValueError, match=r"width|unknown symmetry"):
        linear(symmetry, width, 8)  # type: ignore[arg-type]
