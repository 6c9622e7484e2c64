"""Patch layers: exact symmetry, and convolutions and loops over tokens as references."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pear.equivariant.contract import Fields, Tokens
from pear.equivariant.patch import PatchEmbed, PatchExpand, PatchMerge, PatchRecover, mirror_basis
from pear.equivariant.window_shift import from_windows, to_windows
from pear.sphere.symmetry import block_mirror
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import assert_keeps, assert_same, butterfly, noise, randomise

SIGNS = (1, -1, 1)
GRID = TokenGrid(2, 2, 4)
NSIDE = 8


class InWindows(torch.nn.Module):
    """A layer between cells and tokens, with its tokens in window order as the group acts there."""

    def __init__(self, layer: PatchEmbed | PatchRecover) -> None:
        super().__init__()
        self.layer, self.symmetry = layer, layer.symmetry

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, PatchEmbed):
            return to_windows(self.layer(x), GRID)
        return self.layer(from_windows(x, GRID))


@pytest.mark.parametrize("signs", [(1,), (-1,), SIGNS])
@pytest.mark.parametrize(("levels", "cells"), [(1, 4), (2, 16)])
def test_mirror_basis_is_orthonormal_and_of_the_right_parity(
    signs: tuple[int, ...], levels: int, cells: int
) -> None:
    even, odd = mirror_basis(signs, levels, cells)
    whole = torch.cat([even, odd])
    torch.testing.assert_close(whole @ whole.T, torch.eye(len(whole), dtype=torch.float64))
    sigma = torch.from_numpy(block_mirror(cells).copy())
    for basis, parity in ((even, 1), (odd, -1)):
        rows = basis.view(-1, len(signs), levels, cells)
        mirrored = rows[..., sigma] * torch.tensor(signs)[:, None, None]
        torch.testing.assert_close(mirrored, parity * rows)


def test_dense_embed_is_a_strided_convolution() -> None:
    layer = randomise(PatchEmbed("r", SIGNS, 2, 16, 5)).double()

    def reference(x: Tensor) -> Tensor:
        kernel = layer.weight.view(5, 3, 2, 16)
        return functional.conv2d(x, kernel, layer.bias, stride=(2, 16)).permute(0, 2, 3, 1)

    assert_same(layer, reference, [noise(2, 3, 4, 12 * 64)], list(layer.parameters()))


def test_dense_recover_is_a_transposed_convolution() -> None:
    layer = randomise(PatchRecover("r", SIGNS, 2, 16, 5)).double()

    def reference(x: Tensor) -> Tensor:
        kernel = layer.weight.T.reshape(5, 3, 2, 16)
        return functional.conv_transpose2d(
            x.permute(0, 3, 1, 2), kernel, layer.bias, stride=(2, 16)
        )

    assert_same(layer, reference, [noise(2, 2, 48, 5)], list(layer.parameters()))


def test_mirror_embed_sums_pairs_of_cells() -> None:
    layer = randomise(PatchEmbed("c4h", (1, -1), 1, 4, 6)).double()

    def reference(x: Tensor) -> Tensor:
        # Cells 0 and 3 of a 2 × 2 patch change places, 1 and 2 stay.
        p = x[:, :, 0].unflatten(-1, (-1, 4))
        root = 0.5**0.5
        even = [root * (p[:, 0, :, 0] + p[:, 0, :, 3]), p[:, 0, :, 1], p[:, 0, :, 2]]
        even += [root * (p[:, 1, :, 0] - p[:, 1, :, 3])]
        odd = [root * (p[:, 0, :, 0] - p[:, 0, :, 3])]
        odd += [root * (p[:, 1, :, 0] + p[:, 1, :, 3]), p[:, 1, :, 1], p[:, 1, :, 2]]
        e = torch.stack(even, -1) @ layer.weight_even.T + layer.bias
        return torch.stack([e, torch.stack(odd, -1) @ layer.weight_odd.T])[:, :, None]

    assert_same(layer, reference, [noise(2, 2, 1, 48)], list(layer.parameters()))


def test_mirror_recover_is_the_transpose_of_embed() -> None:
    embed = PatchEmbed("c4h", SIGNS, 2, 16, 6, bias=False).double()
    recover = PatchRecover("c4h", SIGNS, 2, 16, 6).double()
    recover.weight_even.data = embed.weight_even.data.T.clone()
    recover.weight_odd.data = embed.weight_odd.data.T.clone()
    x, y = noise(1, 3, 2, 12 * 16), noise(2, 1, 1, 12, 3)
    torch.testing.assert_close((embed(x) * y).sum(), (x * recover(y)).sum())


def test_mirror_recover_has_a_bias_where_one_may_be() -> None:
    layer = randomise(PatchRecover("c4h", (1, -1), 1, 4, 6)).double()
    out = layer(torch.zeros(2, 1, 1, 12, 3, dtype=torch.float64))[0, :, 0].view(2, 12, 4)
    assert (out[0].abs() > 1e-3).all()
    torch.testing.assert_close(out[1, :, 0], -out[1, :, 3])
    assert out[1, :, 1:3].abs().max() == 0


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("levels", [1, 2])
def test_embed_symmetry(symmetry: str, levels: int) -> None:
    layer = InWindows(randomise(PatchEmbed(symmetry, SIGNS, levels, 16, 8)))
    fields = Fields(NSIDE, SIGNS, channel_axis=1)
    x = noise(2, 3, 2 * levels, 12 * NSIDE**2)
    assert_keeps(layer, x, fields, Tokens(GRID, symmetry), symmetry)


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("levels", [1, 2])
def test_recover_symmetry(symmetry: str, levels: int) -> None:
    layer = InWindows(randomise(PatchRecover(symmetry, SIGNS, levels, 16, 8)))
    shape = (2, 1, GRID.windows, GRID.slots, 4) if symmetry == "c4h" else (1, GRID.windows, 8, 8)
    fields = Fields(NSIDE, SIGNS, channel_axis=1)
    assert_keeps(layer, noise(*shape), Tokens(GRID, symmetry), fields, symmetry)


FINE = TokenGrid(4, 4, 16)


def test_merge_token_by_token() -> None:
    layer = randomise(PatchMerge("r", FINE, 3, 5)).double()

    def reference(x: Tensor) -> Tensor:
        out = x.new_zeros(1, FINE.depths, FINE.tokens // 4, 5)
        for depth, token in itertools.product(range(FINE.depths), range(FINE.tokens // 4)):
            four = torch.cat([x[0, depth, 4 * token + child] for child in range(4)])
            normed = functional.layer_norm(four, (12,), layer.norm.weight, layer.norm.bias)
            out[0, depth, token] = layer.reduction.weight @ normed
        return out

    def fast(x: Tensor) -> Tensor:
        return from_windows(layer(to_windows(x, FINE)), layer.coarse)

    x = noise(1, FINE.depths, FINE.tokens, 3)
    assert_same(fast, reference, [x], list(layer.parameters()))


def test_expand_token_by_token() -> None:
    layer = randomise(PatchExpand("r", FINE, 5, 3)).double()

    def reference(x: Tensor) -> Tensor:
        out = x.new_zeros(1, FINE.depths, FINE.tokens, 3)
        for depth, token in itertools.product(range(FINE.depths), range(FINE.tokens // 4)):
            wide = layer.expand.weight @ x[0, depth, token]
            for child in range(4):
                part = wide[3 * child : 3 * child + 3]
                normed = functional.layer_norm(part, (3,), layer.norm.weight, layer.norm.bias)
                out[0, depth, 4 * token + child] = layer.linear.weight @ normed
        return out

    def fast(x: Tensor) -> Tensor:
        return from_windows(layer(to_windows(x, layer.coarse)), FINE)

    x = noise(1, FINE.depths, FINE.tokens // 4, 5)
    assert_same(fast, reference, [x], list(layer.parameters()))


def test_mirror_merge_takes_the_children_of_b_in_mirrored_order() -> None:
    layer = randomise(PatchMerge("c4h", FINE, 4, 6)).double()

    def reference(x: Tensor) -> Tensor:
        a, b = butterfly(from_windows(x, FINE)).unflatten(-2, (-1, 4)).unbind(0)
        b = torch.stack([b[..., child, :] for child in (3, 1, 2, 0)], -2)
        both = butterfly(torch.stack([a.flatten(-2), b.flatten(-2)]))
        return to_windows(layer.reduction(layer.norm(both)), layer.coarse)

    x = noise(2, 1, FINE.windows, FINE.slots, 2)
    assert_same(layer, reference, [x], list(layer.parameters()))


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("grid", [FINE, TokenGrid(2, 2), TokenGrid(8, 2, 4)], ids=str)
def test_merge_and_expand_symmetry(symmetry: str, grid: TokenGrid) -> None:
    coarse = grid.coarser()
    fine_rep, coarse_rep = Tokens(grid, symmetry), Tokens(coarse, symmetry)
    merge = randomise(PatchMerge(symmetry, grid, 4, 6))
    expand = randomise(PatchExpand(symmetry, grid, 6, 4))

    def shape(where: TokenGrid, features: int) -> tuple[int, ...]:
        inner = (1, where.windows, where.slots)
        return (2, *inner, features // 2) if symmetry == "c4h" else (*inner, features)

    assert_keeps(merge, noise(*shape(grid, 4)), fine_rep, coarse_rep, symmetry)
    assert_keeps(expand, noise(*shape(coarse, 6)), coarse_rep, fine_rep, symmetry)
