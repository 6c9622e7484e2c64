"""Zarr store on a server that may ignore byte ranges."""

from __future__ import annotations

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore


class RangedStore(WrapperStore[Store]):
    """Store that cuts what was asked for out of a whole file.

    A plain web server answers with the whole file where a part of it was asked for, and the client
    passes it on; the index of a shard would be read in the wrong place.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key, or the part of them."""
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
