"""What a GRIB file should hold by the rest of it, or by an index beside it, and does not.

A file that was cut at the end of a message is whole message by message. That it lacks some shows
only by what the other times, levels and variables have. Files are cut out on purpose as well, so
this is noted and not refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from pear.datasets.base import Scan, SourceVariable
from pear.times import to_iso
from pear.variables import wind_partner

_Field: TypeAlias = tuple[str, int | None]
_MOST_INDEX_BYTES: Final = 20_000_000


def note_lacking_fields(variables: Sequence[SourceVariable], scan: Scan) -> None:
    """Note fields that a file lacks and that its other times, levels and variables imply.

    Parameters
    ----------
    variables : sequence of SourceVariable
        Those of one file.
    scan : Scan
        Receives one note, with the number of such fields and the first of them.
    """
    fields: dict[np.datetime64, set[_Field]] = {}
    names = {one.quantity.name: one.name for one in variables}
    for one in variables:
        for position, row in np.argwhere(one.present).tolist():
            held = fields.setdefault(one.times[position], set())
            held.add((one.quantity.name, one.level(row)))
    lacking = []
    everything: set[_Field] = set().union(*fields.values()) if fields else set()
    for time, held in sorted(fields.items()):
        levels = {name: {level for each, level in everything if each == name} for name in names}
        wanted = {(name, level) for name, level in everything if levels[name] != {None}}
        for name, level in list(everything):
            other = wind_partner(name)
            if other in names:
                wanted |= {(name, level), (other, level)}
        lacking += [(time, *one) for one in sorted(wanted - held, key=str)]
    if lacking:
        time, name, level = lacking[0]
        at = "" if level is None else f" at {level} hPa"
        scan.note(
            f"lacks {len(lacking)} of the fields that the rest of it implies, first "
            f"{names[name]}{at} at {to_iso(time)}: was it cut short?"
        )


def note_index(path: Path, scan: Scan) -> None:
    """Note that an index beside a file lists messages beyond its end.

    Parameters
    ----------
    path : Path
        The file; its index is that of NCEP (``.idx``) or ECMWF (``.index``).
    scan : Scan
        Receives the note.
    """
    size = path.stat().st_size
    for index in (path.with_name(f"{path.name}.idx"), path.with_suffix(".index")):
        if not index.is_file() or index.stat().st_size > _MOST_INDEX_BYTES:
            continue
        offsets = sorted(set(_offsets(index)))
        beyond = sum(offset >= size for offset in offsets)
        if beyond:
            scan.note(
                f"its index {index.name} lists {len(offsets)} messages, of which {beyond} begin "
                f"beyond its {size} bytes: it was cut short, or cut out of a larger file"
            )


def _offsets(index: Path) -> Iterator[int]:
    """Yield the offsets of messages in an index; none for one of another form."""
    for line in index.read_bytes().decode("utf-8", "replace").splitlines():
        if line.startswith("{"):
            try:
                offset = json.loads(line).get("_offset")
            except ValueError:
                return
            if isinstance(offset, int):
                yield offset
            continue
        parts = line.split(":")
        if len(parts) < 3 or not parts[1].isdigit():
            return
        yield int(parts[1])
