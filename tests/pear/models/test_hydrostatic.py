"""Hydrostatic balance, restored by a correction after each step."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.correction import Correction, CorrectionConfig
from pear.models.diagnostics import representations
from pear.models.hydrostatic import HydrostaticBalance, optimal_gain
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.sphere.symmetry import C4H, Element
from pear.typing import TensorPair
from pear.variables import Layout

NSIDE, CELLS = 4, 192
LAYOUT = Layout(
    ("2m_temperature", "mean_sea_level_pressure"),
    ("temperature", "geopotential", "specific_humidity"),
    (500, 1000, 850),
)
CONFIG = PearConfig(
    nside=NSIDE, layout=LAYOUT, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4, forcings=()
)
RESTORE = CorrectionConfig(degree=8, hydrostatic=True)


def random_fields(seed: int) -> TensorPair:
    """Two states of the magnitude of the atmosphere, whose channels know nothing of each other."""
    draw = torch.Generator().manual_seed(seed)

    def about(mean: list[float], spread: list[float], *shape: int) -> Tensor:
        noise = torch.randn(2, *shape, CELLS, generator=draw, dtype=torch.float64)
        return torch.tensor(mean)[:, None] + torch.tensor(spread)[:, None] * noise

    surface = about([285.0, 101_100.0], [10.0, 900.0], 2)
    temperature = about([255.0, 288.0, 280.0], [9.0, 9.0, 9.0], 3)
    height = about([55_000.0, 800.0, 14_000.0], [900.0, 700.0, 700.0], 3)
    humidity = about([0.001, 0.009, 0.006], [0.0, 0.001, 0.001], 3)
    return surface, torch.stack([temperature, height, humidity], dim=1)


def slow_residual(surface: Tensor, upper: Tensor, cell: int) -> list[float]:
    """Residuals of one column of the first state by the formulas, m² s⁻²."""
    (t500, t1000, t850), (z500, z1000, z850), (q500, q1000, q850) = upper[0, :, :, cell].tolist()
    pressure = float(surface[0, 1, cell])
    ratio = 461.5250 / 287.0597 - 1
    v500, v850, v1000 = (
        t * (1 + ratio * q) for t, q in ((t500, q500), (t850, q850), (t1000, q1000))
    )
    return [
        z850 - z1000 - 287.0597 * (v1000 + v850) / 2 * log(1000 / 850),
        z500 - z850 - 287.0597 * (v850 + v500) / 2 * log(850 / 500),
        z1000 - 287.0597 * v1000 * log(pressure / 100_000),
    ]


def fitted() -> HydrostaticBalance:
    """A balance with a gain that knows nothing of the atmosphere, but is a gain."""
    balance = HydrostaticBalance(LAYOUT).double()
    surface, upper = (part[:1, ..., :1] for part in random_fields(7))
    slope = balance.derivative(surface, upper)
    errors = torch.diag(torch.tensor([90.0**2] * 3 + [1.0] * 3 + [120.0**2], dtype=torch.float64))
    gain = optimal_gain(slope, errors, 20.0**2 * torch.eye(3, dtype=torch.float64))
    balance.load_state_dict({"gain": gain, "offset": torch.tensor([-30.0, 5.0, -3.0])})
    return balance


def test_the_residual_is_that_of_each_layer() -> None:
    fields = random_fields(0)
    found = HydrostaticBalance(LAYOUT).double().residual(*fields)
    assert found.shape == (2, 3, CELLS)
    for cell in (0, 77, 191):
        assert found[0, :, cell].tolist() == pytest.approx(slow_residual(*fields, cell), rel=1e-9)


def test_the_derivative_is_that_of_finite_differences() -> None:
    balance = HydrostaticBalance(LAYOUT).double()
    surface, upper = (part[:1, ..., :1] for part in random_fields(0))
    slope = balance.derivative(surface, upper)
    places = [(1, 1), (1, 2), (1, 0), (0, 1), (0, 2), (0, 0)]  # from the ground up
    for column, (row, level) in enumerate(places):
        step = torch.zeros_like(upper)
        step[0, row, level] = 0.01
        change = balance.residual(surface, upper + step) - balance.residual(surface, upper - step)
        torch.testing.assert_close(slope[:, column], change[0, :, 0] / 0.02, rtol=1e-6, atol=1e-6)
    step = torch.zeros_like(surface)
    step[0, 1] = 1.0
    change = balance.residual(surface + step, upper) - balance.residual(surface - step, upper)
    torch.testing.assert_close(slope[:, 6], change[0, :, 0] / 2, rtol=1e-6, atol=1e-6)


def test_the_gain_leaves_the_least_error() -> None:
    draw = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=draw, dtype=torch.float64)
    errors, scatter = root @ root.T, torch.diag(torch.tensor([0.3, 0.8], dtype=torch.float64))
    slope = torch.randn(2, 5, generator=draw, dtype=torch.float64)

    def left(gain: Tensor) -> Tensor:
        keep = torch.eye(5, dtype=torch.float64) - gain @ slope
        return (keep @ errors @ keep.T + gain @ scatter @ gain.T).trace()

    best = optimal_gain(slope, errors, scatter)
    assert left(best) < errors.trace()
    torch.testing.assert_close(torch.func.grad(left)(best), torch.zeros_like(best))
    for _ in range(50):
        other = best + 0.01 * torch.randn(5, 2, generator=draw, dtype=torch.float64)
        assert left(best) < left(other)


def test_the_departure_from_balance_shrinks_and_nothing_else_changes() -> None:
    balance, fields = fitted(), random_fields(1)
    surface, upper = balance(*fields)
    before, after = (
        (balance.residual(*each) - balance.offset[:, None]).square().mean(dim=(0, 2)).sqrt()
        for each in (fields, (surface, upper))
    )
    assert (after < 0.35 * before).all()
    torch.testing.assert_close(upper[:, 2], fields[1][:, 2], rtol=0, atol=0)  # humidity
    torch.testing.assert_close(surface[:, 0], fields[0][:, 0], rtol=0, atol=0)
    exact = HydrostaticBalance(LAYOUT).double()  # whose gain is zero
    for one, other in zip(exact(*fields), fields, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_change_is_the_gain_times_the_departure_from_the_mean_residual() -> None:
    balance, fields = fitted(), random_fields(1)
    change = balance.columns(*fields) - balance.columns(*balance(*fields))
    for cell in (0, 77, 191):
        departure = np.array(slow_residual(*fields, cell)) - balance.offset.numpy()
        np.testing.assert_allclose(change[0, :, cell], balance.gain.numpy() @ departure, rtol=1e-6)


def test_a_layout_without_pressure_or_humidity_is_balanced_by_its_thickness() -> None:
    layout = Layout(("2m_temperature",), ("geopotential", "temperature"), (1000, 500))
    balance = HydrostaticBalance(layout).double()
    assert balance.gain.shape == (4, 1)
    surface, upper = torch.zeros(1, 1, 12).double(), torch.rand(1, 2, 2, 12).double() * 300
    expected = upper[:, 0, 1] - upper[:, 0, 0]
    expected -= 287.0597 * log(2) * (upper[:, 1, 0] + upper[:, 1, 1]) / 2
    torch.testing.assert_close(balance.residual(surface, upper)[:, 0], expected)


@pytest.mark.parametrize("element", C4H)
def test_the_symmetries_of_the_grid_are_kept(element: Element) -> None:
    moves = representations(CONFIG)[:2]

    def moved(fields: TensorPair) -> TensorPair:
        surface, upper = (move.act(element, part) for move, part in zip(moves, fields, strict=True))
        return surface, upper

    balance, fields = fitted(), random_fields(1)
    for one, other in zip(moved(balance(*fields)), balance(*moved(fields)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-15, atol=1e-12)


def test_gradients_flow_through_all_that_is_read() -> None:
    surface, upper = (part.requires_grad_() for part in random_fields(1))
    _, balanced = fitted()(surface, upper)
    balanced[:, 1, 0].sum().backward()
    assert surface.grad is not None
    assert upper.grad is not None
    assert (surface.grad[:, 1] != 0).all()
    assert (upper.grad != 0).any(dim=(0, 3)).all()


def test_a_checkpoint_holds_the_balance_exactly(tmp_path: Path) -> None:
    correction = Correction(RESTORE, LAYOUT, NSIDE)
    assert correction.balance is not None
    gain = {name: value.float() for name, value in fitted().state_dict().items()}
    correction.balance.load_state_dict(gain)
    checkpoint.save(
        tmp_path / "m", Pear(CONFIG), Normaliser.identity(LAYOUT), {}, correction=correction
    )
    found = checkpoint.load(tmp_path / "m")
    assert found.correction is not None
    assert found.correction.balance is not None
    assert found.correction.config.hydrostatic
    for name, value in gain.items():
        assert found.correction.balance.state_dict()[name].equal(value), name
    assert "hydrostatic balance restored" in PearForecaster(found).correction_text
    fields = tuple(part.float() for part in random_fields(0))
    time = np.array(["2001-04-01", "2001-04-02"], dtype="datetime64[s]")
    plain = Correction(CorrectionConfig(degree=8), LAYOUT, NSIDE)
    expected = correction.balance(*plain(fields[0], fields[1], time))
    for one, other in zip(found.correction(fields[0], fields[1], time), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_missing_is_named() -> None:
    without = Layout(("2m_temperature",), ("geopotential",), (1000, 500))
    with pytest.raises(InputError, match="needs geopotential and temperature"):
        Correction(RESTORE, without, NSIDE)
    with pytest.raises(InputError, match="at two levels"):
        HydrostaticBalance(Layout((), ("geopotential", "temperature"), (1000,)))
