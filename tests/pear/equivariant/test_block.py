"""The block: its composition, exact symmetry, and what it drops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pear.equivariant.attention import RelativeBias, WindowAttention
from pear.equivariant.block import Block, DropPath, earth_block
from pear.equivariant.contract import Tokens
from pear.equivariant.window_shift import WindowShift
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import assert_keeps, assert_same, noise, randomise

GRID = TokenGrid(4, 4, 16)


def build(pre_norm: bool) -> Block:
    attention = WindowAttention(8, 2, RelativeBias(GRID, 2))
    block = randomise(Block(attention, 8, pre_norm=pre_norm)).double()
    assert isinstance(block, Block)
    return block


@pytest.mark.parametrize("pre_norm", [False, True])
def test_where_the_norms_are(pre_norm: bool) -> None:
    block = build(pre_norm)

    def reference(x: Tensor) -> Tensor:
        if pre_norm:
            x = x + block.attention(block.attention_norm(x))
            return x + block.mlp(block.mlp_norm(x))
        x = x + block.attention_norm(block.attention(x))
        return x + block.mlp_norm(block.mlp(x))

    x = noise(1, GRID.windows, GRID.slots, 8)
    assert_same(block, reference, [x], list(block.parameters()))


@pytest.mark.parametrize("shift", [None, "ring_rotation"])
@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_symmetry(symmetry: str, shift: str | None) -> None:
    table = None if shift is None else WindowShift.from_name(GRID, shift)
    block = randomise(earth_block(symmetry, GRID, 8, 4, table))
    shape = (2, 1, GRID.windows, GRID.slots, 4) if symmetry == "c4h" else (1, GRID.windows, 32, 8)
    rep = Tokens(GRID, symmetry)
    assert_keeps(block, noise(*shape), rep, rep, symmetry)


def test_a_published_shift_breaks_the_rotation() -> None:
    block = randomise(earth_block("r", GRID, 8, 4, WindowShift.from_name(GRID, "ring_roll")))
    rep = Tokens(GRID)
    with pytest.raises(AssertionError, match="R:"):
        assert_keeps(block, noise(1, GRID.windows, GRID.slots, 8), rep, rep, "r")


def test_drop_path_keeps_the_mean_and_drops_whole_entries() -> None:
    torch.manual_seed(0)
    layer = DropPath(0.25, batch_axis=1)
    x = torch.ones(2, 4000, 3)
    out = layer(x)
    kept = out[0, :, 0]
    assert kept.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (out == kept[None, :, None]).all()
    assert out.mean() == pytest.approx(1, abs=0.03)
    layer.eval()
    assert layer(x) is x
    with pytest.raises(ValueError, match="got 1"):
        DropPath(1.0, batch_axis=0)


def test_dropout_acts_in_training_only() -> None:
    attention = WindowAttention(8, 2, RelativeBias(GRID, 2), dropout=0.3)
    block = Block(attention, 8, dropout=0.3, drop_path=0.1)
    x = noise(2, GRID.windows, GRID.slots, 8).float()
    torch.manual_seed(0)
    assert not torch.equal(block(x), block(x))
    block.eval()
    torch.testing.assert_close(block(x), block(x), rtol=0, atol=0)
