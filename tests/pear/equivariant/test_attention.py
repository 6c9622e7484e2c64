"""Window attention against an attention written window by window and pair by pair."""

from __future__ import annotations

import math

import healpy
import numpy as np
import pytest
import torch
from torch import Tensor

from pear.equivariant.attention import (
    EarthBias,
    MirrorAttention,
    RelativeBias,
    WindowAttention,
)
from pear.equivariant.contract import Tokens
from pear.equivariant.window_shift import MASKED, WindowShift, from_windows, to_windows
from pear.sphere.windows import TokenGrid
from tests.fixtures.layer_checks import assert_keeps, assert_same, butterfly, noise, randomise

GRID = TokenGrid(4, 4, 16)


def rolled(nside: int, size: int) -> np.ndarray:
    """The published shift, straight from its definition in ring order."""
    ring = np.roll(np.arange(12 * nside**2), -size)
    order = healpy.nest2ring(nside, np.arange(12 * nside**2))
    return healpy.ring2nest(nside, ring)[order]


def labels(grid: TokenGrid, size: int) -> np.ndarray:
    """The published regions in nested order, (depth, token)."""
    ring = healpy.nest2ring(grid.nside, np.arange(grid.tokens))
    region = (ring >= grid.tokens - grid.window_cells).astype(int) + (ring >= grid.tokens - size)
    out = np.broadcast_to(region, (grid.depths, grid.tokens)).copy()
    out[-1] += 100
    return out


