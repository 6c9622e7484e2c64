"""The handbook under ``/handbook/``: files of a site that was built before, read once.

The site is made by ``mkdocs build --strict -f deploy/handbook/mkdocs.yml`` and travels inside the
wheel; a source tree has none until somebody builds it. The text of a request never becomes a path.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service.http.caching import make_etag, not_modified
from service.http.errors import ProblemError
from service.http.html import HANDBOOK, HANDBOOK_SITE
from service.http.routing import GuardedRoute

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)
BUILD: Final = "pip install -e '.[all,docs]' && mkdocs build --strict -f deploy/handbook/mkdocs.yml"
_INLINE_SCRIPT: Final = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class Page:
    """One file of the handbook, ready to send.

    Attributes
    ----------
    body, compressed
        Content, and the same by gzip.
    media_type, etag
        Headers.
    policy
        Content security policy of an HTML page: it allows the scripts of the page by their hashes.
    """

    body: bytes
    compressed: bytes
    media_type: str
    etag: str
    policy: str | None


@router.get("/handbook")
@router.get("/handbook/")
def start() -> Response:
    """Lead to the first page."""
    return RedirectResponse(HANDBOOK)


@router.get("/handbook/{name:path}")
def page(name: str, request: Request) -> Response:
    """Return one file of the handbook, compressed if the client accepts gzip."""
    if not files():
        raise ProblemError(
            404, "the handbook is not part of this installation", hint=f"build it: {BUILD}"
        )
    if name not in files():
        raise ProblemError(404, f"nothing at {request.url.path}", hint=f"it starts at {HANDBOOK}")
    found = read(name)
    headers = {"ETag": found.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if found.policy is not None:
        headers["Content-Security-Policy"] = found.policy
    unchanged = not_modified(request, headers)
    if unchanged is not None:
        return unchanged
    body = found.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = found.compressed, "gzip"
    return Response(body, media_type=found.media_type, headers=headers)


@cache
def files() -> dict[str, Path]:
    """Return the files of the site by their names below ``/handbook/``; empty without a site."""
    return {
        path.relative_to(HANDBOOK_SITE).as_posix(): path
        for path in sorted(HANDBOOK_SITE.rglob("*"))
        if path.is_file()
    }


@cache
def read(name: str) -> Page:
    """Return a file of an existing name."""
    body = files()[name].read_bytes()
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Page(
        body,
        gzip.compress(body, 6, mtime=0),
        media_type,
        make_etag(name, body),
        policy_for(body) if media_type == "text/html" else None,
    )


def policy_for(page: bytes) -> str:
    """Return the content security policy of an HTML page.

    Parameters
    ----------
    page
        The page, as it was built.

    Returns
    -------
    str
        Its own scripts run, by their hashes; nothing of another host loads. Style attributes, which
        Material for MkDocs writes, are allowed: they load nothing.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(page)
    )
    return (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "frame-ancestors 'none'; form-action 'self'; worker-src 'self' blob:; "
        f"script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'"
    )
