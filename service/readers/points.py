"""Forecasts at points: time series by nearest cell or bilinear interpolation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from pear.derived import parse_quantity
from pear.errors import InputError
from pear.sphere.healpix import cell_of, interpolation_weights
from pear.sphere.vectors import Frames, carry, cell_frames, keep_speed, wind_weights
from pear.typing import Array, Float32, Float64, Int64
from pear.variables import variable, wind_pair
from service.readers.forecasts import ForecastStore
from service.readers.timeline import Timeline

_DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
Interpolation = Literal["nearest", "bilinear"]
MOST_NAMES: Final = 64
"""Largest number of variables that a request may name."""


@dataclass(frozen=True)
class Points:
    """Points on the sphere, with the weights that interpolate a field to them.

    Attributes
    ----------
    latitude, longitude
        Coordinates (point,), degrees.
    interpolation
        ``nearest`` or ``bilinear``.
    index, weight
        Cells and weights (k, point): value = Σ weight · field[index]; k is 1 for the nearest cell.
    wind_weight
        The same for the Cartesian components of winds.
    cell
        Nested index (point,) of the cell that contains each point.
    """

    latitude: Float64
    longitude: Float64
    interpolation: Interpolation
    index: Int64
    weight: Float64
    wind_weight: Float64
    cell: Int64

    def read(self, series: Array) -> Float64:
        """Interpolate fields (lead, cell) to values (lead, point)."""
        return np.asarray(np.einsum("kp,lkp->lp", self.weight, series[:, self.index]))

    def read_wind(self, u: Array, v: Array, nside: int) -> tuple[Float64, Float64]:
        """Interpolate winds as vectors.

        Parameters
        ----------
        u, v
            Components (lead, cell).
        nside
            Resolution of the cells.

        Returns
        -------
        ndarray, ndarray
            Components (lead, point), eastward and northward at the point itself.
        """

        def interpolate(xyz: Float64) -> Float64:
            return np.asarray(np.einsum("kp,...kp->...p", self.wind_weight, xyz))

        near = u[:, self.index], v[:, self.index]
        cells = cell_frames(nside).take(self.index)
        wind = carry(*near, cells, Frames.at(self.latitude, self.longitude), interpolate)
        if self.interpolation == "nearest":
            return keep_speed(wind, (near[0][:, 0], near[1][:, 0]))
        return wind


def locate(
    latitude: Float64, longitude: Float64, nside: int, interpolation: Interpolation
) -> Points:
    """Find the cells and weights of points.

    Returns
    -------
    Points
        Points (point,).

    Raises
    ------
    InputError
        If the lists differ in length or a coordinate is out of range.
    """
    if latitude.shape != longitude.shape:
        raise InputError(
            f"{latitude.size} latitudes and {longitude.size} longitudes",
            field="longitude",
            hint="give two lists of equal length",
        )
    for name, values, bound in (("latitude", latitude, 90.0), ("longitude", longitude, 360.0)):
        if not np.isfinite(values).all() or np.abs(values).max() > bound:
            raise InputError(
                f"{name} must be within ±{bound:g} degrees", field=name, hint="use decimal degrees"
            )
    cell = cell_of(latitude, longitude, nside)
    if interpolation == "nearest":
        one = np.ones((1, cell.size))
        return Points(latitude, longitude, interpolation, cell[None], one, one, cell)
    index, weight = interpolation_weights(latitude, longitude, nside)
    _, wind_weight = wind_weights(latitude, longitude, nside)
    return Points(latitude, longitude, interpolation, index, weight, wind_weight, cell)


def parse_decimal(text: str) -> float:
    """Parse a decimal number; unlike ``float``, refuse ``1_0`` and digits of other scripts.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ValueError
        If the text is not a decimal number.
    """
    if not _DECIMAL.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a decimal number")
    return float(text)


def parse_numbers(text: str, name: str, limit: int) -> Float64:
    """Parse a comma-separated list of finite decimal numbers.

    Returns
    -------
    ndarray
        The numbers (item,).

    Raises
    ------
    InputError
        If an item is not a finite number, or the list is too long.
    """
    parts = text.split(",")
    if len(parts) > limit:
        raise InputError(
            f"{name} has {len(parts)} values, and may have {limit}",
            field=name,
            hint="ask for fewer",
        )
    try:
        numbers = np.array([parse_decimal(part) for part in parts])
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise InputError(
            f"{name} must be a comma-separated list of finite decimal numbers, not {text[:64]!r}",
            field=name,
        )
    return numbers


def parse_whole(text: str, name: str, limit: int) -> list[int]:
    """Parse a comma-separated list of whole numbers.

    Returns
    -------
    list of int
        The numbers, as they were given.

    Raises
    ------
    InputError
        If an item is not a whole number, or the list is too long.
    """
    numbers = parse_numbers(text, name, limit).tolist()
    for number in numbers:
        if not float(number).is_integer():  # which int() would round down to another level or time
            raise InputError(f"{name} must be whole numbers, not {number:g}", field=name)
    return [int(number) for number in numbers]


def split_names(text: str, name: str) -> list[str]:
    """Split a comma-separated list of names, at most 64.

    Returns
    -------
    list of str
        The names, as they were given.

    Raises
    ------
    InputError
        If there are more.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_NAMES:
        raise InputError(
            f"{name} has {len(parts)} names, and may have {MOST_NAMES}",
            field=name,
            hint="ask for fewer at once",
        )
    return parts


