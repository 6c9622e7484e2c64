"""GRIB 1 and 2 by ecCodes directly: mixed level types, multi-field messages, any packing it knows.

xarray's cfgrib engine wants one hypercube per file and leaves index files beside the data; an
index of (offset, part) per field needs neither and survives what is damaged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pear.datasets.axes import note_leads, note_versions
from pear.datasets.base import (
    Fields,
    Scan,
    ScanOptions,
    SourceVariable,
    choose_member,
    latlon,
)
from pear.datasets.static import Static, static_name
from pear.datasets.units import Quantity, conversion, recognise
from pear.errors import InputError
from pear.sphere.latlon import LatLonGrid
from pear.typing import Times
from pipelines.ingestion.readers import eccodes as grib_library

_MISSING: Final = -1.0e34
_INSTANT: Final = ("instant",)
_GROUND: Final = ("surface",)
_ONE_AT_A_TIME: Final = threading.Lock()  # ecCodes is not built for threads everywhere
# What NCEP and old encoders call by the upper-air name at a height above ground.
_AT_HEIGHT: Final = {("u", 10): "10u", ("v", 10): "10v", ("t", 2): "2t"}
_GRID_KEYS: Final = (
    "gridType",
    "Ni",
    "Nj",
    "latitudeOfFirstGridPointInDegrees",
    "longitudeOfFirstGridPointInDegrees",
    "latitudeOfLastGridPointInDegrees",
    "longitudeOfLastGridPointInDegrees",
    "iScansNegatively",
    "jPointsAreConsecutive",
    "alternativeRowScanning",
)


def _eccodes() -> Any:
    try:
        eccodes = grib_library.load()
    except (ImportError, RuntimeError) as error:
        raise InputError(
            "GRIB files need ecCodes", field="grib", hint='pip install "pear-weather[grib]"'
        ) from error
    eccodes.codes_grib_multi_support_on()
    return eccodes


@dataclass
class _Series:
    """Fields of one quantity on one grid, as they are met in the file."""

    name: str
    units: str
    centre: str
    quantity: Quantity
    grid: LatLonGrid
    # (time, level, member) -> [(offset, part, version), …]: more than one entry is a duplicate
    fields: dict[tuple[int, int, int], list[tuple[int, int, str]]] = field(default_factory=dict)
    leads: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class GribReader:
    """Reads fields of one GRIB file by their place: ``table`` (time, row, 2), offset and part."""

    path: str
    table: npt.NDArray[np.int64]

    def read(self, position: int, row: int) -> Fields:
        """Return one field."""
        offset, part = self.table[position, row]
        return read_field(self.path, int(offset), int(part))

    def take(self, positions: Sequence[int]) -> GribReader:
        """Return the reader of these times alone."""
        return GribReader(self.path, self.table[list(positions)])


def scan_grib(path: Path, label: str, options: ScanOptions) -> Scan:
    """List the fields of a GRIB file; ``label`` names it in messages.

    Raises
    ------
    InputError
        If the file has no message.
    """
    scan = Scan(label, "GRIB")
    series: dict[tuple[Any, ...], _Series] = {}
    with _Messages(path) as messages:
        for handle, offset, part in messages:
            try:
                _sort_in(messages.codes, handle, (offset, part), series, scan)
            except InputError as error:
                scan.fault(error)
    if messages.count == 0:
        raise InputError(f"{label} holds no GRIB message", field="file")
    if messages.damage:
        scan.fault(InputError(f"{label} is {messages.damage}", field="file"))
    scan.origin = ", ".join(sorted({one.centre for one in series.values()}))
    for one in series.values():
        try:
            scan.slabs.extend(_slabs(one, path, options, scan))
        except InputError as error:
            scan.fault(error)
    return scan


class _Messages:
    """Walks over all fields of a file: (handle, offset of the message, part within it)."""

    def __init__(self, path: Path) -> None:
        self.path, self.codes = path, _eccodes()
        self.count, self.damage = 0, ""

    def __enter__(self) -> _Messages:
        self.file = self.path.open("rb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __iter__(self) -> Iterator[tuple[Any, int, int]]:
        last, part = -1, 0
        while True:
            try:
                handle = self.codes.codes_grib_new_from_file(self.file)
            except self.codes.CodesInternalError as error:
                self.damage = f"damaged after {self.count} fields: {error}"
                return
            if handle is None:
                return
            try:
                offset = int(self.codes.codes_get(handle, "offset"))
                part = part + 1 if offset == last else 0
                last = offset
                self.count += 1
                yield handle, offset, part
            finally:
                self.codes.codes_release(handle)


def _sort_in(
    codes: Any,
    handle: Any,
    place: tuple[int, int],
    series: dict[tuple[Any, ...], _Series],
    scan: Scan,
) -> None:
    """Put one field into its series, or its name into what is skipped."""
    get = _getter(codes, handle)
    name, kind, level = str(get("shortName")), str(get("typeOfLevel")), int(get("level") or 0)
    name = _AT_HEIGHT.get((name, level), name) if kind == "heightAboveGround" else name
    attributes = {"GRIB_typeOfLevel": kind}
    quantity = recognise(name, attributes)
    label = f"{name} ({kind})"
    static = static_name(name, kind not in _GROUND)
    if static is not None:
        if static not in {one.name for one in scan.statics}:
            grid = _grid(tuple(get(key) for key in _GRID_KEYS), f"{scan.source}: {name}")
            read = partial(read_field, scan.source, *place)
            scan.statics.append(Static(static, scan.source, str(get("units")), grid, read))
        return
    if quantity is None or name == "unknown":
        scan.skipped[label] = "not a variable of PEAR"
        return
    if quantity.upper != kind.startswith("isobaric"):
        scan.skipped[label] = "not on pressure levels" if quantity.upper else "on pressure levels"
        return
    if str(get("stepType") or "instant") not in _INSTANT:
        scan.skipped[label] = f"{get('stepType')} over a period, not a state"
        return
    grid = _grid(tuple(get(key) for key in _GRID_KEYS), f"{scan.source}: {name}")
    hpa = level if kind == "isobaricInhPa" else round(level / 100)
    key = (quantity.name, grid.key, str(get("units")))
    one = series.setdefault(
        key, _Series(name, str(get("units")), str(get("centre")), quantity, grid)
    )
    member = get("number")
    valid = _moment(get, "validityDate", "validityTime", scan.source)
    where = (valid, hpa if quantity.upper else 0, int(member) if member is not None else 0)
    version = str(get("expver") or "").lstrip("0")
    one.fields.setdefault(where, []).append((*place, version))
    one.leads.add(where[0] - _moment(get, "dataDate", "dataTime", scan.source))


def _getter(codes: Any, handle: Any) -> Any:
    def get(key: str) -> Any:
        try:
            return codes.codes_get(handle, key)
        except codes.CodesInternalError:
            return None

    return get


def _moment(get: Any, date: str, clock: str, source: str) -> int:
    """Seconds since 1970 of a date and a time of day."""
    day, hours = get(date), get(clock)
    if day is None or hours is None:
        raise InputError(f"{source} has a message without {date}", field="time")
    day, hours = int(day), int(hours)
    text = f"{day // 10000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"
    text += f"T{hours // 100:02d}:{hours % 100:02d}"
    return int(np.datetime64(text, "s").astype(np.int64))


@lru_cache(maxsize=64)
def _grid(keys: tuple[Any, ...], source: str) -> LatLonGrid:
    """Build the grid of a message from its keys; the directions are those of the values."""
    kind, ni, nj, north, west, south, east, westwards, columns, zigzag = keys
    if kind != "regular_ll":
        raise InputError(
            f"{source} is on a {kind} grid",
            field="grid",
            hint="PEAR needs global data on a regular latitude-longitude grid",
        )
    if columns or zigzag:
        raise InputError(f"{source} scans its points in an order PEAR does not read", field="grid")
    sign = -1.0 if westwards else 1.0
    span = (sign * (float(east) - float(west))) % 360.0
    if span == 0.0:
        span = 360.0  # the first column once more at the end
    full = 360.0 * (ni - 1) / ni
    if abs(span - full) < 0.2 * 360.0 / ni:
        span = full  # GRIB 1 rounds to thousandths of a degree
    lon = float(west) + sign * np.linspace(0.0, span, int(ni))
    return latlon(np.linspace(float(north), float(south), int(nj)), lon, source)


def _slabs(one: _Series, path: Path, options: ScanOptions, scan: Scan) -> Iterator[SourceVariable]:
    """Turn a series into slabs: one, and one more for each field that comes twice."""
    member = choose_member(
        sorted({m for _, _, m in one.fields}), options, f"{scan.source}: {one.name}"
    )
    chosen = {
        (t, lev): _final(places, one.name, scan)
        for (t, lev, m), places in one.fields.items()
        if m == member
    }
    note_leads(one.name, sorted(one.leads), scan)
    how = conversion(one.quantity, one.units, one.name, scan.source)
    for layer in range(max(len(places) for places in chosen.values())):
        here = {key: places[layer] for key, places in chosen.items() if len(places) > layer}
        times = sorted({t for t, _ in here})
        levels = sorted({lev for _, lev in here})
        table = np.zeros((len(times), len(levels), 2), dtype=np.int64)
        present = np.zeros((len(times), len(levels)), dtype=bool)
        for (t, lev), place in here.items():
            at = times.index(t), levels.index(lev)
            table[at], present[at] = place, True
        axis: Times = np.array(times, dtype=np.int64).astype("datetime64[s]")
        yield SourceVariable(
            scan.source,
            one.name,
            one.quantity,
            how,
            axis,
            tuple(levels) if one.quantity.upper else (),
            one.grid,
            present,
            GribReader(str(path), table),
            one.centre,
        )


def _final(places: list[tuple[int, int, str]], name: str, scan: Scan) -> list[tuple[int, int]]:
    """Leave the preliminary version of a field out where the file has the final one as well."""
    versions = {version for _, _, version in places}
    note_versions(name, sorted(versions), scan)
    if {"1", "5"} <= versions:
        scan.note(f"{name}: experiment versions merged, final first")
        places = [one for one in places if one[2] != "5"]
    return [(offset, part) for offset, part, _ in places]


@contextmanager
def _handle(path: str, offset: int, part: int) -> Iterator[tuple[Any, Any]]:
    codes = _eccodes()
    descriptor = os.open(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        file.seek(offset)
        handle = codes.codes_grib_new_from_file(file)
        for _ in range(part):
            if handle is not None:
                codes.codes_release(handle)
            handle = codes.codes_grib_new_from_file(file)
        if handle is None:
            raise InputError(f"{path} has no message at byte {offset} any more", field="file")
        try:
            yield codes, handle
        finally:
            codes.codes_release(handle)
            codes.codes_grib_multi_support_reset_file(file)


def read_field(path: str, offset: int, part: int) -> Fields:
    """Decode one field: (point,), float32, missing values as NaN.

    Raises
    ------
    InputError
        If the message cannot be decoded.
    """
    with _ONE_AT_A_TIME, _handle(path, offset, part) as (codes, handle):
        try:
            codes.codes_set(handle, "missingValue", _MISSING)
            values = np.asarray(codes.codes_get_values(handle), dtype=np.float64)
            gaps = bool(codes.codes_get(handle, "bitmapPresent"))
        except codes.CodesInternalError as error:
            raise InputError(
                f"{path}: the message at byte {offset} cannot be decoded: {error}", field="file"
            ) from error
    if gaps:
        values = np.where(values == _MISSING, np.nan, values)
    return values.astype(np.float32)
