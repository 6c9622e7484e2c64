"""HEAL-SWIN: its sizes, its shifts, its symmetry, and that it learns from its surroundings."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import Fields, equivariance_error
from pear.errors import InputError
from pear.models.heal_swin import HealSwin, HealSwinConfig, Shift
from pear.sphere.symmetry import M, R
from pipelines.benchmarks.equivariance import smooth_fields


def tiny(**changes: object) -> HealSwinConfig:
    settings: dict[str, object] = {
        "inputs": 2,
        "outputs": 3,
        "nside": 16,
        "embed": 16,
        "depths": (2, 2),
        "heads": (2, 4),
    }
    return HealSwinConfig.small(**{**settings, **changes})  # type: ignore[arg-type]


def randomised(config: HealSwinConfig) -> HealSwin:
    torch.manual_seed(0)
    model = HealSwin(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def test_the_network_of_the_paper_has_41_million_numbers() -> None:
    config = HealSwinConfig.driving()
    assert (config.nside, config.cells, len(config.grids)) == (256, 524_288, 4)
    assert [grid.windows for grid in config.grids] == [2048, 512, 128, 32]
    count = sum(p.numel() for p in HealSwin(config).parameters())
    assert count == pytest.approx(41e6, rel=0.02)


def test_the_small_network_for_full_spheres() -> None:
    config = HealSwinConfig.small()
    assert (config.window, config.base_pixels) == (16, 12)
    count = sum(p.numel() for p in HealSwin(config).parameters())
    assert count == pytest.approx(1.5e6, rel=0.2)


@pytest.mark.parametrize("changes", [{}, {"cosine": False, "post_norm": False, "position": "free"}])
def test_the_full_sphere_with_the_rotated_shift_keeps_rotations(
    changes: dict[str, object],
) -> None:
    model = randomised(tiny(**changes))
    image = torch.randn(1, 2, model.config.cells, dtype=torch.float64)
    source, target = (Fields(16, [1] * n, channel_axis=1) for n in (2, 3))
    assert equivariance_error(model, R, image, source, target) <= 1e-15
    assert equivariance_error(model, M, image, source, target) > 1e-3


def test_the_spiral_does_not_keep_rotations() -> None:
    model = randomised(tiny(shift="spiral"))
    image = torch.randn(1, 2, model.config.cells, dtype=torch.float64)
    source, target = (Fields(16, [1] * n, channel_axis=1) for n in (2, 3))
    assert equivariance_error(model, R, image, source, target) > 1e-6


@pytest.mark.parametrize("shift", get_args(Shift))
@pytest.mark.parametrize("base_pixels", [8, 12])
def test_every_parameter_learns(shift: str, base_pixels: int) -> None:
    torch.manual_seed(0)
    config = tiny(shift=shift, base_pixels=base_pixels, drop_path=0.0)
    model = HealSwin(config)
    out = model(torch.randn(2, 2, config.cells))
    assert out.shape == (2, 3, config.cells)
    out.square().mean().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_a_wrong_image_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 100\), must be \(batch, 2, 3072\)"):
        HealSwin(tiny())(torch.zeros(1, 2, 100))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shift": "spirl"}, "did you mean spiral"),
        ({"position": "none"}, "position 'none' is unknown"),
        ({"depths": (2, 2, 2)}, "same stages"),
        ({"heads": (3, 4)}, r"heads\[0\] = 3 does not divide"),
        ({"outputs": 0}, "outputs must be positive"),
        ({"nside": 2, "depths": (1, 1, 1), "heads": (1, 1, 1)}, "nside 2 is too coarse"),
        ({"nside": 24}, "nside must be a power of 2, got 24"),
        ({"patch": 3}, "patch must be a power of 4, got 3"),
        ({"base_pixels": 13}, "13"),
        ({"window": 20}, "20"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tiny(**changes)


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy images of random continents, their land mask and the height of the land.

    Of two channels, one shows the relief and one a derived quantity, both under noise as strong as
    the signal: a single cell does not tell land from sea, its surroundings do.
    """
    relief = smooth_fields(16, count, seed)
    noise = np.random.default_rng(seed).normal(size=(count, 2, relief.shape[1]))
    image = np.stack([relief, np.tanh(2 * relief)], axis=1) + noise
    as_tensor = [torch.from_numpy(x).float() for x in (image, relief > 0, np.maximum(relief, 0))]
    return as_tensor[0], as_tensor[1], as_tensor[2]


@pytest.mark.nightly
def test_land_and_height_are_seen_better_than_cell_by_cell() -> None:
    def loss(out: Tensor, land: Tensor, height: Tensor) -> Tensor:
        mask = nn.functional.binary_cross_entropy_with_logits(out[:, 0], land)
        return mask + nn.functional.mse_loss(out[:, 1], height)

    def train(model: nn.Module, steps: int) -> tuple[float, float]:
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
        for step in range(steps):
            image, land, height = scenes(4, seed=1000 + step)
            optimiser.zero_grad()
            loss(model(image), land, height).backward()
            optimiser.step()
        image, land, height = scenes(8, seed=1)
        with torch.no_grad():
            out = model.eval()(image)
        right = ((out[:, 0] > 0) == land.bool()).float().mean()
        return float(right), float((out[:, 1] - height).square().mean())

    torch.manual_seed(0)
    cell_by_cell = nn.Sequential(
        nn.Conv1d(2, 32, 1), nn.GELU(), nn.Conv1d(32, 32, 1), nn.GELU(), nn.Conv1d(32, 2, 1)
    )
    right, error = train(cell_by_cell, steps=300)
    assert right > 0.75  # the baseline has learnt what a cell tells
    network = HealSwin(tiny(outputs=2, dropout=0.0, attention_dropout=0.0, drop_path=0.0))
    better_right, better_error = train(network, steps=120)
    assert 1 - better_right < 0.65 * (1 - right)
    assert better_error < 0.65 * error