@dataclass(frozen=True)
class Series:
    """Time series of one variable at one level.

    Attributes
    ----------
    variable, level, units
        Canonical name, pressure level in hPa or None, and unit.
    values
        Values (lead, point).
    """

    variable: str
    level: int | None
    units: str
    values: Float64


def select_series(
    store: ForecastStore, variables: str | None, levels: str | None
) -> list[tuple[str, int | None]]:
    """Parse the variables and levels of a request.

    Parameters
    ----------
    store
        The forecast.
    variables
        Comma-separated names or aliases (default: all surface variables).
    levels
        Comma-separated levels in hPa, for variables whose name has none (default: all levels).

    Returns
    -------
    list of tuple
        Variable and level, in the order of the request, without duplicates.

    Raises
    ------
    InputError
        If a variable is unknown, or levels are given and no variable takes them.
    """
    wanted = None if levels is None else parse_whole(levels, "levels", 64)
    if variables is not None:
        names = split_names(variables, "variables")
    else:
        names = [name for name in store.names if wanted or variable(name).kind == "surface"]
        names = names or list(store.names)
        names.sort(key=lambda name: variable(name).kind != "surface")
    try:
        found = [_expand(store, name, wanted) for name in names]
    except InputError as error:
        error.field = "variables" if error.field == "variable" else error.field
        raise
    if wanted and all(_has_own_level(name) for name in names):
        raise InputError(
            f"levels={levels}, but {', '.join(names)} takes none",
            field="levels",
            hint="leave levels out, or name a variable on pressure levels without one, such as t",
        )
    return list(dict.fromkeys(pair for pairs in found for pair in pairs))


def _has_own_level(name: str) -> bool:
    row, level = parse_quantity(name)
    return row.kind == "surface" or level is not None


def _expand(
    store: ForecastStore, name: str, levels: list[int] | None
) -> list[tuple[str, int | None]]:
    row, _ = parse_quantity(name)
    if _has_own_level(name):
        return [(row.name, store.select(name, None)[1])]
    every: Sequence[int | None] = levels or sorted(store.levels, reverse=True) or [None]
    return [(row.name, store.select(row.name, level)[1]) for level in every]


class SeriesSource(Protocol):
    """What series are read from."""

    def series(
        self, name: str, variable: str, level: int | None, leads: tuple[int, ...] | None = None
    ) -> Float32:
        """Return one variable of a store at some lead times (default: all), (lead, cell)."""


def read_series(
    reader: SeriesSource,
    store: ForecastStore,
    points: Points,
    pairs: list[tuple[str, int | None]],
    timeline: Timeline | None = None,
    leads: tuple[int, ...] | None = None,
) -> list[Series]:
    """Return the time series of each (variable, level) pair at the points.

    Components of a wind, its speed and its direction are those of one vector at the point.

    Parameters
    ----------
    reader, store
        The reader, and the forecast.
    points
        The points.
    pairs
        Canonical name and level in hPa or None.
    timeline
        Lead times of the answer (default: those of the run). What is derived is derived from
        interpolated channels.
    leads
        Lead times of the run that are read, without a timeline (default: all).

    Returns
    -------
    list of Series
        In the order of the pairs.
    """
    winds: dict[tuple[str, int | None], tuple[Float64, Float64]] = {}

    def read(name: str, level: int | None) -> Float64:
        values = read_steps(name, level)
        return values if timeline is None else timeline.interpolate(name, values)

    def read_steps(name: str, level: int | None) -> Float64:
        pair = wind_pair(name) if store.has_vectors else None
        if pair is None:
            return points.read(reader.series(store.run, name, level, leads))
        store.require_wind(name, pair)
        key = pair[0], level
        if key not in winds:
            u, v = (reader.series(store.run, part, level, leads) for part in pair)
            winds[key] = points.read_wind(u, v, store.nside)
        return winds[key][pair.index(name)]

    out = []
    for name, level in pairs:
        found = store.derived(name)
        if found is None or found.is_global:
            values = read(name, level)
        else:
            parts = [read(one, at) for one, at in found.channels(level)]
            values = found.of(parts, level)
        out.append(Series(name, level, store.units(name), values))
    return out
