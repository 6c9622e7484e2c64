"""Convolutions by the stencil: exact symmetry, their definition, and twins that must fail."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant import stencil
from pear.equivariant.contract import Fields, Tokens, equivariance_error
from pear.equivariant.stencil import DepthwiseStencil, StencilConv, StencilLifting
from pear.sphere.stencils import MIRRORED, OFFSETS
from pear.sphere.stencils import stencil as neighbourhood
from pear.sphere.symmetry import C4H, M, R
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import assert_keeps, assert_same, butterfly, noise, randomise

GRID = TokenGrid(nside=4, depths=4, window=16)
CELLS = TokenGrid(nside=2, depths=1, window=4, window_depth=1)
SIGNS = (1, -1, -1)


def tokens(symmetry: str, grid: TokenGrid, features: int, seed: int = 7) -> Tensor:
    shape = grid.windows, grid.slots
    if symmetry == "c4h":
        return noise(2, 2, *shape, features // 2, seed=seed)
    return noise(2, *shape, features, seed=seed)


def layers(symmetry: str, grid: TokenGrid) -> list[nn.Module]:
    return [
        randomise(StencilConv(symmetry, grid, 4, 6)),  # type: ignore[arg-type]
        randomise(DepthwiseStencil(symmetry, grid, 4)),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_convolutions_are_exactly_equivariant(symmetry: str) -> None:
    representation = Tokens(GRID, symmetry)  # type: ignore[arg-type]
    for layer in layers(symmetry, GRID):
        x = tokens(symmetry, GRID, 4)
        assert_keeps(layer, x, representation, representation, symmetry)


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_lifting_is_exactly_equivariant(symmetry: str) -> None:
    lifting = randomise(StencilLifting(symmetry, CELLS, SIGNS, 6))  # type: ignore[arg-type]
    fields = Fields(CELLS.nside, SIGNS, channel_axis=1)
    assert_keeps(lifting, noise(2, 3, 48), fields, Tokens(CELLS, symmetry), symmetry)  # type: ignore[arg-type]


class SignDropped(StencilLifting):
    def __init__(self) -> None:
        super().__init__("c4h", CELLS, (1,) * len(SIGNS), 6)


class BiasOfB(StencilConv):
    """A bias that a and b do not share."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class BiasByToken(StencilConv):
    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out + torch.arange(out.shape[-3])[:, None, None]


def test_what_is_not_equivariant_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    fields, cells = Fields(CELLS.nside, SIGNS, channel_axis=1), Tokens(CELLS, "c4h")
    dropped = randomise(SignDropped())
    assert equivariance_error(dropped, M, noise(2, 3, 48), fields, cells) > 0.05
    regular, plain = Tokens(GRID, "c4h"), Tokens(GRID)
    x, y = tokens("c4h", GRID, 4), tokens("r", GRID, 4)
    assert equivariance_error(BiasOfB("c4h", GRID, 4, 6), M, x, regular, regular) > 0.05
    assert equivariance_error(BiasByToken("r", GRID, 4, 6), R, y, plain, plain) > 0.05
    # μ replaced by the identity; the rotation does not notice.
    monkeypatch.setattr(stencil, "mirrored_kernel", lambda kernel: kernel)
    for layer in layers("c4h", GRID):
        assert equivariance_error(layer, R, x, regular, regular) < 1e-12
        assert equivariance_error(layer, M, x, regular, regular) > 0.05
    lifting = randomise(StencilLifting("c4h", CELLS, SIGNS, 6))
    assert equivariance_error(lifting, M, noise(2, 3, 48), fields, cells) > 0.05


def neighbour(x: Tensor, label: int) -> Tensor:
    """Return the values of a neighbour, (…, cell, feature), zero where there is none."""
    source = torch.from_numpy(neighbourhood(CELLS.nside)[:, label].copy())
    return x[..., source.clamp(min=0), :] * (source >= 0)[:, None]


def tap(kernel: Tensor, label: int) -> Tensor:
    x, y = OFFSETS[label]
    return kernel[..., y + 1, x + 1]


