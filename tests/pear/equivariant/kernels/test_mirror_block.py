"""A whole mirrored block by one compiled function, against its layers in double precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pear.equivariant.block import Block, earth_block
from pear.equivariant.kernels import mirror_block
from pear.equivariant.kernels.build import library
from pear.equivariant.kernels.fused_block import FusedBlock
from pear.equivariant.window_shift import WindowShift
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import randomise

GRIDS = {
    16: TokenGrid(4, 1, 16, window_depth=1),
    32: TokenGrid(4, 4, 16),
    64: TokenGrid(8, 1, 64, window_depth=1),
    128: TokenGrid(8, 4, 64),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each block that the compiled function computed."""
    if library() is None:
        pytest.skip("no compiler here")
    done: list[int] = []
    apply = mirror_block.apply

    def spy(*arguments: Any) -> torch.Tensor:
        done.append(1)
        return apply(*arguments)

    monkeypatch.setattr(mirror_block, "apply", spy)
    return done


def build(grid: TokenGrid, features: int, heads: int, shift: str | None) -> Block:
    table = None if shift is None else WindowShift.from_name(grid, shift)
    block = randomise(earth_block("c4h", grid, features, heads, table))
    assert isinstance(block, Block)
    return block.eval()


@pytest.mark.parametrize("shift", [None, "ring_rotation", "ring_roll"])
@pytest.mark.parametrize("slots", GRIDS)
@pytest.mark.parametrize(("features", "heads"), [(96, 6), (24, 2), (28, 14), (128, 2)])
def test_equals_the_layers(
    calls: list[int], slots: int, features: int, heads: int, shift: str | None
) -> None:
    grid = GRIDS[slots]
    assert grid.slots == slots
    block = build(grid, features, heads, shift)
    x = torch.randn(2, 2, grid.windows, slots, features // 2).float()
    exact = block.double()(x.double()).detach()
    with torch.no_grad():
        got = FusedBlock(block.float())(x)
    assert calls == [1]
    torch.testing.assert_close(got.double(), exact, rtol=0, atol=3e-6 * float(exact.abs().max()))


def test_other_cases_run_the_layers(calls: list[int]) -> None:
    grid = GRIDS[32]
    block = build(grid, 24, 2, None).float()
    x = torch.randn(2, 1, grid.windows, 32, 12)
    want, fused = block(x).detach(), FusedBlock(block)
    torch.testing.assert_close(fused(x), want)
    assert not calls  # gradients
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(fused(x), want, rtol=0, atol=0.1)
    assert not calls
    wide = build(grid, 280, 2, None).float()  # heads of 140
    x = torch.randn(2, 1, grid.windows, 32, 140)
    want = wide(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(FusedBlock(wide)(x), want, rtol=1e-4, atol=1e-4)
    assert not calls


def test_not_a_number_stays_inside_its_window(calls: list[int]) -> None:
    grid = GRIDS[32]
    block = build(grid, 24, 2, None).float()
    x = torch.randn(2, 1, grid.windows, 32, 12)
    x[0, 0, 3, 5, 7] = float("nan")
    with torch.no_grad():
        out = FusedBlock(block)(x)
    assert calls == [1]
    assert out[:, 0, 3].isnan().all()
    out[:, 0, 3] = 0
    assert out.isfinite().all()
