"""The key of a browser: a form, and a cookie that scripts cannot read."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from service.http.html import render
from service.http.security import COOKIE, Guard

router = APIRouter(include_in_schema=False)
_MONTH = 30 * 24 * 3600


@router.get("/login")
def login_page(request: Request) -> Response:
    """Ask for a key."""
    return render(request, "login.html", "/login", {"wrong": False})


async def _form(request: Request) -> str:
    """Read the one field of the form; the body is bounded by the envelope."""
    fields = parse_qs((await request.body()).decode("utf-8", "replace"))
    return fields.get("key", [""])[0].strip()


@router.post("/login")
def login(request: Request, secret: Annotated[str, Depends(_form)]) -> Response:
    """Check the key and hand it back as a cookie."""
    guard: Guard = request.app.state.guard
    if guard.keys.find(secret) is None:
        return render(request, "login.html", "/login", {"wrong": True}, 401)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        COOKIE,
        secret,
        max_age=_MONTH,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer
