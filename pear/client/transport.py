"""Drivers of operations: with blocking sockets, and in an event loop."""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Any, TypeVar

import httpx

from pear import __version__
from pear.client.exchange import Ask, Operation, Server, Wait
from pear.errors import InputError

T = TypeVar("T")


def _settings(server: Server) -> dict[str, Any]:
    headers = {"User-Agent": f"pear-weather/{__version__}", "Accept": "application/json, */*"}
    if server.key is not None:
        # Unlike X-API-Key, httpx never shows it, nor sends it to another host.
        headers["Authorization"] = f"Bearer {server.key}"
    return {"headers": headers, "timeout": server.timeout, "follow_redirects": False}


def _request(server: Server, ask: Ask) -> dict[str, Any]:
    return {
        "method": ask.method,
        "url": server.url + ask.path,
        "params": dict(ask.params) or None,
        "json": None if ask.body is None else dict(ask.body),
        "headers": dict(ask.headers),
    }


class Transport:
    """Runs operations with blocking sockets; threads may share it.

    Parameters
    ----------
    server
        The service.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._http = httpx.Client(**_settings(server))
        self._end = weakref.finalize(self, self._http.close)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.server,)  # another process opens connections of its own

    def __repr__(self) -> str:
        return f"Transport({self.server!r})"

    def run(self, operation: Operation[T]) -> T:
        """Return the result of an operation, or raise its error."""
        step = next(operation)
        try:
            while True:
                try:
                    answer = self._do(step)
                except BaseException as error:
                    # The operation decides: to try again, to cancel a run, or to raise it.
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as ended:
            result: T = ended.value
            return result

    def _do(self, step: Ask | Wait) -> httpx.Response | None:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        if self._http.is_closed:
            raise closed(self.server)
        return self._http.request(**_request(self.server, step))

    def close(self) -> None:
        """Close the connections."""
        self._end()


class AsyncTransport:
    """Runs operations in an event loop of asyncio.

    Parameters
    ----------
    server
        The service.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._http = httpx.AsyncClient(**_settings(server))

    async def run(self, operation: Operation[T]) -> T:
        """Return the result of an operation, or raise its error."""
        step = next(operation)
        try:
            while True:
                try:
                    answer = await self._do(step)
                except BaseException as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as ended:
            result: T = ended.value
            return result

    async def _do(self, step: Ask | Wait) -> httpx.Response | None:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        if self._http.is_closed:
            raise closed(self.server)
        return await self._http.request(**_request(self.server, step))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def closed(server: Server) -> InputError:
    """Return the error of a client that was closed."""
    return InputError(
        f"the client of {server.url} is closed",
        field="client",
        hint="read within its `with` block, or load the Dataset before its end",
    )
