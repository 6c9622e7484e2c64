"""Reading of parts of files, whatever a server makes of the request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

_CONCURRENCY = 10


class PartwiseReads(Store):
    """Base of stores whose reads all go through their own ``get``, and fail with plain errors.

    From version 3.4 on Zarr asks for the parts of a shard together, by ``get_ranges``. Its wrappers
    pass that to the store within, past what ``get`` adds to it, and errors come in a group.
    """

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        max_concurrency: int = _CONCURRENCY,
        **_: object,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield the parts of a file, each as :meth:`get` returns it.

        Parameters
        ----------
        key
            The file.
        byte_ranges
            The parts; None is the whole file.
        prototype
            Of the buffers.
        max_concurrency
            Parts that are asked for at once.

        Yields
        ------
        sequence of tuple of (int, Buffer)
            Numbers of the parts and their bytes.

        Raises
        ------
        BaseExceptionGroup
            Of one FileNotFoundError, if there is no such file, as Zarr's own method says it.
        _first_of
            The error of :meth:`get`, if that fails.
        """
        free = asyncio.Semaphore(max_concurrency)

        async def read(part: ByteRequest | None) -> Buffer | None:
            async with free:
                return await self.get(key, prototype, part)

        try:
            async with asyncio.TaskGroup() as tasks:
                started = [tasks.create_task(read(part)) for part in byte_ranges]
        except BaseExceptionGroup as group:
            raise _first_of(group) from group
        found = [task.result() for task in started]
        if any(part is None for part in found):
            raise BaseExceptionGroup(key, [FileNotFoundError(key)])
        yield tuple(enumerate(found))


def _first_of(error: BaseException) -> BaseException:
    """Return the first single error of a group, which may be nested."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class RangedStore(PartwiseReads, WrapperStore[Store]):
    """Store that cuts what was asked for out of a whole file.

    A plain web server answers with the whole file where a part of it was asked for, and the client
    passes it on; the index of a shard would be read in the wrong place. Azure does not know parts
    that are counted from the end: they are asked for by their place.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key, or the part of them."""
        if isinstance(byte_range, SuffixByteRequest) and self._is_azure():
            try:
                size = await self._store.getsize(key)
            except FileNotFoundError:
                return None
            byte_range = RangeByteRequest(max(size - byte_range.suffix, 0), size)
        found = await super().get(key, prototype, byte_range)
        if found is None:
            return None
        if isinstance(byte_range, SuffixByteRequest) and len(found) > byte_range.suffix:
            return found[len(found) - byte_range.suffix :]
        if isinstance(byte_range, RangeByteRequest):
            length = byte_range.end - byte_range.start
            if len(found) > length:
                return found[byte_range.start : byte_range.end]
        return found

    def _is_azure(self) -> bool:
        protocol = getattr(getattr(self._store, "fs", None), "protocol", ())
        return "abfs" in protocol
