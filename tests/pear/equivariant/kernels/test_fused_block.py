"""The fused block against the block it is built from."""

from __future__ import annotations

import pytest
import torch

from pear.equivariant.attention import EarthBias, RelativeBias, WindowAttention
from pear.equivariant.block import Block, earth_block
from pear.equivariant.kernels import compiled, fused_block, mirror_block
from pear.equivariant.kernels.fused_block import FusedBlock
from pear.equivariant.linear import Symmetry
from pear.equivariant.window_shift import WindowShift
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import randomise

GRID = TokenGrid(8, 4, 16)
PIECES = (1, 10**5, 10**9)


def random_block(symmetry: Symmetry, shift: str | None) -> Block:
    table = None if shift is None else WindowShift.from_name(GRID, shift)  # type: ignore[arg-type]
    block = randomise(earth_block(symmetry, GRID, 32, 4, table)).float().eval()
    assert isinstance(block, Block)
    return block


def features(symmetry: Symmetry) -> torch.Tensor:
    lead, width = ((2, 3), 16) if symmetry == "c4h" else ((3,), 32)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*lead, GRID.windows, GRID.slots, width, generator=generator)


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("shift", [None, "ring_rotation", "ring_roll"])
@pytest.mark.parametrize("piece", PIECES)
def test_equals_the_block(
    symmetry: Symmetry, shift: str | None, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_block, "_PIECE_BYTES", piece)
    block, x = random_block(symmetry, shift), features(symmetry)
    fused = FusedBlock(block)
    assert dict(fused.state_dict()).keys() == dict(block.state_dict()).keys()
    with torch.no_grad():
        want = block.double()(x.double())
        block.float()
        size = float(want.abs().max())
        torch.testing.assert_close(fused(x).double(), want, rtol=0, atol=3e-6 * size)
        with torch.autocast("cpu", torch.bfloat16):
            half, plain = fused(x), block(x)
    assert half.dtype == torch.float32
    error, plain_error = (float((y - want).abs().max()) for y in (half, plain))
    assert 1e-5 * size < error < max(2 * plain_error, 0.02 * size)


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_gradients_are_those_of_the_block(symmetry: Symmetry) -> None:
    block, x = random_block(symmetry, "ring_rotation"), features(symmetry)
    found = []
    for layer in (block, FusedBlock(block)):
        layer(x).square().mean().backward()
        found.append([p.grad.clone() for p in block.parameters() if p.grad is not None])
        block.zero_grad()
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_settings_of_other_networks(pre_norm: bool, cosine: bool, dropout: float) -> None:
    attention = WindowAttention(32, 4, RelativeBias(GRID, 4), cosine=cosine, dropout=dropout)
    block = randomise(Block(attention, 32, pre_norm=pre_norm, dropout=dropout)).float()
    fused, x = FusedBlock(block), features("r")  # type: ignore[arg-type]
    for training in (False, True):
        block.train(training)
        fused.train(training)
        with torch.no_grad():
            torch.manual_seed(1)
            want = block(x)
            torch.manual_seed(1)
            torch.testing.assert_close(fused(x), want, rtol=1e-4, atol=1e-4)


def test_other_types_and_machines_run_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = random_block("c4h", None), features("c4h")
    fused = FusedBlock(block)
    with torch.no_grad():
        want = block(x)
        for module in (compiled, mirror_block):
            monkeypatch.delattr(module, "require_library")  # any call of a kernel fails
        monkeypatch.setattr(compiled, "library", lambda: None)
        torch.testing.assert_close(fused(x), want)
        block.double()
        torch.testing.assert_close(fused(x.double()).float(), want)


def test_odd_windows_run_the_block() -> None:
    grid = TokenGrid(2, 3, 4, window_depth=3)
    block = randomise(Block(WindowAttention(8, 2, EarthBias(grid, 2)), 8)).float()
    x = torch.randn(1, grid.windows, grid.slots, 8)
    with torch.no_grad():
        torch.testing.assert_close(FusedBlock(block)(x), block(x))  # type: ignore[arg-type]
