"""Settings: checked on construction, to JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from pear.config import Config
from pear.errors import InputError
from pear.variables import Layout

TINY = Layout(surface=("2m_temperature",), upper=("temperature",), levels=(850, 500))


@dataclass(frozen=True)
class Trial(Config):
    kind = "trial"
    way: Literal["up", "down"] = "up"
    colour: Literal["red", "blue"] | None = None
    heads: tuple[int, ...] = (1, 2)
    steps: int | None = None
    layout: Layout = field(default=TINY)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("steps")


def test_json_round_trip() -> None:
    trial = Trial(way="down", colour="red", heads=(3,), steps=2)
    assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial
    assert Trial.from_dict({}) == Trial()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"way": "dwon"}, "way 'dwon' is unknown; did you mean down"),
        ({"colour": "bleu"}, "did you mean blue"),
        ({"way": None}, "way None is unknown"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"head": (1,)}, "unknown trial setting 'head'; did you mean heads"),
    ],
)
def test_invalid_settings_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Trial.from_dict(settings)
    assert caught.value.field == next(iter(settings))