def test_convolutions_against_their_definition() -> None:
    """In the a/b basis, neighbour by neighbour."""
    conv = randomise(StencilConv("c4h", CELLS, 4, 6)).double()
    depthwise = randomise(DepthwiseStencil("c4h", CELLS, 4)).double()
    plain = randomise(StencilConv("r", CELLS, 4, 6)).double()

    def define(layer: StencilConv) -> object:
        def twin(x: Tensor) -> Tensor:
            a, b = butterfly(x.flatten(2, 3)).unbind(0)
            kernel = layer.kernel  # κ⁰ ± κ¹
            first, second = (kernel[0] + kernel[1]) / 2, (kernel[0] - kernel[1]) / 2
            outs = []
            for same, other, images in ((a, b, range(9)), (b, a, MIRRORED)):
                total = torch.zeros(())
                for k, image in enumerate(images):
                    for values, weights in ((same, first), (other, second)):
                        weight, near = tap(weights, image), neighbour(values, k)
                        product = near * weight[:, 0] if layer is depthwise else near @ weight.T
                        total = total + product
                outs.append(total + layer.bias * 0.5**0.5)
            return butterfly(torch.stack(outs)).view(*x.shape[:-1], -1)

        return twin

    for layer in (conv, depthwise):
        weights = list(layer.parameters())
        assert_same(layer, define(layer), [tokens("c4h", CELLS, 4)], weights)  # type: ignore[arg-type]

    def simple(x: Tensor) -> Tensor:
        flat = x.flatten(1, 2)
        terms = [neighbour(flat, k) @ tap(plain.kernel[0], k).T for k in range(9)]
        return (sum(terms[1:], terms[0]) + plain.bias).view(*x.shape[:-1], -1)

    assert_same(plain, simple, [tokens("r", CELLS, 4)], list(plain.parameters()))


def test_lifting_against_its_definition() -> None:
    lifting = randomise(StencilLifting("c4h", CELLS, SIGNS, 6)).double()

    def twin(f: Tensor) -> Tensor:
        x, signs = f.mT, torch.tensor(SIGNS)
        a = sum(neighbour(x, k) @ tap(lifting.kernel, k).T for k in range(9))
        b = sum(neighbour(x * signs, k) @ tap(lifting.kernel, MIRRORED[k]).T for k in range(9))
        out = butterfly(torch.stack([a + lifting.bias * 0.5**0.5, b + lifting.bias * 0.5**0.5]))
        return out.view(2, len(f), CELLS.windows, CELLS.slots, -1)

    assert_same(lifting, twin, [noise(2, 3, 48)], list(lifting.parameters()))


@pytest.mark.parametrize("kind", [StencilConv, DepthwiseStencil])
@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_tokens_hear_their_neighbours_at_all_sides(kind: type, symmetry: str) -> None:
    """Eight on the same depth, and the tokens below and above; not around the top."""
    widths = (4,) if kind is DepthwiseStencil else (4, 4)
    layer = randomise(kind(symmetry, GRID, *widths)).double()
    x = tokens(symmetry, GRID, 4).requires_grad_()
    out = layer(x).flatten(-3, -2)
    position = torch.from_numpy(GRID.order().argsort())
    depth, cell = 0, 100
    heard = out[..., position[depth * GRID.tokens + cell], :].sum()
    (grad,) = torch.autograd.grad(heard, x)
    rows = grad.flatten(-3, -2).abs().amax(-1).flatten(0, -2).amax(0)[position]
    want = torch.zeros(GRID.depths, GRID.tokens, dtype=torch.bool)
    want[depth, torch.from_numpy(neighbourhood(4)[cell])] = True
    want[depth + 1, cell] = True
    assert torch.equal(rows.view(GRID.depths, -1) > 0, want)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one depth, got 4"):
        StencilLifting("r", GRID, SIGNS, 4)
    with pytest.raises(ValueError, match="even, positive width, got 3"):
        StencilConv("c4h", GRID, 4, 3)
    with pytest.raises(ValueError, match="even, positive width, got 5"):
        DepthwiseStencil("c4h", GRID, 5)
    with pytest.raises(ValueError, match="12 base pixels"):
        StencilConv("r", TokenGrid(nside=4, depths=2, base_pixels=4), 4, 4)


def test_half_of_the_group_of_c4h_is_kept_by_plain_features() -> None:
    layer, plain = randomise(StencilConv("r", GRID, 4, 4)), Tokens(GRID)
    for element in C4H:
        error = equivariance_error(layer, element, tokens("r", GRID, 4), plain, plain)
        assert (error > 0.05) == element.mirror, element.name
