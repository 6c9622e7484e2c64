"""Actions: validation, defaults, and settings of stored schedules."""

from __future__ import annotations

from typing import Any

import pytest

from pear.errors import InputError
from pipelines.schedules.actions import validate_action


@pytest.mark.parametrize(
    ("action", "field", "words"),
    [
        ({}, "action", "has no parts; parts: ingest, forecast"),
        ({"forcast": {}}, "action", "did you mean forecast"),
        ({"forecast": {"lead": 24}}, "lead", "unknown forecast setting .* did you mean lead_hours"),
        ({"forecast": []}, "forecast", "object"),
        ({"forecast": {"options": {"members": 0}}}, "options", "invalid members 0"),
        ({"forecast": {"newest": 0}}, "newest", "greater than or equal to 1"),
        ({"forecast": {"every_hours": 0}}, "every_hours", "greater than or equal to 1"),
        ({"ingest": {"store": "x"}}, "sources", "ingest setting 'sources' is missing"),
        ({"expire": {"keep_days": -1}}, "keep_days", "greater than or equal to 0"),
        ({"expire": {"grace_hours": 0}}, "grace_hours", "greater than or equal to 0.25"),
    ],
)
def test_invalid_actions_are_refused(action: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        validate_action(action)
    assert caught.value.field == field


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
            "options": {"members": 2, "variables": ["2m_temperature"]},
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
