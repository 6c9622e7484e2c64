"""Networks to measure, with random weights, and their input."""

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

    Parameters
    ----------
    name
        One of :data:`CONFIGS`.
    nside
        Resolution.
    changes
        Settings of :class:`pear.models.config.PearConfig` that differ.

    Returns
    -------
    PearConfig
        The configuration.

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
    network: str, config: str, nside: int, seed: int, changes: Mapping[str, Any]
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Build a network with random weights, and a random standardised state for it.

    The reference and the ``published`` PEAR of one seed have the same weights and input.

    Parameters
    ----------
    network
        ``"reference"`` or ``"pear"``.
    config, nside, changes
        As in :func:`configuration`; the reference has one configuration.
    seed
        Of the weights and the input.

    Returns
    -------
    network
        Called as ``network(*inputs)``; returns surface and upper-air fields.
    inputs
        Surface and upper-air fields, and the forcing if the network has any.
    """
    generator = torch.Generator().manual_seed(seed)
    layout, cells = Layout.default(), 12 * nside**2
    surface = torch.randn(1, len(layout.surface), cells, generator=generator)
    upper = torch.randn(1, len(layout.upper), len(layout.levels), cells, generator=generator)
    if network == "reference":
        return PublishedReference(random_state(seed, nside=nside), nside), (surface, upper)
    model = Pear(configuration(config, nside, changes))
    fill(model, seed)
    if config == "published" and not changes:
        model.load_state_dict(translate(random_state(seed, nside=nside), model))
    forcing = model.forcing(np.array(["2000-07-01"], "datetime64[s]"))
    return model, (surface, upper) if forcing is None else (surface, upper, forcing)


def fill(model: Pear, seed: int, scale: float = 0.05) -> None:
    """Give every parameter and static field of a network a random value.

    A new network has zero biases, and a residual one a zero output, which would hide errors of
    symmetry and of rounding.

    Parameters
    ----------
    model
        Changed in place.
    seed
        Random seed.
    scale
        Standard deviation of the parameters.
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
