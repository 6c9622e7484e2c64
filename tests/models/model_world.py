"""Small models with everything set, and random fields to run them on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pear.models.config import FORCINGS, PearConfig
from pear.models.pear import Pear
from pear.normalise import Normaliser
from pear.variables import Layout

TINY = Layout(
    surface=("10m_v_component_of_wind", "2m_temperature"),
    upper=("temperature", "v_component_of_wind"),
    levels=(850, 500, 250),
)


def tiny(**changes: Any) -> PearConfig:
    """Settings of a network that runs in milliseconds."""
    settings: dict[str, Any] = {
        "nside": 8,
        "layout": TINY,
        "embed": 16,
        "depths": (2, 2, 2, 2),
        "heads": (2, 2, 2, 2),
        "forcings": tuple(FORCINGS),
    }
    return PearConfig(**{**settings, **changes})


def built(config: PearConfig, seed: int = 0, random: bool = True) -> Pear:
    """Build the model with static fields and, if asked, random weights and biases everywhere."""
    model, generator = Pear(config), torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    cells = 12 * config.nside**2
    statics = {"orography": 1000 * rng.random(cells), "land_fraction": rng.random(cells)}
    model.set_static(**{k: v for k, v in statics.items() if k in config.forcings})
    if random:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def fields(config: PearConfig, batch: int = 1, seed: int = 5) -> tuple[Tensor, ...]:
    """Random standardised input: surface, upper and, if the model has any, the forcing."""
    lay, cells, generator = config.layout, 12 * config.nside**2, torch.Generator().manual_seed(seed)
    shapes: list[tuple[int, ...]] = [
        (batch, len(lay.surface), cells),
        (batch, len(lay.upper), len(lay.levels), cells),
    ]
    if config.forcings:
        shapes.append((batch, len(config.forcings), cells))
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def normaliser(layout: Layout, seed: int = 0, odd_means: bool = False) -> Normaliser:
    """Statistics of realistic shape; means of northward winds are 0 unless asked for."""
    rng = np.random.default_rng(seed)
    upper = (len(layout.upper), len(layout.levels))
    surface = (len(layout.surface),)
    means = [torch.from_numpy(100 * rng.random(shape)) for shape in (surface, upper)]
    if not odd_means:
        for mean, kind in zip(means, ("surface", "upper"), strict=True):
            mean[torch.tensor(layout.mirror_signs(kind)) < 0] = 0  # type: ignore[arg-type]
    stds = [torch.from_numpy(1 + rng.random(shape)) for shape in (surface, upper)]
    return Normaliser(layout, means[0], stds[0], means[1], stds[1], stds[0] / 3, stds[1] / 4)
