"""Physical parameters of the simulated atmosphere, its files and its calendar; without JAX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.variables import LEVELS
from pipelines.simulation import files, parameters, run


def test_season_is_warmest_in_july_and_southern_swing_is_damped() -> None:
    assert parameters.season(185.0) == pytest.approx(1.0)
    assert parameters.season(185.0 + 365.2425 / 2) == pytest.approx(-1.0)
    north, south = parameters.season_amplitude(np.array([50.0, -50.0]))
    assert south == pytest.approx(0.4 * north)


def test_rates_are_those_of_their_docstrings_and_the_deep_tropics_are_drier() -> None:
    sigma = np.array([0.05, 0.3, 0.7, 1.0])
    np.testing.assert_allclose(1.35 * parameters.drag_rate(sigma) * 86_400, [0.0, 0.0, 0.0, 1.0])
    equator = parameters.relaxation_rate(sigma, np.zeros(4)) * 86_400
    np.testing.assert_allclose(1 / equator, [40.0, 11.93, 11.93, 4.0], rtol=1e-3)
    pole = parameters.relaxation_rate(sigma, np.full(4, 90.0)) * 86_400
    np.testing.assert_allclose(1 / pole, 40.0)
    at = np.full(2, 0.87)
    wet = parameters.relative_humidity(at, np.array([0.0, 50.0]), np.zeros(2))
    assert wet[0] < 0.7 * wet[1]
    assert (
        parameters.relative_humidity(at, np.array([50.0, 50.0]), np.array([0.0, 1.0]))[1] < wet[1]
    )


def test_months_cut_a_period_at_calendar_months() -> None:
    cut = list(run.months(np.datetime64("2000-02-27"), 35))
    assert [(str(m[0]), len(m)) for m in cut] == [
        ("2000-02-27", 3),
        ("2000-03-01", 31),
        ("2000-04-01", 1),
    ]


@pytest.mark.parametrize(
    ("restart", "first", "days"),
    [
        ("2007-01-01", "2007-01-01", 0),
        ("2007-01-01", "2007-03-01", 59),
        ("2007-01-01", "2000-01-01", 0),
        ("2007-01-01", "2001-07-01", 181),
        ("2007-01-01", "2012-12-25", 0),
    ],
)
def test_a_restart_state_keeps_its_season(restart: str, first: str, days: int) -> None:
    assert run.days_after(np.datetime64(restart), np.datetime64(first)) == days


@pytest.mark.parametrize("spacing", [0.0, 7.0, 50.0, -3.75])
def test_grids_that_do_not_fit_the_sphere_are_refused(spacing: float) -> None:
    with pytest.raises(InputError, match="does not divide 180 degrees"):
        run.SimulationConfig("2000-01-01", spacing)


def test_a_folder_keeps_to_its_settings(tmp_path: Path) -> None:
    run._claim(tmp_path, run.SimulationConfig("2000-01-01"))
    run._claim(tmp_path, run.SimulationConfig("2000-01-01"))
    with pytest.raises(InputError, match="has another simulation"):
        run._claim(tmp_path, run.SimulationConfig("2000-01-01", seed=1))
    assert json.loads((tmp_path / "plan.json").read_text())["seed"] == 0
    with pytest.raises(InputError, match="days must be positive"):
        run.simulate(tmp_path, run.SimulationConfig("2000-01-01"), 0)


def test_files_come_back_within_their_packing_and_say_they_are_simulated(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(-90, 90, 9), np.arange(16) * 22.5
    shapes = {"msl": (2, 9, 16), "z": (2, 13, 9, 16), "q": (2, 13, 9, 16)}
    scale = {"msl": (101_000.0, 500.0), "z": (50_000.0, 9000.0), "q": (3e-3, 5e-4)}
    fields = {
        name: (scale[name][0] + scale[name][1] * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    times = np.array(["2006-12-31", "2007-01-01"], dtype="datetime64[s]")
    path = tmp_path / "x.nc"
    files.write(path, times, files.Grid(lat, lon), fields, {"simulated": "true"}, files.COARSE)
    with xr.open_dataset(path) as back:
        assert back.attrs["simulated"] == "true"
        assert back["latitude"].values[0] == 90.0
        assert back["pressure_level"].values.tolist() == list(LEVELS)
        np.testing.assert_array_equal(back["valid_time"].values.astype("datetime64[s]"), times)
        for name, values in fields.items():
            got = back[name].values[..., ::-1, :]
            if name == "q":  # seven mantissa bits
                np.testing.assert_allclose(got, values, rtol=2.0**-8)
            else:
                np.testing.assert_allclose(got, values, atol=0.51 * files.COARSE.step[name])
    assert not list(tmp_path.glob(".x*"))


def test_values_too_wide_to_pack_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    fields = {"msl": np.full((1, 9, 16), 1e7, np.float32)}
    times = np.array(["2006-12-31"], dtype="datetime64[s]")
    grid = files.Grid(np.linspace(-90, 90, 9), np.arange(16) * 22.5)
    with pytest.raises(ValueError, match="too wide to pack"):
        files.write(tmp_path / "x.nc", times, grid, fields, {})
    assert not list(tmp_path.iterdir())


def test_restart_states_survive_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "restart_2000-01-01.npz"
    arrays = {"vorticity": np.arange(6, dtype=np.float32).reshape(2, 3)}
    run.write_restart(path, np.datetime64("2000-01-01"), arrays)
    date, back = run.read_restart(path)
    assert date == np.datetime64("2000-01-01")
    np.testing.assert_array_equal(back["vorticity"], arrays["vorticity"])
    (tmp_path / "no.npz").write_text("<html>")
    with pytest.raises(InputError, match="is not a restart state"):
        run.read_restart(tmp_path / "no.npz")
