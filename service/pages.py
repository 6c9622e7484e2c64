"""Filling the templates of the dashboard."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import numpy as np
from fastapi import Request, Response
from fastapi.templating import Jinja2Templates

from pear.calendar import iso
from service.schemas import NOT_OFFICIAL

_TEMPLATES: Final = Jinja2Templates(Path(__file__).parent / "dashboard" / "templates")
PAGES: Final = (
    ("/", "Forecast"), ("/forecasts", "Runs"), ("/scores", "Scores"), ("/schedules", "Schedules"),
    ("/docs", "API"),
)  # fmt: skip


def render(
    request: Request,
    template: str,
    here: str,
    values: dict[str, Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Fill a template; ``here`` is the page's own path, marked in the navigation."""
    context = {"pages": PAGES, "here": here, "note": NOT_OFFICIAL, **values}
    return _TEMPLATES.TemplateResponse(
        request, template, context, status_code=status,
        headers={"Cache-Control": "no-cache", **(headers or {})},
    )  # fmt: skip


def error_page(
    request: Request, status: int, detail: str, hint: str | None, headers: dict[str, str] | None
) -> Response:
    """Say to a person what a problem document says to a program."""
    title = f"{status} {HTTPStatus(status).phrase}"
    request_id = request.scope.get("pear_request_id", "")
    values = {"title": title, "detail": detail, "hint": hint, "request_id": request_id}
    return render(request, "error.html", "", values, status, headers)


def utc_text(time: np.datetime64) -> str:
    """Write a time for people: ``2001-03-01 00:00 UTC``."""
    return iso(time)[:16].replace("T", " ") + " UTC"
