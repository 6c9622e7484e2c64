"""Any xarray Dataset on a regular grid: the names, axes and quirks of many origins in one form."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.calendar import Times
from pear.errors import InputError
from pipelines.sources.base import Fields, Scan, ScanOptions, Slab, choose_member, latlon
from pipelines.sources.quantities import Quantity, conversion, recognise

_LAT: Final = ("latitude", "lat", "y")
_LON: Final = ("longitude", "lon", "x")
_TIME: Final = ("valid_time", "time")
_LEAD: Final = ("step", "prediction_timedelta", "lead_time", "leadtime", "forecast_period")
_LEVEL: Final = (
    "level", "pressure_level", "isobaricInhPa", "plev", "pressure", "air_pressure", "lev",
    "isobaricInPa", "isobaric",
)  # fmt: skip
_BLOCK_BYTES: Final = 256_000_000
_MOST_BLOCKS: Final = 2
# Decoded chunks that hold several fields. A job reads in order of time: two are enough.
_BLOCKS: OrderedDict[Any, npt.NDArray[Any]] = OrderedDict()


class Opener(Protocol):
    """Opens the same dataset in any process; hashable, so that it is opened once in each."""

    def open(self) -> xr.Dataset:
        """Open it lazily."""

    def __hash__(self) -> int: ...


@lru_cache(maxsize=8)
def opened(opener: Opener) -> xr.Dataset:
    """Open a dataset, once per process."""
    return opener.open()


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

    def take(self, positions: Sequence[int]) -> ArrayReader:
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
        array = opened(self.opener)[self.name]
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
        parts = [array.isel({axes.expver: i}) for i in range(array.sizes[axes.expver])]
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
    dataset = opened(opener)
    scan = Scan(source, kind)
    if "dggs" in dataset.attrs or "cell" in dataset.dims:
        raise InputError(
            f"{source} is on HEALPix already", field="grid", hint="use the store as it is"
        )
    for key, array in dataset.data_vars.items():
        name = str(key)
        quantity = recognise(name, array.attrs)
        if quantity is None:
            if array.ndim >= 2 and not name.endswith(("_bnds", "_bounds")):
                scan.skipped[name] = "not a variable of PEAR"
            continue
        try:
            slab = _slab(dataset, array, quantity, opener, scan, options)
        except InputError as error:
            scan.fault(error)
            continue
        if slab is not None:
            scan.slabs.append(slab)
    return scan


def _slab(
    dataset: xr.Dataset, array: xr.DataArray, quantity: Quantity, opener: Opener, scan: Scan,
    options: ScanOptions,
) -> Slab | None:  # fmt: skip
    name, source = str(array.name), scan.source
    lat = _coordinate(array, _LAT, "latitude", source)
    lon = _coordinate(array, _LON, "longitude", source)
    grid = latlon(lat.values, lon.values, f"{source}: {name}")
    levels, level_dim = _levels(array, quantity)
    if quantity.upper and not levels:
        scan.skipped[name] = "has no pressure level"
        return None
    if not quantity.upper and level_dim is not None:
        scan.skipped[name] = "a surface variable with a level axis"
        return None
    times, time_dim = _times(array, source)
    fixed, expver = _other_dims(array, {lat.dims[0], lon.dims[0], time_dim, level_dim}, scan,
                                options)  # fmt: skip
    order, times = _increasing(times, name, scan)
    axes = Axes(lat.dims[0], lon.dims[0], time_dim, level_dim, expver, fixed)
    how = conversion(quantity, array.attrs.get("units"), name, source)
    reader = ArrayReader(
        opener, source, name, axes, tuple(order),
        tuple(range(len(levels))) if level_dim is not None else (),
    )  # fmt: skip
    rows = max(len(levels), 1) if quantity.upper else 1
    centre = str(array.attrs.get("GRIB_centre", dataset.attrs.get("GRIB_centre", "")))
    return Slab(
        source, name, quantity, how, times, levels if quantity.upper else (), grid,
        np.ones((times.size, rows), dtype=bool), reader, centre,
    )  # fmt: skip


def _coordinate(array: xr.DataArray, names: Sequence[str], what: str, source: str) -> Any:
    for name, coordinate in array.coords.items():
        known = name in names or coordinate.attrs.get("standard_name") == what
        if known and coordinate.ndim == 1:
            return coordinate
        if known and coordinate.ndim > 1:
            raise InputError(
                f"{source}: {array.name} is on a curvilinear grid", field="grid",
                hint="PEAR needs global data on a regular latitude-longitude grid",
            )  # fmt: skip
    raise InputError(
        f"{source}: {array.name} has no {what}",
        field="grid",
        hint="PEAR needs global data on a regular latitude-longitude grid",
    )


def _levels(array: xr.DataArray, quantity: Quantity) -> tuple[tuple[int, ...], Hashable | None]:
    """Levels in hPa and the dimension they lie along, if any."""
    for name, coordinate in array.coords.items():
        if name in _LEVEL or coordinate.attrs.get("standard_name") == "air_pressure":
            values = np.atleast_1d(coordinate.values).astype(np.float64)
            units = str(coordinate.attrs.get("units", "")).lower()
            in_pascal = units == "pa" or (units not in ("hpa", "millibars", "mb", "mbar")
                                          and values.max() > 1100)  # fmt: skip
            hpa = values / 100 if in_pascal else values
            rounded = tuple(round(float(v)) for v in hpa)
            return rounded, coordinate.dims[0] if coordinate.ndim else None
    return ((quantity.level,), None) if quantity.level is not None else ((), None)


def _times(array: xr.DataArray, source: str) -> tuple[Times, Hashable | None]:
    """Valid times and the dimension they lie along, if any."""
    for name in _TIME:
        if name not in array.coords or array.coords[name].ndim > 1:
            continue
        coordinate = array.coords[name]
        if not np.issubdtype(coordinate.dtype, np.datetime64):
            calendar = coordinate.encoding.get("calendar", coordinate.dtype)
            raise InputError(
                f"{source}: the time of {array.name} is on the calendar {calendar!s}", field="time",
                hint="PEAR needs dates of the real (Gregorian) calendar",
            )  # fmt: skip
        if "climatology" in coordinate.attrs or _is_mean_of_years(array):
            raise InputError(f"{source}: {array.name} is a climatology, not states", field="time")
        values = np.atleast_1d(coordinate.values)
        if name == "time":
            values = values + _lead(array, source)
        if np.isnat(values).any():
            raise InputError(f"{source}: {array.name} has times that are missing", field="time")
        times: Times = values.astype("datetime64[s]")
        return times, coordinate.dims[0] if coordinate.ndim else None
    raise InputError(
        f"{source}: {array.name} has no time (its axes: {', '.join(map(str, array.dims))})",
        field="time", hint="PEAR needs dated fields",
    )  # fmt: skip


def _is_mean_of_years(array: xr.DataArray) -> bool:
    said = " ".join(str(array.attrs.get(key, "")) for key in ("statistic", "cell_methods"))
    return "long term mean" in said.lower() or "over years" in said.lower()


def _lead(array: xr.DataArray, source: str) -> np.timedelta64:
    """Time from the initial to the valid time where a file gives the former as ``time``."""
    for name in _LEAD:
        if name in array.coords:
            lead = array.coords[name]
            if lead.size > 1:
                raise InputError(
                    f"{source}: {array.name} has {lead.size} lead times", field="time",
                    hint="PEAR ingests analyses, or forecasts of one lead time",
                )  # fmt: skip
            value = lead.values.reshape(())
            if np.issubdtype(lead.dtype, np.timedelta64):
                return np.timedelta64(value[()], "s")
            unit = str(lead.attrs.get("units", "hours")).lower()
            seconds = {"h": 3600, "m": 60, "s": 1, "d": 86400}[unit[0]]
            return np.timedelta64(round(float(value) * seconds), "s")
    return np.timedelta64(0, "s")


def _other_dims(
    array: xr.DataArray, known: set[Hashable | None], scan: Scan, options: ScanOptions
) -> tuple[tuple[tuple[Hashable, int], ...], Hashable | None]:
    """Positions along axes that are neither time, level nor place; and the expver axis."""
    fixed: list[tuple[Hashable, int]] = []
    expver = None
    if "expver" in array.coords and "expver" not in array.dims:
        versions = {str(v).lstrip("0") for v in np.atleast_1d(array.coords["expver"].values)}
        if "5" in versions:
            scan.notes.append(f"{array.name}: some times are preliminary (expver 5, ERA5T)")
    for dim in array.dims:
        if dim in known:
            continue
        size = array.sizes[dim]
        if dim == "expver" and size > 1:
            expver = dim
            scan.notes.append(f"{array.name}: {size} experiment versions merged, final first")
        elif dim in ("number", "member", "realization", "ensemble"):
            labels = [int(v) for v in np.atleast_1d(array[dim].values)]
            member = choose_member(labels, options, f"{scan.source}: {array.name}")
            fixed.append((dim, labels.index(member)))
        elif size == 1:
            fixed.append((dim, 0))
        else:
            raise InputError(
                f"{scan.source}: {array.name} has an axis {dim!s} of {size}", field=str(array.name),
                hint="select one value of it first",
            )  # fmt: skip
    return tuple(fixed), expver


def _increasing(times: Times, name: str, scan: Scan) -> tuple[list[int], Times]:
    """Positions that put the times in order, each once; what was not in order is noted."""
    unique, first = np.unique(times, return_index=True)
    if unique.size < times.size:
        scan.notes.append(
            f"{name}: {times.size - unique.size} times come twice; the first is taken"
        )
    elif not np.array_equal(unique, times):
        scan.notes.append(f"{name}: times were not in order")
    return [int(i) for i in first], unique
