"""Scan of a Dataset on any grid that PEAR reads, and the reader of its fields."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.datasets.axes import (
    find_member,
    fix_other_dimensions,
    note_leads,
    sort_times,
)
from pear.datasets.base import (
    UNKNOWN,
    Fields,
    Scan,
    ScanOptions,
    SkippedVariableError,
    SourceVariable,
)
from pear.datasets.cell_numbers import CellOrder
from pear.datasets.declared_gaps import find_declared_gap
from pear.datasets.declared_packing import require_read_packing
from pear.datasets.decoding import decoding
from pear.datasets.foreign_names import plain_static_name, why_unknown
from pear.datasets.horizontal import find_grid, refuse_list_of_points
from pear.datasets.levels import find_levels, is_level, require_level
from pear.datasets.naming import identify, require_place
from pear.datasets.states import require_states
from pear.datasets.static import (
    StaticField,
    require_static,
    static_name,
    why_not_ground,
)
from pear.datasets.time_statements import compare_times
from pear.datasets.units import Quantity, conversion, recognise, stated_units
from pear.datasets.valid_times import find_role, find_valid_times, with_time_coordinates
from pear.datasets.versions import find_preliminary, merge_versions
from pear.errors import InputError
from pear.store.static_fields import GROUND
from pear.times import to_iso
from pear.typing import Times
from pear.variables import BY_NAME

_BLOCK_BYTES: Final = 256_000_000
_MAX_BLOCKS: Final = 2
# Decoded chunks that contain several fields. Fields are read in order of time: two are enough.
_BLOCKS: OrderedDict[Any, npt.NDArray[Any]] = OrderedDict()
_ORDERS: OrderedDict[Any, npt.NDArray[np.int64] | None] = OrderedDict()
_MAX_OPEN: Final = 8
_OPEN: OrderedDict[Any, xr.Dataset] = OrderedDict()
_LOCK: Final = threading.RLock()


class Opener(Protocol):
    """Opens the same dataset in any process; hashable, so that each process opens it once."""

    def open(self) -> xr.Dataset:
        """Open the dataset lazily."""

    def __hash__(self) -> int: ...


def open_cached(opener: Opener) -> xr.Dataset:
    """Open a dataset, once per process; the last few stay open until :func:`close_datasets`.

    Returns
    -------
    xarray.Dataset
        Lazy.

    Examples
    --------
    >>> from pear.datasets.xarray import open_cached
    >>> dataset = xr.Dataset({"t2m": ("time", [280.0])})
    >>> open_cached(InMemory(dataset)) is dataset
    True
    """
    if isinstance(opener, InMemory):
        return opener.dataset
    with _LOCK:
        if opener not in _OPEN:
            while len(_OPEN) >= _MAX_OPEN:
                _OPEN.popitem(last=False)[1].close()
            _OPEN[opener] = opener.open()
        _OPEN.move_to_end(opener)
        return _OPEN[opener]


def close_datasets() -> None:
    """Close all cached datasets and discard decoded chunks."""
    with _LOCK:
        while _OPEN:
            _OPEN.popitem()[1].close()
        _BLOCKS.clear()
        _ORDERS.clear()


@dataclass(frozen=True, eq=False)
class InMemory:
    """Opener of a dataset in memory.

    Examples
    --------
    >>> from pear.datasets.xarray import InMemory
    >>> dataset = xr.Dataset({"t2m": ("time", [280.0])})
    >>> InMemory(dataset).open() is dataset
    True
    """

    dataset: xr.Dataset

    def open(self) -> xr.Dataset:
        """Return the dataset."""
        return self.dataset


@dataclass(frozen=True)
class Axes:
    """Dimensions of a variable; None for one that it does not have.

    Attributes
    ----------
    points : tuple of hashable
        Dimensions of the points of the grid: rows and columns, or cells.
    time, level, expver : hashable or None
        Names of the dimensions.
    fixed : tuple of (dimension, position)
        Other dimensions, of which one position is read.

    Examples
    --------
    >>> from pear.datasets.xarray import Axes
    >>> axes = Axes(("lat", "lon"), "time", level=None, expver=None)
    >>> axes.time, axes.level, axes.fixed
    ('time', None, ())
    """

    points: tuple[Hashable, ...]
    time: Hashable | None
    level: Hashable | None
    expver: Hashable | None
    fixed: tuple[tuple[Hashable, int], ...] = ()


@dataclass(frozen=True)
class ArrayReader:
    """Reads the fields of one variable.

    Attributes
    ----------
    opener : Opener
        Opens the dataset.
    source, name : str
        Name of the source, for messages, and of the variable.
    axes : Axes
        Dimensions of the variable.
    positions, levels : tuple of int
        Positions of the times and levels along their dimensions.
    order : CellOrder, optional
        For HEALPix: the order in which cells come; they are returned in that of the grid.
    may_lack : bool
        True if the field may have no values in places, such as on land.
    lacks : str
        What the source lacks, for the message of a field with missing values.

    Examples
    --------
    >>> from pear.datasets.xarray import ArrayReader
    >>> array = xr.DataArray(np.arange(12.0).reshape(1, 3, 4), dims=("time", "lat", "lon"))
    >>> opener = InMemory(array.to_dataset(name="t2m"))
    >>> axes = Axes(("lat", "lon"), "time", level=None, expver=None)
    >>> ArrayReader(opener, "memory", "t2m", axes, positions=(0,), levels=()).read(0, 0)[:3]
    array([0., 1., 2.], dtype=float32)
    """

    opener: Opener
    source: str
    name: str
    axes: Axes
    positions: tuple[int, ...]
    levels: tuple[int, ...]
    order: CellOrder | None = None
    may_lack: bool = False
    lacks: str = ""

    def select(self, positions: Sequence[int]) -> ArrayReader:
        """Return the reader of these times only."""
        return replace(self, positions=tuple(self.positions[p] for p in positions))

    def read(self, position: int, row: int) -> Fields:
        """Return one field: (point,)."""
        at = self.positions[position] if self.axes.time is not None else 0
        level = self.levels[row] if self.levels else 0
        try:
            values = self._field(at, level)
        except Exception as error:  # each codec raises errors of its own kinds
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"cannot be read: {reason}", field="file") from error
        fields = np.ascontiguousarray(values.reshape(-1), dtype=np.float32)
        if self.lacks and not self.may_lack and (gone := int(np.isnan(fields).sum())):
            raise InputError(f"{gone} of {fields.size} values missing: {self.lacks}", field="file")
        gap = find_declared_gap(fields, open_cached(self.opener)[self.name])
        # Gaps that are NaN already are filled later; numbers that stand for them are a fault.
        if gap is not None and not (self.may_lack and np.isnan(fields).any()):
            raise InputError(gap, field=self.name)
        moved = None if self.order is None else _permutation(self.opener, self.order)
        return fields if moved is None else fields[moved]

    def _field(self, at: int, level: int) -> npt.NDArray[Any]:
        """Decode one field; a chunk with several fields is decoded once and cached."""
        array = open_cached(self.opener)[self.name]
        if self.axes.fixed:
            array = array.isel(dict(self.axes.fixed))
        places = {self.axes.time: at, self.axes.level: level}
        sizes = {dim: _chunk(array, dim) for dim in places if dim is not None}
        points = [array.sizes[dim] for dim in self.axes.points]
        shared = int(np.prod([*sizes.values(), *points])) * array.dtype.itemsize
        if all(size == 1 for size in sizes.values()) or shared > _BLOCK_BYTES:
            return _values(array.isel({dim: places[dim] for dim in sizes}), self.axes)
        first = {dim: places[dim] // size * size for dim, size in sizes.items()}
        key = (self.opener, self.name, tuple(first.items()))
        block = _BLOCKS.get(key)
        if block is None:
            ranges = {dim: slice(first[dim], first[dim] + size) for dim, size in sizes.items()}
            block = _values(array.isel(ranges).transpose(*sizes, ...), self.axes)
            while len(_BLOCKS) >= _MAX_BLOCKS:
                _BLOCKS.popitem(last=False)
            _BLOCKS[key] = block
        return np.asarray(block[tuple(places[dim] - first[dim] for dim in sizes)])


def _permutation(opener: Opener, order: CellOrder) -> npt.NDArray[np.int64] | None:
    """Return where in a dataset the cells of a grid are, computed once per process."""
    key = (opener, order)
    with _LOCK:
        if key not in _ORDERS:
            while len(_ORDERS) >= _MAX_BLOCKS:
                _ORDERS.popitem(last=False)
            _ORDERS[key] = order.permutation(open_cached(opener), str(order.ids))
        _ORDERS.move_to_end(key)
        return _ORDERS[key]


def _chunk(array: xr.DataArray, dim: Hashable) -> int:
    """Return the chunk length along a dimension as stored; 1 if the storage is contiguous."""
    preferred: Mapping[Hashable, int] = array.encoding.get("preferred_chunks") or {}
    return max(1, min(int(preferred.get(dim, 1)), array.sizes[dim]))


def _values(array: xr.DataArray, axes: Axes) -> npt.NDArray[Any]:
    """Return values, (…, *points); experiment versions are merged, final first."""
    if axes.expver is not None:
        return merge_versions(array, axes.expver, axes.points)
    return np.asarray(array.transpose(..., *axes.points).values)


def scan_dataset(
    opener: Opener,
    source: str,
    kind: str,
    options: ScanOptions = ScanOptions(),  # noqa: B008
) -> Scan:
    """Return the contents of a dataset.

    Parameters
    ----------
    opener : Opener
        Opens the dataset.
    source, kind : str
        Name and format of the source.
    options : ScanOptions
        Ensemble member to read.

    Returns
    -------
    Scan
        Variables, and what was skipped or is faulty.

    Examples
    --------
    >>> from pear.datasets.xarray import scan_dataset
    >>> from pear.sphere.latlon import global_grid
    >>> grid = global_grid(19, 36)
    >>> times = np.array(["2001-01-01"], "datetime64[ns]")
    >>> coords = {"time": times, "lat": grid.lat, "lon": grid.lon}
    >>> celsius = xr.DataArray(np.full((1, 19, 36), 15.0), coords, attrs={"units": "degC"})
    >>> scan = scan_dataset(InMemory(celsius.to_dataset(name="t2m")), "memory", "Dataset")
    >>> [(found.quantity.name, round(float(found.read(0, 0).max()), 2)) for found in scan.variables]
    [('2m_temperature', 288.15)]
    """
    dataset = with_time_coordinates(open_cached(opener))
    scan = Scan(source, kind)
    _origin(dataset, scan)
    for key, array in dataset.data_vars.items():
        try:
            with decoding(f"{source}: {key}"):
                _scan_variable(dataset, array, opener, scan, options)
        except SkippedVariableError as reason:
            scan.skipped[str(key)] = str(reason)
        except InputError as error:
            scan.fault(error)
    if not (scan.variables or scan.static_fields or scan.faults):
        for array in dataset.data_vars.values():
            try:
                refuse_list_of_points(array, dataset, source)
            except InputError as error:
                scan.fault(error)
    return scan


def _scan_variable(
    dataset: xr.Dataset, array: xr.DataArray, opener: Opener, scan: Scan, options: ScanOptions
) -> None:
    """Add a variable to the scan, or its name to what is skipped."""
    name = str(array.name)
    if (static := _static(dataset, array, opener, scan.source)) is not None:
        scan.static_fields.append(static)
        return
    known = recognise(name, array.attrs)
    if known is not None and not options.takes(known.name):
        scan.skipped[name] = f"{known.name} is not asked for"
        return
    quantity = identify(array, scan.source)
    if quantity is not None:
        scan.variables.append(_make_variable(dataset, array, quantity, opener, scan, options))
    elif array.ndim >= 2 and not name.endswith(("_bnds", "_bounds")):
        scan.skipped[name] = why_unknown(name, array.attrs) or UNKNOWN


def _origin(dataset: xr.Dataset, scan: Scan) -> None:
    """Set the origin of the data as stated by the source."""
    stated = [str(dataset.attrs.get(name, "")).strip() for name in ("institution", "title")]
    scan.origin = "; ".join(text for text in stated if text)
    scan.simulated = _is_true(dataset, "simulated")
    if _is_true(dataset, "idealised"):
        scan.note("idealised by its own attribute: constant and repeated fields are taken")


def _is_true(dataset: xr.Dataset, name: str) -> bool:
    """Return whether an attribute of a dataset says yes."""
    return str(dataset.attrs.get(name, "")).lower() in ("true", "yes", "1")


def _static(
    dataset: xr.Dataset, array: xr.DataArray, opener: Opener, source: str
) -> StaticField | None:
    """Return a static field at its first time; None for other arrays and other grids."""
    name = str(array.name)
    has_level = any(is_level(key, coordinate) for key, coordinate in array.coords.items())
    plain = plain_static_name(name, array.attrs)
    known = None if has_level else static_name(plain)
    if known is None:
        return None
    try:
        found = find_grid(dataset, array, source)
    except InputError:
        return None
    others = array.ndim - len(found.dims)

    def read(position: int = 0) -> npt.NDArray[Any]:
        field = open_cached(opener)[name].transpose(..., *found.dims)
        first = (position, *([0] * (others - 1)))[:others]
        values = np.asarray(field[first].values)
        gap = find_declared_gap(values.reshape(-1).astype(np.float32), field)
        if gap is not None:
            raise InputError(f"{source}: {name} has {gap}", field=name)
        moved = None if found.order is None else _permutation(opener, found.order)
        return values if moved is None else values[moved]

    require_static(name, known, array.attrs, source)
    require_read_packing(array, source)
    if known == GROUND:
        times = array.sizes[array.dims[0]] if others else 1
        positions = {0, min(1, times - 1), times // 2, times - 1}
        samples = [read(position) for position in sorted(positions)]
        if why := why_not_ground(plain, array.attrs, samples):
            raise InputError(
                f"{source}: {name} has no level, and it is not the ground: {why}",
                field=name,
                hint="write the level into the file, as a coordinate 'level' in hPa",
            )
    units, idealised = str(array.attrs.get("units", "")), _is_true(dataset, "idealised")
    field = StaticField(known, source, units, found.grid, read, idealised)
    field.require_units()
    return field


def _find_unequal_repetitions(reader: ArrayReader, times: Times, rows: int) -> Iterator[InputError]:
    """Yield times that come twice with other values: either could be the right one."""
    unique, counts = np.unique(times, return_counts=True)
    for time in unique[counts > 1]:
        first, *others = np.flatnonzero(times == time).tolist()
        for row in range(rows):
            kept = reader.read(first, row)
            for other in others:
                if not np.array_equal(kept, reader.read(other, row), equal_nan=True):
                    yield InputError(
                        f"{reader.source}: {reader.name} has {to_iso(time)} twice, at positions "
                        f"{first} and {other} of its times, with different values",
                        field="time",
                        hint="keep one of them, or the first with --on-error skip",
                    )


def _make_variable(
    dataset: xr.Dataset,
    array: xr.DataArray,
    quantity: Quantity,
    opener: Opener,
    scan: Scan,
    options: ScanOptions,
) -> SourceVariable:
    name, source = str(array.name), scan.source
    if array.dtype.kind in "cmMV":
        raise InputError(
            f"{source}: {name} has values of type {array.dtype}, not numbers",
            field=name,
            hint="write them as float32",
        )
    summed_hours = require_states(array, dataset, scan)
    require_read_packing(array, source)
    require_place(array, quantity, scan)
    horizontal = find_grid(dataset, array, source)
    if horizontal.order is not None:
        scan.note(horizontal.order.description)
    levels = find_levels(array, quantity, scan, dataset)
    if quantity.upper and not levels.hpa:
        require_level(array, source)
    if not quantity.upper and levels.dimension is not None:
        raise SkippedVariableError("a surface variable with levels")
    times, time_dim, leads = found = find_valid_times(array, scan)
    roles = frozenset(str(find_role(key, each)) for key, each in array.coords.items())
    leads = compare_times(array, dataset, found, roles, scan)
    note_leads(name, leads, scan)
    known = {*horizontal.dims, time_dim, levels.dimension}
    fixed, expver = fix_other_dimensions(array, known, scan, options)
    member = find_member(array, dataset, fixed, options, f"{source}: {name}")
    if not times.size:
        raise InputError(
            f"{source}: {name} has no times: its time axis is empty",
            field="time",
            hint="the file was not finished; make or download it again",
        )
    read, stated = times.size, times
    order, times = sort_times(times, name, scan)
    axes = Axes(horizontal.dims, time_dim, levels.dimension, expver, fixed)
    how = conversion(quantity, stated_units(quantity, array.attrs, name, source), name, source)
    positions = levels.positions if levels.dimension is not None else ()
    row = BY_NAME.get(quantity.name)
    may_lack = row is not None and row.missing is not None
    reader = ArrayReader(
        opener, source, name, axes, tuple(order), positions, horizontal.order, may_lack
    )
    rows = max(len(levels.hpa), 1) if quantity.upper else 1
    if times.size < read:
        every = replace(reader, positions=tuple(range(read)))
        for fault in _find_unequal_repetitions(every, stated, rows):
            scan.fault(fault)
    centre = str(array.attrs.get("GRIB_centre", dataset.attrs.get("GRIB_centre", "")))
    return SourceVariable(
        source,
        name,
        quantity,
        how,
        times,
        levels.hpa if quantity.upper else (),
        horizontal.grid,
        np.ones((times.size, rows), dtype=bool),
        reader,
        centre,
        find_preliminary(dataset, array, time_dim, read, scan)[order],
        np.broadcast_to(np.array(leads, dtype=np.int64), read)[order],
        _is_true(dataset, "idealised"),
        member,
        summed_hours,
    )
