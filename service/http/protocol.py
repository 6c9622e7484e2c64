"""HTTP/1.1 protocol with deadlines for the head of every request, and for reading the response.

A client that stops reading would keep its request, and the memory of its response, for ever.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import struct
import termios
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS: Final = 20.0
STALL_SECONDS: Final = 30.0
STALL_BYTES: Final = 32 * 1024
"""A client that takes less than this in :data:`STALL_SECONDS`, about 1 kB/s, is cut off."""
HEAD_BYTES: Final = 64 * 1024
_URL_BYTES: Final = 65_535
"""Longest address that the parser takes."""


def _problem(status: int, detail: str, hint: str) -> bytes:
    """Return a response to what did not become a request: a problem document as any other."""
    title = HTTPStatus(status).phrase
    about = {"type": "about:blank", "title": title, "status": status}
    body = json.dumps({**about, "detail": detail, "hint": hint}).encode()
    head = (
        f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


_TOO_LARGE: Final = _problem(
    431,
    f"the head of the request is above {HEAD_BYTES // 1024} kB",
    "shorten its address and headers",
)
_TOO_LONG: Final = _problem(
    414,
    f"the address of the request is above {_URL_BYTES} bytes",
    "ask for less at a time",
)
_NOT_HTTP: Final = _problem(
    400,
    "this is not a request of HTTP/1.1",
    "see RFC 9112; letters in an address that are not ASCII are written as %XX",
)


class TimeoutHttpToolsProtocol(HttpToolsProtocol):
    """uvicorn's protocol that closes connections whose client is too slow.

    The head of a request must arrive in time and be small, and the response must be read.

    The bodies of requests are limited by :class:`service.http.middleware.Limits`.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head = 0
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request."""
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        self._cancel_deadline()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; close the connection if an unfinished head is too large."""
        super().data_received(data)
        if self._deadline is None or self.transport.is_closing():
            return
        self._head += len(data)
        if self._head > HEAD_BYTES:
            self._cancel_deadline()
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Say in a problem document why bytes are not a request, and close the connection."""
        del msg  # the same for every reason
        too_large = sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES
        too_long = len(self.url) > _URL_BYTES
        self._cancel_deadline()
        self.transport.write(_TOO_LONG if too_long else _TOO_LARGE if too_large else _NOT_HTTP)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Start the deadline with the first byte of a request."""
        super().on_message_begin()
        self._start_deadline()

    def on_headers_complete(self) -> None:
        """Cancel the deadline; the body has its own."""
        self._cancel_deadline()
        if sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            raise ValueError("request head is too large")  # uvicorn answers 400 and closes
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Watch how the client reads, as there is more for it than fits into the buffers."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stop watching: the client has read."""
        super().resume_writing()
        self._stop_watching()

    def on_response_complete(self) -> None:
        """Watch the rest of a response, which nobody waits for."""
        super().on_response_complete()
        if self._stall is None and self.transport.get_write_buffer_size():
            self._watch()

    def _watch(self) -> None:
        self._stop_watching()
        self._stall = self.loop.call_later(STALL_SECONDS, self._cut_off, self._unread())

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _cut_off(self, before: int) -> None:
        """Abort the connection unless the client has read since; it may read on otherwise."""
        self._stall = None
        left = self._unread()
        if left > before - STALL_BYTES and self.transport.get_write_buffer_size():
            self.transport.abort()
        elif left:
            self._watch()

    def _unread(self) -> int:
        """Return the bytes that the client has not acknowledged, here and in the kernel."""
        waiting = self.transport.get_write_buffer_size()
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # where the kernel does not tell
                answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
                waiting += struct.unpack("i", answer)[0]
        return waiting

    def _start_deadline(self) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline, self._head = None, 0
