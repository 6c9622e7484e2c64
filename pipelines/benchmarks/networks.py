"""The networks that are measured, and their input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pear.errors import InputError, did_you_mean
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.models.published import translate
from pear.variables import Layout
from pipelines.benchmarks.published_reference import PublishedReference, random_state

CONFIGS: Final = ("published", "small", "base")


def configuration(name: str, nside: int, changes: Mapping[str, Any]) -> PearConfig:
    """Build a named configuration with changes.

    Raises
    ------
    InputError
        If the name is unknown or the settings do not fit.
    """
    if name not in CONFIGS:
        raise InputError(
            f"unknown configuration {name!r}", field="config", hint=did_you_mean(name, CONFIGS)
        )
    named: PearConfig = getattr(PearConfig, name)(nside=nside)
    return PearConfig.from_dict({**named.to_dict(), **changes})


def build(
    subject: str, config: str, nside: int, seed: int, changes: Mapping[str, Any]
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Build a network with random weights, and a random standardised state for it.

    The twin and the ``published`` PEAR of one seed have the same weights and the same input.

    Returns
    -------
    (network, inputs)
        ``network(*inputs)`` gives surface and upper-air fields.
    """
    generator = torch.Generator().manual_seed(seed)
    cells = 12 * nside**2
    surface = torch.randn(1, len(Layout.default().surface), cells, generator=generator)
    upper = torch.randn(
        1, len(Layout.default().upper), len(Layout.default().levels), cells, generator=generator
    )
    if subject == "twin":
        return PublishedReference(random_state(seed), nside), (surface, upper)
    model = Pear(configuration(config, nside, changes))
    fill(model, seed)
    if config == "published" and not changes:
        model.load_state_dict(translate(random_state(seed), model))
    forcing = model.forcing(np.array(["2000-07-01"], "datetime64[s]"))
    return model, (surface, upper) if forcing is None else (surface, upper, forcing)


def fill(model: Pear, seed: int, scale: float = 0.05) -> None:
    """Give every parameter and static field of a network a random value.

    A new network has zero biases, and a residual one a zero output: too tame to measure
    a symmetry or an error of rounding with.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter) * scale
            is_scale = "norm" in name and name.endswith("weight")
            parameter.copy_(1 + noise if is_scale else noise)
    latitude = model.sin_latitude.double().numpy()
    fields = {"orography": 2000 * latitude**2, "land_fraction": (1 + latitude) / 2}
    model.set_static(
        **{name: value for name, value in fields.items() if name in model.config.forcings}
    )
