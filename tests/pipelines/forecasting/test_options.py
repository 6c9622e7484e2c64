"""Options of a forecast: canonical form, validation, former names, selections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pear.variables import Layout
from pipelines.catalog.identity import run_id
from pipelines.forecasting.options import ForecastOptions, Threshold

LAYOUT = Layout(("2m_temperature",), ("geopotential", "temperature"), (850, 500))


def test_equivalent_options_are_equal_and_defaults_are_omitted() -> None:
    plain = ForecastOptions.from_dict({"members": 1, "variables": None, "seed": 0})
    assert plain.to_dict() == {}
    assert not plain.is_ensemble
    one = ForecastOptions.from_dict({"variables": ["t2m", "z"], "levels": [500], "leads": [48, 24]})
    other = ForecastOptions.from_dict(
        {"variables": ["geopotential", "2t"], "levels": (500,), "leads": [24, 48, 24]}
    )
    assert one == other
    assert ForecastOptions.from_dict(one.to_dict()) == one
    scaled = ForecastOptions.from_dict({"members": 2, "perturbation_scale": {"t2m": 1}})
    assert scaled.to_dict() == {
        "members": 2,
        "perturbation_scale": {"2m_temperature": 1.0},
        "perturb_steps": True,
    }


def test_a_stored_ensemble_says_which_perturbation_it_has() -> None:
    """So that another default later is another run, and old runs keep their meaning."""
    noise = {"members": 4, "perturbation_scale": 0.3, "perturb_steps": True}
    assert ForecastOptions.from_dict({"members": 4}).to_dict() == noise
    assert ForecastOptions.from_dict(noise).to_dict() == noise
    start = {"members": 4, "perturbation_scale": 0.1, "perturb_steps": False}
    assert ForecastOptions.from_dict(start).to_dict() == start
    fields = ForecastOptions.from_dict({"members": 4, "ensemble": "random_field"}).to_dict()
    assert (fields["perturbation_scale"], fields["perturb_steps"]) == (0.1, False)
    assert ForecastOptions.from_dict({}).to_dict() == {}


@pytest.mark.parametrize(
    ("former", "present", "digest"),
    [
        ({}, {}, "784b71c4639d"),
        ({"source": "orbit"}, {"ensemble": "symmetry"}, "603e338340a3"),
        (
            {
                "members": 4,
                "amplitude": {"2m_temperature": 0.2},
                "perturb_steps": False,
                "exceedance": ["2m_temperature>286"],
            },
            {
                "members": 4,
                "perturbation_scale": {"2m_temperature": 0.2},
                "perturb_steps": False,
                "thresholds": ["2m_temperature>286"],
            },
            "1353d791a0e0",
        ),
    ],
)
def test_options_of_stored_runs_are_read_and_keep_their_ids(
    former: dict[str, Any], present: dict[str, Any], digest: str
) -> None:
    read = ForecastOptions.from_dict({**former, "analysis": "demo"})
    assert read.to_dict() == {**present, "analysis": "demo"}
    init = np.datetime64("2001-03-01")
    for options in ({**former, "analysis": "demo"}, read.to_dict()):
        assert run_id("ab" * 32, init, 240, options) == f"20010301T0000-240h-{digest}"


def test_former_names_of_options_are_refused_with_the_present_ones() -> None:
    with pytest.raises(ValueError, match="'source' is now called 'ensemble'"):
        ForecastOptions.model_validate({"source": "orbit"})


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"variable": ["t2m"]}, "variable", "did you mean variables"),
        ({"variables": ["rain"]}, "variables", "unknown variable 'rain'"),
        ({"variables": []}, "variables", "at least 1 item"),
        ({"precision": "float8"}, "precision", "float32 or bfloat16, not 'float8'"),
        ({"members": 0}, "members", "members must be 1 or more, not 0"),
        ({"members": 2.5}, "members", "a whole number, not 2.5"),
        ({"members": True}, "members", "true is not a number"),
        ({"members": "4"}, "members", "'4' is not a number"),
        ({"members": 1000}, "members", "100 or less, not 1000"),
        ({"members": 4, "ensemble": "symmetry"}, "members", "does not keep"),
        (
            {"members": 4, "ensemble": "orbits"},
            "ensemble",
            "noise, random_field, symmetry or ",
        ),
        ({"ensemble": "augmented"}, "models", "needs further models"),
        ({"ensemble": "augmented", "members": 4, "models": ["m"]}, "members", "one member for"),
        ({"members": 4, "quantiles": [100]}, "quantiles.0", "99 or less, not 100"),
        ({"members": 4, "seed": -1}, "seed", "0 or more, not -1"),
        ({"quantiles": [10]}, "quantiles", "quantiles needs an ensemble"),
        ({"thresholds": ["t2m>300"]}, "thresholds", "thresholds needs an ensemble"),
        ({"keep_members": True}, "keep_members", "needs an ensemble"),
        ({"keep_members": 1, "members": 2}, "keep_members", "true or false, not 1"),
        ({"perturb_steps": True}, "perturb_steps", "perturb_steps needs members"),
        ({"ensemble": "random_field"}, "ensemble", "ensemble=random_field needs members"),
        (
            {"members": 2, "ensemble": "random_field", "perturbation_scale": {"t2m": 0.1}},
            "perturbation_scale",
            "one scale for all variables",
        ),
        ({"members": 4, "thresholds": ["t2m<300"]}, "thresholds.0", "invalid threshold 't2m<300'"),
        ({"members": 4, "thresholds": ["z>300"]}, "thresholds.0", "lacks a level"),
        ({"members": 4, "thresholds": ["rain>1"]}, "thresholds.0", "unknown variable"),
        ({"members": 4, "thresholds": ["ws>20"]}, "thresholds.0", "lacks a level"),
        (
            {"members": 4, "thresholds": ["10m_wind_speed@850>20"]},
            "thresholds.0",
            "has no level 850",
        ),
        ({"members": 4, "thresholds": ["wdir10>180"]}, "thresholds.0", "is an angle"),
        ({"members": 4, "thresholds": ["t2m>1"] * 21}, "thresholds", "at most 20"),
        ({"members": 4, "perturbation_scale": -1.0}, "perturbation_scale", "more than 0"),
        (
            {"members": 4, "perturbation_scale": {"rain": 0.1}},
            "perturbation_scale",
            "unknown variable",
        ),
        ({"members": 4, "thresholds": ["t2m>" + "0" * 60 + "300"]}, "thresholds.0", "up to 64"),
        ({"members": 4, "thresholds": [{}]}, "thresholds.0", "is not text"),
        ({"variables": ["t2m", "x" * 200]}, "variables.1", "at most 128 letters, not 200"),
        ({"analysis": "/etc/passwd"}, "analysis", "use 1 to 128 letters"),
        ({"seed": 1e308}, "seed", "a whole number"),
        ({"length_km": float("inf")}, "length_km", "not a finite number"),
        ({"length_km": 10**400}, "length_km", "or less|finite|number"),
        ({"leads": [10**30, True]}, "leads.1", "true is not a number"),
        ({"members": 4, "perturbation_scale": {}}, "perturbation_scale", "a number, not {}"),
        ({"members": 4, "perturbation_scale": "much"}, "perturbation_scale", "not a number"),
        ({"members": 4, "length_km": 1}, "length_km", "100 or more, not 1"),
    ],
)
def test_invalid_options_are_refused(given: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        ForecastOptions.from_dict(given)
    assert caught.value.field == field


def test_thresholds_have_one_form() -> None:
    threshold = Threshold.from_text("t850 > 273.150")
    assert threshold == Threshold("temperature", 850, 273.15)
    assert threshold.text == "temperature@850>273.15"
    assert threshold.description == "air temperature at 850 hPa above 273.15 K"
    assert threshold.layout(LAYOUT) == Layout((), ("temperature",), (850,))
    options = ForecastOptions.from_dict({"members": 2, "thresholds": ["z500>55100", "2t>286"]})
    assert options.to_dict()["thresholds"] == ["2m_temperature>286", "geopotential@500>55100"]


@pytest.mark.parametrize(
    ("text", "canonical", "words"),
    [
        ("ws850>20", "wind_speed@850>20", "wind speed at 850 hPa above 20 m s-1"),
        ("ws10 > 15", "10m_wind_speed>15", "wind speed at 10 m above 15 m s-1"),
        ("rh 700>90", "relative_humidity@700>90", "relative humidity at 700 hPa above 90 %"),
        (
            "thickness_500-1000>5400",
            "thickness_1000_500>5400",
            "thickness from 1000 to 500 hPa above 5400 m",
        ),
    ],
)
def test_thresholds_of_derived_quantities_have_one_form(
    text: str, canonical: str, words: str
) -> None:
    threshold = Threshold.from_text(text)
    assert (threshold.text, threshold.description) == (canonical, words)
    assert Threshold.from_text(canonical) == threshold
    full = Layout.default()
    assert threshold.layout(full).channels == ((threshold.variable, threshold.level or None),)
    assert set(threshold.parts) <= set(full.channels)


def test_layout_and_steps_are_selected_from_the_model() -> None:
    options = ForecastOptions.from_dict({"variables": ["z", "t2m"], "levels": [500], "leads": [0]})
    assert options.layout(LAYOUT) == Layout(("2m_temperature",), ("geopotential",), (500,))
    assert options.kept_steps(10, 24) == (0,)
    assert ForecastOptions().layout(LAYOUT) == LAYOUT
    assert ForecastOptions().kept_steps(2, 24) == (0, 1, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"variables": ["msl"]}, "the model has no variable 'mean_sea_level_pressure'"),
        ({"levels": [300]}, "no level 300"),
        ({"leads": [36]}, "lead time 36 h is not a step"),
        ({"leads": [96]}, "lead time 96 h is not a step"),
        ({"members": 4, "thresholds": ["z300>1"]}, "does not forecast geopotential@300"),
        (
            {"members": 4, "thresholds": ["ws10>5"]},
            "10m_u_component_of_wind, from which 10m_wind_speed is derived",
        ),
        (
            {"members": 4, "thresholds": ["thickness_1000_500>5400"]},
            "geopotential@1000, from which thickness_1000_500 is derived",
        ),
        ({"members": 4, "perturbation_scale": {"msl": 1}}, "the model has no variable"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ForecastOptions.from_dict(given).check_fits(LAYOUT, 3, 24)
