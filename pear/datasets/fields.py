"""Fields of latitude-longitude datasets: read, converted, checked and regridded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import sparse

from pear.datasets.base import SourceVariable
from pear.datasets.units import RELATIVE_HUMIDITY, check_values, specific_humidity
from pear.errors import InputError
from pear.sphere.latlon import LatLonGrid
from pear.sphere.regrid import apply, bilinear_to_healpix, conservative_to_healpix
from pear.typing import Float32, Times
from pear.variables import BY_NAME

Method = Literal["bilinear", "conservative"]
RawField: TypeAlias = tuple[Float32, Float32 | None]
"""A field (point,) as its source has it, and the temperature beside relative humidity."""


@dataclass(frozen=True)
class FieldSource:
    """A source of the fields of one canonical variable.

    Attributes
    ----------
    variable : SourceVariable
        The fields, or the relative humidity from which they are computed.
    temperature : tuple of SourceVariable
        For relative humidity: temperature on the same grid.

    Examples
    --------
    >>> from pear.datasets.fields import FieldSource
    >>> import xarray as xr
    >>> from pear.datasets.xarray import InMemory, scan_dataset
    >>> from pear.sphere.latlon import global_grid
    >>> grid = global_grid(19, 36)
    >>> times = np.array(["2001-01-01"], "datetime64[ns]")
    >>> coords = {"time": times, "lat": grid.lat, "lon": grid.lon}
    >>> celsius = xr.DataArray(np.full((1, 19, 36), 15.0), coords, attrs={"units": "degC"})
    >>> scan = scan_dataset(InMemory(celsius.to_dataset(name="t2m")), "memory", "Dataset")
    >>> source = FieldSource(scan.variables[0])
    >>> round(float(source.convert(source.read(0, 0), None).max()), 2)  # K
    288.15
    """

    variable: SourceVariable
    temperature: tuple[SourceVariable, ...] = ()

    def select(self, times: Times) -> FieldSource | None:
        """Return the source restricted to these times, or None if it has none of them."""
        variable = self.variable.select(times)
        if variable is None:
            return None
        temperature = (one.select(times) for one in self.temperature)
        return FieldSource(variable, tuple(one for one in temperature if one is not None))

    def read(self, position: int, row: int) -> RawField:
        """Read one field, and the temperature that belongs to relative humidity.

        Parameters
        ----------
        position, row
            Index of the time and of the level.

        Returns
        -------
        values, temperature
            (point,); the temperature is None but for relative humidity.
        """
        values = self.variable.read(position, row)
        level = self.variable.level(row)
        if self.variable.quantity.name != RELATIVE_HUMIDITY or level is None:
            return values, None
        return values, self._read_temperature(self.variable.times[position], level)

    def _read_temperature(self, time: np.datetime64, level: int) -> Float32:
        for variable in self.temperature:
            at = np.flatnonzero(variable.times == time)
            if at.size and level in variable.levels:
                row = variable.levels.index(level)
                if variable.present[at[0], row]:
                    values = variable.read(int(at[0]), row)
                    fault = check_values(values, variable.quantity, level, variable.conversion)
                    if fault is not None:
                        raise InputError(f"its temperature: {fault}")
                    return values
        raise InputError("no temperature at this level and time to compute specific humidity")

    def convert(self, raw: RawField, level: int | None) -> Float32:
        """Check a field and convert it to the canonical variable.

        Parameters
        ----------
        raw
            As returned by :meth:`read`.
        level
            Pressure level in hPa, or None.

        Returns
        -------
        ndarray
            (point,), canonical units.

        Raises
        ------
        InputError
            With the reason as its message, if a value is missing or out of range.
        """
        values, temperature = raw
        fault = check_values(values, self.variable.quantity, level, self.variable.conversion)
        if fault is not None:
            raise InputError(fault)
        if temperature is None or level is None:
            return values
        values = specific_humidity(values, temperature, level, self.variable.centre)
        low, high = BY_NAME["specific_humidity"].valid_range
        if not (low <= values.min() and values.max() <= high):
            raise InputError(f"specific humidity up to {values.max():.3g} kg kg-1")
        return values


def regrid_field(
    values: Float32, grid: LatLonGrid, nside: int, method: Method, name: str
) -> Float32:
    """Regrid a field of a canonical variable to HEALPix cells.

    Parameters
    ----------
    values
        (…, point), canonical units.
    grid
        Grid of the points.
    nside
        HEALPix resolution.
    method
        ``bilinear`` (point values) or ``conservative`` (area means).
    name
        Canonical name: winds differ from scalars near the poles.

    Returns
    -------
    ndarray
        (…, cell), float32.

    Examples
    --------
    >>> from pear.datasets.fields import regrid_field
    >>> from pear.sphere.latlon import global_grid
    >>> values = np.full((2, 19 * 36), 280.0, dtype=np.float32)
    >>> cells = regrid_field(values, global_grid(19, 36), 4, "conservative", "2m_temperature")
    >>> cells.shape, bool(np.allclose(cells, 280.0))
    ((2, 192), True)
    """
    wind = name in BY_NAME and BY_NAME[name].standard_name.endswith("ward_wind")
    out: Float32 = apply(regridding_weights(grid, nside, method, wind=wind), values)
    return out


def regridding_weights(
    grid: LatLonGrid, nside: int, method: Method, *, wind: bool = False
) -> sparse.csr_array:
    """Return the weights that take fields from a grid to HEALPix cells.

    Parameters
    ----------
    grid
        Grid of the source.
    nside
        HEALPix resolution.
    method
        ``bilinear`` or ``conservative``.
    wind
        Whether the fields are wind components, which differ from scalars near the poles.

    Returns
    -------
    sparse array
        (cell, point), cached.

    Examples
    --------
    >>> from pear.datasets.fields import regridding_weights
    >>> from pear.sphere.latlon import global_grid
    >>> weights = regridding_weights(global_grid(19, 36), 4, "bilinear")
    >>> weights.shape, bool(np.allclose(weights.sum(axis=1), 1.0))
    ((192, 684), True)
    """
    if method == "conservative":
        return conservative_to_healpix(grid, nside)
    # Components differ from scalars only poleward of the last latitude ring.
    lacks_poles = max(90.0 + grid.lat.min(), 90.0 - grid.lat.max()) > 1e-6
    return bilinear_to_healpix(grid, nside, vector=bool(wind and lacks_poles))
