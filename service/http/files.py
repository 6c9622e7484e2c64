"""Files as responses, whole or in ranges."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from service.http.errors import ProblemError
from service.http.problems import problem_response

_REFUSALS = (400, 416)


def _without_foreign_range(scope: Scope) -> Scope:
    """Return a request without a range in another unit, which is to be passed over (RFC 9110)."""
    unit, _, _ = Request(scope).headers.get("range", "bytes=").partition("=")
    if unit.strip().lower() == "bytes":
        return scope
    headers = [each for each in scope["headers"] if each[0] != b"range"]
    return {**scope, "headers": headers}


class RangedFile(FileResponse):
    """A file; a range that it does not have is answered with a problem document."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, the ranges that were asked for, or why there are none."""
        scope = _without_foreign_range(scope)
        refused: Message | None = None

        async def send_unless_refused(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in _REFUSALS:
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, send_unless_refused)
        if refused is None:
            return
        request, status = Request(scope), int(refused["status"])
        given = request.headers.get("range", "")[:64]
        size = dict(refused["headers"]).get(b"content-range", b"").decode("latin-1")
        if status == 416:
            what = f"range {given!r} is outside the file of {size.rpartition('/')[2]} bytes"
        else:
            what = f"range {given!r} is not a range of bytes"
        problem = ProblemError(
            status,
            what,
            field="range",
            hint="write bytes=FIRST-LAST, counted from 0, or leave the header out",
            headers={"Content-Range": size} if size else {},
        )
        await problem_response(request, problem)(scope, receive, send)
