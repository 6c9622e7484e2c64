"""The bias of a step, fitted on analyses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.correction import Correction, CorrectionConfig
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.sphere.healpix import centres
from pear.state import State
from pear.times import year_phase
from pear.variables import Layout
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.training.correction import correct_checkpoint, fit_balance
from tests.fixtures.columns import COLUMN, balanced_states, write_columns, write_unbalanced

NSIDE = 4
LAYOUT = Layout(("2m_temperature",), ("specific_humidity",), (850,))
DAY = np.timedelta64(86_400, "s")


def climate(times: np.ndarray) -> np.ndarray:
    """A seasonal cycle of low degree, (time, channel, cell)."""
    swing = np.cos(2 * np.pi * year_phase(times))[:, None] * np.sin(np.radians(centres(NSIDE)[0]))
    return np.stack([285.0 + 40.0 * swing, 0.01 + 0.004 * swing], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of days, a month apart."""
    first = np.arange("2001-01-01", "2001-12-31", 30, dtype="datetime64[D]").astype("datetime64[s]")
    times = np.sort(np.concatenate([first, first + DAY]))
    path = tmp_path_factory.mktemp("bias") / "a.zarr"
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        fields = climate(times)
        writer.append(times, fields[:, :1], fields[:, 1:, None])
    return path


@pytest.fixture(scope="module")
def persistence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network before its training: it forecasts the state that it is given."""
    config = PearConfig(
        nside=NSIDE, layout=LAYOUT, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4, forcings=()
    )
    path = tmp_path_factory.mktemp("models") / "m"
    checkpoint.save(path, Pear(config), Normaliser.identity(LAYOUT), {"name": "untrained"})
    return path


def test_a_model_without_its_bias_follows_the_seasons(
    store: Path, persistence: Path, tmp_path: Path
) -> None:
    config = CorrectionConfig(degree=8, strength=0.0, bias_degree=4, harmonics=1, seasonal_degree=2)
    made = correct_checkpoint(persistence, tmp_path / "c", config, store)
    assert made.provenance == {"name": "untrained"}
    assert made.correction is not None
    assert made.correction.provenance["steps"] == 13
    assert made.correction.provenance["model"] == checkpoint.load(persistence).id
    time = np.array(["2005-04-01"], dtype="datetime64[s]")  # where the seasons change fastest
    state = State.from_channels(climate(time), time, LAYOUT)
    truth = climate(time + DAY)
    change = abs(truth - climate(time)).max(axis=(0, 2))
    error = abs(PearForecaster(made).step(state).to_channels() - truth).max(axis=(0, 2))
    assert (error < 0.01 * change).all()
    again = correct_checkpoint(tmp_path / "c", tmp_path / "again", config, store)
    assert again.correction is not None  # fitted on the network alone, not on top of the first
    for name, value in made.correction.state_dict().items():
        assert again.correction.state_dict()[name].equal(value), name


def test_a_filter_needs_no_analysis_and_a_bias_needs_a_year(
    store: Path, persistence: Path, tmp_path: Path
) -> None:
    made = correct_checkpoint(persistence, tmp_path / "f", CorrectionConfig(degree=4))
    assert made.correction is not None
    assert made.correction.mean.numel() == 0
    wish = CorrectionConfig(degree=4, bias_degree=4, seasonal_degree=4)
    with pytest.raises(InputError, match="a bias is fitted on analyses"):
        correct_checkpoint(persistence, tmp_path / "g", wish)
    spring = ("2001-01-01", "2001-02-10")
    with pytest.raises(InputError, match="2 steps cannot determine the mean and 2 harmonics"):
        correct_checkpoint(persistence, tmp_path / "g", wish, store, spring)
    with pytest.raises(InputError, match="has no two times 24 h apart"):
        correct_checkpoint(persistence, tmp_path / "g", wish, store, ("2001-01-02", "2001-01-09"))
    assert not (tmp_path / "g").exists()


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_columns(tmp_path_factory.mktemp("balance") / "a.zarr")


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_unbalanced(tmp_path_factory.mktemp("models") / "m")


def test_a_balance_takes_its_part_of_the_error_away(
    columns: Path, unbalanced: Path, tmp_path: Path
) -> None:
    plain = CorrectionConfig(degree=8, strength=0.0)
    filtered = correct_checkpoint(unbalanced, tmp_path / "f", plain)
    wish = replace(plain, hydrostatic=True)
    made = correct_checkpoint(tmp_path / "f", tmp_path / "b", wish, columns, keep=True)
    assert made.correction is not None
    assert made.correction.balance is not None
    about = made.correction.provenance["balance"]
    assert (about["steps"], about["analysis"]) == (29, "a")
    times = np.arange("2001-03-01", "2001-03-09", dtype="datetime64[D]").astype("datetime64[s]")
    surface, upper = balanced_states(times, 1)
    states = State.from_arrays(surface, upper, times, COLUMN)
    assert made.correction.config.degree == 8
    residuals = []
    for model in (filtered, made):
        after = PearForecaster(model).step(states)
        found = made.correction.balance.residual(after.surface, after.upper)
        residuals.append(float(found.square().mean().sqrt()))
    assert residuals[1] < 0.05 * residuals[0]


def test_bias_and_balance_are_fitted_in_one_command(
    columns: Path, unbalanced: Path, tmp_path: Path
) -> None:
    wish = CorrectionConfig(degree=8, bias_degree=4, harmonics=0, seasonal_degree=0)
    bias = correct_checkpoint(unbalanced, tmp_path / "bias", wish, columns).correction
    both = correct_checkpoint(
        unbalanced, tmp_path / "both", replace(wish, hydrostatic=True), columns
    ).correction
    assert bias is not None
    assert both is not None
    assert both.balance is not None
    assert bool(both.balance.gain.any())
    kept = correct_checkpoint(
        tmp_path / "bias", tmp_path / "kept", replace(wish, hydrostatic=True), columns, keep=True
    ).correction
    assert kept is not None
    assert bool(bias.mean.any())
    for other in (both, kept):
        torch.testing.assert_close(other.mean, bias.mean, rtol=0, atol=0)
    assert {"balance", "period", "steps"} <= set(both.provenance)


def test_what_a_balance_needs_is_named(columns: Path, unbalanced: Path, tmp_path: Path) -> None:
    wish = CorrectionConfig(degree=8, hydrostatic=True)
    with pytest.raises(InputError, match="the balance is fitted on analyses"):
        correct_checkpoint(unbalanced, tmp_path / "g", wish)
    with pytest.raises(InputError, match="has no correction to keep"):
        correct_checkpoint(unbalanced, tmp_path / "g", wish, columns, keep=True)
    made = correct_checkpoint(unbalanced, tmp_path / "b", wish, columns)
    assert made.correction is not None
    with pytest.raises(InputError, match="leaves the balance as it is"):
        fit_balance(made, Correction(CorrectionConfig(degree=8), COLUMN, NSIDE), columns)
    assert not (tmp_path / "g").exists()
