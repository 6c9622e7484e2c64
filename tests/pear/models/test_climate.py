"""States of another climate than that of the training data."""

from __future__ import annotations

import json

import numpy as np
import pytest

import pear
from pear import resources
from pear.errors import InputError
from pear.models.climate import (
    STATISTICS,
    TrainingClimate,
    climate_difference,
    training_atmosphere,
)
from pear.state import State
from pear.variables import Layout


def test_the_shipped_model_is_of_the_simulated_atmosphere() -> None:
    document = json.loads((resources.path("checkpoint") / "checkpoint.json").read_text())
    assert training_atmosphere(document["provenance"]) == "simulated"


@pytest.mark.parametrize(
    ("provenance", "kind"),
    [
        ({}, None),
        ({"data": {"title": "Simulated states on HEALPix"}}, "simulated"),
        ({"data": {"simulated": False, "title": "Simulated states"}}, "observed"),
        ({"data": {"title": "Analyses"}}, None),
        ({"simulated": True, "data": {"title": "Analyses"}}, "simulated"),
    ],
)
def test_the_kind_of_the_training_data(provenance: dict[str, object], kind: str | None) -> None:
    assert training_atmosphere(provenance) == kind


def test_every_shipped_state_belongs_to_the_climate_of_the_shipped_model() -> None:
    model = pear.load_model(device="cpu")
    normaliser, layout = model.checkpoint.normaliser, model.layout
    mean, std = (
        np.concatenate([surface.numpy().ravel(), upper.numpy().ravel()]).astype(np.float64)
        for surface, upper in (
            (normaliser.surface_mean, normaliser.upper_mean),
            (normaliser.surface_std, normaliser.upper_std),
        )
    )
    names = [f"{name}{level}" for name, level in layout.channels]
    analysis = pear.sample_analysis()
    for time in analysis["time"].values[::6]:
        state = State.from_xarray(analysis, time, layout, model.nside, name="analysis")
        surface, upper = (part[0] for part in state.to_arrays())
        fields = np.concatenate([surface, upper.reshape(-1, surface.shape[-1])])
        found = climate_difference("simulated", "simulated", names, fields, mean, std)
        assert found is None
        warm = (
            fields + np.where(np.array(names) == "temperature200", 2.2, 0)[:, None] * std[:, None]
        )
        found = climate_difference("simulated", "simulated", names, warm, mean, std)
        assert "temperature200" in str(found)


@pytest.mark.parametrize(("offset", "refused"), [(0.9, False), (1.1, True), (-1.1, True)])
def test_a_global_mean_four_deviations_off_is_another_climate(offset: float, refused: bool) -> None:
    fields = np.full((2, 12), 280.0, dtype=np.float32)
    fields[1] += 10 * offset
    mean, std = np.full(2, 280.0), np.full(2, 10.0)
    found = climate_difference("observed", "observed", ["t850", "t500"], fields, mean, std)
    assert (found is not None) == refused
    assert not refused or "t500" in str(found)


def test_observations_are_refused_and_the_forecast_of_allowed_ones_says_so() -> None:
    analysis = pear.sample_analysis()
    observed = analysis.assign_attrs(simulated="false")
    model = pear.load_model(device="cpu")
    with pytest.raises(InputError, match="simulated atmosphere, and the state is observed"):
        model.forecast(observed, "2006-11-01", lead="1d")
    usual = model.forecast(analysis, "2006-11-01", lead="1d")
    assert "other_climate" not in usual.attrs
    assert usual.attrs["simulated"] == "true"
    willing = pear.load_model(device="cpu", allow_other_climate=True)
    forecast = willing.forecast(observed, "2006-11-01", lead="1d")
    assert "observed" in forecast.attrs["other_climate"]


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("as_state", [False, True])
def test_a_warm_state_is_refused_whatever_it_is_given_as(
    members: int | None, as_state: bool
) -> None:
    model = pear.load_model(device="cpu")
    analysis = pear.sample_analysis().isel(time=[3])
    warm = analysis.assign(temperature=analysis["temperature"] + 15)
    time = warm["time"].values[0]
    initial = State.from_xarray(warm, time, model.layout, 16) if as_state else warm
    with pytest.raises(InputError, match=r"mean of temperature.*allow_other_climate=True"):
        model.forecast(initial, lead="1d", members=members)
    model.allow_other_climate = True
    about = model.forecast(initial, lead="1d", members=members, variables=["t2m"]).attrs
    assert "the global mean of temperature" in about["other_climate"]
    assert about["simulated"] == "true"


def test_an_hour_that_the_model_never_saw_is_noted_not_refused() -> None:
    model = pear.load_model(device="cpu")
    analysis = pear.sample_analysis().isel(time=[3])
    noon = analysis.assign_coords(time=analysis["time"] + np.timedelta64(12, "h"))
    about = model.forecast(noon, lead="1d", variables=["t2m"]).attrs
    assert "the model was trained at 00:00 UTC" in about["initial_state_note"]
    assert "other_climate" not in about


def test_a_state_that_is_itself_a_forecast_is_noted() -> None:
    model = pear.load_model(device="cpu")
    analysis = pear.sample_analysis().isel(time=[3, 4])
    leads = np.array([0, 120], dtype="timedelta64[h]")
    stated = analysis.assign_coords(lead_time=("time", leads))
    time = stated["time"].values[1]
    about = model.forecast(stated, time, lead="1d", variables=["t2m"]).attrs
    assert about["initial_state_note"] == "the initial state is itself a forecast of 120 h"
    one = model.forecast(stated.isel(time=[0]), lead="1d", variables=["t2m"])
    assert "initial_state_note" not in one.attrs


def test_rain_is_compared_as_networks_see_it() -> None:
    layout = Layout(("total_precipitation_6hr",), (), ())
    mean, std = np.array([2.0]), np.array([2.0])  # of log(1 + rain / 1e-5)
    climate = TrainingClimate.build({"simulated": False}, layout, mean, std)
    usual = np.full((1, 12), 1e-5 * np.expm1(2.5), np.float32)
    assert climate.difference("observed", usual) is None
    found = climate.difference("observed", usual * 1e3)
    assert found is not None
    assert "global mean of log(1 + total_precipitation_6hr / 1e-05) is 9.3" in found


def test_a_fine_tuned_model_has_the_climate_of_its_last_data() -> None:
    layout = Layout(("2m_temperature",), (), ())
    data = {"simulated": False, STATISTICS: {"mean": [250.0], "std": [5.0]}}
    climate = TrainingClimate.build({"data": data}, layout, np.array([290.0]), np.array([5.0]))
    assert climate.difference("observed", np.full((1, 12), 251.0, np.float32)) is None
    assert climate.difference("observed", np.full((1, 12), 289.0, np.float32)) is not None
