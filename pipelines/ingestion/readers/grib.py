"""GRIB 1 and 2 by ecCodes: mixed level types, multi-field messages, any packing.

Fields are indexed by their offset in the file. Unlike xarray's cfgrib engine this does not need
one hypercube per file, leaves no index files beside the data and survives damaged messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pear.datasets import products
from pear.datasets.axes import note_leads
from pear.datasets.base import (
    UNKNOWN,
    Fields,
    Scan,
    ScanOptions,
    SkippedVariableError,
    SourceVariable,
    choose_member,
    require_global_grid,
    require_unnumbered,
)
from pear.datasets.cell_numbers import CellOrder
from pear.datasets.decoding import decoding
from pear.datasets.static import StaticField, static_name
from pear.datasets.units import Quantity, conversion, level_types, recognise
from pear.datasets.versions import note_versions, version_key
from pear.errors import InputError
from pear.sphere.latlon import LatLonGrid
from pear.sphere.source_grids import HealpixGrid, SourceGrid
from pear.typing import Times
from pear.variables import BY_NAME, VARIABLES
from pipelines.ingestion.readers.eccodes import next_field
from pipelines.ingestion.readers.grib_messages import (
    GribValue,
    get_key,
    load_eccodes,
    read_ordered,
)
from pipelines.ingestion.readers.grib_places import (
    require_direction,
    require_increments,
    require_place,
)
from pipelines.ingestion.readers.grib_sections import Envelope
from pipelines.ingestion.readers.grib_sets import note_index, note_lacking_fields
from pipelines.ingestion.readers.grib_times import read_time, require_exact_times

Location: TypeAlias = tuple[int, int]
"""Offset of a message in the file, and position of the field within the message."""

_SeriesKey: TypeAlias = tuple[str, SourceGrid, CellOrder | None, str, int | None]

_MOST_POINTS: Final = 100_000  # along an axis; more is a damaged header
_GRID_KEYS: Final = (
    "gridType",
    "Ni",
    "Nj",
    "latitudeOfFirstGridPointInDegrees",
    "longitudeOfFirstGridPointInDegrees",
    "latitudeOfLastGridPointInDegrees",
    "longitudeOfLastGridPointInDegrees",
    "iScansNegatively",
    "jScansPositively",
    "jPointsAreConsecutive",
    "alternativeRowScanning",
    "iDirectionIncrementInDegrees",
    "jDirectionIncrementInDegrees",
    "iDirectionIncrementGiven",
)
_CELL_KEYS: Final = ("Nside", "orderingConvention", "longitudeOfFirstGridPointInDegrees")
_KINDS: Final = {
    "reduced_gg": "a reduced Gaussian grid",
    "regular_gg": "a regular Gaussian grid",
    "unstructured_grid": "an unstructured grid, as of ICON",
    "sh": "spherical harmonics",
}


@dataclass(frozen=True)
class Message:
    """A decoded GRIB header.

    Attributes
    ----------
    get : callable
        Returns the value of a key, or None if the message does not have it.
    location : tuple of int
        Offset and part in the file.
    source : str
        Name of the file, for error messages.
    """

    get: Callable[[str], GribValue]
    location: Location
    source: str

    @property
    def level_type(self) -> str:
        """GRIB name of the type of level."""
        return str(self.get("typeOfLevel"))

    @property
    def level(self) -> int:
        """Level; in hPa for pressure levels."""
        level, kind = int(self.get("level") or 0), self.level_type
        in_pascal = kind.startswith("isobaric") and kind != "isobaricInhPa"
        return round(level / 100) if in_pascal else level

    @property
    def name(self) -> str:
        """Short name; that of a surface variable for upper-air names near the ground."""
        name = str(self.get("shortName"))
        if self.level_type == "heightAboveGround":
            return _name_at_height(name, self.level)
        return name

    @property
    def grid(self) -> tuple[SourceGrid, CellOrder | None]:
        """Grid of the values, and for HEALPix the order of its cells."""
        where = f"{self.source}: {self.name}"
        if self.get("gridType") != "healpix":
            return _grid(tuple(self.get(key) for key in _GRID_KEYS), where), None
        order = _cells(tuple(self.get(key) for key in _CELL_KEYS), where)
        return HealpixGrid(order.nside), order


@lru_cache(maxsize=256)
def _name_at_height(name: str, metres: int) -> str:
    """Return the name near the ground: NCEP and old encoders use the one of the upper air."""
    for row in VARIABLES:
        if row.aloft is not None and row.height is not None:
            low, high = row.height
            if BY_NAME[row.aloft].grib_name == name and low <= metres <= high:
                return row.grib_name
    return name


@dataclass
class _Series:
    """Fields of one quantity on one grid, in the order of the file."""

    name: str
    units: str
    centre: str
    quantity: Quantity
    grid: SourceGrid
    order: CellOrder | None = None
    summed_hours: int | None = None
    # (time, level, member) -> [(location, version), ...]: more than one entry is a duplicate
    fields: dict[tuple[int, int, int], list[tuple[Location, str]]] = field(default_factory=dict)
    leads: dict[int, int] = field(default_factory=dict)  # valid time -> longest lead time
    numbered: bool = False  # whether any message says of which member it is


@dataclass(frozen=True)
class GribReader:
    """Reads the fields of one GRIB file.

    Attributes
    ----------
    path : str
        The file.
    table : (time, row, 2) array of int
        Offset and part of each field.
    order : CellOrder, optional
        For HEALPix: the order in which cells come; they are returned in that of the grid.
    """

    path: str
    table: npt.NDArray[np.int64]
    order: CellOrder | None = None

    def read(self, position: int, row: int) -> Fields:
        """Return one field."""
        offset, part = self.table[position, row]
        return read_ordered(self.path, int(offset), int(part), self.order)

    def select(self, positions: Sequence[int]) -> GribReader:
        """Return the reader of these times only."""
        return GribReader(self.path, self.table[list(positions)], self.order)


def scan_grib(path: Path, label: str, options: ScanOptions, messages: Sequence[Envelope]) -> Scan:
    """Return the contents of a GRIB file.

    Parameters
    ----------
    path : Path
        The file.
    label : str
        Its name in messages.
    options : ScanOptions
        Ensemble member to read.
    messages : sequence of Envelope
        Its messages that are whole, see :func:`find_messages`.

    Returns
    -------
    Scan
        Variables, and what was skipped or is damaged.
    """
    scan = Scan(label, "GRIB")
    series: dict[_SeriesKey, _Series] = {}
    for message in _messages(path, label, messages, scan):
        try:
            with decoding(f"{label}: the message at byte {message.location[0]}"):
                _add_message(message, path, series, scan, options)
        except InputError as error:
            scan.fault(error)
    scan.origin = ", ".join(sorted({one.centre for one in series.values()}))
    for one in series.values():
        try:
            with decoding(f"{label}: {one.name}"):
                scan.variables.extend(_variables(one, path, options, scan))
        except InputError as error:
            scan.fault(error)
    note_lacking_fields(scan.variables, scan)
    note_index(path, scan)
    return scan


def _messages(
    path: Path, label: str, messages: Sequence[Envelope], scan: Scan
) -> Iterator[Message]:
    """Yield the headers of all fields of a file; each is valid until the next."""
    codes = load_eccodes()
    for message in messages:
        with path.open("rb", buffering=0) as file:
            file.seek(message.start)
            for part in range(message.fields):
                try:
                    handle = next_field(codes, file)
                except codes.CodesInternalError as error:
                    handle, why = None, f": {error}"
                else:
                    why = ""
                if handle is None:
                    text = f"{label}: field {part + 1} of the message at byte {message.start}"
                    hint = "download it again"
                    scan.fault(
                        InputError(f"{text} cannot be decoded{why}", field="file", hint=hint)
                    )
                    break
                try:
                    yield Message(partial(get_key, codes, handle), (message.start, part), label)
                finally:
                    codes.codes_release(handle)
            codes.codes_grib_multi_support_reset_file(file)


def _add_message(
    message: Message,
    path: Path,
    series: dict[_SeriesKey, _Series],
    scan: Scan,
    options: ScanOptions,
) -> None:
    """Add a field to its series, or its name to what is skipped."""
    name, kind, units = message.name, message.level_type, str(message.get("units"))
    static = static_name(name) if kind == "surface" else None
    if static is not None:
        if static not in {one.name for one in scan.static_fields}:
            grid, order = message.grid
            read = partial(read_ordered, str(path), *message.location, order)
            scan.static_fields.append(StaticField(static, scan.source, units, grid, read))
        return
    quantity = _identify(message)
    if quantity is None:
        scan.skipped[f"{name} ({kind})"] = UNKNOWN
        return
    if not options.takes(quantity.name):
        scan.skipped[f"{name} ({kind})"] = f"{quantity.name} is not asked for"
        return
    try:
        require_place(message.get, quantity)
        row = BY_NAME.get(quantity.name)
        note = products.require_state(message.get, row)
        hours = products.summed_hours(message.get, row)
        note = note or products.require_ncep_state(message.get("productIdentifier"))
    except SkippedVariableError as reason:
        scan.skipped[f"{name} ({kind})"] = str(reason)
        return
    if note:
        scan.note(f"{name}: {note}")
    (grid, order), centre = message.grid, str(message.get("centre"))
    if order is not None:
        scan.note(order.description)
    one = series.setdefault(
        (quantity.name, grid, order, units, hours),
        _Series(name, units, centre, quantity, grid, order, hours),
    )
    where = f"{scan.source}: {name}"
    require_exact_times(message.get, where)
    valid = read_time(message.get, "validity", where)
    number = message.get("number")
    one.numbered |= number is not None
    key = valid, message.level if quantity.upper else 0, int(number or 0)
    version = version_key(message.get("expver"))
    one.fields.setdefault(key, []).append((message.location, version))
    lead = valid - read_time(message.get, "data", where)
    one.leads[valid] = max(one.leads.get(valid, lead), lead)


def _identify(message: Message) -> Quantity | None:
    """Return the quantity of a message, by its short name or by its numbers; None if unknown."""
    quantity = recognise(message.name, {"GRIB_typeOfLevel": message.level_type})
    return _by_number(message) if quantity is None else quantity


def name_field(codes: ModuleType, handle: int, label: str) -> tuple[str, int]:
    """Return what a message is.

    Parameters
    ----------
    codes, handle
        ecCodes, and the message.
    label
        Its origin in messages.

    Returns
    -------
    name, level
        Canonical name of the variable, ``relative_humidity``, or the short name of another field;
        level in hPa, 0 near the ground.

    Raises
    ------
    InputError
        If the field is summed over other hours than its variable.
    """
    message = Message(partial(get_key, codes, handle), (0, 0), label)
    quantity = _identify(message)
    if quantity is None:
        return message.name, message.level
    try:
        hours = products.summed_hours(message.get, BY_NAME.get(quantity.name))
    except SkippedVariableError as error:
        raise InputError(f"{label}: {message.name}: {error}", field="--source") from error
    if hours is not None:
        raise InputError(
            f"{label}: {message.name} is summed over {hours} h alone", field="--source"
        )
    return quantity.name, message.level if quantity.upper else 0


def _by_number(message: Message) -> Quantity | None:
    """Return the variable of a message whose short name says nothing to PEAR, by its numbers."""
    numbers = tuple(message.get(k) for k in ("discipline", "parameterCategory", "parameterNumber"))
    for row in VARIABLES:
        own = row.param_id is not None and row.param_id == message.get("paramId")
        if not row.published and (own or row.discipline_category_number == numbers):
            quantity, low, high = Quantity(row.name), *(row.height or (-np.inf, np.inf))
            at_height = message.level_type != "heightAboveGround" or low <= message.level <= high
            if message.level_type in level_types(quantity) and at_height:
                return quantity
    return None


@lru_cache(maxsize=64)
def _grid(keys: tuple[GribValue, ...], source: str) -> LatLonGrid:
    """Return the grid described by the values of the grid keys, in the order of the values."""
    kind, ni, nj, north, west, south, east, westwards, upwards, columns, zigzag, *increments = keys
    if kind != "regular_ll":
        raise InputError(
            f"{source} is on {_KINDS.get(str(kind), f'a {kind} grid')} ({kind})",
            field="grid",
            hint="PEAR needs global data on a regular latitude-longitude grid or on HEALPix",
        )
    if columns or zigzag:
        raise InputError(f"{source} has an unsupported scanning order of points", field="grid")
    require_direction(north, south, upwards, source)
    n_lon, n_lat = int(ni or 0), int(nj or 0)
    if not (0 < n_lon <= _MOST_POINTS and 0 < n_lat <= _MOST_POINTS):
        raise InputError(
            f"{source} is on {n_lat} x {n_lon} points by its header",
            field="grid",
            hint="the header is damaged; download it again",
        )
    first, last = float(west or 0), float(east or 0)
    sign = -1.0 if westwards else 1.0
    span = (sign * (last - first)) % 360.0 or 360.0  # 0: the first column is repeated at the end
    full = 360.0 * (n_lon - 1) / n_lon
    if abs(span - full) < 0.2 * 360.0 / n_lon:
        span = full  # GRIB 1 rounds to thousandths of a degree
    lat = np.linspace(float(north or 0), float(south or 0), n_lat)
    lon = first + sign * np.linspace(0.0, span, n_lon)
    if increments.pop():
        require_increments(lon, lat, increments, source)
    return require_global_grid(lat, lon, source)


def _cells(keys: tuple[GribValue, ...], source: str) -> CellOrder:
    """Return the order of the cells described by the values of the cell keys."""
    nside, ordering, first = keys
    word = str(ordering).strip().lower()
    scheme = {"nest": "nested"}.get(word, word)
    if scheme not in ("nested", "ring"):
        raise InputError(
            f"{source} is on HEALPix with orderingConvention {ordering!r}, which is unknown",
            field="grid",
            hint="PEAR reads ring and nested",
        )
    if first is not None and abs((float(first) - 45.0) % 360.0) > 1e-3:
        raise InputError(
            f"{source} is on HEALPix turned about the poles: its first cell is at longitude "
            f"{float(first):g}, where that of HEALPix is at 45",
            field="grid",
        )
    try:
        grid = HealpixGrid(int(nside or 0))
    except ValueError as error:
        raise InputError(f"{source} is on HEALPix, but {error}", field="grid") from error
    if grid.order == "ring" and scheme == "nested":
        raise InputError(
            f"{source}: orderingConvention is 'nested', but Nside is {nside}, and only powers of "
            "two have a nested order",
            field="grid",
        )
    return CellOrder(grid.nside, scheme)


def _variables(
    one: _Series, path: Path, options: ScanOptions, scan: Scan
) -> Iterator[SourceVariable]:
    """Turn a series into variables: one, and one more for each repetition of a field."""
    members = sorted({m for _, _, m in one.fields})
    if not one.numbered:
        require_unnumbered(options, f"{scan.source}: {one.name}")
    member = members[choose_member(members, options, f"{scan.source}: {one.name}")]
    chosen = {
        (time, level): _final_version(entries, one.name, scan)
        for (time, level, m), entries in one.fields.items()
        if m == member
    }
    # Where the final version of a field is there as well, it was chosen.
    old = [
        time
        for (time, _, m), entries in one.fields.items()
        if m == member and {version for _, version in entries} == {"5"}
    ]
    note_leads(one.name, sorted(set(one.leads.values())), scan)
    how = conversion(one.quantity, one.units, one.name, scan.source)
    for repetition in range(max(map(len, chosen.values()))):
        fields = {key: many[repetition] for key, many in chosen.items() if len(many) > repetition}
        times: Times = np.unique([time for time, _ in fields]).astype("datetime64[s]")
        levels = sorted({level for _, level in fields})
        table = np.zeros((len(times), len(levels), 2), dtype=np.int64)
        present = np.zeros((len(times), len(levels)), dtype=bool)
        rows = {int(time): i for i, time in enumerate(times.astype(np.int64))}
        for (time, level), location in fields.items():
            index = rows[time], levels.index(level)
            table[index], present[index] = location, True
        yield SourceVariable(
            scan.source,
            one.name,
            one.quantity,
            how,
            times,
            tuple(levels) if one.quantity.upper else (),
            one.grid,
            present,
            GribReader(str(path), table, one.order),
            one.centre,
            np.isin(times.astype(np.int64), old),
            np.array([one.leads[time] for time in times.astype(np.int64).tolist()], dtype=np.int64),
            member=str(member) if one.numbered else "",
            summed_hours=one.summed_hours,
        )


def _final_version(entries: list[tuple[Location, str]], name: str, scan: Scan) -> list[Location]:
    """Drop the preliminary version of a field if the file has the final one as well."""
    versions = {version for _, version in entries}
    note_versions(name, sorted(versions), scan)
    if {"1", "5"} <= versions:
        scan.note(f"{name}: experiment versions merged, final first")
        return [location for location, version in entries if version != "5"]
    return [location for location, _ in entries]
