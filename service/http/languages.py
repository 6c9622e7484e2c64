"""Languages of the pages: English in the templates, and a catalogue for each other one.

A catalogue is a file ``dashboard/static/words.LANGUAGE.json`` from English text to the other
language; templates use it by ``t("…")``, scripts by ``t`` of ``words.js``. Answers of the API,
reasons and logs are English.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import Request

LANGUAGES: Final = {"en": "English", "de": "Deutsch", "sv": "Svenska"}
"""Names of the languages, in themselves; the first is that of the templates."""
DECIMAL_MARKS: Final = {"en": ".", "de": ",", "sv": ","}
COOKIE: Final = "pear_language"
_STATIC: Final = Path(__file__).parents[1] / "dashboard" / "static"
_DEFAULT: Final = next(iter(LANGUAGES))


def language_of(request: Request) -> str:
    """Return the language that a reader chose, or else the one that their browser prefers."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    weights = []
    for part in request.headers.get("accept-language", "")[:200].split(","):
        name, _, weight = part.strip().partition(";q=")
        try:
            weights.append((float(weight or 1), name.partition("-")[0].lower()))
        except ValueError:
            continue
    known = [(weight, name) for weight, name in weights if name in LANGUAGES and weight > 0]
    return max(known, key=lambda each: each[0])[1] if known else _DEFAULT


@cache
def words(language: str) -> dict[str, str]:
    """Return the catalogue of a language; that of English is empty."""
    if language == _DEFAULT:
        return {}
    path = _STATIC / f"words.{language}.json"
    found: dict[str, str] = json.loads(path.read_text("utf-8"))
    return found


def translate(language: str, text: str, **values: object) -> str:
    """Return text in a language, with ``{name}`` replaced; English where it is not known.

    Parameters
    ----------
    language
        One of :data:`LANGUAGES`.
    text
        English text.
    **values
        What stands for each name in braces.

    Returns
    -------
    str
    """
    found = words(language).get(text, text)
    for name, value in values.items():
        found = found.replace(f"{{{name}}}", str(value))
    return found
