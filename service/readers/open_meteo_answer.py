"""Answers in the format of open-meteo.com: JSON, and the FlatBuffers of its official clients."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Array, Times

_UNITS: Final = {
    "°C": "celsius",
    "°F": "fahrenheit",
    "hPa": "hectopascal",
    "m": "metre",
    "g/kg": "gram_per_kilogram",
    "%": "percentage",
    "°": "degree_direction",
    "km/h": "kilometres_per_hour",
    "m/s": "metre_per_second",
    "mp/h": "miles_per_hour",
    "kn": "knots",
    "mm": "millimetre",
    "inch": "inch",
}
_MEMBER: Final = re.compile(r"_member(\d\d)$")
_AGGREGATIONS: Final = {"max": "maximum", "min": "minimum", "mean": "mean", "sum": "sum"}


@dataclass(frozen=True)
class Zone:
    """Time zone of an answer, as a fixed offset.

    Attributes
    ----------
    name, abbreviation
        Of the zone.
    seconds
        East of UTC.
    """

    name: str = "GMT"
    abbreviation: str = "GMT"
    seconds: int = 0


@dataclass(frozen=True)
class Block:
    """One part of an answer.

    Attributes
    ----------
    name
        ``hourly``, ``daily`` or ``current``.
    times
        (time,) UTC.
    interval
        Seconds from one time to the next.
    columns
        (name, unit, values) with values (time, point), NaN where there are none.
    """

    name: str
    times: Times
    interval: int
    columns: Sequence[tuple[str, str, Array]]

    def without(self, ending: str) -> Block:
        """Return the block with names of columns that lack an ending."""
        columns = [(name.removesuffix(ending), unit, each) for name, unit, each in self.columns]
        return replace(self, columns=columns)


@dataclass(frozen=True)
class Place:
    """Where the values are: centre of the cell, degrees."""

    latitude: float
    longitude: float


def to_documents(
    places: Sequence[Place],
    blocks: Sequence[Block],
    zone: Zone,
    about: Mapping[str, object],
    *,
    unix_time: bool,
) -> list[dict[str, object]]:
    """Return an answer as JSON objects, one for each place.

    Parameters
    ----------
    places
        The points.
    blocks
        What was asked for.
    zone
        Time zone of the times.
    about
        Further entries.
    unix_time
        Write times as seconds since 1970, UTC, instead of ISO 8601.

    Returns
    -------
    list of dict
        One for each place.
    """
    documents = []
    for index, place in enumerate(places):
        document: dict[str, object] = {
            "latitude": place.latitude,
            "longitude": place.longitude,
            "generationtime_ms": 0.0,
            "utc_offset_seconds": zone.seconds,
            "timezone": zone.name,
            "timezone_abbreviation": zone.abbreviation,
            "elevation": None,
            **about,
        }
        for block in blocks:
            units = {"time": "unixtime" if unix_time else "iso8601"}
            times = [_show(time, zone, block.name, unix_time=unix_time) for time in block.times]
            values: dict[str, object] = {"time": times}
            for name, unit, column in block.columns:
                units[name], values[name] = unit, [_shown(value) for value in column[:, index]]
            if block.name == "current":
                units["interval"] = "seconds"
                values = {name: column[0] for name, column in values.items()}  # type: ignore[index]
                values["interval"] = block.interval
            document[f"{block.name}_units"], document[block.name] = units, values
        documents.append(document)
    return documents


def _shown(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None


def _show(time: np.datetime64, zone: Zone, block: str, *, unix_time: bool) -> str | int:
    if unix_time:
        return int(time.astype("datetime64[s]").astype(np.int64))
    return to_iso(time + np.timedelta64(zone.seconds, "s"))[: 10 if block == "daily" else 16]


def to_flatbuffers(places: Sequence[Place], blocks: Sequence[Block], zone: Zone) -> list[bytes]:
    """Return an answer as one FlatBuffers message for each place, each preceded by its size.

    Parameters
    ----------
    places, blocks, zone
        As in :func:`to_documents`.

    Returns
    -------
    list of bytes
        As open-meteo's official clients read them, one after the other.

    Raises
    ------
    InputError
        If a block has irregular times, which the format cannot hold.
    """
    for block in blocks:
        if (np.diff(block.times.astype(np.int64)) != block.interval).any():
            raise InputError(
                f"the times of {block.name} are irregular, which FlatBuffers cannot hold",
                field="format",
                hint="ask for JSON, or for temporal_resolution=hourly",
            )
    return [_message(index, one, blocks, zone) for index, one in enumerate(places)]


# Slots of the tables in the order of open-meteo's schema, whose Python package has readers only:
# https://github.com/open-meteo/sdk/blob/main/flatbuffers/weather_api.fbs
_RESPONSE_SLOTS, _TIMES_SLOTS, _COLUMN_SLOTS = 15, 4, 13
_BLOCK_SLOTS: Final = {"current": 9, "daily": 10, "hourly": 11}


def _message(index: int, place: Place, blocks: Sequence[Block], zone: Zone) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    parts = {block.name: _block(builder, block, index) for block in blocks}
    name, abbreviation = (builder.CreateString(text) for text in (zone.name, zone.abbreviation))
    builder.StartObject(_RESPONSE_SLOTS)
    builder.PrependFloat32Slot(0, place.latitude, 0.0)
    builder.PrependFloat32Slot(1, place.longitude, 0.0)
    builder.PrependFloat32Slot(2, math.nan, 0.0)  # elevation, which PEAR does not know
    builder.PrependInt64Slot(4, index, 0)
    builder.PrependInt32Slot(6, zone.seconds, 0)
    builder.PrependUOffsetTRelativeSlot(7, name, 0)
    builder.PrependUOffsetTRelativeSlot(8, abbreviation, 0)
    for part, offset in parts.items():
        builder.PrependUOffsetTRelativeSlot(_BLOCK_SLOTS[part], offset, 0)
    builder.FinishSizePrefixed(builder.EndObject())
    return bytes(builder.Output())


def _block(builder: Any, block: Block, index: int) -> int:  # noqa: ANN401 - has no types
    columns = [
        _column(builder, name, unit, values[:, index], is_current=block.name == "current")
        for name, unit, values in block.columns
    ]
    builder.StartVector(4, len(columns), 4)
    for column in reversed(columns):
        builder.PrependUOffsetTRelative(column)
    vector = builder.EndVector()
    times = block.times.astype("datetime64[s]").astype(np.int64)
    builder.StartObject(_TIMES_SLOTS)
    builder.PrependInt64Slot(0, int(times[0]), 0)
    builder.PrependInt64Slot(1, int(times[-1]) + block.interval, 0)
    builder.PrependInt32Slot(2, block.interval, 0)
    builder.PrependUOffsetTRelativeSlot(3, vector, 0)
    return int(builder.EndObject())


def _column(builder: Any, name: str, unit: str, values: Array, *, is_current: bool) -> int:  # noqa: ANN401
    from openmeteo_sdk.Aggregation import Aggregation
    from openmeteo_sdk.Unit import Unit
    from openmeteo_sdk.Variable import Variable

    found = _MEMBER.search(name)
    name = name if found is None else name[: found.start()]
    base, _, last = name.rpartition("_")
    statistic = _AGGREGATIONS.get(last)
    plain = base if statistic else name
    height, level = re.search(r"_(\d+)m$", plain), re.search(r"_(\d+)hPa$", plain)
    kind = re.sub(r"_\d+(m|hPa)$", "", plain)
    vector = None if is_current else builder.CreateNumpyVector(values.astype(np.float32))
    builder.StartObject(_COLUMN_SLOTS)
    builder.PrependUint8Slot(0, getattr(Variable, kind, Variable.undefined), 0)
    builder.PrependUint8Slot(1, getattr(Unit, _UNITS.get(unit, "undefined")), 0)
    if vector is None:
        builder.PrependFloat32Slot(2, float(values[0]), 0.0)
    else:
        builder.PrependUOffsetTRelativeSlot(3, vector, 0)
    builder.PrependInt16Slot(5, int(height[1]) if height else 0, 0)
    builder.PrependUint8Slot(6, getattr(Aggregation, statistic) if statistic else 0, 0)
    builder.PrependInt16Slot(7, int(level[1]) if level else 0, 0)
    builder.PrependInt16Slot(10, int(found[1]) if found else 0, 0)
    return int(builder.EndObject())
