"""Messages of a GRIB file by the lengths of their sections, before a library reads them.

A section of length 0 keeps ecCodes reading for ever, and others make it read beyond a message. So
the sections are followed first, and only messages whose sections fill them are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

_GRIB1_LARGE: Final = 0x800000
_END: Final = b"7777"
# Sections that may follow each one in GRIB 2: fields repeat from section 2, 3 or 4 on.
_NEXT: Final = {0: (1,), 1: (2, 3), 2: (3,), 3: (4,), 4: (5,), 5: (6,), 6: (7,), 7: (2, 3, 4)}
_LEAST_BYTES: Final = {1: 21, 2: 5, 3: 14, 4: 9, 5: 11, 6: 6, 7: 5}
_MOST_FIELDS: Final = 100_000


class _DamagedError(Exception):
    """What is wrong with a message."""


@dataclass(frozen=True)
class Envelope:
    """One message: where it starts, its length in bytes, and its number of fields."""

    start: int
    length: int
    fields: int


@dataclass
class Envelopes:
    """Messages of a GRIB file.

    Attributes
    ----------
    whole : list of Envelope
        Messages whose sections fill them.
    faults : list of str
        What is wrong with the others, with the number and first byte of each.
    """

    whole: list[Envelope] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def find_messages(path: Path) -> Envelopes:
    """Follow the sections of all messages of a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Envelopes
        Whole messages in the order of the file, and the faults of the others.
    """
    out, size = Envelopes(), path.stat().st_size
    with path.open("rb") as file:
        position, number = 0, 0
        while True:
            start = _find(file, b"GRIB", position)
            gap = (size if start < 0 else start) - position
            if gap >= 16 and 0 <= _find(file, _END, position) < position + gap:
                text = f"bytes {position} to {position + gap} end a message without a start"
                out.faults.append(f"is damaged: {text}")
            if start < 0:
                return out
            number += 1
            try:
                length, fields = _follow(file, start, size, number)
            except _DamagedError as error:
                out.faults.append(str(error))
                position = start + 4
                continue
            out.whole.append(Envelope(start, length, fields))
            position = start + length


def _follow(file: BinaryIO, start: int, size: int, number: int) -> tuple[int, int]:
    """Return the length of a message and its number of fields."""
    which = f"message {number} at byte {start}"
    head = _take(file, start, 16)
    if len(head) < 16 or head[7] not in (1, 2):
        raise _DamagedError(f"is damaged or cut short in the header of {which}")
    length = int.from_bytes(head[8:16] if head[7] == 2 else head[4:7], "big")
    is_large = head[7] == 1 and bool(length & _GRIB1_LARGE)
    if is_large:
        length = _large_length(file, start, length)
    if start + length > size:
        raise _DamagedError(f"is cut short: {which} has {size - start} of {length} bytes")
    if length < 16 or _take(file, start + length - 4, 4) != _END:
        raise _DamagedError(f"is damaged: {which} does not end after {length} bytes")
    end = start + length - 4
    if head[7] == 2:
        return length, _follow_second(file, start + 16, end, which)
    _follow_first(file, start + 8, end, which, is_large=is_large)
    return length, 1


def _follow_second(file: BinaryIO, position: int, end: int, which: str) -> int:
    """Follow the sections of GRIB 2; return the number of fields."""
    last, fields = 0, 0
    while position < end:
        head = _take(file, position, 5)
        length, section = int.from_bytes(head[:4], "big"), head[4] if len(head) == 5 else -1
        if section not in _NEXT[last]:
            raise _DamagedError(f"is damaged: {which} has section {section} after {last}")
        if length < _LEAST_BYTES[section] or position + length > end:
            raise _DamagedError(
                f"is damaged: section {section} of {which} says {length} of "
                f"{end - position} bytes left"
            )
        fields += section == 7
        position, last = position + length, section
    if last != 7 or fields > _MOST_FIELDS:
        raise _DamagedError(f"is damaged: {which} ends after section {last}, not 7")
    return fields


def _follow_first(file: BinaryIO, position: int, end: int, which: str, *, is_large: bool) -> None:
    """Follow the sections of GRIB 1: product, grid, bitmap and data."""
    flags = _take(file, position, 8)[7:8]
    present = flags[0] if flags else 0
    sections = [("product", 28), ("grid", 32), ("bitmap", 6), ("data", 11)]
    for name, least in sections:
        if (name == "grid" and not present & 0x80) or (name == "bitmap" and not present & 0x40):
            continue
        length = int.from_bytes(_take(file, position, 3), "big")
        if name == "data" and is_large:
            return  # its length stands for something else, see :func:`_large_length`
        if length < least or position + length > end:
            raise _DamagedError(
                f"is damaged: the {name} section of {which} says {length} of "
                f"{end - position} bytes left"
            )
        position += length
    rest = _take(file, position, min(end - position, 1 << 20))
    if rest.strip(b"\0"):
        raise _DamagedError(f"is damaged: {len(rest)} bytes of {which} belong to no section")


def _large_length(file: BinaryIO, start: int, length: int) -> int:
    """Return the length of a GRIB 1 message of more than 8 MB."""
    # ECMWF states it in units of 120 bytes, less what the data section states.
    position = start + 8
    product = _take(file, position, 8)
    if len(product) == 8:
        position += int.from_bytes(product[:3], "big")
        for bit in (0x80, 0x40):
            if product[7] & bit:
                position += int.from_bytes(_take(file, position, 3), "big")
    excess = int.from_bytes(_take(file, position, 3), "big")
    return (length & (_GRIB1_LARGE - 1)) * 120 - excess + 4 if excess < 120 else length


def _take(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _find(file: BinaryIO, word: bytes, position: int) -> int:
    """Return where a word comes next; -1 if it does not."""
    block = 1 << 16
    while True:
        file.seek(position)
        data = file.read(block + len(word) - 1)
        at = data.find(word)
        if at >= 0:
            return position + at
        if len(data) < block:
            return -1
        position += block
