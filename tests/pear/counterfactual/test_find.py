"""Counterfactuals of linear weather: the closed form, amounts, refusals, and the contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pear.counterfactual.event import parse_event
from pear.counterfactual.figures import small_scale_share, within
from pear.counterfactual.find import Counterfactual, find_counterfactual
from pear.counterfactual.quantity import Quantity
from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.state import State
from tests.fixtures.linear_weather import LAYOUT, NSIDE, LinearWeather, climate, start

WARM = "t2m>{} at 30,20 day 2"


def value(state: State, text: str, days: int = 2) -> float:
    *_, last = LinearWeather().iterate(state, days)
    return float(Quantity.build(parse_event(text), LAYOUT, NSIDE).measure(last))


@pytest.fixture(scope="module")
def factual() -> float:
    return value(start(), WARM.format(0))


@pytest.fixture(scope="module")
def found(factual: float) -> Counterfactual:
    event = parse_event(WARM.format(f"{factual + 3:.6f}"))
    return find_counterfactual(LinearWeather(), start(), climate(), event, longest=72)


def test_linear_weather_has_the_closed_form(found: Counterfactual, factual: float) -> None:
    chart, figures = climate(), found.figures
    z = torch.zeros(chart.size, dtype=torch.float64, requires_grad=True)
    change = chart.change(z)
    state = start()
    there = State(
        state.surface + change[None, :1],
        state.upper + change[1:].view(state.upper.shape),
        state.valid_time,
        LAYOUT,
    )
    forecaster = LinearWeather()
    last = forecaster.differentiable_step(forecaster.differentiable_step(there))
    Quantity.build(parse_event(WARM.format(0)), LAYOUT, NSIDE).measure(last).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    best = 3 * z.grad / z.grad.square().sum()
    assert figures.length == pytest.approx(float(best.norm()), rel=1e-3)
    assert torch.allclose(chart.encode(found.change), best, rtol=1e-2, atol=1e-4)
    assert figures.gradients == 2
    assert figures.converged
    assert (figures.off_chart, figures.raised) == (pytest.approx(0, abs=1e-9), 0)
    assert figures.factual == factual  # that of the forecaster itself


def test_the_event_happens_in_the_forecast_from_the_changed_state(found: Counterfactual) -> None:
    assert value(found.initial, WARM.format(0)) == found.figures.counterfactual
    assert found.figures.counterfactual >= found.figures.threshold
    assert found.figures.valid_time == "2001-06-03T00:00:00Z"
    assert found.figures.label == "a model's sensitivity, not a cause"


def test_less_is_asked_for_with_the_other_sign(factual: float) -> None:
    event = parse_event(f"t2m<{factual - 3:.6f} at 30,20 day 2")
    cold = find_counterfactual(LinearWeather(), start(), climate(), event, longest=48).figures
    assert cold.counterfactual <= cold.threshold < cold.factual


def test_deviations_are_those_of_the_chart() -> None:
    event = parse_event("t2m>+1.5sd at 30,20 day 2")
    chart = climate(size=0.8)
    figures = find_counterfactual(LinearWeather(), start(), chart, event, longest=48).figures
    cell = int(np.flatnonzero(Quantity.build(event, LAYOUT, NSIDE).cells)[0])
    deviation = float((chart.directions[:, 0, cell] * chart.scale[0]).norm())
    assert figures.threshold == pytest.approx(280 + 1.5 * deviation, rel=1e-6)


def test_cells_give_a_smaller_change_that_is_no_weather(found: Counterfactual) -> None:
    event = parse_event(found.figures.event)
    cells = find_counterfactual(
        LinearWeather(), start(), climate(), event, longest=48, coordinates="cells"
    ).figures
    assert cells.size < found.figures.size / 2
    assert cells.off_chart > 0.9
    assert cells.probability is None


def test_humidity_does_not_become_negative(factual: float) -> None:
    event = parse_event(WARM.format(f"{factual + 3:.6f}"))
    dry = start()
    upper = dry.upper.clone()
    upper[:, 0] = 1e-3 * upper[:, 0].abs()
    dry = State(dry.surface, upper, dry.valid_time, LAYOUT)
    weather = LinearWeather()
    event = replace(event, threshold=replace(event.threshold, value=value(dry, WARM.format(0)) + 3))
    result = find_counterfactual(weather, dry, climate(), event, longest=48)
    assert float(result.initial.upper[:, 0].min()) >= 0
    assert 0 < result.figures.raised < 0.5
    assert result.figures.off_chart > 0.01
    assert result.figures.counterfactual >= result.figures.threshold


def test_what_would_be_extrapolation_is_refused(factual: float) -> None:
    event = parse_event(WARM.format(f"{factual + 30:.6f}"))
    with pytest.raises(InputError, match=r"\|z\| = \d+\.\d\d, above 6: it lies outside") as error:
        find_counterfactual(LinearWeather(), start(), climate(), event, longest=48)
    assert "extrapolation" in str(error.value)


def test_notes_say_what_limits_the_result(factual: float) -> None:
    event = parse_event(WARM.format(f"{factual + 1:.6f}"))
    chart = replace(climate(), states=300, period=("2001-01-01T00:00:00Z", "2001-12-31T00:00:00Z"))
    notes = find_counterfactual(LinearWeather(), start(), chart, event, longest=48).figures.notes
    assert "fitted on 300 states" in notes[0]
    assert "lies in the period of the chart" in notes[1]
    with pytest.raises(InputError, match="the event happens already"):
        find_counterfactual(
            LinearWeather(), start(), chart, parse_event("t2m>0 at 1,2"), longest=24
        )


def test_figures_count_what_they_say() -> None:
    latitude, _ = centres(8)
    near = within(latitude > 89.9 - 10, 4000.0)
    assert (latitude[near] > 40).all()
    assert near.mean() == pytest.approx(0.13, abs=0.04)
    zonal = np.sin(np.deg2rad(latitude))[None]
    rng = np.random.default_rng(0)
    assert small_scale_share(zonal) < 0.02
    assert small_scale_share(rng.normal(size=(1, latitude.size))) > 0.4
