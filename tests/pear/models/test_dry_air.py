"""The mass of dry air, kept by a correction after each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.correction import Correction, CorrectionConfig
from pear.models.diagnostics import representations
from pear.models.dry_air import DryAirMass
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.sphere.symmetry import C4H, Element
from pear.state import State
from pear.typing import TensorPair
from pear.variables import Layout
from pipelines.studies.soundness import Fields, describe

NSIDE, CELLS = 4, 192
LAYOUT = Layout(
    ("2m_temperature", "mean_sea_level_pressure"),
    ("temperature", "specific_humidity"),
    (500, 1000, 850),
)
CONFIG = PearConfig(
    nside=NSIDE, layout=LAYOUT, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4, forcings=()
)
TIME = np.array(["2001-04-01", "2001-04-02"], dtype="datetime64[s]")
KEEP = CorrectionConfig(degree=8, dry_mass=True)


def random_fields(seed: int) -> TensorPair:
    """Two states with pressures (Pa), temperatures (K) and humidities (kg/kg) of the atmosphere."""
    draw = torch.Generator().manual_seed(seed)
    surface = torch.randn(2, 2, CELLS, generator=draw)
    surface = surface * torch.tensor([10.0, 900.0])[:, None] + torch.tensor([[285.0], [101_100.0]])
    humidity = 0.01 * torch.rand(2, 3, CELLS, generator=draw)
    return surface, torch.stack([270.0 + 1000 * humidity, humidity], dim=1)


def slow_mass(fields: TensorPair) -> list[float]:
    """Mean sea level pressure less the weight of vapour, Pa: in float64, cell by cell."""
    masses = []
    for surface, upper in zip(*fields, strict=True):
        columns = []
        for cell in range(CELLS):
            mass = float(surface[1, cell])
            q500, q1000, q850 = (float(upper[1, level, cell]) for level in range(3))
            mass -= 100 * (150 * (q1000 + q850) / 2 + 350 * (q850 + q500) / 2)
            columns.append(mass)
        masses.append(sum(columns) / CELLS)
    return masses


def test_the_mass_of_dry_air_is_kept_and_nothing_else_changes() -> None:
    before, after = random_fields(0), random_fields(1)
    assert slow_mass(after) != pytest.approx(slow_mass(before), abs=5.0)
    kept = DryAirMass(LAYOUT)(after, before)
    assert slow_mass(kept) == pytest.approx(slow_mass(before), abs=0.01)
    torch.testing.assert_close(kept[1], after[1], rtol=0, atol=0)
    torch.testing.assert_close(kept[0][:, 0], after[0][:, 0], rtol=0, atol=0)
    shift = kept[0][:, 1] - after[0][:, 1]
    assert (shift - shift[:, :1]).abs().max() <= 2 * 2**-7  # one number, rounded to a float32


def test_the_study_of_stability_measures_what_is_kept() -> None:
    before, after = random_fields(0), random_fields(1)
    masses = [
        describe(Fields(channels.astype(np.float64), LAYOUT), patch=4)["dry_mass"]
        for fields in (before, DryAirMass(LAYOUT)(after, before))
        for channels in State(*fields, TIME, LAYOUT).to_channels()
    ]
    assert masses[:2] == pytest.approx(masses[2:], abs=1e-4)


@pytest.mark.parametrize("element", C4H)
def test_the_symmetries_of_the_grid_are_kept(element: Element) -> None:
    moves = representations(CONFIG)[:2]

    def moved(fields: TensorPair) -> TensorPair:
        surface, upper = (move.act(element, part) for move, part in zip(moves, fields, strict=True))
        return surface, upper

    before, after = random_fields(0), random_fields(1)
    conserve = DryAirMass(LAYOUT)
    first, second = moved(conserve(after, before)), conserve(moved(after), moved(before))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2 * 2**-7)


def test_a_checkpoint_keeps_dry_air_in_a_long_forecast(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Pear(CONFIG)
    with torch.no_grad():  # a network that is not persistence, whatever its start
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    normaliser = Normaliser.identity(LAYOUT)
    correction = Correction(KEEP, LAYOUT, NSIDE)
    found = checkpoint.save(tmp_path / "m", model, normaliser, {}, correction=correction)
    assert found.correction is not None
    assert found.correction.config.dry_mass
    assert "mass of dry air kept" in PearForecaster(found).correction_text
    states = [State(*random_fields(0), TIME, LAYOUT)]
    network = PearForecaster(found, correct=False).step(states[0])
    for _ in range(4):
        states.append(PearForecaster(found).step(states[-1]))
    masses = [slow_mass((state.surface, state.upper)) for state in states]
    lost = slow_mass((network.surface, network.upper))
    assert lost != pytest.approx(masses[0], abs=1.0)
    # All pressures are multiples of 2⁻⁷ Pa, so a step rounds all of them alike.
    assert masses[-1] == pytest.approx(masses[0], abs=4 * 2**-7)


def test_gradients_flow_through_both_states() -> None:
    before = tuple(part.requires_grad_() for part in random_fields(0))
    after = tuple(part.requires_grad_() for part in random_fields(1))
    kept, _ = DryAirMass(LAYOUT)((after[0], after[1]), (before[0], before[1]))
    kept[:, 1].square().sum().backward()  # type: ignore[no-untyped-call]
    for part in (*before, *after):
        assert part.grad is not None
        assert part.grad.abs().sum() > 0


def test_what_is_missing_is_named() -> None:
    without = Layout(("2m_temperature",), ("specific_humidity",), (1000, 500))
    with pytest.raises(InputError, match="needs mean_sea_level_pressure"):
        Correction(KEEP, without, NSIDE)
    with pytest.raises(InputError, match="at two levels"):
        DryAirMass(Layout(("mean_sea_level_pressure",), ("specific_humidity",), (1000,)))
    with pytest.raises(InputError, match="fields before the step"):
        Correction(KEEP, LAYOUT, NSIDE)(*random_fields(0), TIME)
