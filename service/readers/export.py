"""Part of a run, or all of it, as one NetCDF file or one zipped Zarr store."""

from __future__ import annotations

import math
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.sphere.latlon import global_grid
from pear.sphere.regrid import apply, healpix_to_latlon_bilinear
from pear.times import to_iso
from pear.variables import BY_NAME, parse_field
from service.http.html import DISCLAIMER
from service.readers.forecasts import ForecastStore
from service.readers.points import decimal, parse_numbers

Format = Literal["netcdf", "zarr-zip"]
MEDIA_TYPES: Final[dict[str, str]] = {
    "netcdf": "application/x-netcdf",
    "zarr-zip": "application/zip",
}
SUFFIXES: Final[dict[str, str]] = {"netcdf": "nc", "zarr-zip": "zarr.zip"}
_STEPS: Final = (0.25, 10.0)


@dataclass(frozen=True)
class Box:
    """Part of the sphere in degrees; west may exceed east across 180°."""

    west: float
    south: float
    east: float
    north: float

    def holds(self, latitude: Any, longitude: Any) -> Any:
        """Whether points lie in the box."""
        width = (self.east - self.west) % 360 or 360.0
        inside = np.mod(np.asarray(longitude) - self.west, 360.0) <= width
        return inside & (latitude >= self.south) & (latitude <= self.north)


@dataclass(frozen=True)
class Selection:
    """What to put into the file.

    Attributes
    ----------
    step
        Spacing of the latitude–longitude grid in degrees; None for HEALPix as it is.
    """

    variables: tuple[str, ...]
    levels: tuple[int, ...]
    lead_hours: tuple[int, ...]
    step: float | None
    box: Box | None

    @classmethod
    def of(
        cls,
        store: ForecastStore,
        variables: str | None,
        lead_times: str | None,
        grid: str,
        bbox: str | None,
    ) -> Selection:
        """Read the parameters of a request.

        Raises
        ------
        InputError
            If the run lacks something, or a parameter cannot be read.
        """
        names, levels = _variables(store, variables)
        leads = store.lead_hours
        if lead_times is not None:
            asked = [int(each) for each in parse_numbers(lead_times, "lead_times", 1000)]
            leads = tuple(store.lead_hours[store.lead_index(lead)] for lead in sorted(set(asked)))
        return cls(names, levels, leads, parse_grid(grid), parse_box(bbox))

    def bytes(self, store: ForecastStore) -> int:
        """Size of the values before compression, bytes."""
        points = 12 * store.nside**2
        if self.step is not None:
            points = (round(180 / self.step) + 1) * round(360 / self.step)
        fields = sum(
            len(self.levels) if BY_NAME[name].kind == "upper" else 1 for name in self.variables
        )
        return 4 * points * fields * len(self.lead_hours)


