"""Filling the templates of the dashboard."""

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

DISCLAIMER: Final = (
    "A research forecast, not an official warning; see your national weather service."
)
_TEMPLATES: Final = Jinja2Templates(Path(__file__).parents[1] / "dashboard" / "templates")
_RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PAGES: Final = (
    ("/", "Forecast"),
    ("/forecasts", "Runs"),
    ("/scores", "Scores"),
    ("/schedules", "Schedules"),
    ("/docs", "API"),
)


_TEMPLATES.env.filters["code"] = lambda text: code_text(text)


def render(
    request: Request,
    template: str,
    here: str,
    values: dict[str, Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Fill a template; ``here`` is the page's own path, marked in the navigation."""
    context = {"pages": PAGES, "here": here, "note": DISCLAIMER, **values}
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
    """Say to a person what a problem document says to a program."""
    title = f"{status} {HTTPStatus(status).phrase}"
    request_id = request.scope.get("pear_request_id", "")
    values = {"title": title, "detail": detail, "hint": hint, "request_id": request_id}
    return render(request, "error.html", "", values, status, headers)


def moment_text(time: datetime | None) -> str | None:
    """Write a moment for people, to the second; None if there is none."""
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def units_text(units: str) -> str:
    """Write a unit for people: ``m2 s-2`` becomes ``m² s⁻²``."""
    return re.sub(r"(?<=[a-z])-?\d", lambda found: found[0].translate(_RAISED), units)


def code_text(text: str | None) -> str:
    """Escape text for a page, with what stands between backticks as code: HTML, safe as it is."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text or ""))


def utc_text(time: np.datetime64) -> str:
    """Write a time for people: ``2001-03-01 00:00 UTC``."""
    return to_iso(time)[:16].replace("T", " ") + " UTC"
