"""Login of a browser: a form for the API key, and a cookie that scripts cannot read."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from pear.errors import InputError
from service.http.html import render
from service.http.routing import FormRoute
from service.http.security import COOKIE, AccessControl, client_address

router = APIRouter(include_in_schema=False, route_class=FormRoute)
_MONTH_SECONDS = 30 * 24 * 3600


@router.get("/login")
def login_page(request: Request) -> Response:
    """Return the form."""
    return render(request, "login.html", "/login", {"rejected": False})


async def _read_key(request: Request) -> str:
    """Return the key in the form; the middleware limits the size of the body."""
    fields = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    for name, values in fields.items():
        if name != "key" or len(values) > 1:
            raise InputError("the form has one field: key", field=name[:64], hint="give it once")
    return fields.get("key", [""])[0].strip()


@router.post("/login")
def login(request: Request, key: Annotated[str, Depends(_read_key)]) -> Response:
    """Check the key and set it as a cookie."""
    access: AccessControl = request.app.state.access
    if access.find_key(key, client_address(request.scope)) is None:
        return render(request, "login.html", "/login", {"rejected": True}, 401)
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        COOKIE,
        key,
        max_age=_MONTH_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response
