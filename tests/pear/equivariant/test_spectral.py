"""Zonal filters of tokens: exact symmetries, their definition, and twins that must fail."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant import spectral
from pear.equivariant.block import MixingBlock
from pear.equivariant.contract import Tokens, equivariance_error
from pear.equivariant.representations import BandLimited, SphereCoefficients
from pear.equivariant.spectral import DepthwiseSpectral, SpectralConv
from pear.equivariant.spherical import Analysis, Synthesis, harmonic_tables
from pear.sphere.harmonics import Rotation, filtered_degree
from pear.sphere.symmetry import C4H, M, R
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import assert_keeps, assert_same, noise, randomise

GRID = TokenGrid(nside=4, depths=4, window=16)
SPHERE = TokenGrid(nside=4, depths=1, window=16, window_depth=1)
ROTATION = Rotation(0.3, 1.1, -2.0)


def tokens(symmetry: str, grid: TokenGrid, features: int, seed: int = 7) -> Tensor:
    shape = grid.windows, grid.slots
    if symmetry == "c4h":
        return noise(2, 2, *shape, features // 2, seed=seed)
    return noise(2, *shape, features, seed=seed)


def layers(symmetry: Any, grid: TokenGrid) -> list[nn.Module]:
    return [
        randomise(SpectralConv(symmetry, grid, 4, 6)),
        randomise(DepthwiseSpectral(symmetry, grid, 4)),
    ]


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_convolutions_are_exactly_equivariant(symmetry: Any) -> None:
    representation = Tokens(GRID, symmetry)
    for layer in layers(symmetry, GRID):
        x = tokens(symmetry, GRID, 4)
        assert_keeps(layer, x, representation, representation, symmetry)


class OnFields(nn.Module):
    """A layer on tokens of one depth, as one on (batch, feature, cell)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x.mT.reshape(len(x), SPHERE.windows, SPHERE.slots, -1))
        out: Tensor = y.flatten(1, 2).mT
        return out


def smooth(lmax: int) -> Tensor:
    return noise(2, 4, (lmax + 1) ** 2) @ harmonic_tables(4, lmax)[0].T / (lmax + 1)


def test_every_rotation_of_band_limited_tokens() -> None:
    turned = BandLimited(4, 8)
    for layer in layers("r", SPHERE):
        assert equivariance_error(OnFields(layer), ROTATION, smooth(8), turned, turned) < 1e-12


@pytest.mark.parametrize(("lmax", "low", "high"), [(1, 1e-4, 0.03), (8, 0.02, 0.2)])
def test_a_block_is_as_good_as_its_grid(lmax: int, low: float, high: float) -> None:
    """Norm and GELU make higher degrees, which alias: measured from both sides, up to degree 4."""
    torch.manual_seed(0)
    block = OnFields(MixingBlock(DepthwiseSpectral("r", SPHERE, 16), 16))
    network = nn.Sequential(Synthesis(4, lmax), block, Analysis(4, 4))
    x = noise(2, 16, (lmax + 1) ** 2) / (lmax + 1)
    turned = SphereCoefficients(lmax), SphereCoefficients(4)
    assert low < equivariance_error(network, ROTATION, x, *turned) < high
    # Quarter turns are symmetries of the grid, on any tokens.
    assert equivariance_error(network, Rotation(math.pi / 2), x, *turned) < 1e-12


class ByOrder(DepthwiseSpectral):
    """Numbers that depend on the order m."""

    def _by_degree(self, coefficients: Tensor, weight: Tensor) -> Tensor:
        ramp = torch.arange(coefficients.shape[-2], dtype=weight.dtype)[:, None]
        return super()._by_degree(coefficients, weight) * ramp


class BiasOfBoth(SpectralConv):
    """A bias of the odd part too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


def test_what_is_not_equivariant_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, regular = Tokens(GRID), Tokens(GRID, "c4h")
    x, y = tokens("r", GRID, 4), tokens("c4h", GRID, 4)
    assert equivariance_error(randomise(ByOrder("r", GRID, 4)), R, x, plain, plain) > 0.02
    assert equivariance_error(BiasOfBoth("c4h", GRID, 4, 6), M, y, regular, regular) > 0.05
    # Sums over cells keep the grid's symmetries, and other rotations only to some per cent.
    table = harmonic_tables(4, 8)[0]
    monkeypatch.setattr(
        spectral, "harmonic_tables", lambda *_: (table, 4 * math.pi / len(table) * table.T)
    )
    wrong = randomise(SpectralConv("r", SPHERE, 4, 6))
    field = BandLimited(4, 8)
    assert 0.01 < equivariance_error(OnFields(wrong), ROTATION, smooth(8), field, field) < 0.3


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_against_the_definition(symmetry: Any) -> None:
    """Degree by degree, by dense matrices on the tokens, depth by depth."""
    synthesis, analysis = harmonic_tables(4, 8)
    projections = [
        synthesis[:, d * d : (d + 1) ** 2] @ analysis[d * d : (d + 1) ** 2] for d in range(9)
    ]
    order = torch.from_numpy(GRID.order().copy())

    def define(layer: SpectralConv) -> Any:
        depthwise = isinstance(layer, DepthwiseSpectral)

        def apply(f: Tensor, weight: Tensor) -> Tensor:
            return f * weight[:, 0] if depthwise else f @ weight.T

        def twin(x: Tensor) -> Tensor:
            outs = []
            for part, each in enumerate(x.unbind(0) if symmetry == "c4h" else [x]):
                # Depth-major: slot s of the window order holds token order[s].
                flat = each.flatten(1, 2)[:, order.argsort()].unflatten(1, (GRID.depths, -1))
                rows = []
                for depth in range(GRID.depths):
                    f = flat[:, depth]
                    row = apply(f, layer.pointwise[part]) + layer.bias * (part == 0)
                    for degree, project in enumerate(projections):
                        row = row + apply(project @ f, layer.filter[part, degree])
                    for step, weight in zip((-1, 1), layer.vertical[:, part], strict=True):  # type: ignore[index]
                        if 0 <= depth + step < GRID.depths:
                            row = row + apply(flat[:, depth + step], weight)
                    rows.append(row)
                out = torch.cat(rows, 1)[:, order]
                outs.append(out.unflatten(1, (GRID.windows, GRID.slots)))
            return torch.stack(outs) if symmetry == "c4h" else outs[0]

        return twin

    for layer in layers(symmetry, GRID):
        layer = layer.double()
        weights = list(layer.parameters())
        assert_same(layer, define(layer), [tokens(symmetry, GRID, 4)], weights)  # type: ignore[arg-type]


def test_the_degree_that_is_filtered() -> None:
    assert [filtered_degree(nside) for nside in (1, 4, 16, 32)] == [2, 8, 32, 32]
    assert DepthwiseSpectral("r", GRID, 4).filter.shape == (1, 9, 4, 1)
    # Tables are not weights, and not in a checkpoint.
    names = ["filter", "pointwise", "vertical", "bias"]
    assert list(DepthwiseSpectral("r", GRID, 4).state_dict()) == names


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="even, positive width, got 3"):
        SpectralConv("c4h", GRID, 4, 3)
    with pytest.raises(ValueError, match="even, positive width, got 5"):
        DepthwiseSpectral("c4h", GRID, 5)
    with pytest.raises(ValueError, match="12 base pixels, got 4"):
        SpectralConv("r", TokenGrid(nside=4, depths=2, base_pixels=4), 4, 4)


def test_plain_features_keep_the_mirror_as_well() -> None:
    """A zonal filter cannot tell left from right."""
    plain = Tokens(GRID)
    for layer in layers("r", GRID):
        for element in C4H:
            assert equivariance_error(layer, element, tokens("r", GRID, 4), plain, plain) < 1e-12
