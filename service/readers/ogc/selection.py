"""What a query selects of a run: parameters, pressure levels and valid times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np

from pear.derived import parse_quantity
from pear.errors import InputError
from pear.times import parse_time, to_iso
from pear.typing import Times
from pear.variables import derived_rows
from service.readers.forecasts import ForecastStore
from service.readers.points import parse_numbers, split_names

CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_CRS_NAMES: Final = (
    "CRS84",
    "OGC:CRS84",
    CRS84,
    CRS84.replace("http:", "https:"),
    "urn:ogc:def:crs:OGC:1.3:CRS84",
)
_EVERY: Final = re.compile(r"R(\d{1,3})/([^/]{1,16})/([^/]{1,16})", re.ASCII)
_MOST_TIMES: Final = 1000
_MOST_LISTED: Final = 200


@dataclass(frozen=True)
class Layer:
    """One field of a run.

    Attributes
    ----------
    variable, level, lead_hours
        Canonical name, pressure level in hPa or None, and lead time in hours.
    """

    variable: str
    level: int | None
    lead_hours: int


@dataclass(frozen=True)
class Selection:
    """Parameters, levels and times of an answer.

    Attributes
    ----------
    surface, upper
        Canonical names of parameters without and with levels.
    levels
        Levels of the upper ones in hPa, from the ground up; empty without them.
    lead_hours
        Lead times, ascending.
    """

    surface: tuple[str, ...]
    upper: tuple[str, ...]
    levels: tuple[int, ...]
    lead_hours: tuple[int, ...]

    @property
    def fields(self) -> int:
        """Number of fields at each time."""
        return len(self.surface) + len(self.upper) * len(self.levels)


def select_layer(
    store: ForecastStore, parameter: str | None, z: str | None, datetime: str | None
) -> Layer:
    """Read the one field that a tile or a map shows.

    Parameters
    ----------
    store
        The run.
    parameter
        Name or alias without level (default: 2 m temperature, or what comes first).
    z
        Level in hPa (default: 500, or the first).
    datetime
        Valid time (default: that of the store).

    Returns
    -------
    Layer
        The field.

    Raises
    ------
    InputError
        If the run does not have it, or it is not one field.
    """
    default = "2m_temperature" if "2m_temperature" in store.names else store.names[0]
    name = default if parameter is None else parameter
    if parse_quantity(name)[0].kind == "upper" and z is None and store.levels:
        z = str(500 if 500 in store.levels else store.levels[0])
    moment = to_iso(store.default_time) if datetime is None else datetime
    chosen = select(store, name, z, moment)
    levels: tuple[int | None, ...] = chosen.levels or (None,)
    for what, found in (
        ("parameter-name", (*chosen.surface, *chosen.upper)),
        ("z", levels),
        ("datetime", chosen.lead_hours),
    ):
        if len(found) != 1:
            raise InputError(f"{what} names {len(found)}, and a map shows one", field=what)
    return Layer((*chosen.surface, *chosen.upper)[0], levels[0], chosen.lead_hours[0])


def list_times(times: Times) -> list[str]:
    """Return valid times as EDR lists them: many at a fixed step as ``Rn/first/PTnH``.

    Parameters
    ----------
    times
        (time,) ascending.

    Returns
    -------
    list of str
        ISO 8601; a series of its own after each gap.

    Examples
    --------
    >>> list_times(np.datetime64("2001-01-01", "s") + np.arange(3) * np.timedelta64(6, "h"))
    ['2001-01-01T00:00:00Z', '2001-01-01T06:00:00Z', '2001-01-01T12:00:00Z']
    >>> list_times(np.datetime64("2001-01-01", "s") + np.arange(999) * np.timedelta64(6, "h"))
    ['R999/2001-01-01T00:00:00Z/PT6H']
    """
    if times.size <= _MOST_LISTED:
        return [to_iso(time) for time in times]
    hours = np.diff(times).astype("timedelta64[h]").astype(np.int64)
    step = int(np.bincount(hours).argmax())
    parts = np.split(times, np.flatnonzero(hours != step) + 1)
    return [
        f"R{part.size}/{to_iso(part[0])}/PT{step}H" if part.size > 1 else to_iso(part[0])
        for part in parts
    ]


def parameters_of(store: ForecastStore) -> list[str]:
    """Return the canonical names that a run can be asked for: stored, then derived."""
    names = list(store.names)
    level = store.levels[0] if store.levels else None
    for name, row in derived_rows().items():
        try:
            store.select(name, level if row.kind == "upper" else None)
        except InputError:
            continue
        names += [] if name in names else [name]
    return names


def select(
    store: ForecastStore,
    parameters: str | None,
    z: str | None,
    datetime: str | None,
    between: tuple[float, float] | None = None,
) -> Selection:
    """Read the selection of a query.

    Parameters
    ----------
    store
        The run.
    parameters
        Comma-separated names or aliases without levels (default: everything that is stored, or
        what has levels if ``z`` is given).
    z
        Levels in hPa, see :func:`parse_levels` (default: all).
    datetime
        Valid times, see :func:`parse_leads` (default: all).
    between
        Lower and upper bound of the levels, in place of ``z``.

    Returns
    -------
    Selection
        The selection, not empty.

    Raises
    ------
    InputError
        If the run has nothing of the kind.
    """
    if between is not None and z is not None:
        raise InputError("bbox has levels, and so has z", field="z", hint="give one of them")
    levels = parse_levels(store, z)
    if between is not None:
        inside = tuple(at for at in levels if between[0] <= at <= between[1])
        levels = _nonempty(inside, store, f"{between[0]:g}/{between[1]:g}")
    surface: dict[str, None] = {}
    upper: dict[str, None] = {}
    for name in _names(store, parameters, needs_levels=z is not None or between is not None):
        row, level = parse_quantity(name)
        if level is not None:
            raise InputError(
                f"parameter-name {name[:64]!r} has a level",
                field="parameter-name",
                hint=f"use parameter-name={row.name}&z={level}",
            )
        if row.kind == "surface":
            upper_levels: tuple[int | None, ...] = (None,)
        else:
            upper_levels = levels or (None,)
        for at in upper_levels:
            store.select(row.name, at)
        (surface if row.kind == "surface" else upper)[row.name] = None
    if not upper and (z is not None or between is not None):
        raise InputError(
            f"z={z} does not apply to {', '.join(surface)}, without levels"
            if z is not None
            else f"the levels of bbox do not apply to {', '.join(surface)}, without levels",
            field="z" if z is not None else "bbox",
            hint="ask for it without levels, or for parameters on pressure levels alone",
        )
    leads = parse_leads(store, datetime)
    return Selection(tuple(surface), tuple(upper), levels if upper else (), leads)


def _names(store: ForecastStore, parameters: str | None, *, needs_levels: bool) -> list[str]:
    if parameters is not None:
        return split_names(parameters, "parameter-name")
    names = list(store.names)
    if needs_levels:
        names = [name for name in names if parse_quantity(name)[0].kind == "upper"]
    return names


def parse_levels(store: ForecastStore, text: str | None) -> tuple[int, ...]:
    """Parse levels: ``500``, ``850,500``, ``100/1000`` (between), or ``R3/100/50`` (a series).

    Returns
    -------
    tuple of int
        Levels of the run in hPa, from the ground up.

    Raises
    ------
    InputError
        If the run does not have a level, or none of them lies between the two.
    """
    known = tuple(sorted(store.levels, reverse=True))
    if text is None:
        return known
    series = _EVERY.fullmatch(text)
    if series is not None:
        start, step = (parse_numbers(series[part], "z", 1).item() for part in (2, 3))
        wanted = [start + number * step for number in range(int(series[1]))]
    elif "/" in text:
        parts = text.split("/")
        if len(parts) != 2 or "," in text or text[0] == "R":
            raise InputError(
                f"z {text[:64]!r} is neither an interval low/high nor a series Rnumber/first/step",
                field="z",
                hint=f"write 300/500 or R3/300/100; {_hint(store)}",
            )
        low, high = sorted(parse_numbers(part, "z", 1).item() for part in parts)
        return _nonempty(tuple(level for level in known if low <= level <= high), store, text)
    else:
        wanted = parse_numbers(text, "z", 64).tolist()
    for level in wanted:
        if level not in known:
            raise InputError(
                f"{store.what} does not have level {level:g} hPa", field="z", hint=_hint(store)
            )
    return _nonempty(tuple(level for level in known if level in wanted), store, text)


def _nonempty(levels: tuple[int, ...], store: ForecastStore, text: str) -> tuple[int, ...]:
    if not levels:
        raise InputError(
            f"{store.what} has no level at {text[:64]!r}", field="z", hint=_hint(store)
        )
    return levels


def _hint(store: ForecastStore) -> str:
    return "levels: " + ", ".join(str(each) for each in sorted(store.levels)) + " hPa"


def parse_leads(store: ForecastStore, text: str | None) -> tuple[int, ...]:
    """Parse valid times: one, a list with commas, or an interval ``a/b``, ``a/..``, ``../b``.

    Returns
    -------
    tuple of int
        Lead times in hours, ascending.

    Raises
    ------
    InputError
        If the run does not have a time, or none of its times lies in the interval.
    """
    if text is None:
        return store.lead_hours
    valid = store.valid_times
    if "/" in text:
        ends = text.split("/")
        if len(ends) != 2 or "," in text:
            raise InputError(
                f"datetime {text[:64]!r} is not one interval start/end",
                field="datetime",
                hint="write 2001-03-01/2001-03-03, 2001-03-01/.. or a list with commas",
            )
        low, high = (None if end in ("..", "") else _time(end) for end in ends)
        inside = np.ones(valid.size, dtype=bool)
        inside &= True if low is None else valid >= low
        inside &= True if high is None else valid <= high
        found: Times = valid[inside]
    else:
        parts = text.split(",")
        if len(parts) > _MOST_TIMES:
            raise InputError(
                f"datetime has {len(parts)} times, and may have {_MOST_TIMES}",
                field="datetime",
                hint="use an interval start/end",
            )
        wanted = np.array([_time(part) for part in parts])
        for time in wanted:
            if time not in valid:
                _refuse(store, to_iso(time))
        found = valid[np.isin(valid, wanted)]
    if found.size == 0:
        _refuse(store, text[:64])
    hours = (found - store.init_time.astype("datetime64[s]")) / np.timedelta64(1, "h")
    return tuple(round(lead) for lead in hours.tolist())


def _time(text: str) -> np.datetime64:
    try:
        # What a form encodes as a blank is the plus sign of a zone.
        return parse_time(re.sub(r" (\d\d:?\d\d)$", r"+\1", text.strip()))
    except InputError as error:
        raise InputError(error.message, field="datetime") from error


def _refuse(store: ForecastStore, what: str) -> NoReturn:
    first, last = (to_iso(store.valid_times[at]) for at in (0, -1))
    raise InputError(
        f"{store.what} has nothing at {what}",
        field="datetime",
        hint=f"it covers {first} to {last}; its times are in the extent of the collection",
    )


def check_crs(name: str | None) -> None:
    """Check that a query names the one coordinate reference system, CRS84, or none."""
    if name is not None and name not in _CRS_NAMES:
        raise InputError(f"crs {name[:64]!r} is not available", field="crs", hint="use CRS84")
