"""Standardised fields: transforms of rain, floors, and variables that models only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pear.models import checkpoint
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.state import State
from pear.training import ArraySource
from pear.training.config import TrainingConfig
from pear.training.losses import StepLoss
from pear.training.samples import Samples
from pear.training.statistics import fit_normaliser
from pear.variables import BY_NAME, Layout
from pear.variables.own import load_variables
from tests.fixtures.models import built, tiny
from tests.fixtures.own_variables import forgetting, write

RAIN = "total_precipitation_6hr"
LAYOUT = Layout(("2m_temperature", RAIN, "sea_surface_temperature"), ("temperature",), (850, 500))


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with forgetting():
        yield


def rain(count: int = 6, cells: int = 48) -> np.ndarray:
    drops = np.random.default_rng(3).exponential(2e-3, (count, 1, cells))
    return np.where(drops > 2e-3, drops, 0.0).astype("f4")


def test_statistics_of_rain_are_those_of_its_logarithm() -> None:
    times = np.arange("2001-01-01", "2001-01-07", dtype="datetime64[D]")
    layout = Layout((RAIN,), (), ())
    upper = np.zeros((6, 0, 0, 48), np.float32)
    found = fit_normaliser(Samples.from_source(ArraySource(layout, times, rain(), upper)))
    expected = np.log1p(rain()[:5].astype(float) / 1e-5)
    assert found.surface_mean.item() == pytest.approx(expected.mean(), rel=1e-5)
    assert found.surface_std.item() == pytest.approx(expected.std(), rel=1e-5)


def test_rain_returns_as_it_was_and_is_never_negative() -> None:
    layout = Layout((RAIN,), (), ())
    normaliser = Normaliser(
        layout, torch.tensor([3.0]), torch.tensor([2.0]), torch.zeros(0, 0), torch.ones(0, 0)
    )
    surface, upper = torch.from_numpy(rain()), torch.zeros(6, 0, 0, 48)
    standard = normaliser(surface, upper)
    back = normaliser.inverse(*standard)[0]
    assert torch.allclose(back, surface, rtol=1e-5, atol=1e-9)
    assert bool((normaliser.inverse(standard[0] - 5.0, upper)[0] >= 0).all())


def test_a_forecast_keeps_what_the_model_only_reads(tmp_path: Path) -> None:
    config = tiny(layout=LAYOUT)
    normaliser = Normaliser.identity(LAYOUT)
    saved = checkpoint.save(tmp_path / "model", built(config), normaliser, {})
    cells = 12 * config.nside**2
    surface = torch.rand(1, 3, cells) + torch.tensor([280.0, 0.0, 285.0])[:, None]
    initial = State(surface, torch.rand(1, 1, 2, cells) + 270, np.datetime64("2001-01-01"), LAYOUT)
    after = PearForecaster(saved).step(initial)
    assert torch.equal(after.surface[:, 2], surface[:, 2])
    assert not torch.equal(after.surface[:, 0], surface[:, 0])
    assert bool((after.surface[:, 1] >= 0).all())
    loss = StepLoss(TrainingConfig(steps=1), normaliser)
    target = initial.surface, initial.upper
    moved = initial.surface.clone()
    moved[:, 2] += 1.0
    assert loss((moved, initial.upper), target).item() == 0.0
    moved[:, 0] += 1.0
    assert loss((moved, initial.upper), target).item() > 0.0


def test_a_checkpoint_opens_without_the_users_file(tmp_path: Path) -> None:
    with forgetting():
        load_variables(write(tmp_path))
        layout = Layout(("skin_temperature",), ("temperature",), (850, 500))
        model = built(tiny(layout=layout))
        saved = checkpoint.save(tmp_path / "m", model, Normaliser.identity(layout), {})
    assert "skin_temperature" not in BY_NAME
    found = checkpoint.load(tmp_path / "m")
    assert found.config.layout == layout
    assert found.id == saved.id
    assert BY_NAME["skin_temperature"].units == "K"
