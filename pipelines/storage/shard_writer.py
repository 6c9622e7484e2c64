"""Shards that grow: each field is encoded once, appended, and published without being copied.

A shard of Zarr v3 is its encoded chunks, in any order, and at its end a table of where each lies
(`sharding_indexed`, index at the end). So a file to which chunks are appended becomes a shard by
writing that table. A journal says which steps lie where; a step is in it when its bytes are with
the kernel, and what a kill left behind the last of them is written over. The bytes themselves are
brought to disk by whoever publishes them; what a power cut takes before that, the checksums show.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import Blosc

Fields = npt.NDArray[np.float32]
Chunk = tuple[int, int]
"""Where an encoded field lies in its shard: offset and length, bytes."""

_BLOSC: Final = Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)
"""As :func:`pipelines.storage.create.codecs` has it."""
_CHECKSUM: Final = 4


def encode(values: Fields) -> bytes:
    """Encode one field (cell,) as the codecs of the contract do: shuffled, packed, checksummed."""
    packed: bytes = _BLOSC.encode(np.ascontiguousarray(values, dtype="<f4"))
    return _sealed(packed)


def decode(chunk: bytes) -> Fields:
    """Decode one field (cell,).

    Raises
    ------
    ValueError
        If its checksum is not that of its bytes.
    """
    if not _intact(chunk):
        raise ValueError("the checksum of a chunk does not fit")
    return np.frombuffer(_BLOSC.decode(chunk[:-_CHECKSUM]), dtype="<f4").astype(np.float32)


def _sealed(data: bytes) -> bytes:
    return data + int(google_crc32c.value(data)).to_bytes(_CHECKSUM, "little")


def _intact(data: bytes) -> bool:
    body, seal = data[:-_CHECKSUM], data[-_CHECKSUM:]
    return len(body) > 0 and int(google_crc32c.value(body)) == int.from_bytes(seal, "little")


class Shards:
    """The growing shards of one run.

    Parameters
    ----------
    journal
        File that says what is there; what it says already is taken over.
    files
        Where the shard of each variable lies; folders exist.
    """

    def __init__(self, journal: Path, files: Mapping[str, Path]) -> None:
        self._journal, self._files = journal, dict(files)
        self._steps = _read(journal)

    @property
    def steps(self) -> list[int]:
        """Steps that are on disk, increasing."""
        return sorted(self._steps)

    def append(self, step: int, fields: Mapping[str, Sequence[Fields]]) -> None:
        """Keep the fields of a step, of each variable in the order of its chunks.

        A killed process loses nothing of it once this returns; a step that was there already is
        replaced.
        """
        placed: dict[str, list[Chunk]] = {}
        for name, rows in fields.items():
            start = self._end(name)
            encoded = [encode(row) for row in rows]
            offsets = np.cumsum([start, *map(len, encoded)])
            placed[name] = [
                (int(at), len(each)) for at, each in zip(offsets, encoded, strict=False)
            ]
            _write(self._files[name], start, b"".join(encoded))
        line = json.dumps({"step": step, "chunks": placed}) + "\n"
        with self._journal.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._steps[step] = placed

    def read(self, step: int, name: str) -> list[Fields]:
        """Fields of a step, in the order of the chunks.

        Raises
        ------
        KeyError, OSError, ValueError
            If the step is not there or does not read back.
        """
        with self._files[name].open("rb") as file:
            return [decode(_at(file.fileno(), chunk)) for chunk in self._steps[step][name]]

    def damaged(self) -> list[int]:
        """Steps of which a field does not read back; they count as not there from now on."""
        bad = set()
        for name, path in self._files.items():
            with path.open("rb") as file:
                for step, placed in self._steps.items():
                    if not all(_intact(_at(file.fileno(), chunk)) for chunk in placed[name]):
                        bad.add(step)
        for step in bad:
            del self._steps[step]
        if bad:
            lines = [
                json.dumps({"step": step, "chunks": placed}) + "\n"
                for step, placed in self._steps.items()
            ]
            _write(self._journal, 0, "".join(lines).encode())
        return sorted(bad)

    def close(self, steps: int) -> None:
        """Write the table of every shard, for all steps 0 … ``steps`` − 1; nothing is synced."""
        for name, path in self._files.items():
            table = np.array([self._steps[step][name] for step in range(steps)], dtype="<u8")
            _write(path, self._end(name), _sealed(table.tobytes()))

    def _end(self, name: str) -> int:
        chunks = (chunk for placed in self._steps.values() for chunk in placed[name])
        return max((offset + length for offset, length in chunks), default=0)


def _read(journal: Path) -> dict[int, dict[str, list[Chunk]]]:
    """Steps that a journal names; a line that a kill cut short ends it."""
    found: dict[int, dict[str, list[Chunk]]] = {}
    if not journal.is_file():
        return found
    text = journal.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        _write(journal, 0, whole)
    for line in whole.splitlines():
        entry: dict[str, Any] = json.loads(line)
        found[int(entry["step"])] = {
            name: [(int(offset), int(length)) for offset, length in chunks]
            for name, chunks in entry["chunks"].items()
        }
    return found


def _write(path: Path, offset: int, data: bytes) -> None:
    """Write at an offset and end the file there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
        os.ftruncate(descriptor, offset)
    finally:
        os.close(descriptor)


def _at(descriptor: int, chunk: Chunk) -> bytes:
    offset, length = chunk
    return os.pread(descriptor, length, offset)
