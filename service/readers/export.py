"""Export of a run, or of part of it, as one file: NetCDF, a zipped Zarr store or GRIB 2."""

from __future__ import annotations

import math
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import dask
import numpy as np
import xarray as xr

from pear.datasets.latlon import to_latlon
from pear.derived import Derived, parse_quantity
from pear.derived.dataset import compute
from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.store.attributes import as_attributes
from pear.store.schema import VALID_TIME
from pear.times import to_iso
from pear.typing import Bool, Float32, Float64
from pear.variables import variable, wind_pair
from service.http.disclaimer import DISCLAIMER
from service.http.errors import ProblemError
from service.readers.disk import disk_problem
from service.readers.forecasts import ForecastStore, unreadable
from service.readers.grib import require_encodable, write_grib
from service.readers.points import parse_decimal, parse_numbers, parse_whole

Format = Literal["netcdf", "zarr-zip", "grib"]
TimeAxis = Literal["lead", "valid"]
MEDIA_TYPES: Final[dict[str, str]] = {
    "netcdf": "application/x-netcdf",
    "zarr-zip": "application/zip",
    "grib": "application/wmo-GRIB2",
}
SUFFIXES: Final[dict[str, str]] = {"netcdf": "nc", "zarr-zip": "zarr.zip", "grib": "grib2"}
_STEPS: Final = (0.25, 10.0)
_TOLERANCE: Final = 1e-6
_BLOCK_BYTES: Final = 32 * 1024**2
"""Values in memory at once: a download is read, regridded and written in blocks."""
_CHUNK_BYTES: Final = 1024**2


@dataclass(frozen=True)
class Box:
    """Region of the sphere, degrees; west may exceed east across 180°."""

    west: float
    south: float
    east: float
    north: float

    def contains(self, latitude: Float64 | float, longitude: Float64) -> Bool:
        """Return which points (point,) are in the box."""
        width = (self.east - self.west) % 360 or 360.0
        inside: Bool = self._eastward(longitude) <= width + _TOLERANCE
        return inside & (latitude >= self.south) & (latitude <= self.north)

    def unwrap(self, longitude: Float64) -> Float64:
        """Return longitudes that increase from the western edge on, as -20 to 40 or 170 to 190."""
        eastward = self._eastward(longitude)
        start = self.west
        if eastward.size and start + eastward.max() > 360.0 + _TOLERANCE:
            start -= 360.0
        return np.round(start + eastward, 9)

    def _eastward(self, longitude: Float64) -> Float64:
        """Return degrees east of the western edge; a point on the edge may lie 1e-6 beyond it."""
        degrees: Float64 = np.mod(longitude - self.west + _TOLERANCE, 360.0) - _TOLERANCE
        return degrees


@dataclass(frozen=True)
class Selection:
    """Contents of a file.

    Attributes
    ----------
    variables, levels, lead_hours
        Canonical names, levels in hPa, and lead times in hours.
    step
        Spacing of the latitude–longitude grid in degrees; None for the HEALPix grid.
    box
        Region; None for the whole sphere.
    time_axis
        ``lead`` for init time and lead time as in the stores; ``valid`` for one axis of valid
        times, which CDO, Panoply and GIS expect, with the init time beside it.
    """

    variables: tuple[str, ...]
    levels: tuple[int, ...]
    lead_hours: tuple[int, ...]
    step: float | None
    box: Box | None
    time_axis: TimeAxis = "lead"

    @classmethod
    def from_request(
        cls,
        store: ForecastStore,
        variables: str | None,
        lead_times: str | None,
        grid: str,
        bbox: str | None,
        time_axis: TimeAxis = "lead",
    ) -> Selection:
        """Parse the query parameters of a request."""
        names, levels = _variables(store, variables)
        leads = store.lead_hours
        if lead_times is not None:
            asked = parse_whole(lead_times, "lead_times", 1000)
            leads = tuple(store.lead_hours[store.lead_index(lead)] for lead in sorted(set(asked)))
        return cls(names, levels, leads, parse_grid(grid), parse_box(bbox), time_axis)

    def require(self, format: Format) -> None:  # noqa: A002
        """Raise if a format cannot hold the selection, before anything is read."""
        if format == "grib":
            in_part = self.step is None and self.box is not None
            require_encodable(self.variables, has_part_of_cells=in_part)
            if self.time_axis == "valid":
                raise InputError(
                    "a GRIB message has init time and lead time",
                    field="time_axis",
                    hint="leave out time_axis",
                )

    @property
    def points(self) -> int:
        """Points of the latitude–longitude grid; 0 on HEALPix."""
        if self.step is None:
            return 0
        return (round(180 / self.step) + 1) * round(360 / self.step)

    def nbytes(self, store: ForecastStore) -> int:
        """Return the size of the values before compression, bytes."""
        points = self.points or 12 * store.nside**2
        fields = sum(
            len(self.levels) if variable(name).kind == "upper" else 1 for name in self.variables
        )
        return 4 * points * fields * len(self.lead_hours)


