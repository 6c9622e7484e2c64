"""Parts of a file go through the checks of a store, and fail with plain errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import MemoryStore, WrapperStore

from pear.client.store import ServedStore
from pear.store.ranged import PartwiseReads, RangedStore
from pipelines.ingestion.readers.patient_store import PatientStore
from pipelines.ingestion.readers.zarr_chunks import SoundStore

KEY = "t/c/0"
CONTENT = bytes(range(12))
PARTS = (RangeByteRequest(0, 4), RangeByteRequest(4, 8), SuffixByteRequest(2))


class WholeFiles(WrapperStore[Store]):
    """Server that answers every request for a part with the whole file."""

    asked = 0

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        self.asked += 1
        return await super().get(key, prototype)


class Broken(WholeFiles):
    """Server that fails once, or for good."""

    def __init__(self, store: Store, faults: int) -> None:
        super().__init__(store)
        self.faults = faults

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if self.faults:
            self.faults -= 1
            raise ConnectionResetError("gone")
        return await super().get(key, prototype)


async def content() -> MemoryStore:
    store = MemoryStore()
    await store.set(KEY, default_buffer_prototype().buffer.from_bytes(CONTENT))
    return store


async def read(
    store: PartwiseReads, parts: Sequence[ByteRequest] = PARTS, key: str = KEY
) -> list[tuple[int, bytes]]:
    return [
        (number, found.to_bytes())
        async for group in store.get_ranges(key, parts, prototype=default_buffer_prototype())
        for number, found in group
        if found is not None
    ]


def test_parts_are_cut_out_of_whole_files() -> None:
    async def run() -> list[tuple[int, bytes]]:
        return await read(RangedStore(WholeFiles(await content())))

    assert asyncio.run(run()) == [(0, CONTENT[:4]), (1, CONTENT[4:8]), (2, CONTENT[-2:])]


def test_a_fault_is_a_plain_error() -> None:
    async def run() -> None:
        await read(RangedStore(Broken(await content(), faults=3)))

    with pytest.raises(ConnectionResetError, match="gone"):
        asyncio.run(run())


def test_parts_are_asked_for_again_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.ingestion.readers.patient_store.backoff_seconds", lambda: 0.0)
    received: list[tuple[str, int]] = []

    async def run() -> list[tuple[int, bytes]]:
        server = Broken(await content(), faults=1)
        return await read(PatientStore(server, lambda *what: received.append(what)))

    assert len(asyncio.run(run())) == 3
    assert sorted(received) == [(KEY, 2), (KEY, 4), (KEY, 4)]


def test_no_more_parts_are_asked_for_at_once_than_allowed() -> None:
    at_once = most = 0

    class Counting(WholeFiles):
        async def get(
            self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
        ) -> Buffer | None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            return await super().get(key, prototype)

    async def run() -> None:
        parts = [RangeByteRequest(0, 1)] * 9
        ranges = RangedStore(Counting(await content())).get_ranges(
            KEY, parts, prototype=default_buffer_prototype(), max_concurrency=2
        )
        assert [len(group) async for group in ranges] == [9]

    asyncio.run(run())
    assert most == 2


def test_a_lost_file_is_told_as_zarr_tells_it() -> None:
    async def run() -> None:
        await read(RangedStore(await content()), key="t/c/1")

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(run())
    assert caught.value.split(FileNotFoundError)[1] is None


@pytest.mark.parametrize("kind", [RangedStore, PatientStore, SoundStore, ServedStore])
def test_no_store_leaves_parts_to_the_store_within(kind: type[Store]) -> None:
    assert kind.get_ranges is PartwiseReads.get_ranges  # type: ignore[attr-defined]
