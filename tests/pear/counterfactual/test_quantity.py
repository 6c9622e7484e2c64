"""Quantities of events: values by hand, and gradients against differences in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.counterfactual.event import parse_event
from pear.counterfactual.quantity import Quantity, soft_minimum
from pear.errors import InputError
from pear.sphere.healpix import cell_of, centres
from pear.state import State
from pear.variables import STANDARD_GRAVITY, Layout

NSIDE = 8
LAYOUT = Layout(
    (
        "10m_u_component_of_wind",
        "10m_v_component_of_wind",
        "2m_temperature",
        "mean_sea_level_pressure",
    ),
    ("geopotential", "temperature", "u_component_of_wind", "v_component_of_wind"),
    (500, 850),
)
KINDS = (
    "t2m>305 at 59.3,18.1",
    "t850<-2sd at 10S,20W",
    "mean:t850@45..60N,0..40E>+2sd",
    "wind:10m>30 at 59.3,18.1",
    "wind:850@europe>20",
    "pressure:<970 at 59.3,18.1",
    "pressure:@45..60N,0..40E<970",
    "blocking:10E",
)


@pytest.fixture(scope="module")
def state() -> State:
    generator = torch.Generator().manual_seed(0)
    cells, dtype = 12 * NSIDE**2, torch.float64
    surface = torch.randn(1, 4, cells, generator=generator, dtype=dtype) * 5
    surface[0, 2] += 280
    surface[0, 3] = 101_300 + 100 * surface[0, 3]
    upper = torch.randn(1, 4, 2, cells, generator=generator, dtype=dtype) * 10
    upper[0, 0] = 54_000 + 100 * upper[0, 0]
    return State(surface, upper, np.datetime64("2001-01-01"), LAYOUT)


@pytest.mark.parametrize("text", KINDS)
def test_gradients_agree_with_differences(text: str, state: State) -> None:
    measure = Quantity.build(parse_event(text), LAYOUT, NSIDE).measure
    leaf = state.map(lambda values: values.clone().requires_grad_())
    measure(leaf).backward()  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(1)
    directions = [
        torch.randn(part.shape, generator=generator, dtype=part.dtype)
        for part in (state.surface, state.upper)
    ]
    slope = sum(
        float((part.grad * direction).sum())
        for part, direction in zip((leaf.surface, leaf.upper), directions, strict=True)
        if part.grad is not None
    )

    def moved(step: float) -> float:
        surface = state.surface + step * directions[0]
        upper = state.upper + step * directions[1]
        return float(measure(State(surface, upper, state.valid_time, LAYOUT)))

    assert slope != 0
    assert slope == pytest.approx((moved(1e-3) - moved(-1e-3)) / 2e-3, rel=1e-6, abs=1e-9)


def test_values_are_those_of_the_state(state: State) -> None:
    def value(text: str) -> float:
        return float(Quantity.build(parse_event(text), LAYOUT, NSIDE).measure(state))

    cell = int(cell_of(59.3, 18.1, NSIDE))
    latitude, longitude = centres(NSIDE)
    box = (latitude >= 45) & (latitude <= 60) & (longitude <= 40)
    u, v = state.surface[0, :2]
    assert value(KINDS[0]) == state.surface[0, 2, cell]
    assert value(KINDS[2]) == pytest.approx(float(state.upper[0, 1, 1, box].mean()), rel=1e-12)
    assert value(KINDS[3]) == pytest.approx(float(torch.hypot(u, v)[cell]), rel=1e-6)
    assert value(KINDS[5]) == pytest.approx(float(state.surface[0, 3, cell]) / 100, rel=1e-12)
    least = float(state.surface[0, 3, box].min()) / 100
    assert least <= value(KINDS[6]) < least + 2


def test_a_wind_at_rest_has_a_gradient() -> None:
    fields = torch.zeros(1, 4, 12 * NSIDE**2, dtype=torch.float64).requires_grad_()
    upper = torch.zeros(1, 4, 2, 12 * NSIDE**2, dtype=torch.float64)
    calm = State(fields, upper, np.datetime64("2001-01-01"), LAYOUT)
    Quantity.build(parse_event(KINDS[3]), LAYOUT, NSIDE).measure(calm).backward()  # type: ignore[no-untyped-call]
    assert fields.grad is not None
    assert bool(torch.isfinite(fields.grad).all())


def test_blocking_is_a_ridge_north_of_a_trough() -> None:
    latitude, _ = centres(NSIDE)

    def index(height: np.ndarray) -> float:
        upper = np.zeros((1, 4, 2, latitude.size))
        upper[0, 0, 0] = STANDARD_GRAVITY * height
        fields = State.from_arrays(np.zeros((1, 4, latitude.size)), upper, ["2001-01-01"], LAYOUT)
        return float(Quantity.build(parse_event("blocking:10E"), LAYOUT, NSIDE).measure(fields))

    westerlies = 5700 - 12 * (latitude - 40)  # falls by 12 m per degree everywhere
    blocked = 5500 + 5 * (np.minimum(latitude, 60) - 40) - 20 * np.maximum(latitude - 60, 0)
    assert index(westerlies) < -8
    assert index(blocked) > 0


def test_soft_minimum_lies_between_the_least_value_and_the_mean() -> None:
    values = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
    assert 1 < float(soft_minimum(values, 1.0)) < 2
    assert float(soft_minimum(values, 1e-3)) == pytest.approx(1)
    assert float(soft_minimum(values[:1], 1.0)) == 3


def test_what_the_model_lacks_is_named() -> None:
    layout = Layout(("2m_temperature",), (), ())
    for text in ("t850>300 at 1,2", "wind:10m>3 at 1,2", "pressure:<970 at 1,2", "blocking:0"):
        with pytest.raises(InputError, match="the model has no "):
            Quantity.build(parse_event(text), layout, NSIDE)
    with pytest.raises(InputError, match="does not fit the grid"):
        Quantity.build(parse_event("mean:t2m@59..59.1N,18..18.1E>3"), layout, NSIDE)
