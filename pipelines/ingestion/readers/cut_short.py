"""Files that are shorter than their own headers say.

The NetCDF library answers zeros beyond the end of a classic file, which packed data turn into
plausible weather; so the size is computed from the header before anything is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pear.errors import InputError

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12
_MAX_ITEMS: Final = 1_000_000
_MAX_AXES: Final = 1024  # of one variable, as in the NetCDF library
_LOOKED_AT: Final = 1 << 20


class _EndOfHeaderError(Exception):
    """The file ends within its header, or the header is damaged."""


class _StreamingError(Exception):
    """The header leaves the number of records open, for which the library reads without end."""


class _MovedError(Exception):
    """Bytes were inserted or lost, so the variables are not where the header says."""


def require_whole(path: Path, label: str) -> None:
    """Refuse a NetCDF file that ends before its header says.

    Parameters
    ----------
    path : Path
        The file.
    label : str
        Its name in messages.

    Raises
    ------
    InputError
        If it is cut short; with both sizes.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            head = file.read(8)
            is_hdf5 = head == _HDF5
            expected = _hdf5_size(file) if is_hdf5 else _classic_size(file, head[3], size)
            if not is_hdf5 and size > expected:
                _require_padding(file, expected + -expected % 4)
        except _StreamingError as error:
            raise InputError(
                f"{label} does not say how many records it has (numrecs is 'streaming'): its "
                "writer did not close it, or still writes",
                field="file",
                hint="write it again, with its number of records",
            ) from error
        except _MovedError as error:
            raise InputError(
                f"{label} is damaged: {error}",
                field="file",
                hint="download it again, in binary mode",
            ) from error
        except (_EndOfHeaderError, struct.error, IndexError) as error:
            raise InputError(
                f"{label} is cut short or damaged: its header does not end within {size} bytes",
                field="file",
                hint="download it again",
            ) from error
    if size < expected:
        raise InputError(
            f"{label} is cut short: {size} of {expected} bytes",
            field="file",
            hint="download it again",
        )


def _require_padding(file: BinaryIO, end: int) -> None:
    """Refuse bytes after the last value other than padding: some were inserted before it."""
    file.seek(end)
    rest = file.read(_LOOKED_AT)
    if rest.strip(b"\0\r\n\x1a "):
        raise _MovedError(f"it goes on after its last value, which its header places at {end}")


def _hdf5_size(file: BinaryIO) -> int:
    """Return the size stated in the superblock; 0 if its version is unknown."""
    file.seek(8)
    head = file.read(96)
    version, start = head[0], {0: 16, 1: 20, 2: 4, 3: 4}.get(head[0])
    width = head[1] if version >= 2 else head[5]
    if start is None or width not in (4, 8):
        return 0
    # Base address, one more address, end of the file.
    base, _, end = struct.unpack_from("<3Q" if width == 8 else "<3I", head, start)
    return int(end) if base == 0 else 0


@dataclass
class _Header:
    """Reads the header of a classic file: version 1, 2 (64-bit offsets) or 5 (64-bit sizes)."""

    file: BinaryIO
    version: int
    size: int

    def take(self, count: int) -> bytes:
        """Return this many bytes, and skip to the next multiple of four."""
        if not 0 <= count <= self.size:
            raise _EndOfHeaderError
        data = self.file.read(count + -count % 4)
        if len(data) < count:
            raise _EndOfHeaderError
        return data[:count]

    def integer(self) -> int:
        """Return a number of 32 bits."""
        return int(struct.unpack(">I", self.take(4))[0])

    def count(self) -> int:
        """Return a number of elements."""
        return int(struct.unpack(">Q", self.take(8))[0]) if self.version == 5 else self.integer()

    def offset(self) -> int:
        """Return a place in the file."""
        return self.integer() if self.version == 1 else int(struct.unpack(">Q", self.take(8))[0])

    def items(self, tag: int, read: Callable[[], None]) -> None:
        """Read a list of dimensions, attributes or variables."""
        found, number = self.integer(), self.count()
        if found not in (0, tag) or number > _MAX_ITEMS or (number and not found):
            raise _EndOfHeaderError
        for _ in range(number):
            read()

    def attribute(self) -> None:
        """Read over one attribute."""
        self.take(self.count())
        kind = self.integer()
        if kind not in _TYPE_BYTES:
            raise _EndOfHeaderError
        self.take(self.count() * _TYPE_BYTES[kind])


def _classic_size(file: BinaryIO, version: int, size: int) -> int:
    """Return where the last value of a classic file ends."""
    file.seek(4)
    header = _Header(file, version, size)
    streaming = 2**64 - 1 if version == 5 else 2**32 - 1
    records = header.count()
    lengths: list[int] = []
    variables: list[tuple[int, int, bool]] = []  # (begin, bytes, has records)

    def dimension() -> None:
        header.take(header.count())
        lengths.append(header.count())

    def variable() -> None:
        header.take(header.count())
        n_axes = header.count()
        if n_axes > _MAX_AXES:
            raise _EndOfHeaderError
        dims = [header.count() for _ in range(n_axes)]
        header.items(_ATTRIBUTES, header.attribute)
        kind = header.integer()
        header.count()  # its size, which is not reliable for large variables
        if kind not in _TYPE_BYTES or any(dim >= len(lengths) for dim in dims):
            raise _EndOfHeaderError
        shape = [lengths[dim] for dim in dims]
        has_records = bool(shape) and shape[0] == 0
        n_bytes = _TYPE_BYTES[kind]
        for length in shape[has_records:]:
            n_bytes *= length
        variables.append((header.offset(), n_bytes, has_records))

    header.items(_DIMENSIONS, dimension)
    header.items(_ATTRIBUTES, header.attribute)
    header.items(_VARIABLES, variable)
    spans = sorted((begin, begin + n) for begin, n, _ in variables if n)
    last = file.tell()
    for begin, end in spans:
        if begin < last:
            raise _MovedError(
                f"its header places a variable at byte {begin}, before the end of what precedes "
                f"it at {last}"
            )
        last = end
    ends = [begin + n for begin, n, has_records in variables if not has_records]
    in_record = [(begin, n) for begin, n, has_records in variables if has_records]
    if records == streaming and 0 in lengths:
        raise _StreamingError
    if in_record and records == 0:
        return max([file.tell(), size, *ends])  # the number of records is not known
    return max([file.tell(), *ends, *_record_ends(in_record, records)])


def _record_ends(in_record: list[tuple[int, int]], records: int) -> list[int]:
    """Return where the last record of each variable ends, from (begin, bytes of one record)."""
    if in_record and not any(n for _, n in in_record):
        raise _EndOfHeaderError  # any number of records would fit the file
    # The records of one variable alone are not padded.
    stride = sum(n + (-n % 4 if len(in_record) > 1 else 0) for _, n in in_record)
    return [begin + (records - 1) * stride + n for begin, n in in_record]
