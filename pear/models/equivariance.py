"""How exactly a PEAR model keeps the symmetries of the grid, inputs and outputs as fields."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pear.equivariant.contract import Fields, equivariance_error
from pear.errors import InputError
from pear.models.config import FORCINGS
from pear.models.pear import Pear
from pear.normalise import Normaliser
from pear.sphere.symmetry import Element, M, R

DEFAULT_ELEMENTS = (R, M, R * M)


def equivariance_errors(
    model: Pear, elements: Sequence[Element] = DEFAULT_ELEMENTS, seed: int = 0
) -> dict[str, float]:
    """Relative equivariance error of a model under each element, in float64 on random fields.

    The state and the forcing both move: scalars and eastward wind with their cells, northward wind,
    the sine of latitude and the seasons with changed sign under the mirror. For residual models the
    error is relative to the change over the step.

    Parameters
    ----------
    model
        Not changed.
    elements
        Elements of the group; R, M and RM if not given.
    seed
        Of the random fields.

    Returns
    -------
    dict
        Element name to max|Φ(g·x) − g·Φ(x)| / max|Φ(x)|.
    """
    config = model.config
    layout, nside = config.layout, config.nside
    cells, generator = 12 * nside**2, torch.Generator().manual_seed(seed)
    state = [
        Fields(nside, layout.mirror_signs("surface"), channel_axis=1),
        Fields(nside, layout.mirror_signs("upper"), channel_axis=1),
    ]
    shapes = [(1, len(layout.surface), cells), (1, len(layout.upper), len(layout.levels), cells)]
    sources = list(state)
    if config.forcings:
        sources.append(Fields(nside, [FORCINGS[n] for n in config.forcings], channel_axis=1))
        shapes.append((1, len(config.forcings), cells))
    device = model.sin_latitude.device
    inputs = [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(device) for shape in shapes
    ]
    step = _Change(model) if config.residual else model
    return {
        element.name: equivariance_error(step, element, inputs, sources, state)
        for element in elements
    }


class _Change(nn.Module):
    """The change over one step: what a residual model adds to the state."""

    def __init__(self, model: Pear) -> None:
        super().__init__()
        self.model = model

    def forward(self, *fields: Tensor) -> tuple[Tensor, Tensor]:
        surface, upper = self.model(*fields)
        return surface - fields[0], upper - fields[1]


def mirror_symmetric(normaliser: Normaliser) -> Normaliser:
    """Make statistics that the mirror keeps: mean 0 for channels that change sign under it.

    Standardising by a mean would otherwise break the symmetry before the model sees the state. The
    deviations of these channels become root mean squares, so that nothing changes in scale.
    """
    given = {name: value.clone() for name, value in normaliser.named_buffers()}
    for kind in ("surface", "upper"):
        signs = torch.tensor(normaliser.layout.mirror_signs(kind))
        mean, std = given[f"{kind}_mean"], given[f"{kind}_std"]
        std[signs < 0] = torch.hypot(std, mean)[signs < 0]
        mean[signs < 0] = 0.0
    return Normaliser(normaliser.layout, **given)


def check_normaliser(normaliser: Normaliser) -> None:
    """Raise unless the mirror keeps the statistics.

    Raises
    ------
    InputError
        Naming a channel that changes sign under the mirror and has a mean.
    """
    layout = normaliser.layout
    for names, mean in (
        (layout.surface, normaliser.surface_mean),
        (layout.upper, normaliser.upper_mean),
    ):
        signs = layout.mirror_signs("surface" if names == layout.surface else "upper")
        for name, sign, value in zip(names, signs, mean, strict=True):
            if sign < 0 and bool((value != 0).any()):
                raise InputError(
                    f"a model with symmetry 'c4h' needs mean 0 for {name}, which changes sign "
                    "under the mirror", field="normaliser",
                    hint="pass it through pear.models.equivariance.mirror_symmetric",
                )  # fmt: skip
