"""HTTP/1.1 protocol with a deadline and a size limit for the head of every request."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS: Final = 20.0
HEAD_BYTES: Final = 64 * 1024
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class TimeoutHttpToolsProtocol(HttpToolsProtocol):
    """uvicorn's protocol that closes connections whose request head is late or too large.

    The bodies of requests are limited by :class:`service.http.middleware.Limits`.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request."""
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._cancel_deadline()
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

    def _start_deadline(self) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline, self._head = None, 0
