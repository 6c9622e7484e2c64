"""Equivariance errors of PEAR networks under the symmetries of the grid."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pear.equivariant.contract import Fields, equivariance_error
from pear.equivariant.symmetrise import Symmetrised
from pear.errors import InputError
from pear.models.config import FORCINGS, PearConfig
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.sphere.symmetry import IDENTITY, Element, M, R
from pear.times import as_utc
from pear.typing import TimesLike

DEFAULT_ELEMENTS = (R, M, R * M)


def equivariance_errors(
    model: Pear, elements: Sequence[Element] = DEFAULT_ELEMENTS, seed: int = 0
) -> dict[str, float]:
    """Return the relative equivariance error under each element, in float64 on random fields.

    State and forcing both move: scalars and eastward wind with their cells; northward wind, the
    sine of latitude and the seasons change sign under the mirror. For residual models the error is
    relative to the change over the step.

    Parameters
    ----------
    model
        Not changed.
    elements
        Elements of the group; default: R, M and RM.
    seed
        Seed of the random fields.

    Returns
    -------
    dict
        Element name to max|Φ(g·x) − g·Φ(x)| / max|Φ(x)|.

    Examples
    --------
    >>> from pear.models.diagnostics import equivariance_errors
    >>> sizes = {"embed": 8, "depths": (1,) * 4, "heads": (2,) * 4, "patch": 4}
    >>> model = Pear(PearConfig(nside=4, symmetry="c4h", residual=False, **sizes))
    >>> {name: error < 1e-10 for name, error in equivariance_errors(model).items()}
    {'R': True, 'M': True, 'RM': True}
    """
    config = model.config
    layout, nside = config.layout, config.nside
    cells, generator = 12 * nside**2, torch.Generator().manual_seed(seed)
    sources = representations(config)
    shapes = [(1, len(layout.surface), cells), (1, len(layout.upper), len(layout.levels), cells)]
    if config.forcings:
        shapes.append((1, len(config.forcings), cells))
    device = model.sin_latitude.device
    inputs = [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(device) for shape in shapes
    ]
    step = _Change(model) if config.residual else model
    return {
        element.name: equivariance_error(step, element, inputs, sources, sources[:2])
        for element in elements
    }


class _Change(nn.Module):
    """The change over one step, which a residual model adds to the state."""

    def __init__(self, model: Pear) -> None:
        super().__init__()
        self.model = model

    def forward(self, *fields: Tensor) -> tuple[Tensor, Tensor]:
        surface, upper = self.model(*fields)
        return surface - fields[0], upper - fields[1]


class PhysicalStep(nn.Module):
    """A model's step in physical units with a given forcing, for averages over the group.

    Parameters
    ----------
    model, normaliser
        Not changed.

    Examples
    --------
    >>> from pear.models.diagnostics import PhysicalStep
    >>> config = PearConfig(nside=4, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4)
    >>> step = PhysicalStep(Pear(config), Normaliser.identity(config.layout))
    >>> surface, upper = torch.randn(1, 4, 192), torch.randn(1, 5, 13, 192)
    >>> torch.allclose(step(surface, upper)[1], upper)  # persistence before training
    True
    """

    def __init__(self, model: Pear, normaliser: Normaliser) -> None:
        super().__init__()
        self.model, self.normaliser = model, normaliser

    def forward(self, surface: Tensor, upper: Tensor, *forcing: Tensor) -> tuple[Tensor, Tensor]:
        """Advance fields in physical units by one step; shapes kept."""
        out: tuple[Tensor, Tensor] = self.model(*self.normaliser(surface, upper), *forcing)
        return self.normaliser.inverse(*out)


@torch.inference_mode()
def orbit_errors(
    model: Pear,
    normaliser: Normaliser,
    fields: tuple[Tensor, Tensor],
    times: TimesLike,
    steps: int,
    elements: Sequence[Element] = DEFAULT_ELEMENTS,
    group: Sequence[Element] = (IDENTITY,),
) -> dict[str, list[float]]:
    """Return the difference of forecasts of moved states from moved forecasts, step by step.

    Parameters
    ----------
    model, normaliser
        Not changed.
    fields
        (batch, surface, cell) and (batch, upper, level, cell), physical units.
    times
        (batch,) valid times.
    steps
        Length of the forecasts.
    elements
        Elements by which state and forcing are moved.
    group
        Group over which each step is averaged
        (:class:`pear.equivariant.symmetrise.Symmetrised`).

    Returns
    -------
    dict
        Element name to the root mean square over all channels and cells at each step, in units of
        each channel's standard deviation of the change over one step.

    Examples
    --------
    >>> from pear.models.diagnostics import orbit_errors
    >>> sizes = {"embed": 8, "depths": (1,) * 4, "heads": (1,) * 4, "patch": 4}
    >>> config = PearConfig(nside=4, residual=False, **sizes)
    >>> model, normaliser = Pear(config), Normaliser.identity(config.layout)
    >>> fields = torch.randn(1, 4, 192), torch.randn(1, 5, 13, 192)
    >>> errors = orbit_errors(model, normaliser, fields, "2001-01-01", steps=2, elements=[R])
    >>> len(errors["R"]), max(errors["R"]) < 1e-10
    (2, True)
    """
    config, times = model.config, as_utc(times)
    model, normaliser = copy.deepcopy(model).double().eval(), copy.deepcopy(normaliser).double()
    reps = representations(config)
    step = Symmetrised(PhysicalStep(model, normaliser), reps, reps[:2], group)
    hours = np.timedelta64(config.step_hours * 3600, "s")
    forcings = [model.forcing(times + number * hours) for number in range(steps)]
    scales = normaliser.surface_step_std[:, None], normaliser.upper_step_std[..., None]

    def forecast(element: Element) -> Iterator[list[Tensor]]:
        moved = [rep.act(element, part.double()) for rep, part in zip(reps, fields, strict=False)]
        for forcing in forcings:
            extra = [] if forcing is None else [reps[2].act(element, forcing)]
            moved = list(step(*moved, *extra))
            yield [rep.act(element.inverse, part) for rep, part in zip(reps, moved, strict=False)]

    plain = list(forecast(IDENTITY))
    errors = {}
    for element in elements:
        errors[element.name] = [
            _rms([(a - b) / scale for a, b, scale in zip(one, two, scales, strict=True)])
            for one, two in zip(forecast(element), plain, strict=True)
        ]
    return errors


def _rms(parts: Sequence[Tensor]) -> float:
    square = sum(float(part.square().sum()) for part in parts)
    return float((square / sum(part.numel() for part in parts)) ** 0.5)


def representations(config: PearConfig) -> list[Fields]:
    """Return the group's action on surface fields, upper fields and, if there is any, forcing.

    Returns
    -------
    list of Fields
        Two, or three with forcings.

    Examples
    --------
    >>> from pear.models.diagnostics import representations
    >>> surface, upper = representations(PearConfig(nside=4, patch=4))
    >>> x = torch.randn(1, 4, 192)
    >>> torch.equal(surface.act(M, surface.act(M, x)), x)
    True
    """
    nside, layout = config.nside, config.layout
    signs = [layout.mirror_signs("surface"), layout.mirror_signs("upper")]
    if config.forcings:
        signs.append(tuple(FORCINGS[name] for name in config.forcings))
    return [Fields(nside, each, channel_axis=1) for each in signs]


def mirror_symmetric(normaliser: Normaliser) -> Normaliser:
    """Return statistics that the mirror keeps: mean 0 for channels that change sign under it.

    Standardising by another mean would break the symmetry. The standard deviations of these
    channels become root mean squares, which keeps the scale of the fields.

    Parameters
    ----------
    normaliser
        Not changed.

    Returns
    -------
    Normaliser
        New statistics.

    Examples
    --------
    >>> from pear.models.diagnostics import mirror_symmetric
    >>> from pear.variables import Layout
    >>> layout = Layout(("10m_v_component_of_wind",), (), ())
    >>> one, none = torch.ones(1), torch.ones(0, 0)
    >>> found = mirror_symmetric(Normaliser(layout, 3 * one, 4 * one, none, none))
    >>> found.surface_mean.item(), found.surface_std.item()  # √(3² + 4²)
    (0.0, 5.0)
    """
    given = {name: value.clone() for name, value in normaliser.named_buffers()}
    for kind in ("surface", "upper"):
        signs = torch.tensor(normaliser.layout.mirror_signs(kind))
        mean, std = given[f"{kind}_mean"], given[f"{kind}_std"]
        std[signs < 0] = torch.hypot(std, mean)[signs < 0]
        mean[signs < 0] = 0.0
    return Normaliser(normaliser.layout, **given)


def check_normaliser(normaliser: Normaliser) -> None:
    """Check that the mirror keeps the statistics.

    Parameters
    ----------
    normaliser
        Statistics.

    Raises
    ------
    InputError
        If a channel that changes sign under the mirror has a mean.

    Examples
    --------
    >>> from pear.models.diagnostics import check_normaliser
    >>> from pear.variables import Layout
    >>> layout = Layout(("10m_v_component_of_wind",), (), ())
    >>> check_normaliser(Normaliser.identity(layout))
    >>> one, none = torch.ones(1), torch.ones(0, 0)
    >>> check_normaliser(Normaliser(layout, one, one, none, none))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pear.errors.InputError: a model with symmetry 'c4h' needs mean 0 for ...
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
                    "under the mirror",
                    field="normaliser",
                    hint="pass it through pear.models.diagnostics.mirror_symmetric",
                )
