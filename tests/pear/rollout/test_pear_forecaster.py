"""A checkpoint as a forecaster: units, forcing times, steps, and refused states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.models.checkpoint import Checkpoint, save
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.state import State
from pear.variables import Layout

LAYOUT = Layout(("2m_temperature",), ("geopotential", "temperature"), (850, 500))
NSIDE, CELLS = 8, 768
START = np.array(["2001-12-31", "2000-02-28"], dtype="datetime64[s]")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.manual_seed(0)
    config = PearConfig(
        nside=NSIDE,
        layout=LAYOUT,
        embed=12,
        depths=(1, 1, 1, 1),
        heads=(2, 2, 2, 2),
        patch=4,
        window=16,
        residual=True,
        forcings=("sin_latitude", "cos_year", "sin_year"),
    )
    model = Pear(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    normaliser = Normaliser(
        LAYOUT,
        torch.tensor([280.0]),
        torch.tensor([15.0]),
        torch.tensor([[15_000.0, 55_000.0], [275.0, 255.0]]),
        torch.tensor([[1500.0, 3000.0], [12.0, 10.0]]),
    )
    return save(tmp_path_factory.mktemp("model") / "m", model, normaliser, {})


def start() -> State:
    noise = np.random.default_rng(1).normal(size=(2, 5, CELLS))
    mean = np.array([280.0, 15_000.0, 55_000.0, 275.0, 255.0])[:, None]
    spread = np.array([8.0, 300.0, 900.0, 5.0, 5.0])[:, None]
    fields = mean + spread * noise
    return State.from_arrays(fields[:, :1], fields[:, 1:].reshape(2, 2, 2, CELLS), START, LAYOUT)


def test_each_step_is_the_model_on_standardised_fields(checkpoint: Checkpoint) -> None:
    forecaster = PearForecaster(checkpoint)
    assert (forecaster.name, forecaster.nside, forecaster.layout) == ("pear", NSIDE, LAYOUT)
    assert forecaster.time_step == np.timedelta64(1, "D")
    state, (first, second) = start(), tuple(forecaster.iterate(start(), 2))
    with torch.no_grad():
        for found in (first, second):
            forcing = checkpoint.model.forcing(state.valid_time)
            pair = checkpoint.normaliser(state.surface, state.upper)
            surface, upper = checkpoint.normaliser.inverse(*checkpoint.model(*pair, forcing))
            torch.testing.assert_close(found.surface, surface)
            torch.testing.assert_close(found.upper, upper)
            assert not torch.equal(found.upper, state.upper), "the model changes the state"
            state = found
    np.testing.assert_array_equal(second.valid_time, START + np.timedelta64(2, "D"))


def test_the_forcing_is_that_of_the_start_of_a_step(checkpoint: Checkpoint) -> None:
    winter = start()
    summer = State(winter.surface, winter.upper, START + np.timedelta64(182, "D"), LAYOUT)
    forecaster = PearForecaster(checkpoint)
    one, other = (next(forecaster.iterate(s, 1)) for s in (winter, summer))
    assert not torch.allclose(one.upper, other.upper)


def test_batches_and_single_states_agree(checkpoint: Checkpoint) -> None:
    both = start()
    alone = State(both.surface[1:], both.upper[1:], both.valid_time[1:], LAYOUT)
    forecaster = PearForecaster(checkpoint)
    *_, a = forecaster.iterate(both, 2)
    *_, b = forecaster.iterate(alone, 2)
    torch.testing.assert_close(a.upper[1:], b.upper, rtol=1e-5, atol=1e-2)


def test_states_that_do_not_fit_the_model_are_refused(checkpoint: Checkpoint) -> None:
    forecaster = PearForecaster(checkpoint)
    coarse = State(start().surface[..., :192], start().upper[..., :192], START, LAYOUT)
    with pytest.raises(InputError, match=rf"model {checkpoint.id} works at nside 8.*nside 4"):
        next(forecaster.iterate(coarse, 1))
    broken = start()
    broken.upper[0, 0, 0, 3] = torch.nan
    with pytest.raises(InputError, match=r"initial state: geopotential at 850 hPa.*not finite"):
        next(forecaster.iterate(broken, 1))


def test_channels_follow_the_layout() -> None:
    state = start()
    fields = state.to_channels()
    assert fields.shape == (2, len(LAYOUT.channels), CELLS)
    for index, (name, level) in enumerate(LAYOUT.channels):
        (found,) = [v for n, lv, v in state.fields() if (n, lv) == (name, level)]
        np.testing.assert_array_equal(fields[:, index], found.numpy())
