"""Parts of shards are read one by one, whatever version of Zarr asks for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import zarr
from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import default_buffer_prototype

from pear.store.manifest import DamagedStoreError
from pear.store.verified import VerifiedStore

KEY = "t/c/0"


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, int]:
    """Return a store with one shard of two chunks, and the bytes of a chunk."""
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    # As PEAR writes them: each chunk with its own checksum.
    array = group.create_array(
        "t",
        shape=(2,),
        chunks=(1,),
        shards=(2,),
        dtype="f8",
        compressors=zarr.codecs.Crc32cCodec(),
        fill_value=0,
    )
    array[:] = [1.0, 2.0]
    return tmp_path / "a.zarr", 8 + 4


async def read(folder: Path, length: int) -> list[tuple[int, bytes]]:
    parts = [RangeByteRequest(number * length, (number + 1) * length) for number in range(2)]
    prototype = default_buffer_prototype()
    return [
        (number, found.to_bytes())
        async for group in VerifiedStore(folder).get_ranges(KEY, parts, prototype=prototype)
        for number, found in group
        if found is not None
    ]


def test_neighbouring_chunks_are_checked_one_by_one(shard: tuple[Path, int]) -> None:
    folder, length = shard
    whole = (folder / KEY).read_bytes()
    assert asyncio.run(read(folder, length)) == [(0, whole[:length]), (1, whole[length:][:length])]
    assert list(zarr.open_group(VerifiedStore(folder), mode="r")["t"][:]) == [1.0, 2.0]


def test_a_damaged_chunk_is_a_plain_error(shard: tuple[Path, int]) -> None:
    folder, length = shard
    whole = bytearray((folder / KEY).read_bytes())
    whole[length + 3] ^= 1
    (folder / KEY).write_bytes(whole)
    with pytest.raises(DamagedStoreError, match="t/c/0"):
        asyncio.run(read(folder, length))


def test_a_lost_shard_is_told_as_zarr_tells_it(shard: tuple[Path, int]) -> None:
    folder, length = shard
    (folder / KEY).unlink()
    with pytest.raises((BaseExceptionGroup, DamagedStoreError)):
        asyncio.run(read(folder, length))


def test_unchecked_reads_are_refused(shard: tuple[Path, int]) -> None:
    with pytest.raises(RuntimeError, match="codec_pipeline"):
        VerifiedStore(shard[0]).get_sync(KEY)
