"""Forecasts at points: chosen variables through all leads, nearest cell or bilinear."""

from __future__ import annotations

import math
import re
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
"""Variables made of the two wind components on request: speed, and where it blows from."""


@dataclass(frozen=True)
class Points:
    """Points on the sphere and how to read a field there.

    Attributes
    ----------
    latitude, longitude
        (point,) degrees.
    index, weight
        (k, point): value = Σ weight · field[index]; k is 1 for the nearest cell.
    cell
        (point,) the cell that holds each point.
    """

    latitude: Values
    longitude: Values
    interpolation: Interpolation
    index: npt.NDArray[np.int64]
    weight: Values
    cell: npt.NDArray[np.int64]

    def read(self, series: npt.NDArray[Any]) -> Values:
        """Values (lead, point) of fields (lead, cell)."""
        return np.asarray(np.einsum("kp,lkp->lp", self.weight, series[:, self.index]))


def locate(latitude: Values, longitude: Values, nside: int, interpolation: Interpolation) -> Points:
    """Find the cells and weights of points.

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
                f"{name} must lie within ±{bound:g} degrees", field=name, hint="decimal degrees"
            )
    cell = cell_of(latitude, longitude, nside)
    if interpolation == "nearest":
        return Points(latitude, longitude, interpolation, cell[None], np.ones((1, cell.size)), cell)
    index, weight = interpolation_weights(latitude, longitude, nside)
    return Points(latitude, longitude, interpolation, index, weight, cell)


def decimal(text: str) -> float:
    """Read one decimal number; Python's own reading also takes 1_0 and digits of other scripts.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not _DECIMAL.fullmatch(text.strip()):
        raise ValueError("no decimal number")
    return float(text)


def parse_numbers(text: str, name: str, limit: int) -> Values:
    """Read a comma list of decimal numbers.

    Raises
    ------
    InputError
        If a part is no finite number, or there are too many.
    """
    parts = text.split(",")
    if len(parts) > limit:
        raise InputError(f"{len(parts)} values in {name}, at most {limit}", field=name)
    try:
        numbers = [decimal(part) for part in parts]
    except ValueError as error:
        raise InputError(
            f"{name} is no comma list of finite decimal numbers", field=name
        ) from error
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"{name} must be finite", field=name)
    return np.array(numbers)


@dataclass(frozen=True)
class Series:
    """One variable at one level through all leads at all points, (lead, point)."""

    variable: str
    level: int | None
    units: str
    values: Values


def chosen_series(
    store: ForecastStore, variables: str | None, levels: str | None
) -> list[tuple[str, int | None]]:
    """Read the parameters ``variables`` and ``levels`` as (variable, level) pairs in order.

    The default is every surface variable; upper-air variables without levels come at all levels.

    Raises
    ------
    InputError
        If the store lacks a variable or level.
    """
    wanted_levels: list[int] | None = None
    if levels is not None:
        wanted_levels = [int(number) for number in parse_numbers(levels, "levels", 64)]
    if variables is None:
        names = [name for name in store.names if BY_NAME[name].kind == "surface"]
        if wanted_levels:
            names += [name for name in store.names if BY_NAME[name].kind == "upper"]
        names = names or list(store.names)
    else:
        names = [part.strip() for part in variables.split(",")][:64]
    out: dict[tuple[str, int | None], None] = {}
    for name in names:
        for pair in _expand(store, name, wanted_levels):
            out[pair] = None
    return list(out)


def _expand(
    store: ForecastStore, name: str, levels: list[int] | None
) -> list[tuple[str, int | None]]:
    base = DERIVED[name][0] if name in DERIVED else name
    every = levels if levels else sorted(store.levels, reverse=True)
    found, level = _kind(store, base, every)
    label = name if name in DERIVED else found
    if level is not None or BY_NAME[found].kind == "surface":
        return [(label, level)]
    return [(label, store.select(found, each)[1]) for each in every]


def _kind(store: ForecastStore, name: str, levels: list[int]) -> tuple[str, int | None]:
    """Canonical name, and the level if the text itself names one (``z500``)."""
    found, named = parse_field(name)
    if found.kind == "surface" or named is not None:
        chosen, level = store.select(name, None)
        return chosen.name, level
    return store.select(found.name, levels[0])[0].name, None


def read_series(
    reader: ForecastReader,
    store: ForecastStore,
    points: Points,
    pairs: list[tuple[str, int | None]],
) -> list[Series]:
    """Read the series of each pair at the points."""
    out = []
    for name, level in pairs:
        if name in DERIVED:
            u, v = (points.read(reader.series(store.run, part, level)) for part in DERIVED[name])
            if name.endswith("speed"):
                out.append(Series(name, level, "m s-1", np.hypot(u, v)))
            else:
                blows_from = np.mod(270.0 - np.degrees(np.arctan2(v, u)), 360.0)
                out.append(Series(name, level, "degree", blows_from))
            continue
        values = points.read(reader.series(store.run, name, level))
        out.append(Series(name, level, store.units(name), values))
    return out
