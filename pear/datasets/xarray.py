"""Any xarray Dataset on a regular grid: the names, axes and quirks of many origins in one form."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.datasets.axes import (
    LAT,
    LEVEL,
    LON,
    UnfitError,
    in_order,
    other_axes,
    place,
    pressures,
    require_instants,
    valid_times,
)
from pear.datasets.base import (
    Fields,
    Scan,
    ScanOptions,
    SourceVariable,
    require_global_grid,
)
from pear.datasets.static import StaticField, static_name
from pear.datasets.units import Quantity, conversion, recognise
from pear.errors import InputError

_BLOCK_BYTES: Final = 256_000_000
_MOST_BLOCKS: Final = 2
# Decoded chunks that hold several fields. A job reads in order of time: two are enough.
_BLOCKS: OrderedDict[Any, npt.NDArray[Any]] = OrderedDict()
_MOST_OPEN: Final = 8
_OPEN: OrderedDict[Any, xr.Dataset] = OrderedDict()
_LOCK: Final = threading.RLock()


class Opener(Protocol):
    """Opens the same dataset in any process; hashable, so that it is opened once in each."""

    def open(self) -> xr.Dataset:
        """Open it lazily."""

    def __hash__(self) -> int: ...


def open_cached(opener: Opener) -> xr.Dataset:
    """Open a dataset, once per process; the last few stay open until :func:`close_datasets`."""
    if isinstance(opener, InMemory):
        return opener.dataset
    with _LOCK:
        if opener not in _OPEN:
            while len(_OPEN) >= _MOST_OPEN:
                _OPEN.popitem(last=False)[1].close()
            _OPEN[opener] = opener.open()
        _OPEN.move_to_end(opener)
        return _OPEN[opener]


def close_datasets() -> None:
    """Close what is open and forget what was decoded."""
    with _LOCK:
        while _OPEN:
            _OPEN.popitem()[1].close()
        _BLOCKS.clear()


@dataclass(frozen=True, eq=False)
class InMemory:
    """An opener of a dataset that a program holds."""

    dataset: xr.Dataset

    def open(self) -> xr.Dataset:
        """Return it."""
        return self.dataset


@dataclass(frozen=True)
class Axes:
    """Which dimension of a variable is what; None where it has no such dimension."""

    lat: Hashable
    lon: Hashable
    time: Hashable | None
    level: Hashable | None
    expver: Hashable | None
    fixed: tuple[tuple[Hashable, int], ...] = ()


@dataclass(frozen=True)
class ArrayReader:
    """Reads fields of one variable: ``positions`` and ``rows`` point into its time and level."""

    opener: Opener
    source: str
    name: str
    axes: Axes
    positions: tuple[int, ...]
    levels: tuple[int, ...]

    def select(self, positions: Sequence[int]) -> ArrayReader:
        """Return the reader of these times alone."""
        return replace(self, positions=tuple(self.positions[p] for p in positions))

    def read(self, position: int, row: int) -> Fields:
        """Return one field: (point,)."""
        at = self.positions[position] if self.axes.time is not None else 0
        level = self.levels[row] if self.levels else 0
        try:
            values = self._field(at, level)
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise InputError(
                f"{self.source}: {self.name} cannot be read: {error}", field="file"
            ) from error
        return np.ascontiguousarray(values.reshape(-1), dtype=np.float32)

    def _field(self, at: int, level: int) -> npt.NDArray[Any]:
        """Decode one field; where several share a chunk, the chunk is decoded once and kept."""
        array = open_cached(self.opener)[self.name]
        if self.axes.fixed:
            array = array.isel(dict(self.axes.fixed))
        places = {self.axes.time: at, self.axes.level: level}
        sizes = {dim: _chunk(array, dim) for dim in places if dim is not None}
        shared = int(np.prod(list(sizes.values()))) * array.sizes[self.axes.lat]
        shared *= array.sizes[self.axes.lon] * array.dtype.itemsize
        if all(size == 1 for size in sizes.values()) or shared > _BLOCK_BYTES:
            return _values(array.isel({dim: places[dim] for dim in sizes}), self.axes)
        first = {dim: places[dim] // size * size for dim, size in sizes.items()}
        key = (self.opener, self.name, tuple(first.items()))
        block = _BLOCKS.get(key)
        if block is None:
            ranges = {dim: slice(first[dim], first[dim] + size) for dim, size in sizes.items()}
            block = _values(array.isel(ranges).transpose(*sizes, ...), self.axes)
            while len(_BLOCKS) >= _MOST_BLOCKS:
                _BLOCKS.popitem(last=False)
            _BLOCKS[key] = block
        return np.asarray(block[tuple(places[dim] - first[dim] for dim in sizes)])


def _chunk(array: xr.DataArray, dim: Hashable) -> int:
    """Chunk length along a dimension as stored; 1 if the storage is contiguous."""
    preferred: Any = array.encoding.get("preferred_chunks") or {}
    return max(1, min(int(preferred.get(dim, 1)), array.sizes[dim]))


def _values(array: xr.DataArray, axes: Axes) -> npt.NDArray[Any]:
    """Values as (…, latitude, longitude); two experiment versions are merged, final first."""
    if axes.expver is not None:
        order = np.argsort(array[axes.expver].values.astype(int))  # 1 is final, 5 preliminary
        parts = [array.isel({axes.expver: int(i)}) for i in order]
        final, *others = (part.transpose(..., axes.lat, axes.lon).values for part in parts)
        for other in others:
            final = np.where(np.isnan(final), other, final)
        return np.asarray(final)
    return np.asarray(array.transpose(..., axes.lat, axes.lon).values)


def scan_dataset(
    opener: Opener,
    source: str,
    kind: str,
    options: ScanOptions = ScanOptions(),  # noqa: B008
) -> Scan:
    """List what PEAR can use of a dataset.

    Raises
    ------
    InputError
        If it is no latitude-longitude data at all.
    """
    dataset = open_cached(opener)
    scan = Scan(source, kind)
    _origin(dataset, scan)
    if "dggs" in dataset.attrs or "cell" in dataset.dims:
        raise InputError(
            f"{source} is on HEALPix already", field="grid", hint="use the store as it is"
        )
    for key, array in dataset.data_vars.items():
        name = str(key)
        if (static := _static(array, opener, source)) is not None:
            scan.static_fields.append(static)
            continue
        quantity = recognise(name, array.attrs)
        if quantity is None:
            if array.ndim >= 2 and not name.endswith(("_bnds", "_bounds")):
                scan.skipped[name] = "not a variable of PEAR"
            continue
        try:
            scan.variables.append(_slab(dataset, array, quantity, opener, scan, options))
        except UnfitError as reason:
            scan.skipped[name] = str(reason)
        except InputError as error:
            scan.fault(error)
    return scan


def _origin(dataset: xr.Dataset, scan: Scan) -> None:
    """Note who made the data, by the words of the file."""
    said = [str(dataset.attrs.get(name, "")).strip() for name in ("institution", "title")]
    scan.origin = "; ".join(text for text in said if text)
    scan.simulated = str(dataset.attrs.get("simulated", "")).lower() in ("true", "yes", "1")


def _static(array: xr.DataArray, opener: Opener, source: str) -> StaticField | None:
    """Return a static field at its first time; None if the array is none, or not on our grid."""
    leveled = any(
        name in LEVEL or one.attrs.get("standard_name") == "air_pressure"
        for name, one in array.coords.items()
    )
    name = str(array.name)
    known = None if leveled else static_name(name)
    if known is None:
        return None
    try:
        lat = place(array, LAT, "latitude", source)
        lon = place(array, LON, "longitude", source)
        grid = require_global_grid(lat.values, lon.values, source)
    except InputError:
        return None

    def read() -> npt.NDArray[Any]:
        held = open_cached(opener)[name].transpose(..., lat.dims[0], lon.dims[0])
        return np.asarray(held[(0,) * (held.ndim - 2)].values)

    return StaticField(known, source, str(array.attrs.get("units", "")), grid, read)


def _slab(
    dataset: xr.Dataset,
    array: xr.DataArray,
    quantity: Quantity,
    opener: Opener,
    scan: Scan,
    options: ScanOptions,
) -> SourceVariable:
    name, source = str(array.name), scan.source
    lat = place(array, LAT, "latitude", source)
    lon = place(array, LON, "longitude", source)
    grid = require_global_grid(lat.values, lon.values, f"{source}: {name}")
    levels, level_dim = pressures(array, quantity)
    if quantity.upper and not levels:
        raise UnfitError("has no pressure level")
    if not quantity.upper and level_dim is not None:
        raise UnfitError("a surface variable with a level axis")
    require_instants(array)
    times, time_dim = valid_times(array, scan)
    known = {lat.dims[0], lon.dims[0], time_dim, level_dim}
    fixed, expver = other_axes(array, known, scan, options)
    order, times = in_order(times, name, scan)
    axes = Axes(lat.dims[0], lon.dims[0], time_dim, level_dim, expver, fixed)
    how = conversion(quantity, array.attrs.get("units"), name, source)
    reader = ArrayReader(
        opener,
        source,
        name,
        axes,
        tuple(order),
        tuple(range(len(levels))) if level_dim is not None else (),
    )
    rows = max(len(levels), 1) if quantity.upper else 1
    centre = str(array.attrs.get("GRIB_centre", dataset.attrs.get("GRIB_centre", "")))
    return SourceVariable(
        source,
        name,
        quantity,
        how,
        times,
        levels if quantity.upper else (),
        grid,
        np.ones((times.size, rows), dtype=bool),
        reader,
        centre,
    )
