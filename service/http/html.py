"""Templates of the dashboard, and the formatting of values for people."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import numpy as np
from fastapi import Request, Response
from fastapi.templating import Jinja2Templates
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from pear.times import to_iso
from service.http.disclaimer import DISCLAIMER
from service.http.languages import DECIMAL_MARKS, LANGUAGES, language_of, translate
from service.http.permissions import permits
from service.http.request_state import RequestState

_DASHBOARD: Final = Path(__file__).parents[1] / "dashboard"
_TEMPLATES: Final = Jinja2Templates(_DASHBOARD / "templates")
HANDBOOK_SITE: Final = _DASHBOARD / "site"
HANDBOOK: Final = "/handbook/index.html"
_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PAGES: Final = (
    ("/", "Forecast"),
    ("/forecasts", "Runs"),
    ("/scores", "Scores"),
    ("/schedules", "Schedules"),
    ("/docs", "API"),
)
OPERATOR: Final = ("/operator", "Operator")
"""A page that only operators are shown."""


def use_static(address: Callable[[str], str]) -> None:
    """Have templates find static files by a function from their names to their addresses."""
    _TEMPLATES.env.globals["static"] = address


def render(
    request: Request,
    template: str,
    here: str,
    values: dict[str, Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Render a template; ``here`` is the path of the page, marked in the navigation."""
    # Templates have ``may(method, route)``, whether the reader may use a route, and ``t(text)``,
    # text in the reader's language.
    # A source tree has no handbook until it is built.
    handbook = ((HANDBOOK, "Handbook"),) if (HANDBOOK_SITE / "index.html").exists() else ()
    scope, language = RequestState.from_scope(request.scope).scope, language_of(request)
    operator = (OPERATOR,) if permits(scope, "GET", OPERATOR[0]) else ()
    context = {
        "pages": (*PAGES, *operator, *handbook),
        "here": here,
        "note": DISCLAIMER,
        "may": partial(permits, scope),
        "t": partial(translate, language),
        "language": language,
        "languages": LANGUAGES,
        **values,
    }
    return _TEMPLATES.TemplateResponse(
        request,
        template,
        context,
        status_code=status,
        headers={"Cache-Control": "no-cache", "Vary": "Accept-Language, Cookie", **(headers or {})},
    )


def error_page(
    request: Request, status: int, detail: str, hint: str | None, headers: dict[str, str] | None
) -> Response:
    """Return an error as an HTML page, with the content of a problem document."""
    title = f"{status} {HTTPStatus(status).phrase}"
    request_id = RequestState.from_scope(request.scope).request_id
    values = {"title": title, "detail": detail, "hint": hint, "request_id": request_id}
    return render(request, "error.html", "", values, status, headers)


def format_datetime(time: datetime | None) -> str | None:
    """Return a wall-clock time as ``2001-03-01 00:00:00 UTC``, or None."""
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def format_units(units: str) -> str:
    """Return a unit with superscripts: ``m2 s-2`` becomes ``m² s⁻²``."""
    return re.sub(r"(?<=[a-z])-?\d", lambda match: match[0].translate(_SUPERSCRIPTS), units)


def markup_code(text: str | None) -> str:
    """Return text as safe HTML, with ``code`` elements for what is between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text or ""))


def time_element(iso: str | None) -> Markup:
    """Return ISO 8601 as an element that the page writes in the reader's way; empty for None."""
    if iso is None:
        return Markup()
    shown = f"{iso[:16].replace('T', ' ')} UTC"
    return Markup('<time datetime="{}">{}</time>').format(iso, shown)


def format_number(value: float, form: str, language: str) -> str:
    """Return a number in a form such as ``.2f``, with the decimal mark of a language."""
    return f"{value:{form}}".replace(".", DECIMAL_MARKS[language])


def format_bytes(nbytes: float, language: str) -> str:
    """Return a size with a decimal prefix: ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{format_number(nbytes, '.0f' if unit == 'B' else '.1f', language)} {unit}"
        nbytes /= 1000
    return f"{format_number(nbytes, '.1f', language)} TB"


def format_time(time: np.datetime64) -> str:
    """Return a model time as ``2001-03-01 00:00 UTC``."""
    return to_iso(time)[:16].replace("T", " ") + " UTC"


def translate_phrase(text: str, language: str) -> str:
    """Return words about a run in a language: `mean of 4 members`, whatever the number."""
    number = re.search(r"\d+", text)
    if number is None:
        return translate(language, text)
    return translate(language, text.replace(number[0], "{count}", 1), count=number[0])


_TEMPLATES.env.filters["phrase"] = translate_phrase
_TEMPLATES.env.filters["code"] = markup_code
_TEMPLATES.env.filters["when"] = time_element


@pass_context
def _number(context: Context, value: float, form: str) -> str:
    return format_number(value, form, context["language"])


@pass_context
def _nbytes(context: Context, value: float) -> str:
    return format_bytes(value, context["language"])


_TEMPLATES.env.filters["number"] = _number
_TEMPLATES.env.filters["nbytes"] = _nbytes
