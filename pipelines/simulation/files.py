"""Monthly files of simulated weather in the format of ERA5 from the Climate Data Store.

Dimensions ``valid_time, pressure_level, latitude, longitude`` (north first), ECMWF short names,
packed 16-bit integers; humidity, which spans five decades, as floats with few mantissa bits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import netCDF4
import numpy as np

from pear.store.static_fields import GROUND, LAND
from pear.typing import Float32, Float64, Times
from pear.variables import LEVELS, variable


@dataclass(frozen=True)
class Packing:
    """Precision and compression of the stored fields.

    Attributes
    ----------
    step
        Value of one integer step by short name.
    offset
        Value of integer 0 by short name.
    humidity_bits
        Mantissa bits kept of specific humidity.
    filters
        Compression of packed integers and of other fields: keywords of ``createVariable``.
    """

    step: Mapping[str, float]
    offset: Mapping[str, float]
    humidity_bits: int
    filters: tuple[Mapping[str, Any], Mapping[str, Any]]


_ZLIB: Final = {"compression": "zlib", "shuffle": True}
FINE: Final = Packing(
    {
        "z": 4.0,
        "t": 0.005,
        "u": 0.005,
        "v": 0.005,
        "msl": 1.0,
        "u10": 0.002,
        "v10": 0.002,
        "t2m": 0.005,
    },
    {
        "z": 100_000.0,
        "t": 250.0,
        "u": 0.0,
        "v": 0.0,
        "msl": 100_000.0,
        "u10": 0.0,
        "v10": 0.0,
        "t2m": 270.0,
    },
    12,
    ({**_ZLIB, "complevel": 1},) * 2,
)
COARSE: Final = Packing(
    {
        "z": 16.0,
        "t": 0.06,
        "u": 0.15,
        "v": 0.15,
        "msl": 10.0,
        "u10": 0.08,
        "v10": 0.08,
        "t2m": 0.08,
    },
    {
        "z": -12_000.0,
        "t": 160.0,
        "u": -150.0,
        "v": -150.0,
        "msl": 80_000.0,
        "u10": -80.0,
        "v10": -80.0,
        "t2m": 150.0,
    },
    7,
    (
        {"compression": "szip", "szip_coding": "nn", "szip_pixels_per_block": 32},
        {**_ZLIB, "complevel": 9},
    ),
)
"""For the shipped sample: rounding far below a one-day forecast's error (z500: 5 m² s⁻²).

szip codes differences between neighbours, and so makes smooth fields a third smaller than zlib
does. It takes the integers for unsigned, so the offsets lie below every value. Wheels of netCDF4
have it on every system.
"""
_STATIC: Final = {
    GROUND: {"standard_name": "surface_geopotential", "units": "m**2 s**-2"},
    LAND: {"standard_name": "land_binary_mask", "units": "(0 - 1)"},
}


@dataclass(frozen=True)
class Grid:
    """Grid of a file and the static fields on it.

    Attributes
    ----------
    lat, lon
        Degrees; latitude from south to north (reversed on writing).
    static
        (lat, lon) by name: ``geopotential_at_surface`` in m² s⁻², ``land_sea_mask`` in [0, 1].
    """

    lat: Float64
    lon: Float64
    static: Mapping[str, Float32] = field(default_factory=dict)


def write(
    path: Path,
    times: Times,
    grid: Grid,
    fields: Mapping[str, Float32],
    attributes: Mapping[str, str],
    packing: Packing = FINE,
) -> None:
    """Write one file under a temporary name, then rename it.

    Parameters
    ----------
    path
        Target.
    times
        (time,) valid times.
    grid
        Coordinates and static fields.
    fields
        By short name: (time, lat, lon) or (time, level, lat, lon), levels as in
        :data:`pear.variables.LEVELS`.
    attributes
        Attributes of the file: its origin, and that it is simulated.
    packing
        Precision.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with netCDF4.Dataset(scratch, "w", format="NETCDF4") as file:
            file.setncatts(dict(attributes))
            _coordinates(file, times, grid)
            for name, values in grid.static.items():
                static = file.createVariable(name, "f4", ("latitude", "longitude"), zlib=True)
                static.setncatts(_STATIC[name])
                static[:] = values[::-1]
            for name, values in fields.items():
                _field(file, name, values[..., ::-1, :], packing)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _coordinates(file: netCDF4.Dataset, times: Times, grid: Grid) -> None:
    seconds = times.astype("datetime64[s]").astype(np.int64)
    for name, values, attributes in (
        (
            "valid_time",
            seconds,
            {
                "standard_name": "time",
                "calendar": "proleptic_gregorian",
                "units": "seconds since 1970-01-01",
            },
        ),
        (
            "pressure_level",
            np.array(LEVELS, dtype=np.float64),
            {"standard_name": "air_pressure", "units": "hPa", "positive": "down"},
        ),
        ("latitude", grid.lat[::-1], {"standard_name": "latitude", "units": "degrees_north"}),
        ("longitude", grid.lon, {"standard_name": "longitude", "units": "degrees_east"}),
    ):
        file.createDimension(name, None if name == "valid_time" else len(values))
        coordinate = file.createVariable(name, values.dtype, (name,))
        coordinate.setncatts(attributes)
        coordinate[:] = values


def _field(file: netCDF4.Dataset, name: str, values: Float32, packing: Packing) -> None:
    known = variable(name)
    dimensions = ("valid_time", "pressure_level", "latitude", "longitude")
    shape = values.shape
    common: dict[str, Any] = {
        "dimensions": dimensions if values.ndim == 4 else (dimensions[0], *dimensions[2:]),
        "chunksizes": (1, *shape[1:]),
    }
    integers, floats = packing.filters
    attributes = {
        "standard_name": known.standard_name,
        "long_name": known.long_name,
        "units": known.units.replace("-", "**-") if "-" in known.units else known.units,
    }
    if name in packing.step:
        step, offset = packing.step[name], packing.offset[name]
        packed = np.round((values.astype(np.float64) - offset) / step)
        if np.abs(packed).max() > 32_766:
            raise ValueError(f"{name} spans {values.min()}..{values.max()}: too wide to pack")
        target = file.createVariable(name, "i2", fill_value=np.int16(-32_767), **common, **integers)
        target.set_auto_maskandscale(False)
        target.setncatts({"scale_factor": step, "add_offset": offset})
        target[:] = packed.astype(np.int16)
    else:
        target = file.createVariable(
            name,
            "f4",
            significant_digits=packing.humidity_bits,
            quantize_mode="BitRound",
            **common,
            **floats,
        )
        target[:] = values
    target.setncatts(attributes)
