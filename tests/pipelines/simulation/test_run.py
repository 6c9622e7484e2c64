"""Calendar, folders and restart states of a simulation; without JAX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pipelines.simulation import run


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


def test_plans_and_labels_of_daily_simulations_are_those_of_earlier_versions(
    tmp_path: Path,
) -> None:
    plan = {"start": "2000-01-01", "spacing": 3.75, "seed": 0, "truncation": "T31", "spin_up": 184}
    assert run.SimulationConfig("2000-01-01").to_dict() == plan
    sixth = run.SimulationConfig("2000-01-01", step_hours=6, diurnal=True)
    assert sixth.to_dict() == {**plan, "step_hours": 6, "diurnal": True}
    run._claim(tmp_path, run.SimulationConfig("2000-01-01"))
    with pytest.raises(InputError, match="has another simulation"):
        run._claim(tmp_path, sixth)


@pytest.mark.parametrize("hours", [0, 1, 5, 8, 48])
def test_steps_that_do_not_divide_a_day_of_the_model_are_refused(hours: int) -> None:
    with pytest.raises(InputError, match="states are written every 24, 12, 6 or 3 h"):
        run.SimulationConfig("2000-01-01", step_hours=hours)


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
