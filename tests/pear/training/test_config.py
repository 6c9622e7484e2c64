"""Settings of a training are checked and survive JSON."""

from __future__ import annotations

import json

import pytest

from pear.errors import InputError
from pear.training import TrainingConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "steps and minutes"),
        ({"steps": 3, "minutes": 1.0}, "steps and minutes"),
        ({"steps": 3, "loss": "l3"}, "loss 'l3' is unknown"),
        ({"steps": 3, "ema": 1.0}, "ema must be in"),
        ({"steps": 0}, "steps must be positive"),
        ({"steps": 3, "batch": 0}, "batch must be positive"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingConfig.from_dict(settings)


def test_settings_survive_the_way_through_json() -> None:
    config = TrainingConfig(minutes=3.0, rollout=2, surface_weight=0.5)
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert TrainingConfig.published(steps=1).loss == "published"