def slow(layer: WindowAttention, grid: TokenGrid, shift: np.ndarray | None, x: Tensor) -> Tensor:
    """The same attention: (batch, depth, token, feature), shape kept, one window after another."""
    batch, depths, tokens, features = x.shape
    width = features // layer.heads
    region = np.zeros((depths, tokens), dtype=int)
    if shift is not None:
        x = torch.roll(x[:, :, torch.from_numpy(shift)], -1, dims=1)
        region = labels(grid, grid.side // 2)
    out = torch.zeros_like(x)
    bias = layer.bias()
    for entry in range(batch):
        for depth in range(0, depths, 2):
            for first in range(0, tokens, grid.window_cells):
                here = (slice(depth, depth + 2), slice(first, first + grid.window_cells))
                window = x[entry][here].reshape(-1, features)
                seen = torch.from_numpy(region[here].reshape(-1))
                mask = MASKED * (seen[:, None] != seen[None]).double()
                q, k, v = layer.qkv(window).chunk(3, -1)
                heads = []
                for h in range(layer.heads):
                    part = slice(h * width, (h + 1) * width)
                    logits = q[:, part] @ k[:, part].T / math.sqrt(width) + bias[h] + mask
                    heads.append(torch.softmax(logits, -1) @ v[:, part])
                mixed = layer.proj(torch.cat(heads, -1))
                out[entry][here] = mixed.reshape(2, -1, features)
    if shift is not None:
        out = torch.roll(out, 1, dims=1)[:, :, torch.from_numpy(np.argsort(shift))]
    return out


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_equals_attention_window_by_window(shifted: bool, batch: int) -> None:
    shift = WindowShift.from_name(GRID, "ring_roll") if shifted else None
    layer = randomise(WindowAttention(6, 3, EarthBias(GRID, 3), shift)).double()
    assert isinstance(layer, WindowAttention)
    table = rolled(4, 2) if shifted else None

    def fast(x: Tensor) -> Tensor:
        return from_windows(layer(to_windows(x, GRID)), GRID)

    weights = [p for name, p in layer.named_parameters() if "bias.table" in name or "proj" in name]
    weights += [layer.qkv.weight]
    assert_same(
        fast, lambda x: slow(layer, GRID, table, x), [noise(batch, 4, GRID.tokens, 6)], weights
    )


def test_mirror_attention_is_dense_attention_on_a_and_b() -> None:
    """Heads 0…h/2−1 see a with the bias, the others b with the bias passed through σ."""
    layer = randomise(MirrorAttention(GRID, 8, 4, EarthBias(GRID, 2))).double()
    assert isinstance(layer, MirrorAttention)
    sigma = torch.from_numpy(GRID.mirrored_slots())

    def reference(x: Tensor) -> Tensor:
        parts = butterfly(layer.qkv(x))
        halves = []
        for half, qkv in enumerate(parts):
            q, k, v = qkv.unflatten(-1, (3, 2, 2)).permute(3, 0, 1, 4, 2, 5)
            bias = layer.bias()
            if half == 1:
                bias = torch.stack([b[sigma][:, sigma] for b in bias])
            weights = torch.softmax(q @ k.mT / math.sqrt(2) + bias, -1)
            halves.append((weights @ v).transpose(2, 3).flatten(3))
        return layer.proj(butterfly(torch.stack(halves)))

    weights = [layer.qkv.weight, layer.proj.weight, layer.proj.bias, layer.bias.table]
    assert_same(layer, reference, [noise(2, 1, GRID.windows, GRID.slots, 4)], weights)


def test_cosine_attention() -> None:
    layer = randomise(WindowAttention(6, 3, EarthBias(GRID, 3), cosine=True)).double()
    assert isinstance(layer, WindowAttention)
    assert layer.logit_scale is not None
    layer.logit_scale.data = torch.tensor([0.5, math.log(10), 7.0], dtype=torch.float64)

    def reference(x: Tensor) -> Tensor:
        q, k, v = layer.qkv(x).unflatten(-1, (3, 3, 2)).permute(3, 0, 1, 4, 2, 5)
        cosine = (q @ k.mT) / (q.norm(dim=-1)[..., None] * k.norm(dim=-1)[..., None, :])
        factor = layer.logit_scale.exp().clamp(max=100)[:, None, None]
        weights = torch.softmax(factor * cosine + layer.bias(), -1)
        return layer.proj((weights @ v).transpose(2, 3).flatten(3))

    x = noise(1, GRID.windows, GRID.slots, 6)
    assert_same(layer, reference, [x], [layer.qkv.weight, layer.logit_scale], tolerance=1e-10)


@pytest.mark.parametrize("shift", [None, "none", "ring_rotation"])
@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("cosine", [False, True])
def test_symmetry(symmetry: str, shift: str | None, cosine: bool) -> None:
    pairs = 2 if symmetry == "c4h" else 1
    table = None if shift is None else WindowShift.from_name(GRID, shift)  # type: ignore[arg-type]
    bias = EarthBias(GRID, 4 // pairs)
    attention = (
        MirrorAttention(GRID, 8, 4, bias, table, cosine=cosine)
        if pairs == 2
        else WindowAttention(8, 4, bias, table, cosine=cosine)
    )
    layer = randomise(attention)
    shape = (2, 2, GRID.windows, GRID.slots, 4) if pairs == 2 else (2, GRID.windows, GRID.slots, 8)
    rep = Tokens(GRID, symmetry)  # type: ignore[arg-type]
    assert_keeps(layer, noise(*shape), rep, rep, symmetry)


def test_masked_pairs_do_not_see_each_other() -> None:
    """After the depth roll the top and the bottom share a window: neither hears the other."""
    shift = WindowShift.from_name(GRID, "none")
    layer = randomise(WindowAttention(8, 2, EarthBias(GRID, 2), shift)).double()
    x = noise(1, 4, GRID.tokens, 8).requires_grad_()
    out = from_windows(layer(to_windows(x, GRID)), GRID)
    (grad,) = torch.autograd.grad(out[:, 0].sum(), x)
    assert grad[:, 0].abs().max() > 0
    assert grad[:, 3].abs().max() < 1e-40
    (grad,) = torch.autograd.grad(layer(to_windows(x, GRID)).sum(), x)
    assert grad[:, 3].abs().max() > 0


def test_relative_bias_depends_on_differences_only() -> None:
    grid = TokenGrid(4, 4, 16)
    bias = RelativeBias(grid, 3)
    assert bias.table.shape == (3 * 7 * 7, 3)
    full = bias().detach()[0].flatten().tolist()
    positions = grid.slot_positions()
    steps = (positions[:, None] - positions[None]).reshape(-1, 3).tolist()
    seen: dict[tuple[int, ...], float] = {}
    for step, value in zip(steps, full, strict=True):
        assert seen.setdefault(tuple(step), value) == value
    assert len(seen) == len(set(seen.values())) == 3 * 7 * 7


def test_windows_there_and_back() -> None:
    x = noise(2, 3, GRID.depths, GRID.tokens, 5)
    windows = to_windows(x, GRID)
    torch.testing.assert_close(from_windows(windows, GRID), x, rtol=0, atol=0)
    flat = x.flatten(-3, -2)[..., torch.from_numpy(GRID.order()), :]
    torch.testing.assert_close(windows.flatten(-3, -2), flat, rtol=0, atol=0)


def test_shift_gradient_is_right_and_twice_differentiable() -> None:
    shift = WindowShift.from_name(GRID, "ring_roll")
    x = noise(1, GRID.windows, GRID.slots, 2).requires_grad_()
    (grad,) = torch.autograd.grad((shift(x) ** 3).sum(), x, create_graph=True)
    torch.testing.assert_close(grad, 3 * x**2)
    (second,) = torch.autograd.grad(grad.sum(), x)
    torch.testing.assert_close(second, 6 * x)
    torch.testing.assert_close(shift.inverse(shift(x)), x, rtol=0, atol=0)


def test_impossible_heads() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide 8 features"):
        WindowAttention(8, 3, EarthBias(GRID, 3))
    with pytest.raises(ValueError, match="needs an even number of heads"):
        MirrorAttention(GRID, 9, 3, EarthBias(GRID, 1))
