"""Forecasters of other packages: listed without import, loaded by name, refused by reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pear.errors import InputError
from pear.rollout import list_installed, load_installed
from tests.fixtures.other_models import install


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "warm_models", raising=False)
    install(tmp_path, monkeypatch)


def test_listing_imports_nothing() -> None:
    assert "warming (warm-models 1.0)" in map(str, list_installed())
    assert "warm_models" not in sys.modules


def test_a_forecaster_of_the_protocol_alone_is_stepped() -> None:
    forecaster = load_installed("warming")
    assert (forecaster.name, forecaster.nside) == ("warming", 4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("warm", "no installed package has a forecaster 'warm'.*warming"),
        (
            "broken",
            "broken .warm-models 1.0. cannot be loaded: RuntimeError: no weights at /models",
        ),
        ("nothing", "has no layout of type Layout"),
        ("climatology", "has the name of a forecast that PEAR scores"),
        ("os:system", "no installed package"),
    ],
)
def test_what_cannot_forecast_is_named(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_installed(name)
