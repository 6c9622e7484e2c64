"""Zarr store of a run that a service holds."""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from pear.client.errors import RefusedError
from pear.client.exchange import Ask, exchange
from pear.client.transport import Transport
from pear.store.ranged import PartwiseReads

_LONGEST_END: Final = 5.0  # seconds
_reading: set[asyncio.Task[Any]] = set()


@atexit.register  # later than Zarr, which is imported above: runs before Zarr stops its loop
def _let_reads_end() -> None:
    """Wait until the loop has taken the results of all reads.

    Zarr stops its loop at the end of the process. Reads beside one that failed would then be
    reported as tasks whose exception nobody retrieved.
    """
    end = time.monotonic() + _LONGEST_END
    while _reading and time.monotonic() < end:
        time.sleep(0.01)


class ServedStore(PartwiseReads):
    """The files of a store, read over HTTP with the key, the retries and the errors of a client.

    Parameters
    ----------
    transport
        The connections of a client.
    path
        Path of the store at the service.
    params
        Parameters of each request, such as the statistic of an ensemble.
    """

    supports_writes: bool = False
    supports_deletes: bool = False
    supports_listing: bool = False

    def __init__(self, transport: Transport, path: str, params: Mapping[str, str]) -> None:
        super().__init__(read_only=True)
        self._transport, self._path, self._params = transport, path, dict(params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServedStore) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"ServedStore({self._transport.server.url}{self._path})"

    @property
    def _name(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        return self._transport.server.url, self._path, tuple(sorted(self._params.items()))

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a file or a part of them; None if the store does not have it."""
        task = asyncio.current_task()
        if task is not None:
            _reading.add(task)
            task.add_done_callback(_reading.discard)
        # In a thread: the loop is zarr's, and connections may not be shared between loops.
        found = await asyncio.to_thread(self._try_read, key, byte_range)
        if isinstance(found, Exception):
            raise found
        return None if found is None else prototype.buffer.from_bytes(found)

    def _try_read(self, key: str, byte_range: ByteRequest | None) -> bytes | Exception | None:
        """Return what a file has, or the error: one that nobody awaits is printed by the loop."""
        try:
            return self._read(key, byte_range)
        except Exception as error:
            return error

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        headers = {"Accept-Encoding": "identity"} | _range_header(byte_range)
        ask = Ask("GET", f"{self._path}/{key}", self._params, headers=headers)
        try:
            answer = self._transport.run(exchange(self._transport.server, ask))
        except RefusedError as error:
            if error.status == 404:
                return None
            raise
        if answer.status_code == 206:
            return answer.content
        return _part(answer.content, byte_range)  # a proxy that knows no ranges sends all of it

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return the parts of several files."""
        return list(
            await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))
        )

    async def exists(self, key: str) -> bool:
        """Return whether the store has a file."""
        found = await asyncio.to_thread(self._try_read, key, None)
        if isinstance(found, Exception):
            raise found
        return found is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        del key, value
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse to remove."""
        del key
        self._check_writable()

    def list(self) -> AsyncIterator[str]:
        """Refuse to list: the metadata of a run names its arrays."""
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list."""
        raise NotImplementedError

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list."""
        raise NotImplementedError


def _range_header(byte_range: ByteRequest | None) -> dict[str, str]:
    match byte_range:
        case RangeByteRequest(start, end):
            return {"Range": f"bytes={start}-{end - 1}"}
        case OffsetByteRequest(offset):
            return {"Range": f"bytes={offset}-"}
        case SuffixByteRequest(suffix):
            return {"Range": f"bytes=-{suffix}"}
    return {}


def _part(content: bytes, byte_range: ByteRequest | None) -> bytes:
    match byte_range:
        case None:
            return content
        case RangeByteRequest(start, end):
            return content[start:end]
        case OffsetByteRequest(offset):
            return content[offset:]
        case SuffixByteRequest(suffix):
            return content[max(0, len(content) - suffix) :]
    raise TypeError(f"unknown range {byte_range!r}")
