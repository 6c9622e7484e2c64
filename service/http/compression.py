"""Compressed responses by negotiation: Zstandard, Brotli or gzip, whichever the client takes."""

from __future__ import annotations

from typing import Final

import anyio.lowlevel
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_compress import CompressMiddleware, add_compress_type

_MINIMUM_BYTES: Final = 1024
_PIECE_BYTES: Final = 256 * 1024
_TYPES: Final = (
    "application/octet-stream",
    "application/prs.coverage+json",
    "application/problem+json",
    "text/csv",
)
_COMPRESSED: Final = (b"zstd", b"br", b"gzip")


class Compression:
    """Compress what the service makes; chunks of stores and downloads are compressed already.

    A compressed response has a weak ETag: it is the same content in other bytes (RFC 9110, 8.8.3).

    Parameters
    ----------
    app
        The next ASGI application.
    """

    def __init__(self, app: ASGIApp) -> None:
        for media_type in _TYPES:
            add_compress_type(media_type)
        self._app = app
        self._compressing = CompressMiddleware(
            _in_pieces(app),
            minimum_size=_MINIMUM_BYTES,
            zstd_level=3,
            brotli_quality=4,
            gzip_level=4,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or _is_compressed(scope["path"]):
            await self._app(scope, receive, send)
            return

        known = dict(scope["headers"]).get(b"if-none-match", b"")

        async def send_weakly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if message["status"] == 304:  # has the Vary of the answer itself (RFC 9110, 15.4.5)
                    headers = _vary_by_encoding(headers)
                message["headers"] = _weaken(headers, message["status"], known)
            await send(message)

        await self._compressing(scope, receive, send_weakly)


def _is_compressed(path: str) -> bool:
    """Return whether what is at a path has been compressed before."""
    if "/zarr/" in path or ".zarr/" in path:
        return not path.endswith(".json")
    return path.endswith(("/download", ".png"))


def _vary_by_encoding(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers that say that the answer depends on ``Accept-Encoding``."""
    given = b", ".join(value for name, value in headers if name == b"vary")
    if b"accept-encoding" in given.lower() or given == b"*":
        return headers
    rest = [each for each in headers if each[0] != b"vary"]
    return [*rest, (b"vary", b", ".join(filter(None, (given, b"Accept-Encoding"))))]


def _weaken(
    headers: list[tuple[bytes, bytes]], status: int, known: bytes
) -> list[tuple[bytes, bytes]]:
    """Return headers with a weak ETag if the body is compressed, or was when the client got it."""
    named = dict(headers)
    etag = named.get(b"etag", b"")
    packed = named.get(b"content-encoding") in _COMPRESSED
    if not etag.startswith(b'"') or not (packed or (status == 304 and b"W/" + etag in known)):
        return headers
    return [(name, b"W/" + value if name == b"etag" else value) for name, value in headers]


def _in_pieces(app: ASGIApp) -> ASGIApp:
    """Return an application whose large bodies come in pieces, between which others have turns."""

    async def split(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_pieces(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= _PIECE_BYTES:
                await send(message)
                return
            last = message.get("more_body", False)
            for start in range(0, len(body), _PIECE_BYTES):
                more = last or start + _PIECE_BYTES < len(body)
                piece = body[start : start + _PIECE_BYTES]
                await send({"type": message["type"], "body": piece, "more_body": more})
                await anyio.lowlevel.checkpoint()

        await app(scope, receive, send_pieces)

    return split
