"""Actions: validation, defaults, and settings of stored schedules."""

from __future__ import annotations

from typing import Any

import pytest

from pear.errors import InputError
from pipelines.catalog import Catalog
from pipelines.schedules import add_schedule
from pipelines.schedules.actions import validate_action
from pipelines.storage.data_folder import DataFolder


@pytest.mark.parametrize(
    ("action", "field", "words"),
    [
        ({}, "action", "has no parts; parts: fetch, ingest"),
        ({"forcast": {}}, "forcast", "did you mean forecast"),
        ({"forecast": {"lead": 24}}, "forecast.lead", "did you mean lead_hours"),
        ({"forecast": []}, "forecast", "an object of names"),
        ({"forecast": None}, "action", "has no parts"),
        ({"forecast": {"options": {"members": 0}}}, "forecast.options.members", "1 or more, not 0"),
        ({"forecast": {"options": {"member": 2}}}, "forecast.options.member", "mean members"),
        ({"forecast": {"options": {"keep_members": True}}}, None, "needs an ensemble"),
        ({"forecast": {"options": "a"}}, "forecast.options", "'a'"),
        ({"forecast": {"options": [1]}}, "forecast.options", "an object of names"),
        ({"forecast": {"newest": 0}}, "forecast.newest", "must be 1 or more"),
        ({"forecast": {"newest": "a"}}, "forecast.newest", "'a' is not a number"),
        ({"forecast": {"every_hours": 0}}, "forecast.every_hours", "must be 1 or more"),
        ({"forecast": {"every_hours": "a"}}, "forecast.every_hours", "'a' is not a number"),
        ({"forecast": {"model": 1}}, "forecast.model", "must be text"),
        ({"forecast": {"model": ""}}, "forecast.model", "at least 1"),
        ({"forecast": {"analysis": "../x"}}, "forecast.analysis", "use 1 to 128 letters"),
        *(
            ({"forecast": {"lead_hours": bad}}, "forecast.lead_hours", "lead_hours")
            for bad in ("abc", None, [1], {"a": 1}, 1e308, 10**30, True, 24.5, "24", float("nan"))
        ),
        *(
            ({"evaluate": {"climatology": bad}}, "evaluate.climatology", "climatology")
            for bad in (1, "/etc/passwd", ["a"], "", "x" * 129, {"a": 1}, "..")
        ),
        ({"ingest": {"store": "x"}}, "ingest.sources", "ingest.sources is missing"),
        ({"ingest": {"store": "x", "sources": "a.nc"}}, "ingest.sources", "must be a list"),
        ({"ingest": {"store": "x", "sources": []}}, "ingest.sources", "at least 1"),
        ({"ingest": {"store": "x", "sources": ["a"], "nside": 12}}, "ingest.nside", "power of two"),
        ({"ingest": {"store": "a/b", "sources": ["a"]}}, "ingest.store", "use 1 to 128"),
        ({"expire": {"keep_days": -1}}, "expire.keep_days", "must be 0 or more"),
        ({"expire": {"keep_days": float("nan")}}, "expire.keep_days", "not a finite number"),
        ({"expire": {"keep_days": 1e300}}, "expire.keep_days", "must be 36525 or less"),
        ({"expire": {"keep_latest": "9"}}, "expire.keep_latest", "'9' is not a number"),
        ({"expire": {"grace_hours": 0}}, "expire.grace_hours", "must be 0.25 or more"),
    ],
)
def test_invalid_actions_are_refused(action: dict[str, Any], field: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        validate_action(action)
    assert field is None or caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("action", "field", "words"),
    [
        ({"forecast": {"model": "nobody"}}, "forecast.model", "nobody"),
        ({"forecast": {"lead_hours": 30}}, "forecast.lead_hours", "24 h model step"),
        ({"evaluate": {"lead_hours": 30}}, "evaluate.lead_hours", "24 h model step"),
        (
            {"forecast": {"options": {"variables": ["msl"]}}},
            "forecast.options.variables",
            "no variable 'mean_sea_level_pressure'",
        ),
        (
            {"forecast": {"options": {"models": ["nobody"]}}},
            "forecast.options.models",
            "nobody",
        ),
    ],
)
def test_actions_that_do_not_fit_the_models_are_refused(
    data: DataFolder, catalog: Catalog, action: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        add_schedule(data, catalog, "daily", "30 6 * * *", action)
    assert caught.value.field == field
    assert catalog.schedules.all() == []


def test_actions_are_stored_with_their_defaults_and_read_back() -> None:
    action = validate_action(
        {"forecast": {"options": {"members": 2, "variables": ["t2m"]}}, "expire": {"keep_days": 9}}
    )
    stored = action.to_dict()
    assert stored == {
        "forecast": {
            "lead_hours": 240,
            "newest": 1,
            "every_hours": 24,
            "options": {
                "members": 2,
                "variables": ["2m_temperature"],
                "perturbation_scale": 0.3,
                "perturb_steps": True,
            },
        },
        "expire": {"keep_days": 9.0, "keep_latest": 10, "grace_hours": 1.0},
    }
    assert validate_action(stored) == action


def test_settings_of_stored_schedules_are_read_by_their_former_names() -> None:
    stored = {
        "ingest": {"sources": ["a.nc"], "store": "era5", "nside": None},
        "forecast": {
            "lead_hours": 240,
            "model": None,
            "analysis": None,
            "newest": 1,
            "every_hours": 24,
            "options": {"source": "orbit", "exceedance": ["t2m>300"]},
        },
        "expire": {"keep_days": 30.0, "keep_latest": 10, "unread_hours": 2.0},
    }
    action = validate_action(stored)
    assert action.ingest is not None
    assert action.ingest.sources == ("a.nc",)
    assert action.forecast is not None
    assert action.forecast.options is not None
    assert action.forecast.options.ensemble == "symmetry"
    assert action.expire is not None
    assert action.expire.grace_hours == 2.0
