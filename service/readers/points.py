"""Forecasts at points: time series by nearest cell or bilinear interpolation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.sphere.healpix import cell_of, interpolation_weights
from pear.variables import BY_NAME, parse_field
from service.readers.forecasts import ForecastReader, ForecastStore

_DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
Interpolation = Literal["nearest", "bilinear"]
Values = npt.NDArray[np.float64]

DERIVED: Final[dict[str, tuple[str, str]]] = {
    "10m_wind_speed": ("10m_u_component_of_wind", "10m_v_component_of_wind"),
    "10m_wind_direction": ("10m_u_component_of_wind", "10m_v_component_of_wind"),
    "wind_speed": ("u_component_of_wind", "v_component_of_wind"),
    "wind_direction": ("u_component_of_wind", "v_component_of_wind"),
}
"""Variables computed from two wind components: speed, and the direction it blows from."""


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
    cell
        Nested index (point,) of the cell that contains each point.
    """

    latitude: Values
    longitude: Values
    interpolation: Interpolation
    index: npt.NDArray[np.int64]
    weight: Values
    cell: npt.NDArray[np.int64]

    def read(self, series: npt.NDArray[Any]) -> Values:
        """Interpolate fields (lead, cell) to values (lead, point)."""
        return np.asarray(np.einsum("kp,lkp->lp", self.weight, series[:, self.index]))


def locate(latitude: Values, longitude: Values, nside: int, interpolation: Interpolation) -> Points:
    """Return the points with their cells and weights.

    Raises
    ------
    InputError
        If the lists differ in length or a coordinate is out of range.
    """
    if latitude.shape != longitude.shape:
        raise InputError(
            f"{latitude.size} latitudes and {longitude.size} longitudes",
            field="longitude",
            hint="give two comma lists of equal length",
        )
    for name, values, bound in (("latitude", latitude, 90.0), ("longitude", longitude, 360.0)):
        if not np.isfinite(values).all() or np.abs(values).max() > bound:
            raise InputError(
                f"{name} must be within ±{bound:g} degrees", field=name, hint="use decimal degrees"
            )
    cell = cell_of(latitude, longitude, nside)
    if interpolation == "nearest":
        return Points(latitude, longitude, interpolation, cell[None], np.ones((1, cell.size)), cell)
    index, weight = interpolation_weights(latitude, longitude, nside)
    return Points(latitude, longitude, interpolation, index, weight, cell)


def parse_decimal(text: str) -> float:
    """Return a decimal number; unlike ``float``, refuse ``1_0`` and digits of other scripts.

    Raises
    ------
    ValueError
        If the text is not a decimal number.
    """
    if not _DECIMAL.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a decimal number")
    return float(text)


def parse_numbers(text: str, name: str, limit: int) -> Values:
    """Return the finite decimal numbers of a comma-separated list.

    Raises
    ------
    InputError
        If an item is not a finite number, or the list is too long.
    """
    parts = text.split(",")
    if len(parts) > limit:
        raise InputError(f"{len(parts)} values in {name}, limit {limit}", field=name)
    try:
        numbers = np.array([parse_decimal(part) for part in parts])
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise InputError(
            f"{name} must be a comma-separated list of finite decimal numbers", field=name
        )
    return numbers


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
    values: Values


def select_series(
    store: ForecastStore, variables: str | None, levels: str | None
) -> list[tuple[str, int | None]]:
    """Return the (variable, level) pairs that the parameters of a request name, in order.

    Parameters
    ----------
    store
        The forecast.
    variables
        Comma-separated names or aliases (default: all surface variables).
    levels
        Comma-separated levels in hPa, for variables whose name has none (default: all levels).
    """
    wanted = None if levels is None else [int(n) for n in parse_numbers(levels, "levels", 64)]
    if variables is not None:
        names = [part.strip() for part in variables.split(",")][:64]
    else:
        names = [name for name in store.names if wanted or BY_NAME[name].kind == "surface"]
        names = names or list(store.names)
        names.sort(key=lambda name: BY_NAME[name].kind != "surface")
    return list(dict.fromkeys(pair for name in names for pair in _expand(store, name, wanted)))


def _expand(
    store: ForecastStore, name: str, levels: list[int] | None
) -> list[tuple[str, int | None]]:
    base = DERIVED[name][0] if name in DERIVED else name
    variable, named_level = parse_field(base)
    label = name if name in DERIVED else variable.name
    if variable.kind == "surface" or named_level is not None:
        return [(label, store.select(base, None)[1])]
    every: Sequence[int | None] = levels or sorted(store.levels, reverse=True) or [None]
    return [(label, store.select(variable.name, level)[1]) for level in every]


def read_series(
    reader: ForecastReader,
    store: ForecastStore,
    points: Points,
    pairs: list[tuple[str, int | None]],
) -> list[Series]:
    """Return the time series of each (variable, level) pair at the points."""

    def read(name: str, level: int | None) -> Values:
        return points.read(reader.series(store.run, name, level))

    out = []
    for name, level in pairs:
        if name not in DERIVED:
            out.append(Series(name, level, store.units(name), read(name, level)))
            continue
        u, v = (read(component, level) for component in DERIVED[name])
        if name.endswith("speed"):
            out.append(Series(name, level, "m s-1", np.hypot(u, v)))
        else:
            blows_from = np.mod(270.0 - np.degrees(np.arctan2(v, u)), 360.0)
            out.append(Series(name, level, "degree", blows_from))
    return out
