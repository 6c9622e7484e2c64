"""Coverages: the values that a query selects, at its places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from pear.derived import find_derived, parse_quantity
from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.store.schema import PROBABILITY
from pear.times import to_iso
from pear.typing import Float64, Int64, Times
from pear.variables import Variable
from service.readers.forecasts import ForecastReader, ForecastStore, unreadable
from service.readers.label import Label
from service.readers.ogc.places import Grid, Line
from service.readers.ogc.selection import Selection
from service.readers.points import Interpolation, Points, locate, read_series
from service.readers.timeline import Timeline

Shape = Literal["points", "cells", "line", "grid"]
_STANDARD_NAMES: Final = "http://vocab.nerc.ac.uk/standard_name/"


@dataclass(frozen=True)
class Block:
    """Parameters with the same levels.

    Attributes
    ----------
    names
        Canonical names.
    levels
        Levels in hPa, from the ground up; None for parameters without.
    values
        Of each parameter (time, level, place), finite; along a path with times (1, level, place),
        without levels (time, 1, place).
    """

    names: tuple[str, ...]
    levels: tuple[int, ...] | None
    values: tuple[Float64, ...]


@dataclass(frozen=True)
class Coverages:
    """An answer.

    Attributes
    ----------
    shape
        ``points`` asked for, centres of ``cells``, a ``line``, or a regular ``grid``.
    latitude, longitude
        Degrees (place,).
    times
        Valid times (time,); with ``passed``, the one is the first of them.
    blocks
        Values without and with levels.
    grid
        Axes, if the places are a grid, row by row.
    passed
        When each place of a line is passed (place,), if the line has times.
    interpolation
        How values are found at the places.
    """

    shape: Shape
    latitude: Float64
    longitude: Float64
    times: Times
    blocks: tuple[Block, ...]
    grid: Grid | None = None
    passed: Times | None = None
    interpolation: Interpolation = "nearest"

    def describe(self) -> dict[str, str]:
        """Return how values are found in space, and along a path with times in time."""
        if self.shape == "cells":
            found = {"space": "cell", "description": "value of each cell, at its centre"}
        elif self.interpolation == "nearest":
            found = {
                "space": "nearest",
                "description": "value of the cell of the place",
            }
        else:
            found = {
                "space": "bilinear",
                "description": "interpolated between the centres of cells, winds as vectors",
            }
        if self.passed is not None:
            found["time"] = "linear"
            found["description"] += ", and between the steps of the model"
        return found

    def describe_levels(self) -> dict[str, str]:
        """Return which parameters ``z`` selects from, if some have levels and others do not."""
        upper, surface = (
            ", ".join(
                name for b in self.blocks if (b.levels is not None) is has for name in b.names
            )
            for has in (True, False)
        )
        if not (upper and surface):
            return {}
        return {
            "on_levels": upper,
            "without": surface,
            "description": f"z and the levels of bbox select from {upper}; they do not apply to "
            f"{surface}, without levels",
        }


def count_values(selection: Selection, places: int) -> int:
    """Return the number of values of an answer."""
    return selection.fields * len(selection.lead_hours) * places


def read_points(
    reader: ForecastReader,
    store: ForecastStore,
    selection: Selection,
    place: tuple[Float64, Float64],
    interpolation: Interpolation,
) -> Coverages:
    """Read values at points: latitude and longitude (place,)."""
    points = locate(*place, store.nside, interpolation)
    return _read(reader, store, selection, points, "points")


def read_cells(
    reader: ForecastReader, store: ForecastStore, selection: Selection, cells: Int64
) -> Coverages:
    """Read the values of cells (place,), at their centres."""
    latitude, longitude = centres(store.nside)
    points = locate(latitude[cells], longitude[cells], store.nside, "nearest")
    return _read(reader, store, selection, points, "cells")


def read_grid(
    reader: ForecastReader, store: ForecastStore, selection: Selection, grid: Grid
) -> Coverages:
    """Read values at the points of a grid, interpolated between the centres of cells."""
    points = locate(*grid.points(), store.nside, "bilinear")
    return replace(_read(reader, store, selection, points, "grid"), grid=grid)


def read_line(
    reader: ForecastReader,
    store: ForecastStore,
    selection: Selection,
    line: Line,
    interpolation: Interpolation,
) -> Coverages:
    """Read values at the vertices of a line; between two steps of the model linear in time.

    Parameters
    ----------
    reader, store, selection
        The run, and what is asked of it; a line with times has its own.
    line
        The line.
    interpolation
        In space.

    Returns
    -------
    Coverages
        At every time of the selection, or at each vertex when it is passed.

    Raises
    ------
    InputError
        If the run does not cover the times of the line, or a sum has no value at them.
    """
    points = locate(line.latitude, line.longitude, store.nside, interpolation)
    if line.times is None:
        return _read(reader, store, selection, points, "line")
    hours = (line.times - store.init_time.astype("datetime64[s]")) // np.timedelta64(1, "h")
    if hours.min() < store.lead_hours[0] or hours.max() > store.lead_hours[-1]:
        first, last = (to_iso(store.valid_times[at]) for at in (0, -1))
        raise InputError(
            f"the times of coords are not all within {first} to {last}", field="coords"
        )
    leads, of_place = np.unique(hours.astype(np.int64), return_inverse=True)
    for name in (*selection.surface, *selection.upper):
        if parse_quantity(name)[0].accumulated_hours is not None:
            raise InputError(
                f"{name} is a sum over hours, not a value at a moment",
                field="parameter-name",
                hint="leave the times out of coords",
            )
    timeline = Timeline(store.lead_hours, tuple(int(lead) for lead in leads), 1)
    whole = _read(reader, store, selection, points, "line", timeline)
    place = np.arange(points.cell.size)
    blocks = tuple(
        replace(
            block, values=tuple(each[of_place, :, place].T[None].copy() for each in block.values)
        )
        for block in whole.blocks
    )
    return replace(whole, times=line.times[:1], blocks=blocks, passed=line.times)


def _read(
    reader: ForecastReader,
    store: ForecastStore,
    selection: Selection,
    points: Points,
    shape: Shape,
    timeline: Timeline | None = None,
) -> Coverages:
    leads = selection.lead_hours if timeline is None else timeline.leads
    every: list[tuple[tuple[str, ...], tuple[int, ...] | None]] = [
        (selection.surface, None),
        (selection.upper, selection.levels),
    ]
    blocks = []
    for names, levels in every:
        if not names:
            continue
        at: tuple[int | None, ...] = (None,) if levels is None else levels
        pairs = [(name, level) for name in names for level in at]
        chosen = selection.lead_hours if timeline is None else None
        series = read_series(reader, store, points, pairs, timeline, chosen)
        for each in series:
            if not np.isfinite(each.values).all():
                raise unreadable(f"{each.variable} of {store.what}", "values are missing")
        stacked = tuple(
            np.stack([each.values for each in series[first : first + len(at)]], axis=1)
            for first in range(0, len(series), len(at))
        )
        blocks.append(Block(names, levels, stacked))
    times: Times = store.init_time + np.array(leads, "timedelta64[h]")
    return Coverages(
        shape,
        points.latitude,
        points.longitude,
        times.astype("datetime64[s]"),
        tuple(blocks),
        interpolation=points.interpolation,
    )


def describe_parameter(
    store: ForecastStore, name: str, text: Callable[[str], object], label: Label
) -> dict[str, Any]:
    """Return the description of a parameter, which CoverageJSON and EDR share.

    Parameters
    ----------
    store
        The run.
    name
        Canonical name.
    text
        Makes a text, which is an object by language in CoverageJSON.
    label
        What the values are.

    Returns
    -------
    dict
        JSON values: title, standard name, unit, and for sums the hours that they cover.
    """
    row = row_of(name)
    units = store.units(name)
    standard_name, name_in_words = standard_name_of(store, name), label.name(name)
    standard = {"id": f"{_STANDARD_NAMES}{standard_name}/"} if standard_name else {}
    words = name_in_words
    if row.accumulated_hours is not None:
        words += f", over the {row.accumulated_hours} h before"
    return {
        "type": "Parameter",
        "description": text(words),
        "observedProperty": {**standard, "label": text(name_in_words)},
        "unit": {"label": text(units), "symbol": units},
    }


def standard_name_of(store: ForecastStore, name: str) -> str | None:
    """Return CF's name of a quantity; None of a spread or a probability, which are others."""
    is_other = PROBABILITY in store.dataset.attrs or store.run.endswith(".spread")
    return None if is_other else row_of(name).standard_name


def row_of(name: str) -> Variable:
    """Return the row of a stored or derived quantity with this canonical name."""
    found = find_derived(name)
    return found.row if found else parse_quantity(name)[0]
