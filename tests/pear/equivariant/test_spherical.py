"""Zonal convolutions: exact for every rotation of band-limited fields, and twins that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant import spherical
from pear.equivariant.contract import Fields, equivariance_error
from pear.equivariant.representations import BandLimited, SphereCoefficients
from pear.equivariant.spherical import (
    Analysis,
    SampledActivation,
    SphereMixing,
    Synthesis,
    ZonalConv,
    harmonic_tables,
)
from pear.sphere.harmonics import Rotation, synthesis
from pear.sphere.symmetry import C4H
from tests.fixtures.layer_checks import assert_same, noise, randomise

NSIDE, DEGREE = 2, 3
CELLS, SIZE = 12 * NSIDE**2, (DEGREE + 1) ** 2
ROTATIONS = (Rotation(0.3, 1.1, -2.0), Rotation(-1.4, 0.6, 0.9))


def band_limited(channels: int, nside: int = NSIDE, lmax: int = DEGREE) -> Tensor:
    return noise(2, channels, (lmax + 1) ** 2) @ torch.from_numpy(synthesis(nside, lmax).copy()).T


def mixing() -> SphereMixing:
    layer = randomise(SphereMixing(NSIDE, DEGREE, 3, 2))
    assert isinstance(layer, SphereMixing)
    return layer


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_every_rotation_of_coefficients(rotation: Rotation) -> None:
    turned = SphereCoefficients(DEGREE)
    layer = randomise(ZonalConv(DEGREE, 3, 2))
    x = noise(2, 3, SIZE)
    assert equivariance_error(layer, rotation, x, turned, turned, gradients=True) < 1e-12


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_every_rotation_of_band_limited_fields(rotation: Rotation) -> None:
    turned = BandLimited(NSIDE, DEGREE)
    assert equivariance_error(mixing(), rotation, band_limited(3), turned, turned) < 1e-12


@pytest.mark.parametrize("element", C4H, ids=lambda element: element.name)
def test_symmetries_of_the_grid_on_any_field(element: Any) -> None:
    moved, x = Fields(NSIDE), noise(2, 3, CELLS)
    assert equivariance_error(mixing(), element, x, moved, moved, gradients=True) < 1e-12


class ByOrder(ZonalConv):
    """A weight that depends on the order m."""

    def forward(self, coefficients: Tensor) -> Tensor:
        weights = 1 + torch.arange(coefficients.shape[-1], dtype=coefficients.dtype)
        return super().forward(coefficients * weights)


def test_what_is_not_equivariant_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    turned, x = SphereCoefficients(DEGREE), noise(2, 3, SIZE)
    assert equivariance_error(ByOrder(DEGREE, 3, 2), ROTATIONS[0], x, turned, turned) > 0.05
    # Sums over cells instead of the pseudo-inverse: right only to some per cent.
    table = torch.from_numpy(synthesis(NSIDE, DEGREE).copy())
    monkeypatch.setattr(
        spherical, "harmonic_tables", lambda nside, lmax: (table, 4 * np.pi / CELLS * table.T)
    )
    field = BandLimited(NSIDE, DEGREE)
    error = equivariance_error(mixing(), ROTATIONS[0], band_limited(3), field, field)
    assert 0.003 < error < 0.3


def test_against_the_definition() -> None:
    """Degree by degree, by dense matrices on the cells."""
    layer = mixing().double()
    tables = Synthesis(NSIDE, DEGREE).table, Analysis(NSIDE, DEGREE).table

    def slow(x: Tensor) -> Tensor:
        out = layer.pointwise.weight @ x + layer.pointwise.bias[:, None]
        for degree in range(DEGREE + 1):
            part = slice(degree**2, (degree + 1) ** 2)
            project = tables[0][:, part] @ tables[1][part]
            for o in range(2):
                term = sum(
                    layer.filter.weight[degree, o, i] * x[:, i] @ project.T for i in range(3)
                )
                out = out + functional.one_hot(torch.tensor(o), 2)[:, None] * term[:, None]
        return out

    weights: list[nn.Parameter] = list(layer.parameters())
    assert_same(layer, slow, [noise(2, 3, CELLS)], weights)


def test_one_harmonic_in_and_one_out() -> None:
    layer = SphereMixing(NSIDE, DEGREE, 1, 1).double()
    nn.init.zeros_(layer.pointwise.weight)
    nn.init.zeros_(layer.pointwise.bias)
    one = Synthesis(NSIDE, DEGREE).table[:, 5]
    out = layer(one.view(1, 1, -1))[0, 0]
    torch.testing.assert_close(out, layer.filter.weight[2, 0, 0] * one, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("nside", "lmax", "low", "high"), [(4, 4, 0.002, 0.03), (4, 6, 0.004, 0.03), (4, 8, 0.02, 0.15)]
)
def test_aliasing_of_a_pointwise_function(nside: int, lmax: int, low: float, high: float) -> None:
    """Exact for quarter turns; for other rotations it grows with the degree, and is not small."""
    layer = SampledActivation(Synthesis(nside, lmax), Analysis(nside, lmax))
    turned, x = SphereCoefficients(lmax), noise(4, (lmax + 1) ** 2) / (lmax + 1)
    assert equivariance_error(layer, Rotation(np.pi / 2), x, turned, turned) < 1e-12
    errors = [equivariance_error(layer, rotation, x, turned, turned) for rotation in ROTATIONS]
    assert low < min(errors) <= max(errors) < high, errors


def test_tables_made_for_inference_serve_trainings() -> None:
    harmonic_tables.cache_clear()
    with torch.inference_mode():
        Synthesis(NSIDE, DEGREE)(noise(2, SIZE))
    layer = nn.Sequential(ZonalConv(DEGREE, 3, 2), Synthesis(NSIDE, DEGREE)).double()
    layer(noise(2, 3, SIZE)).sum().backward()
    assert bool(layer[0].weight.grad.abs().sum() > 0)


def test_more_samples_alias_less() -> None:
    x, turned = noise(4, SIZE), SphereCoefficients(DEGREE)
    errors = [
        equivariance_error(
            SampledActivation(Synthesis(nside, DEGREE), Analysis(nside, DEGREE)),
            ROTATIONS[0],
            x,
            turned,
            turned,
        )
        for nside in (2, 4, 8)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2], errors