def _variables(
    store: ForecastStore, variables: str | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return canonical names and levels; a name without a level stands for all levels."""
    if variables is None:
        return store.names, store.levels
    names: dict[str, None] = {}
    levels: dict[int, None] = {}
    for part in variables.split(","):
        row, level = parse_quantity(part.strip())
        any_level = store.levels[0] if row.kind == "upper" and store.levels else None
        store.select(row.name, any_level if level is None else level)
        names[row.name] = None
        if level is not None:
            levels[level] = None
    return tuple(names), tuple(levels) or store.levels


def parse_grid(text: str) -> float | None:
    """Parse the grid of a request: ``healpix`` or ``latlon:1.5``.

    Returns
    -------
    float or None
        Spacing in degrees; None for HEALPix.

    Raises
    ------
    InputError
        If the grid is unknown, or the spacing does not divide 180°.
    """
    if text == "healpix":
        return None
    name, _, number = text.partition(":")
    try:
        step = parse_decimal(number or "1.0")
    except ValueError:
        step = math.nan
    rows = 180.0 / step if step else math.inf
    low, high = _STEPS
    if name != "latlon" or not low <= step <= high or abs(rows - round(rows)) > 1e-9:
        raise InputError(
            "unknown grid",
            field="grid",
            hint=f"use healpix, or latlon:1.5 (a divisor of 180 from {low:g} to {high:g} degrees)",
        )
    return step


def parse_box(text: str | None) -> Box | None:
    """Parse ``west,south,east,north`` in degrees.

    Returns
    -------
    Box or None
        None for the whole sphere.

    Raises
    ------
    InputError
        If the text is not four numbers that make a box.
    """
    if text is None:
        return None
    edges = parse_numbers(text, "bbox", 4).tolist()
    if len(edges) == 4:
        west, south, east, north = edges
        if -90 <= south < north <= 90 and max(abs(west), abs(east)) <= 360 and west != east:
            return Box(west, south, east, north)
    raise InputError(
        "bbox is not a region of the sphere",
        field="bbox",
        hint="use west,south,east,north in degrees, with south below north",
    )


def extract(store: ForecastStore, chosen: Selection, model: str) -> xr.Dataset:
    """Return the selected part of a run, on the selected grid, to be computed in blocks."""
    leads = [store.lead_index(lead) for lead in chosen.lead_hours]
    derived = {name: found for name in chosen.variables if (found := store.derived(name))}
    names = dict.fromkeys(name for name in chosen.variables if name not in derived)
    names |= dict.fromkeys(one for found in derived.values() for one in found.needs)
    if chosen.step is not None and store.has_vectors:
        for name in list(names):  # a wind is regridded as one vector
            pair = wind_pair(name)
            if pair is not None:
                store.require_wind(f"{name} on a latitude-longitude grid", pair)
                names |= dict.fromkeys(pair)
    part = store.dataset[list(names)].isel(prediction_timedelta=leads)
    if "level" in part.dims:
        wanted = {*chosen.levels, *(one for found in derived.values() for one in found.levels)}
        part = part.sel(level=[level for level in store.levels if level in wanted])
    part = _in_blocks(part, chosen)
    part = _with_derived(part, {n: one for n, one in derived.items() if one.is_global})
    if chosen.step is not None:
        part = to_latlon(part, chosen.step)
    part = _with_derived(part, {n: one for n, one in derived.items() if not one.is_global})
    part = part[list(chosen.variables)]
    if "level" in part.dims:
        part = part.sel(level=[level for level in store.levels if level in chosen.levels])
    if chosen.box is not None:
        part = _cut(part, store.nside, chosen.box)
    if chosen.time_axis == "valid":
        part = _along_valid_time(part)
    part.attrs |= {
        "pear_run": store.run,
        "pear_model": model,
        "pear_init_time": to_iso(store.init_time),
        "comment": DISCLAIMER,
    }
    return part


def _along_valid_time(part: xr.Dataset) -> xr.Dataset:
    """Return a run along its valid times, with the init time as ``forecast_reference_time``."""
    one = part.isel(time=0).rename(time="forecast_reference_time", prediction_timedelta="time")
    lead = one["time"].rename("prediction_timedelta").variable
    valid = one[VALID_TIME].variable.copy()
    valid.attrs["axis"] = "T"
    del one["forecast_reference_time"].attrs["axis"]
    return one.drop_vars(VALID_TIME).assign_coords(time=valid, prediction_timedelta=lead)


def _with_derived(part: xr.Dataset, derived: Mapping[str, Derived]) -> xr.Dataset:
    """Add derived quantities, computed block by block."""
    added = {}
    for name, found in derived.items():
        if found.levels:
            fields = [part[found.needs[0]].sel(level=one, drop=True) for one in found.levels]
        else:
            fields = [part[one] for one in found.needs]
        added[name] = compute(found, fields).astype(np.float32)
    return part.assign(added)


def _cut(part: xr.Dataset, nside: int, box: Box) -> xr.Dataset:
    if "cell" in part.dims:
        cells = np.flatnonzero(box.contains(*centres(nside)))
        kept = part.isel(cell=cells)
    else:
        rows = np.flatnonzero((part.latitude >= box.south) & (part.latitude <= box.north))
        columns = np.flatnonzero(box.contains(0.5 * (box.south + box.north), part.longitude.values))
        cells = rows if columns.size else columns
        columns = columns[np.argsort(box.unwrap(part.longitude.values[columns]))]
        kept = part.isel(latitude=rows, longitude=columns)
        east = box.unwrap(kept.longitude.values)
        kept = kept.assign_coords(longitude=kept.longitude.copy(data=east))
    if cells.size == 0:
        raise InputError("bbox contains no grid point", field="bbox", hint="use a larger box")
    return kept


def _in_blocks(part: xr.Dataset, chosen: Selection) -> xr.Dataset:
    """Return the same with fields that are read block by block, each checked for missing values."""
    points = max(part.sizes["cell"], chosen.points)
    levels = part.sizes.get("level", 1)
    leads = max(1, _BLOCK_BYTES // (4 * points * levels))
    some = max(1, min(levels, _BLOCK_BYTES // (4 * points)))
    sizes = {"prediction_timedelta": leads, "level": some}
    whole = {name: each.load() for name, each in part.coords.items() if name not in part.dims}
    part = part.chunk({dim: size for dim, size in sizes.items() if dim in part.dims})
    part = part.assign_coords(whole)
    return part.map(
        lambda field: field.copy(data=field.data.map_blocks(_check_block, dtype=field.dtype)),
        keep_attrs=True,
    )


def _check_block(block: Float32) -> Float32:
    if not np.isfinite(block).all():
        # Finished runs have no missing values, but a lost chunk reads as fill values.
        raise _MissingError
    return block


class _MissingError(ValueError):
    pass


def export(
    path: Path,
    chosen: Selection,
    about: tuple[str, str],
    target: Path,
    format: Format,  # noqa: A002
) -> None:
    """Write the selected part of a run as one file; nothing is left of it if that fails.

    A full disk is answered with 507; a disk that cannot be written, or a store that cannot be read,
    with 503.

    Parameters
    ----------
    path
        Store of the run.
    chosen
        What to write.
    about
        Name of the store, and of the model.
    target
        The file.
    format
        NetCDF-4, a zipped Zarr store, or GRIB 2.
    """
    name, model = about
    try:
        part = extract(ForecastStore.open(name, path), chosen, model)
        with dask.config.set(scheduler="synchronous"):
            write(part, target, format)
    except Exception as error:
        problem = _explain(error, name, target.parent)
        remove_export(target)
        if problem is None:
            raise
        raise problem from error


def _explain(error: Exception, name: str, folder: Path) -> ProblemError | None:
    """Return the response to what a disk or a damaged store raised; None for any other fault."""
    if isinstance(error, ProblemError | InputError):
        return None
    if isinstance(error, _MissingError):
        return unreadable(f"the store of run {name}", "values are missing")
    full = disk_problem(error, folder)
    if full is None and isinstance(error, OSError | RuntimeError | KeyError | ValueError):
        return unreadable(f"the store of run {name}", type(error).__name__)
    return full


def remove_export(target: Path) -> None:
    """Remove a file and what was written beside it."""
    target.unlink(missing_ok=True)
    shutil.rmtree(_folder_beside(target), ignore_errors=True)


def _folder_beside(target: Path) -> Path:
    return target.with_suffix(".folder")


def write(part: xr.Dataset, target: Path, format: Format) -> None:  # noqa: A002
    """Write a dataset as one file."""
    if format == "grib":
        write_grib(part, target)
        return
    plain = part.copy()
    plain.attrs = as_attributes(part.attrs)
    for name, each in plain.variables.items():
        kept = ("units", "calendar", *(["_FillValue"] if name in plain.data_vars else []))
        each.encoding = {key: value for key, value in each.encoding.items() if key in kept}
        if name not in plain.data_vars:
            each.encoding["_FillValue"] = None  # coordinates have no missing values
    auxiliary = [
        name
        for name in (
            "latitude",
            "longitude",
            VALID_TIME,
            "prediction_timedelta",
            "forecast_reference_time",
        )
        if name in plain.coords and name not in plain.dims
    ]
    for array in plain.data_vars.values():
        array.encoding["coordinates"] = " ".join(auxiliary)
    if format == "netcdf":
        packing: dict[str, Any] = {"zlib": True, "complevel": 1, "shuffle": True}
        encoding = {
            name: {**packing, "chunksizes": _chunks(array)}
            for name, array in plain.data_vars.items()
        }
        plain.to_netcdf(target, engine="netcdf4", encoding=encoding)
        return
    # A ZipStore cannot replace its metadata while it grows, so write a folder first.
    folder = _folder_beside(target)
    try:
        with warnings.catch_warnings():  # as in PEAR's stores: readers find all arrays at once
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
            plain.to_zarr(folder, zarr_format=3, consolidated=True)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chunks(array: xr.DataArray) -> tuple[int, ...]:
    """Return chunks of about a megabyte that no two blocks share."""
    blocks = dict(zip(array.dims, array.data.chunksize, strict=True)) if array.chunks else {}
    shape, left = [], _CHUNK_BYTES // array.dtype.itemsize
    for dim, size in reversed(list(array.sizes.items())):
        horizontal = dim in ("cell", "latitude", "longitude")
        length = size if horizontal else max(1, min(blocks.get(dim, size), left))
        while not horizontal and blocks.get(dim, size) % length:
            length -= 1
        shape.append(length)
        left //= length
    return tuple(reversed(shape))
