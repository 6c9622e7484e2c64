"""HEAD wherever GET is answered: the same status and headers, without the body (RFC 9110, 9.3.2).

The layers and handlers below see a GET, so that nothing has to be said twice: access, validators,
caches, compression and lengths are those of the GET.
"""

from __future__ import annotations

from typing import Final

import anyio
import anyio.lowlevel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.request_state import RequestState

_OF_RANGES: Final = (b"range", b"if-range")


class HeadRequests:
    """Answer HEAD requests by what GET would answer.

    Parameters
    ----------
    app
        The next ASGI application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy: the server and the log have to go on seeing a HEAD request.
        # Ranges are of GET alone (RFC 9110, 14.2).
        headers = [each for each in scope["headers"] if each[0] not in _OF_RANGES]
        own = {**scope, "method": "GET", "headers": headers}
        ended = False
        with anyio.CancelScope() as answering:

            async def send_head(message: Message) -> None:
                nonlocal ended
                if message["type"] == "http.response.start":
                    await send(message)
                elif not ended:
                    ended = True
                    await send({"type": "http.response.body", "body": b""})
                    if message.get("more_body", False):  # a file, or events without an end
                        answering.cancel()
                        await anyio.lowlevel.checkpoint()

            try:
                await self._app(own, receive, send_head)
            finally:
                state = RequestState.from_scope(scope)
                state.route = state.route or getattr(own.get("route"), "path", None)
