"""Fields of sources on any grid: read, converted, checked and regridded to HEALPix cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from scipy import sparse

from pear.datasets.base import SourceVariable
from pear.datasets.plausibility import find_implausible
from pear.datasets.units import RELATIVE_HUMIDITY, check_values, specific_humidity
from pear.errors import InputError
from pear.sphere.between_cells import interpolation_between, mean_over_cells
from pear.sphere.healpix import coarsen
from pear.sphere.latlon import LatLonGrid
from pear.sphere.pole_rows import mend_pole_rows
from pear.sphere.regrid import apply, apply_wind, bilinear_to_healpix, conservative_to_healpix
from pear.sphere.source_grids import HealpixGrid, SourceGrid, frames_of
from pear.sphere.vectors import cell_frames, coarsen_wind
from pear.typing import Float32, Int64, Times
from pear.variables import BY_NAME, wind_pair, wind_partner

Method = Literal["bilinear", "conservative"]
_MOST_MISSING = 0.8
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
    >>> warm = np.linspace(14.0, 15.0, 19 * 36).reshape(1, 19, 36)
    >>> celsius = xr.DataArray(warm, coords, attrs={"units": "degC"})
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

    def convert(self, raw: RawField, level: int | None, *, may_rest: bool = False) -> Float32:
        """Check a field and convert it to the canonical variable.

        Parameters
        ----------
        raw
            As returned by :meth:`read`.
        level
            Pressure level in hPa, or None.
        may_rest
            Whether winds may be exactly zero, as those of idealised flows.

        Returns
        -------
        ndarray
            (point,), canonical units.

        Raises
        ------
        InputError
            With the reason as its message, if a value is missing or out of range, or if the field
            cannot be weather.
        """
        values, beside = raw
        row = BY_NAME.get(self.variable.quantity.name)
        if row is not None and row.missing == "nearest":
            values = fill_nearest(values, self.variable.grid)
        fault = check_values(values, self.variable.quantity, level, self.variable.conversion)
        if fault is None and not self.variable.idealised:
            one = self.variable
            fault = find_implausible(
                values, one.grid, one.quantity, level, one.conversion, may_rest=may_rest
            )
        if fault is not None:
            raise InputError(fault)
        if beside is None or level is None or self.partner is not None:
            return values
        values = specific_humidity(values, beside, level, self.variable.centre)
        low, high = BY_NAME["specific_humidity"].valid_range
        if not (low <= values.min() and values.max() <= high):
            raise InputError(f"specific humidity up to {values.max():.3g} kg kg-1")
        return values


def fill_nearest(values: Float32, grid: SourceGrid) -> Float32:
    """Give points without a value that of the nearest point with one.

    Parameters
    ----------
    values
        (point,) with NaN where there is none, such as on land.
    grid
        Grid of the points.

    Returns
    -------
    ndarray
        (point,); the same values if none or most of them are missing, which is a fault.

    Examples
    --------
    >>> from pear.datasets.fields import fill_nearest
    >>> from pear.sphere.latlon import global_grid
    >>> values = np.full(19 * 36, 280.0, dtype=np.float32)
    >>> values[100:200] = np.nan
    >>> bool((fill_nearest(values, global_grid(19, 36)) == 280.0).all())
    True
    """
    gone = np.isnan(values)
    if not gone.any() or gone.mean() > _MOST_MISSING:
        return values
    filled = values.copy()
    filled[gone] = values[_nearest(gone.tobytes(), grid)]
    return filled


@lru_cache(maxsize=4)
def _nearest(gone: bytes, grid: SourceGrid) -> Int64:
    """Return for each missing point the index of the nearest point that is there."""
    from scipy.spatial import cKDTree  # takes a tenth of a second

    at, mask = frames_of(grid), np.frombuffer(gone, dtype=bool)
    parts = (at.cos_lat * at.cos_lon, at.cos_lat * at.sin_lon, at.sin_lat)
    points = np.stack([np.broadcast_to(part, mask.shape) for part in parts], axis=-1)
    there = np.flatnonzero(~mask)
    return np.asarray(there[cKDTree(points[there]).query(points[mask])[1]], dtype=np.int64)


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


def needs_partner(name: str, grid: SourceGrid, nside: int, method: Method) -> bool:
    """Return whether a field can only be regridded together with another one.

    Means of winds are those of vectors, from whichever grid; between HEALPix grids interpolation is
    as well, as the cells around a pole see east in four directions.

    Parameters
    ----------
    name
        Canonical name.
    grid
        Grid of the source.
    nside
        Resolution of the result.
    method
        ``bilinear`` or ``conservative``.

    Returns
    -------
    bool
        True for some components of winds.

    Examples
    --------
    >>> from pear.datasets.fields import needs_partner
    >>> name = "u_component_of_wind"
    >>> [needs_partner(name, HealpixGrid(8), nside, "bilinear") for nside in (4, 8, 16)]
    [True, False, True]
    """
    if wind_pair(name) is None:
        return False
    if isinstance(grid, HealpixGrid):
        return grid.nside != nside
    return method == "conservative"


def with_partner(
    sources: Mapping[str, Sequence[FieldSource]], name: str, nside: int, method: Method
) -> list[FieldSource]:
    """Return the sources of a component with those of the other one, where winds are vectors.

    Parameters
    ----------
    sources
        Sources of each canonical variable.
    name
        Canonical name of the component.
    nside
        Resolution to which they are regridded.
    method
        Regridding method.

    Returns
    -------
    list of FieldSource
        A lone component has no partner on its grid, and fails when it is read.

    Examples
    --------
    >>> from pear.datasets.fields import with_partner
    >>> with_partner({"u_component_of_wind": []}, "u_component_of_wind", 8, "conservative")
    []
    """
    beside = [one.variable for one in sources.get(str(wind_partner(name)), ())]
    return [
        replace(one, partner=tuple(each for each in beside if each.grid == one.variable.grid))
        if needs_partner(name, one.variable.grid, nside, method)
        else one
        for one in sources[name]
    ]


def require_partner(
    sources: Mapping[str, Sequence[FieldSource]], name: str, nside: int, method: Method
) -> list[FieldSource]:
    """Return the same as :func:`with_partner`, and refuse a lone component.

    Parameters
    ----------
    sources, name, nside, method
        As there.

    Returns
    -------
    list of FieldSource
        Those of ``name``, with their partners where they need them.

    Raises
    ------
    InputError
        If no source has the other component on the same grid.

    Examples
    --------
    >>> from pear.datasets.fields import require_partner
    >>> require_partner({"u_component_of_wind": []}, "u_component_of_wind", 8, "conservative")
    []
    """
    found = with_partner(sources, name, nside, method)
    for variable in (one.variable for one in found if one.partner == ()):
        why, hint = "the mean of a wind over a cell needs both components", ""
        if isinstance(variable.grid, HealpixGrid):
            why = f"a wind needs both to be taken from nside {variable.grid.nside} to {nside}"
        else:
            hint = ", or use the method bilinear"
        raise InputError(
            f"{variable.source}: {variable.name} comes without {wind_partner(name)} on its grid, "
            f"and {why}",
            field=variable.name,
            hint=f"add the other component{hint}",
        )
    return found


def regrid_field(raw: RawField, grid: SourceGrid, nside: int, method: Method, name: str) -> Float32:
    """Regrid a field of a canonical variable to HEALPix cells: the one place where it is done.

    From latitude and longitude, means over cells are those of wind vectors. Between points of a
    grid a component is interpolated by itself: neighbours in a row see east in directions that
    differ as little as the wind does. What is special are the poles, where a row holds one wind,
    see :func:`pear.sphere.pole_rows.mend_pole_rows`.

    From HEALPix cells, fields of a finer grid are averaged over the coarser cells, by either
    method; those of a coarser grid are interpolated, or have with ``conservative`` the mean over
    each cell of the piecewise constant field.

    Parameters
    ----------
    raw
        The field (…, point) in canonical units; where it is regridded as a vector
        (:func:`needs_partner`) with the other component.
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
    if isinstance(grid, HealpixGrid) and grid.nside == nside and grid.order == "nested":
        return values
    if isinstance(grid, LatLonGrid) and pair is not None:
        values = mend_pole_rows(values, grid)
        partner = None if partner is None else mend_pole_rows(partner, grid)
    if pair is None or not needs_partner(name, grid, nside, method):
        if _is_nested_mean(grid, nside):
            return coarsen(values, nside)
        return np.asarray(
            apply(regridding_weights(grid, nside, method, wind=pair is not None), values)
        )
    if partner is None:
        raise ValueError(f"{name} needs its other component to be averaged")
    which = pair.index(name)
    u, v = (values, partner) if which == 0 else (partner, values)
    if _is_nested_mean(grid, nside):
        return coarsen_wind(u, v, nside)[which]
    weights = regridding_weights(grid, nside, method, wind=True)
    return apply_wind(weights, u, v, frames_of(grid), cell_frames(nside))[which]


def _is_nested_mean(grid: SourceGrid, nside: int) -> bool:
    """Return whether cells nest in coarser ones: means are over neighbours in memory."""
    return isinstance(grid, HealpixGrid) and grid.order == "nested" and grid.nside > nside


def regridding_weights(
    grid: SourceGrid, nside: int, method: Method, *, wind: bool = False
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
    if isinstance(grid, HealpixGrid):
        if method == "conservative" or grid.nside >= nside:
            return mean_over_cells(grid, nside)
        return interpolation_between(grid, nside, vector=wind)
    if method == "conservative":
        return conservative_to_healpix(grid, nside)
    # Components differ from scalars only poleward of the last latitude ring.
    lacks_poles = max(90.0 + grid.lat.min(), 90.0 - grid.lat.max()) > 1e-6
    return bilinear_to_healpix(grid, nside, vector=bool(wind and lacks_poles))
