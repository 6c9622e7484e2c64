"""Pages in other languages: every text of the pages is in every catalogue, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import httpx
import pytest

from pipelines.catalog import Status
from pipelines.storage.data_folder import DataFolder
from service.dashboard.operation import _PRESETS
from service.http.disclaimer import DISCLAIMER
from service.http.html import OPERATOR, PAGES, format_bytes, format_number, translate_phrase
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


# What every language writes alike: names, formats, units and examples of what is typed.
ALIKE = re.compile(
    r"PEAR|Natural Earth|GeoNames|CC BY|API|OpenAPI|/openapi\.json|UTC|NetCDF|Zarr \(zip\)"
    r"|CSV|JSON|SVG|PNG|CoverageJSON|WebP|HEALPix|nside|SHA-256|Id|ACC|RMSE|MAE|hPa|km/h|mph|kn|t2m>[\d.]+|msl>\d+"
    r"|width=device-width.*"
)
SHOWN = ("title", "aria-label", "placeholder", "alt", "data-label", "content", "label")
WORD = re.compile(r"[A-Za-zÄÖÜäöüßÅå]{2,}")


class Texts(HTMLParser):
    """Collects what a template shows and does not translate."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in SHOWN and value]
        if tag not in ("input", "br", "meta", "link", "img", "wbr", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style", "code", "pre"} & set(self.open):
            self.found.append(data)


def untranslated(text: str) -> list[str]:
    """Return what of a template is words, and is in English whatever the language."""
    reader = Texts()
    reader.feed(re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", " ", text, flags=re.DOTALL))
    written = [*reader.found, *literals_of_expressions(text)]
    return [each.strip() for each in written if WORD.search(ALIKE.sub("", each))]


def literals_of_expressions(text: str) -> Iterator[str]:
    """Yield the English words that an expression of a template shows by itself."""
    for expression in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL):
        for literal in re.findall(r'else "([^"]*)"|^ "([^"]*)" if', TEXT.sub("", expression)):
            yield from (each for each in literal if " " in each or each[:1].isupper())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_text_of_a_page_is_translated(path: Path) -> None:
    text = path.read_text("utf-8")
    found = untranslated(text) if path.suffix == ".html" else list(untranslated_in_script(text))
    assert found == []


# Where a script puts text on the page.
PUT = re.compile(
    r"(?:\.(?:textContent|title|ariaLabel|placeholder|alt|innerText)\s*=|\.append\(|tableCell\("
    r'|cellOf\(|setAttribute\("(?:aria-label|title|alt|aria-valuetext)",)(.*)'
)
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`')


def untranslated_in_script(text: str) -> Iterator[str]:
    """Yield the words that a script puts on the page without ``t``."""
    for line in PUT.findall(text):
        for literal in LITERAL.findall(re.sub(r"\bt\(\s*\"[^\"]*\"", "", line)):
            shown = re.sub(r"\$\{[^}]*\}?", "", "".join(literal))
            if (" " in shown or shown[:1].isupper()) and WORD.search(ALIKE.sub("", shown)):
                yield shown


@pytest.mark.parametrize(
    "text",
    [
        "<p>Channels that change</p>",
        '<td data-label="Unit">{{ unit }}</td>',
        "<title>PEAR: login</title>",
        '<td>{{ x if x else "Not known" }}</td>',
    ],
)
def test_words_of_a_template_are_found(text: str) -> None:
    assert untranslated(text)
    assert untranslated('<p title="{{ t("Unit") }}">{{ t("Note") }} hPa</p>') == []
    assert list(untranslated_in_script("element.title = `PEAR ${a}, baseline ${b}`;"))


def test_numbers_of_templates_have_the_mark_of_the_language() -> None:
    for path in DASHBOARD.glob("templates/*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"\| *(?:format|round)\b|%[.\d]*[efg]", text), path.name
    assert format_number(-0.125, "+.2f", "en") == "-0.12"
    assert format_number(1234.5, "g", "de") == format_number(1234.5, "g", "sv") == "1234,5"
    assert [format_bytes(1.5e9, each) for each in LANGUAGES] == ["1.5 GB", "1,5 GB", "1,5 GB"]


# Digits of addresses, of drawings and of code, which no language changes.
NOT_SHOWN = re.compile(
    r"query\.set|URLSearchParams|coords:|variables, format|rotate\(|translate\(|path \+="
    r"|const points|withMark\("
)


def test_numbers_of_scripts_have_the_mark_of_the_language() -> None:
    for path in DASHBOARD.glob("static/*.js"):
        for line in path.read_text("utf-8").splitlines():
            if re.search(r"\.to(?:Fixed|Precision|Exponential)\((?!0\))", line):
                assert NOT_SHOWN.search(line) or "Number(value.toFixed" in line, (path.name, line)


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
