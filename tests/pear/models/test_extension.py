"""A trained network with more channels: known ones forecast as before, new ones can learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pear.errors import InputError
from pear.models.extension import extend, extend_normaliser, extended_layout
from pear.models.wind_statistics import check_isotropic, isotropic
from pear.normaliser import Normaliser
from pear.variables import Layout
from tests.fixtures.models import TINY, WINDY, built, fields, normaliser, tiny

# A new variable before, between and after the known ones; an odd one under the mirror.
MORE = Layout(
    surface=(
        "surface_pressure",
        "10m_v_component_of_wind",
        "100m_v_component_of_wind",
        "2m_temperature",
        "total_precipitation_6hr",
    ),
    upper=("temperature", "vertical_velocity", "v_component_of_wind"),
    levels=TINY.levels,
)


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
@pytest.mark.parametrize("residual", [True, False])
def test_known_channels_forecast_as_before(symmetry: str, residual: bool) -> None:
    config = tiny(symmetry=symmetry, residual=residual)
    model, known = built(config), normaliser(config.layout)
    if residual:
        model.set_step_scale(known)
    large = replace(config, layout=MORE)
    statistics = extend_normaliser(known, normaliser(MORE, seed=1, odd_means=True), large)
    found = extend(model, MORE, statistics).eval()
    surface, upper, forcing = fields(large)
    at = [MORE.surface.index(name) for name in TINY.surface]
    above = [MORE.upper.index(name) for name in TINY.upper]
    before = model(surface[:, at], upper[:, above], forcing)
    after = found(surface, upper, forcing)
    torch.testing.assert_close(after[0][:, at], before[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after[1][:, above], before[1], rtol=1e-5, atol=1e-5)
    new = [row for row in range(5) if row not in at]
    start = surface if residual else torch.zeros_like(surface)  # persistence, or the mean
    assert torch.equal(after[0][:, new], start[:, new])
    assert torch.equal(statistics.surface_mean[at], known.surface_mean)
    assert torch.equal(statistics.upper_step_std[above], known.upper_step_std)


@pytest.mark.parametrize("wind", ["face", "gauge"])
def test_networks_in_other_frames_learn_further_winds(wind: str) -> None:
    names = ("100m_v_component_of_wind", "surface_pressure", *WINDY.surface[::-1])
    more = Layout((*names, "100m_u_component_of_wind"), ("vertical_velocity", *WINDY.upper), (850,))
    known = replace(WINDY, levels=(850,))
    config = tiny(layout=known, wind=wind, symmetry="c4h")
    model, large = built(config), replace(config, layout=more)
    statistics = isotropic(normaliser(known))
    check_isotropic(extend_normaliser(statistics, normaliser(more, odd_means=True), large))
    found = extend(model, more, Normaliser.identity(more)).eval()
    surface, upper, forcing = fields(large)
    at = [more.surface.index(name) for name in known.surface]
    before = model(surface[:, at], upper[:, 1:], forcing)
    after = found(surface, upper, forcing)
    torch.testing.assert_close(after[0][:, at], before[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after[1][:, 1:], before[1], rtol=1e-4, atol=1e-4)
    new = [row for row in range(len(more.surface)) if row not in at]
    torch.testing.assert_close(after[0][:, new], surface[:, new])


def test_new_weights_have_gradients_at_once() -> None:
    config = replace(tiny(), layout=MORE)
    found = extend(built(tiny()), MORE, Normaliser.identity(MORE))
    surface, upper, forcing = fields(config)
    sum(part.square().sum() for part in found(surface, upper, forcing)).backward()
    points = config.patch
    assert bool((found.embed_surface.weight.grad[:, :points] != 0).any(dim=1).all())
    assert bool((found.recover_surface.weight.grad[:points] != 0).any(dim=1).all())


def test_channels_that_are_lost_and_other_levels_are_refused() -> None:
    model = built(tiny())
    without = Layout(("2m_temperature",), TINY.upper, TINY.levels)
    with pytest.raises(InputError, match="forecasts 10m_v_component_of_wind, which the new one"):
        extend(model, without, Normaliser.identity(without))
    lower = Layout(TINY.surface, TINY.upper, (1000, *TINY.levels))
    with pytest.raises(InputError, match="has the levels 850, 500, 250 hPa, the new one 1000"):
        extend(model, lower, Normaliser.identity(lower))


def test_variables_are_added_after_the_known_ones() -> None:
    found = extended_layout(TINY, ["surface_pressure", "temperature", "vertical_velocity"], MORE)
    assert found.surface == (*TINY.surface, "surface_pressure")
    assert found.upper == (*TINY.upper, "vertical_velocity")
    assert found.levels == TINY.levels
