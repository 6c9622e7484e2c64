"""Messages of GRIB files are followed by the lengths of their sections before they are decoded."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipelines.ingestion.readers.grib_sections import Envelope, find_messages

LENGTHS = {1: 21, 3: 72, 4: 34, 5: 21, 6: 6, 7: 30}


def second(*sections: int, lengths: dict[int, int] = LENGTHS) -> bytes:
    """Return a message of edition 2 with empty sections."""
    body = b"".join(
        lengths[one].to_bytes(4, "big") + bytes([one]) + bytes(LENGTHS[one] - 5) for one in sections
    )
    return b"GRIB\0\0\0\x02" + (len(body) + 20).to_bytes(8, "big") + body + b"7777"


def first(grid: int = 32, data: int = 20) -> bytes:
    """Return a message of edition 1 with a grid section."""
    product = (28).to_bytes(3, "big") + b"\0\0\0\0\x80" + bytes(20)
    body = product + grid.to_bytes(3, "big") + bytes(29) + data.to_bytes(3, "big") + bytes(17)
    return b"GRIB" + (len(body) + 12).to_bytes(3, "big") + b"\x01" + body + b"7777"


ONE = second(1, 3, 4, 5, 6, 7)
TWO = second(1, 3, 4, 5, 6, 7, 4, 5, 6, 7)


def found(data: bytes, folder: Path) -> tuple[list[Envelope], list[str]]:
    (folder / "a.grib").write_bytes(data)
    out = find_messages(folder / "a.grib")
    return out.whole, out.faults


@pytest.mark.parametrize(
    ("data", "starts"),
    [
        (ONE + first() + ONE, [0, len(ONE), len(ONE + first())]),
        (b"\r\r\n001\r\r\nHTXA50 ECMF\r\r\n" + ONE + b"\r\r\n\003" + ONE, None),
        (ONE + bytes(500) + ONE, [0, len(ONE) + 500]),
    ],
)
def test_whole_messages(data: bytes, starts: list[int] | None, tmp_path: Path) -> None:
    whole, faults = found(data, tmp_path)
    assert faults == []
    if starts is not None:
        assert [one.start for one in whole] == starts
    assert {one.fields for one in whole} == {1}


def test_several_fields_in_one_message(tmp_path: Path) -> None:
    assert found(TWO, tmp_path)[0] == [Envelope(0, len(TWO), 2)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (second(1, 3, 4, 5, 6, 7, lengths=LENGTHS | {4: 0}), "section 4 of message 1 at byte 0"),
        (second(1, 3, 4, 5, 6, 7, lengths=LENGTHS | {5: 900}), "section 5 of message 1"),
        (second(1, 3, 5, 6, 7), "has section 5 after 3"),
        (second(1, 3, 4, 5, 6), "ends after section 6, not 7"),
        (first(grid=0), "the grid section of message 1"),
        (first(data=900), "the data section of message 1"),
        (ONE[:60], f"message 1 at byte 0 has 60 of {len(ONE)} bytes"),
        (first()[:10], "in the header of message 1"),
        (ONE[:-1] + b"X", f"message 1 at byte 0 does not end after {len(ONE)}"),
        (b"GRIX" + ONE[4:], f"bytes 0 to {len(ONE)} end a message without a start"),
        (ONE[30:], f"bytes 0 to {len(ONE) - 30} end a message without a start"),
    ],
)
def test_damaged_messages_are_left_out_and_the_others_kept(
    data: bytes, words: str, tmp_path: Path
) -> None:
    whole, faults = found(data, tmp_path)
    assert whole == []
    assert words in faults[0]
    whole, faults = found(data + bytes(20) + ONE, tmp_path)
    assert [one.length for one in whole][-1:] == [len(ONE)]
    assert faults


def test_no_change_of_a_byte_reads_for_ever(tmp_path: Path) -> None:
    draw = random.Random(0)
    for _ in range(300):
        data = bytearray(ONE + first() + TWO)
        data[draw.randrange(len(data))] = draw.choice([0, 255, draw.randrange(256)])
        assert len(found(bytes(data), tmp_path)[0]) <= 4


def test_real_files_are_whole(shared: Path) -> None:
    files = [p for p in (shared / "data").rglob("*") if p.suffix in (".grib", ".grib2", ".grb")]
    assert files
    faults = [(path.name, find_messages(path).faults) for path in files]
    assert [one for one in faults if one[1]] == []