def _variables(
    store: ForecastStore, variables: str | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if variables is None:
        return store.names, store.levels
    names: list[str] = []
    levels: list[int] = []
    for part in variables.split(","):
        found, level = parse_field(part.strip())
        first = level
        if found.kind == "upper" and level is None:
            first = store.levels[0] if store.levels else None
        store.select(found.name, first)
        if found.name not in names:
            names.append(found.name)
        if level is not None and level not in levels:
            levels.append(level)
    return tuple(names), tuple(levels) or store.levels


def parse_grid(text: str) -> float | None:
    """Read ``healpix`` as None and ``latlon:1.5`` as 1.5.

    Raises
    ------
    InputError
        If the text is neither, or the spacing does not divide 180°.
    """
    if text == "healpix":
        return None
    name, _, number = text.partition(":")
    hint = "healpix, or latlon:1.5 (a spacing in degrees that divides 180)"
    try:
        step = decimal(number or "1.0")
    except ValueError as error:
        raise InputError("grid cannot be read", field="grid", hint=hint) from error
    rows = 180.0 / step if step else math.inf
    if name != "latlon" or not _STEPS[0] <= step <= _STEPS[1] or abs(rows - round(rows)) > 1e-9:
        raise InputError("grid cannot be used", field="grid", hint=hint)
    return step


def parse_box(text: str | None) -> Box | None:
    """Read ``west,south,east,north`` in degrees.

    Raises
    ------
    InputError
        If there are not four numbers, or they are no box.
    """
    if text is None:
        return None
    numbers = parse_numbers(text, "bbox", 4)
    if len(numbers) != 4:
        raise InputError("bbox needs four numbers", field="bbox", hint="west,south,east,north")
    west, south, east, north = (float(number) for number in numbers)
    if not (-90 <= south < north <= 90 and max(abs(west), abs(east)) <= 360 and west != east):
        raise InputError("bbox is no box", field="bbox", hint="west,south,east,north in degrees")
    return Box(west, south, east, north)


def extract(store: ForecastStore, chosen: Selection, model: str) -> xr.Dataset:
    """Build the part of a run that was chosen, on the grid that was chosen."""
    leads = [store.lead_index(lead) for lead in chosen.lead_hours]
    part = store.dataset[list(chosen.variables)].isel(prediction_timedelta=leads)
    if "level" in part.dims:
        part = part.sel(level=[level for level in store.levels if level in chosen.levels])
    part = part if chosen.step is None else to_latlon(part, store.nside, chosen.step)
    if chosen.box is not None:
        part = _cut(part, store.nside, chosen.box)
    part.attrs |= {
        "pear_run": store.run,
        "pear_model": model,
        "pear_init_time": to_iso(store.init_time),
        "comment": DISCLAIMER,
    }
    return part


def _cut(part: xr.Dataset, nside: int, box: Box) -> xr.Dataset:
    if "cell" in part.dims:
        cells = np.flatnonzero(box.holds(*centres(nside)))
        kept = part.isel(cell=cells)
    else:
        rows = np.flatnonzero((part.latitude >= box.south) & (part.latitude <= box.north))
        columns = np.flatnonzero(box.holds(0.5 * (box.south + box.north), part.longitude.values))
        cells = rows if columns.size else columns
        kept = part.isel(latitude=rows, longitude=columns)
    if cells.size == 0:
        raise InputError("no cell lies in bbox", field="bbox", hint="ask for a larger box")
    return kept


def to_latlon(part: xr.Dataset, nside: int, step: float) -> xr.Dataset:
    """Bring fields (…, cell) to a global latitude–longitude grid with rows at the poles."""
    grid = global_grid(round(180 / step) + 1, round(360 / step))
    weights = healpix_to_latlon_bilinear(nside, grid)
    coordinates: dict[str, Any] = {
        name: (name, axis, {"standard_name": name, "units": units})
        for name, axis, units in (
            ("latitude", grid.lat, "degrees_north"),
            ("longitude", grid.lon, "degrees_east"),
        )
    }
    fields: dict[str, Any] = {}
    for name, array in part.data_vars.items():
        values = apply(weights, np.asarray(array.values, dtype=np.float32))
        kept = {k: v for k, v in array.attrs.items() if k not in ("grid_mapping", "ek_grid_spec")}
        dims = (*array.dims[:-1], "latitude", "longitude")
        shape = (*array.shape[:-1], *grid.shape)
        fields[str(name)] = (dims, np.asarray(values, np.float32).reshape(shape), kept)
    for name in ("time", "prediction_timedelta", "level"):
        if name in part.coords:
            coordinates[name] = part.coords[name]
    attributes = {k: v for k, v in part.attrs.items() if k not in ("dggs", "zarr_conventions")}
    return xr.Dataset(fields, coordinates, attributes)


def write(part: xr.Dataset, target: Path, kind: Format) -> None:
    """Write the dataset as one file."""
    plain = part.copy()
    plain.attrs = {name: _plain(value) for name, value in part.attrs.items()}
    for variable in plain.variables.values():
        variable.encoding = {
            key: value
            for key, value in variable.encoding.items()
            if key in ("units", "calendar", "_FillValue")
        }
    if kind == "netcdf":
        packing: dict[str, Any] = {"zlib": True, "complevel": 1, "shuffle": True}
        plain.to_netcdf(
            target, engine="netcdf4", encoding={name: dict(packing) for name in plain.data_vars}
        )
        return
    # Written as a folder first: a store inside a zip cannot replace its metadata while it grows.
    folder = target.with_suffix(".folder")
    try:
        plain.to_zarr(folder, zarr_format=3, consolidated=False)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain(value: Any) -> Any:
    """Attributes that NetCDF can hold: nested ones become text."""
    return str(value) if isinstance(value, dict | list | tuple) else value
