"""Fields of latitude-longitude datasets: read, converted, checked and regridded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from scipy import sparse

from pear.datasets.base import SourceVariable
from pear.datasets.units import RELATIVE_HUMIDITY, check_values, specific_humidity
from pear.errors import InputError
from pear.sphere.latlon import LatLonGrid
from pear.sphere.pole_rows import mend_pole_rows
from pear.sphere.regrid import apply, apply_wind, bilinear_to_healpix, conservative_to_healpix
from pear.sphere.vectors import Frames, cell_frames, grid_frames
from pear.typing import Float32, Times
from pear.variables import BY_NAME, wind_pair, wind_partner

Method = Literal["bilinear", "conservative"]
RawField: TypeAlias = tuple[Float32, Float32 | None]
"""A field (point,) as its source has it, and the one that belongs to it: the temperature beside
relative humidity, the other component beside one of a wind."""


@dataclass(frozen=True)
class FieldSource:
    """A source of the fields of one canonical variable.

    Attributes
    ----------
    variable : SourceVariable
        The fields, or the relative humidity from which they are computed.
    temperature : tuple of SourceVariable
        For relative humidity: temperature on the same grid.
    partner : tuple of SourceVariable or None
        For a component of a wind that is regridded as a vector: the other component on the same
        grid. None for what is regridded by itself.

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
    partner: tuple[SourceVariable, ...] | None = None

    def select(self, times: Times) -> FieldSource | None:
        """Return the source restricted to these times, or None if it has none of them."""
        variable = self.variable.select(times)
        if variable is None:
            return None
        partner = None if self.partner is None else _select(self.partner, times)
        return FieldSource(variable, _select(self.temperature, times), partner)

    def read(self, position: int, row: int) -> RawField:
        """Read one field, and the one that belongs to it.

        Parameters
        ----------
        position, row
            Index of the time and of the level.

        Returns
        -------
        values, beside
            (point,); ``beside`` is None but for relative humidity and for winds that are regridded
            as vectors.
        """
        values = self.variable.read(position, row)
        time, level = self.variable.times[position], self.variable.level(row)
        if self.partner is not None:
            name = wind_partner(self.variable.quantity.name)
            why = f"no {name} at this level and time: the mean of a wind needs both components"
            return values, _read_beside(self.partner, time, level, "its other component", why)
        if self.variable.quantity.name != RELATIVE_HUMIDITY or level is None:
            return values, None
        why = "no temperature at this level and time to compute specific humidity"
        return values, _read_beside(self.temperature, time, level, "its temperature", why)

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
        values, beside = raw
        fault = check_values(values, self.variable.quantity, level, self.variable.conversion)
        if fault is not None:
            raise InputError(fault)
        if beside is None or level is None or self.partner is not None:
            return values
        values = specific_humidity(values, beside, level, self.variable.centre)
        low, high = BY_NAME["specific_humidity"].valid_range
        if not (low <= values.min() and values.max() <= high):
            raise InputError(f"specific humidity up to {values.max():.3g} kg kg-1")
        return values


def _select(variables: Sequence[SourceVariable], times: Times) -> tuple[SourceVariable, ...]:
    found = (one.select(times) for one in variables)
    return tuple(one for one in found if one is not None)


def _read_beside(
    variables: Sequence[SourceVariable],
    time: np.datetime64,
    level: int | None,
    what: str,
    missing: str,
) -> Float32:
    """Read the field of the same level and time from the first of some variables that has it."""
    for variable in variables:
        at = np.flatnonzero(variable.times == time)
        rows = [row for row in range(variable.rows) if variable.level(row) == level]
        if at.size and rows and variable.present[at[0], rows[0]]:
            values = variable.read(int(at[0]), rows[0])
            fault = check_values(values, variable.quantity, level, variable.conversion)
            if fault is not None:
                raise InputError(f"{what}: {fault}")
            return values
    raise InputError(missing)


def require_partner(sources: Mapping[str, Sequence[FieldSource]], name: str) -> list[FieldSource]:
    """Give each component of a wind the sources of the other one, to be averaged as a vector.

    Parameters
    ----------
    sources
        Sources of each canonical variable.
    name
        Canonical name of the component.

    Returns
    -------
    list of FieldSource
        Those of ``name``, with their partners.

    Raises
    ------
    InputError
        If no source has the other component on the same grid.

    Examples
    --------
    >>> from pear.datasets.fields import require_partner
    >>> require_partner({"u_component_of_wind": []}, "u_component_of_wind")
    []
    """
    other = wind_partner(name)
    beside = [] if other is None else [one.variable for one in sources.get(other, ())]
    out = []
    for source in sources[name]:
        partner = tuple(one for one in beside if one.grid == source.variable.grid)
        if not partner:
            raise InputError(
                f"{source.variable.source}: {source.variable.name} comes without {other} on its "
                "grid, and the mean of a wind over a cell needs both components",
                field=source.variable.name,
                hint="add the other component, or use the method bilinear",
            )
        out.append(replace(source, partner=partner))
    return out


def regrid_field(raw: RawField, grid: LatLonGrid, nside: int, method: Method, name: str) -> Float32:
    """Regrid a field of a canonical variable to HEALPix cells.

    Means over cells are those of wind vectors. Between points of a grid a component is interpolated
    by itself: neighbours in a row see east in directions that differ as little as the wind does.
    What is special are the poles, where a row holds one wind, see
    :func:`pear.sphere.pole_rows.mend_pole_rows`.

    Parameters
    ----------
    raw
        The field (…, point) in canonical units; for a mean of winds with the other component.
    grid
        Grid of the points.
    nside
        HEALPix resolution.
    method
        ``bilinear`` (point values) or ``conservative`` (area means).
    name
        Canonical name.

    Returns
    -------
    ndarray
        (…, cell), float32.

    Raises
    ------
    ValueError
        If the other component is missing.

    Examples
    --------
    >>> from pear.datasets.fields import regrid_field
    >>> from pear.sphere.latlon import global_grid
    >>> values = np.full((2, 19 * 36), 280.0, dtype=np.float32), None
    >>> cells = regrid_field(values, global_grid(19, 36), 4, "conservative", "2m_temperature")
    >>> cells.shape, bool(np.allclose(cells, 280.0))
    ((2, 192), True)
    """
    values, partner = raw
    pair = wind_pair(name)
    weights = regridding_weights(grid, nside, method, wind=pair is not None)
    if pair is not None:
        values = mend_pole_rows(values, grid)
    if pair is None or method == "bilinear":
        return np.asarray(apply(weights, values))
    if partner is None:
        raise ValueError(f"{name} needs its other component to be averaged")
    which = pair.index(name)
    components = [values, mend_pole_rows(partner, grid)]
    u, v = components if which == 0 else components[::-1]
    winds = apply_wind(weights, u, v, _grid_frames(grid), cell_frames(nside))
    return winds[which]


@lru_cache(maxsize=2)
def _grid_frames(grid: LatLonGrid) -> Frames:
    return grid_frames(grid)


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
