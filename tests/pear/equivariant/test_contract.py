"""The checker itself: it passes what is equivariant and catches what is not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.attention import EarthBias, MirrorAttention, WindowAttention
from pear.equivariant.contract import EquivariantLayer, Fields, Tokens, equivariance_error
from pear.equivariant.linear import MirrorLinear, linear
from pear.equivariant.window_shift import WindowShift
from pear.sphere.symmetry import C4H, IDENTITY, M, R
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import noise, randomise

GRID = TokenGrid(4, 4, 16)
REGULAR = Tokens(GRID, "c4h")


class Scale(nn.Module):
    """Multiplies each token by a number of its own: keeps no symmetry."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(1 + size * noise(GRID.windows, GRID.slots, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_representations_are_representations() -> None:
    x = noise(2, 3, GRID.windows, GRID.slots, 5)
    field = noise(2, 3, 12 * 16)
    reps = [(REGULAR, x), (Tokens(GRID), x), (Fields(4, (1, -1, 1), channel_axis=1), field)]
    for rep, value in reps:
        for a in C4H:
            for b in C4H:
                twice = rep.act(a, rep.act(b, value))
                torch.testing.assert_close(twice, rep.act(a * b, value), rtol=0, atol=0)
            torch.testing.assert_close(rep.act(a, value).norm(), value.norm())


def test_signs_change_under_the_mirror_only() -> None:
    rep = Fields(4, (1, -1), channel_axis=0)
    ones = torch.ones(2, 12 * 16, dtype=torch.float64)
    assert rep.act(R, ones)[1].eq(1).all()
    assert rep.act(M, ones)[0].eq(1).all()
    assert rep.act(M, ones)[1].eq(-1).all()


@pytest.mark.parametrize("size", [1e-3, 1.0])
def test_a_layer_that_is_not_equivariant_is_caught(size: float) -> None:
    x = noise(1, GRID.windows, GRID.slots, 4)
    for element in C4H:
        error = equivariance_error(Scale(size), element, x, Tokens(GRID), Tokens(GRID))
        assert (error == 0) if element == IDENTITY else (error > 0.3 * size)


def test_an_error_in_gradients_alone_is_caught() -> None:
    class WrongBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, *grads: Tensor) -> Tensor:
            return grads[0] * torch.linspace(0, 1, grads[0].shape[-3])[:, None, None].double()

    x = noise(1, GRID.windows, GRID.slots, 4)
    rep = Tokens(GRID)
    assert equivariance_error(WrongBackward.apply, R, x, rep, rep) == 0
    assert equivariance_error(WrongBackward.apply, R, x, rep, rep, gradients=True) > 0.05


def test_a_bias_on_the_odd_part_is_caught() -> None:
    class OddBias(MirrorLinear):
        def forward(self, x: Tensor, *_: bool) -> Tensor:
            return super().forward(x) + 0.1

    x = noise(2, 1, GRID.windows, GRID.slots, 3)
    for layer, low, high in ((MirrorLinear(6, 8), 0, 1e-14), (OddBias(6, 8), 0.02, 10)):
        error = equivariance_error(randomise(layer), M, x, REGULAR, REGULAR)
        assert low <= error <= high
    assert equivariance_error(OddBias(6, 8), R, x, REGULAR, REGULAR) == 0


def test_the_wrong_bias_tie_is_caught() -> None:
    """Position bias shared by both heads of a pair without σ: the mirror is lost."""

    class WithoutSigma(MirrorAttention):
        def __init__(self) -> None:
            super().__init__(
                GRID, 8, 2, EarthBias(GRID, 1), WindowShift.from_name(GRID, "ring_rotation")
            )
            self.sigma = torch.arange(GRID.slots)

    right = MirrorAttention(
        GRID, 8, 2, EarthBias(GRID, 1), WindowShift.from_name(GRID, "ring_rotation")
    )
    x = noise(2, 1, GRID.windows, GRID.slots, 4)
    for layer in (right, WithoutSigma()):
        randomise(layer)
        nn.init.normal_(layer.bias.table)  # type: ignore[arg-type]
    assert equivariance_error(right, M, x, REGULAR, REGULAR) < 1e-13
    assert equivariance_error(WithoutSigma(), R, x, REGULAR, REGULAR) == 0
    wrong = WithoutSigma()
    wrong.load_state_dict(right.state_dict())
    assert equivariance_error(wrong, M, x, REGULAR, REGULAR) > 0.05


def test_dense_attention_keeps_the_rotation_but_not_the_mirror() -> None:
    layer = randomise(WindowAttention(8, 2, EarthBias(GRID, 2)))
    x, rep = noise(1, GRID.windows, GRID.slots, 8), Tokens(GRID)
    assert equivariance_error(layer, R, x, rep, rep) == 0
    assert equivariance_error(layer, M, x, rep, rep) > 0.01


def test_not_a_number_is_not_small() -> None:
    x = noise(1, GRID.windows, GRID.slots, 2)
    x[0, 0, 0, 0] = torch.nan
    assert math.isnan(equivariance_error(lambda y: y, R, x, Tokens(GRID), Tokens(GRID)))


def test_a_zero_output_that_becomes_something_is_infinite() -> None:
    calls = iter([0.0, 1.0])
    x = noise(1, GRID.windows, GRID.slots, 2)
    error = equivariance_error(lambda y: y * next(calls), R, x, Tokens(GRID), Tokens(GRID))
    assert error == math.inf


def test_the_measured_module_is_left_alone() -> None:
    layer = linear("c4h", 4, 4)
    equivariance_error(layer, M, noise(2, 1, GRID.windows, GRID.slots, 2), REGULAR, REGULAR)
    assert all(p.dtype == torch.float32 and p.grad is None for p in layer.parameters())


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_layers_fulfil_the_protocol(symmetry: str) -> None:
    assert isinstance(linear(symmetry, 4, 4), EquivariantLayer)  # type: ignore[arg-type]
