"""Check that downloaded GRIB messages are the fields that were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.times import to_iso
from pipelines.ingestion.readers.eccodes import load, next_field
from pipelines.ingestion.readers.grib import name_field

_REMEDY: Final = "try again, or use another --mirror"


@dataclass(frozen=True, order=True)
class Field:
    """One field of a state.

    Attributes
    ----------
    name
        Canonical name of its variable, or ``relative_humidity``.
    level
        Pressure level in hPa, or 0 for a field near the ground.
    """

    name: str
    level: int = 0

    def __str__(self) -> str:
        return f"{self.name} at {self.level} hPa" if self.level else self.name


def check_messages(path: Path, label: str, wanted: Sequence[Field], time: np.datetime64) -> None:
    """Compare the messages of a file with what was asked for.

    Parameters
    ----------
    path
        The GRIB file.
    label
        Its origin in messages.
    wanted
        The fields; each must be there once, and no other.
    time
        Valid time of all of them, UTC.

    Raises
    ------
    InputError
        If a message is damaged, of another time, not asked for or missing.
    """
    found = Counter(_read_fields(path, label, time))
    for field, count in found.items():
        if field not in wanted:
            raise InputError(
                f"{label} gives {field}, which was not asked for: its index is wrong",
                field="--source",
                hint=_REMEDY,
            )
        if count > 1:
            raise InputError(f"{label} gives {field} {count} times", field="--source")
    missing = [str(field) for field in wanted if field not in found]
    if missing:
        raise InputError(
            f"{label} has no {', '.join(missing[:5])}"
            + (f" and {len(missing) - 5} others" if len(missing) > 5 else ""),
            field="--source",
        )


def _read_fields(path: Path, label: str, time: np.datetime64) -> list[Field]:
    check_framing(path.read_bytes(), label)
    codes = load()
    fields = []
    with path.open("rb") as file:
        try:
            while (handle := next_field(codes, file)) is not None:
                try:
                    fields.append(_describe(codes, handle, label, time))
                finally:
                    codes.codes_release(handle)
        except codes.CodesInternalError as error:
            raise InputError(
                f"{label} gives a damaged GRIB message: {error}", field="--source", hint=_REMEDY
            ) from error
        finally:
            codes.codes_grib_multi_support_reset_file(file)
    return fields


def check_framing(data: bytes, label: str) -> int:
    """Check that bytes are whole GRIB messages, one after the other.

    Parameters
    ----------
    data
        The bytes.
    label
        Their origin in messages.

    Returns
    -------
    int
        Number of messages.

    Raises
    ------
    InputError
        If a message does not start with ``GRIB``, end with ``7777``, or have the length that it
        states.
    """
    at = count = 0
    while at < len(data):
        head = data[at : at + 16]
        edition = head[7] if len(head) == 16 else 0
        length = int.from_bytes(head[8:16] if edition == 2 else head[4:7])
        end = at + length
        is_whole = head.startswith(b"GRIB") and edition in (1, 2) and length > 16
        if not is_whole or end > len(data) or data[end - 4 : end] != b"7777":
            raise InputError(
                f"{label} gives bytes that are not a whole GRIB message (message {count + 1}, "
                f"byte {at} of {len(data)})",
                field="--source",
                hint=_REMEDY,
            )
        at, count = end, count + 1
    return count


def _describe(codes: ModuleType, handle: int, label: str, time: np.datetime64) -> Field:
    def get(key: str) -> str:
        return str(codes.codes_get(handle, key, ktype=str))

    date, hour = get("validityDate"), get("validityTime").zfill(4)
    valid = np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}T{hour[:2]}:{hour[2:]}", "s")
    field = Field(*name_field(codes, handle, label))
    if valid != time:
        raise InputError(
            f"{label} gives {field} valid at {to_iso(valid)}, asked for was {to_iso(time)}",
            field="--time",
        )
    return field
