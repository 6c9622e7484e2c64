"""Convolutions on images: exact for quarter turns, measured for finer ones, and their twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import equivariance_error
from pear.equivariant.planar import PlanarConv, PlanarLifting, PlanarPool, PointGroup
from pear.equivariant.representations import Image, Invariant
from tests.fixtures.layer_checks import assert_same, noise, randomise

EXACT = [PointGroup(n, reflections) for n in (1, 2, 4) for reflections in (False, True)]
D4 = PointGroup(4, reflections=True)
ON_GROUP = -3


def image(group: PointGroup, axis: int | None = None) -> Image:
    return Image(group.table, group.n, axis)


def worst(
    layer: nn.Module, group: PointGroup, x: Tensor, source: object, target: object, step: int = 1
) -> float:
    """Return the largest error over all elements, or over every so many rotations."""
    elements = [e for e in range(group.order) if e % group.n % step == 0]
    return max(
        equivariance_error(layer, g, x, source, target, gradients=True)  # type: ignore[arg-type]
        for g in elements
    )


def network(group: PointGroup, padding: str = "zero") -> nn.Module:
    settings = {"size": 3, "padding": padding}
    layers = [
        PlanarLifting(group, 2, 3, **settings),  # type: ignore[arg-type]
        nn.ReLU(),
        PlanarConv(group, 3, 3, **settings),  # type: ignore[arg-type]
        nn.Tanh(),
        PlanarPool(),
    ]
    return randomise(nn.Sequential(*layers))


@pytest.mark.parametrize("padding", ["zero", "periodic"])
@pytest.mark.parametrize("group", EXACT, ids=lambda group: group.table.name)
def test_layers_are_exactly_equivariant(group: PointGroup, padding: str) -> None:
    plain, lifted = image(group), image(group, ON_GROUP)
    lifting = randomise(PlanarLifting(group, 2, 3, 3, padding))  # type: ignore[arg-type]
    assert worst(lifting, group, noise(2, 2, 5, 5), plain, lifted) < 1e-12
    f = noise(1, 2, group.order, 6, 6)  # of even size too
    conv = randomise(PlanarConv(group, 2, 3, 5, padding))  # type: ignore[arg-type]
    assert worst(conv, group, f, lifted, lifted) < 1e-12
    assert worst(PlanarPool(keep_points=True), group, f, lifted, plain) < 1e-12
    assert worst(network(group, padding), group, noise(2, 2, 5, 5), plain, Invariant()) < 1e-13


class Roll:
    """Translations of periodic images; the element is (rows, columns)."""

    def act(self, element: tuple[int, int], x: Tensor) -> Tensor:
        return x.roll(element, (-2, -1))


def test_periodic_layers_keep_translations() -> None:
    conv = randomise(PlanarConv(D4, 1, 1, 3, "periodic"))
    f = noise(1, 1, 8, 5, 4)
    assert equivariance_error(conv, (2, 3), f, Roll(), Roll(), gradients=True) < 1e-12
    zero = randomise(PlanarConv(D4, 1, 1, 3, "zero"))
    assert equivariance_error(zero, (2, 3), f, Roll(), Roll()) > 0.05


class RightConv(PlanarConv):
    """κ(sr⁻¹): equivariant if P commutes alone."""

    def __init__(self, group: PointGroup) -> None:
        super().__init__(group, 2, 3)
        table = group.table
        self.left = torch.from_numpy(table.product[:, table.inverse].T.copy())


class UnturnedConv(PlanarConv):
    """The kernel moves over P and is not turned."""

    def filters(self) -> Tensor:
        bank = self.kernel[self.left]
        return bank.permute(2, 0, 3, 1, 4, 5).flatten(2, 3).flatten(0, 1)


class BiasByElement(PlanarConv):
    def forward(self, f: Tensor) -> Tensor:
        return super().forward(f) + torch.arange(f.shape[-3])[:, None, None]


def test_what_is_not_equivariant_is_caught() -> None:
    f, lifted = noise(1, 2, 8, 5, 5), image(D4, ON_GROUP)
    for layer in (RightConv(D4), UnturnedConv(D4, 2, 3), BiasByElement(D4, 2, 3)):
        assert worst(randomise(layer), D4, f, lifted, lifted) > 0.05, type(layer).__name__
    # On a commutative group the wrong side passes: C4 alone would hide it.
    c4 = PointGroup(4)
    commutative = image(c4, ON_GROUP)
    assert worst(randomise(RightConv(c4)), c4, noise(1, 2, 4, 5, 5), commutative, commutative) < (
        1e-12
    )


def turn(element: int, point: tuple[int, int]) -> tuple[int, int]:
    """Apply an element of D4 to (y, x): reverse x, then turn by 90° as ``torch.rot90`` does."""
    y, x = point
    x = -x if element >= 4 else x
    for _ in range(element % 4):
        y, x = -x, y
    return y, x


def test_layers_against_their_definition() -> None:
    lifting, conv = (randomise(kind(D4, 2, 2)).double() for kind in (PlanarLifting, PlanarConv))
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    left, inverse = D4.table.left, D4.table.inverse

    def at(f: Tensor, y: int, x: int) -> Tensor:
        inside = 0 <= y < f.shape[-2] and 0 <= x < f.shape[-1]
        return f[..., y, x] if inside else torch.zeros(f.shape[:-2], dtype=f.dtype)

    def every_point(f: Tensor, value: object) -> Tensor:
        rows = [
            torch.stack([value(f, y, x) for x in range(f.shape[-1])], -1)  # type: ignore[operator]
            for y in range(f.shape[-2])
        ]
        return torch.stack(rows, -2)

    def lift(f: Tensor, y: int, x: int) -> Tensor:
        out = []
        for r in range(8):
            total = lifting.bias
            for step in steps:
                ky, kx = turn(int(inverse[r]), step)
                total = (
                    total + at(f, y + step[0], x + step[1]) @ lifting.kernel[..., ky + 1, kx + 1].T
                )
            out.append(total)
        return torch.stack(out, -1)

    def convolve(f: Tensor, y: int, x: int) -> Tensor:
        out = []
        for r in range(8):
            total = conv.bias
            for step in steps:
                ky, kx = turn(int(inverse[r]), step)
                here = at(f, y + step[0], x + step[1])
                for s in range(8):
                    kernel = conv.kernel[int(left[r, s]), ..., ky + 1, kx + 1]
                    total = total + here[..., s] @ kernel.T
            out.append(total)
        return torch.stack(out, -1)

    for layer, twin, f in (
        (lifting, lift, noise(1, 2, 3, 3)),
        (conv, convolve, noise(1, 2, 8, 3, 2)),
    ):
        assert_same(layer, lambda f, twin=twin: every_point(f, twin), [f], list(layer.parameters()))


def test_the_trivial_group_convolves() -> None:
    conv, f = randomise(PlanarConv(PointGroup(1), 2, 3)).double(), noise(2, 2, 1, 5, 5)
    want = nn.functional.conv2d(f[:, :, 0], conv.kernel[0], conv.bias, padding=1)
    torch.testing.assert_close(conv(f)[:, :, 0], want, rtol=1e-13, atol=1e-13)


def smooth(side: int, degrees: float) -> Tensor:
    """Return waves of long wavelength, turned about the centre of the image."""
    y, x = np.meshgrid(*(np.arange(side) - side // 2,) * 2, indexing="ij")
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    y, x = y * cosine + x * sine, x * cosine - y * sine
    return torch.from_numpy(np.sin(0.3 * x + 0.5) + np.cos(0.25 * y - 0.2 * x))[None, None]


@pytest.mark.parametrize("n", [8, 16])
def test_finer_turns_are_near_and_quarter_turns_exact(n: int) -> None:
    group = PointGroup(n)
    assert not group.is_exact
    assert PointGroup(4).is_exact
    lifting, conv = PlanarLifting(group, 1, 2, 5), PlanarConv(group, 2, 2, 5)
    net = randomise(nn.Sequential(lifting, conv)).double()
    quarter = worst(net, group, noise(1, 1, 9, 9), image(group), image(group, ON_GROUP), n // 4)
    assert quarter < 1e-12
    centre = (..., 7, 7)
    straight, turned = (net(smooth(15, degrees))[centre] for degrees in (0, 360 / n))
    # (r·f)(s, 0) = f(r⁻¹s, 0) at the fixed point of the turn.
    error = (turned - straight.roll(1, -1)).abs().max() / straight.abs().max()
    assert 1e-4 < error < 1e-1, float(error)


def test_turned_images_need_quarter_turns() -> None:
    with pytest.raises(ValueError, match="1/8 does not move pixels to pixels"):
        image(PointGroup(8)).act(1, noise(3, 3))


@pytest.mark.parametrize("kind", [PlanarLifting, PlanarConv])
def test_settings_that_break_the_symmetry_are_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"odd size.*got 4"):
        kind(D4, 1, 1, 4)
    with pytest.raises(ValueError, match="unknown padding 'same'; known: periodic, zero"):
        kind(D4, 1, 1, 3, "same")
    with pytest.raises(ValueError, match="image of 2 x 9 is too small for periodic padding by 3"):
        PlanarLifting(D4, 1, 1, 7, "periodic")(torch.zeros(1, 1, 2, 9))
    with pytest.raises(ValueError, match="at least one rotation"):
        PointGroup(0)


def test_weights_keep_the_variance() -> None:
    """Kernels are drawn with variance 1 / (support · inputs)."""
    conv = PlanarConv(PointGroup(8), 30, 30, 3)  # of 9 numbers, 5 lie in the disc
    assert conv.kernel.std().item() == pytest.approx(1 / math.sqrt(5 * 8 * 30), rel=0.02)
