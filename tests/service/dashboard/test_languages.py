"""Pages in other languages: every text of the pages is in every catalogue, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import httpx
import pytest

from pipelines.catalog import Status
from pipelines.storage.data_folder import DataFolder
from service.dashboard.operation import _PRESETS
from service.http.disclaimer import DISCLAIMER
from service.http.html import OPERATOR, PAGES, translate_phrase
from service.http.languages import LANGUAGES, translate, words
from service.http.permissions import ROLES
from service.readers.health import State
from service.readers.nature import Nature
from service.readers.sources import SourceState

DASHBOARD = Path(__file__).parents[3] / "service" / "dashboard"
FILES = (*DASHBOARD.glob("templates/*.html"), *DASHBOARD.glob("static/*.js"))
TEXT = re.compile(r'\bt\(\s*"((?:[^"\\]|\\.)*)"')
NAMES = re.compile(r"\{\w+\}")
OTHERS = [each for each in LANGUAGES if each != "en"]


def texts() -> set[str]:
    """Texts in the templates and scripts, and those that come there as values."""
    written = {each for path in FILES for each in TEXT.findall(path.read_text("utf-8"))}
    return written | {
        *(name for _, name in (*PAGES, OPERATOR)),
        *("Handbook", DISCLAIMER, "catalog"),
        *(
            re.sub(r"\d+", "{count}", word)
            for members in (0, 4)
            for word in Nature(True, members, True, True).words
        ),
        *map(str, Status),
        *ROLES.values(),
        *get_args(State),
        *get_args(SourceState),
        *DataFolder(Path("x")).parts,
        *(told for _, told in _PRESETS),
    }


@pytest.mark.parametrize("language", OTHERS)
def test_each_catalogue_has_every_text_and_no_other(language: str) -> None:
    assert set(words(language)) == texts()
    for english, other in words(language).items():
        assert other.strip()
        assert sorted(NAMES.findall(other)) == sorted(NAMES.findall(english)), english


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}, "de"),
        ({"Accept-Language": "fr, sv;q=0.5, en;q=0.4"}, "sv"),
        ({"Accept-Language": "fr;q=x, de;q=0"}, "en"),
        ({"Accept-Language": "de", "Cookie": "pear_language=sv"}, "sv"),
        ({"Cookie": "pear_language=../x"}, "en"),
    ],
)
def test_pages_are_in_the_language_of_the_reader(
    client: httpx.Client, headers: dict[str, str], language: str
) -> None:
    answer = client.get("/forecasts", headers={"Accept": "text/html", **headers})
    assert f'<html lang="{language}">' in answer.text
    assert translate(language, "Submit a forecast") in answer.text
    assert "Accept-Language" in answer.headers["vary"]


def test_the_nature_of_a_run_is_told_in_the_language() -> None:
    assert translate_phrase("mean of 4 members", "de") == "Mittel von 4 Mitgliedern"
    assert translate_phrase("simulated atmosphere", "sv") == "simulerad atmosfär"


def test_unknown_text_stays_english_and_values_are_filled_in() -> None:
    assert translate("de", "not in it {name}", name="{x}") == "not in it {x}"
    assert translate("sv", "{count} days", count=3) == "3 dagar"
