"""Templates of the dashboard, and the formatting of values for people."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import numpy as np
from fastapi import Request, Response
from fastapi.templating import Jinja2Templates

from pear.times import to_iso
from service.http.disclaimer import DISCLAIMER
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


def render(
    request: Request,
    template: str,
    here: str,
    values: dict[str, Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Render a template; ``here`` is the path of the page, marked in the navigation."""
    # A source tree has no handbook until it is built.
    handbook = ((HANDBOOK, "Handbook"),) if (HANDBOOK_SITE / "index.html").exists() else ()
    context = {"pages": (*PAGES, *handbook), "here": here, "note": DISCLAIMER, **values}
    return _TEMPLATES.TemplateResponse(
        request,
        template,
        context,
        status_code=status,
        headers={"Cache-Control": "no-cache", **(headers or {})},
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


def format_time(time: np.datetime64) -> str:
    """Return a model time as ``2001-03-01 00:00 UTC``."""
    return to_iso(time)[:16].replace("T", " ") + " UTC"


_TEMPLATES.env.filters["code"] = markup_code
