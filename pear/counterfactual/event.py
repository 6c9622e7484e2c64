"""Events that a forecast may bring, as text: ``t2m>305 at 59.3,18.1 day 3``.

::

    FIELD>X at LAT,LON           a field at a point (its cell)
    mean:FIELD@REGION>X          the mean of a field over a region
    wind:LEVEL>X at LAT,LON      wind speed, m/s, on a level or at 10m; or @REGION: its mean
    pressure:<X at LAT,LON       pressure at sea level, hPa; or pressure:@REGION<X: its least value
    blocking:LON>X               blocking index at a longitude, m per degree; >0 may be left out

X is a number in the units of the field, or ``+2sd``: so many standard deviations above (``-2sd``:
below) the climatology of the day. ``<`` asks for less. REGION is ``45..60N,0..40E`` or the name of
a region of the scores. ``day 3`` or ``hour 36`` ends the text; without it the event is at the end
of the forecast. The condition on a field is that of the exceedances of ensembles.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from pear.derived import parse_quantity
from pear.errors import InputError
from pear.metrics.regions import BANDS, BOXES
from pear.variables import BY_NAME, Layout, Variable, parse_field

Kind = Literal["point", "mean", "wind", "pressure", "blocking"]
EXAMPLE: Final = "write e.g. 't2m>305 at 59.3,18.1 day 3' or 'mean:t850@45..60N,0..40E>+2sd day 3'"
MAX_LENGTH: Final = 128
_KINDS: Final = ("mean", "wind", "pressure", "blocking")
_FIELD: Final = "counterfactual"
_SPEEDS: Final = ("wind_speed", "10m_wind_speed")
_LEAD = re.compile(r"(?P<rest>.*?)\s+(?P<unit>day|hour)\s+(?P<count>\d+(?:\.\d+)?)\s*", re.S)
_DEVIATIONS = re.compile(r"(?P<count>[+-]\d+(?:\.\d+)?)\s*sd")
_COORDINATE = re.compile(r"(?P<value>[+-]?\d+(?:\.\d+)?)\s*(?P<side>[NSEW]?)", re.I)


@dataclass(frozen=True)
class Threshold:
    """The value that a quantity must pass.

    Attributes
    ----------
    above
        True if it must exceed the value, False if it must fall below it.
    value
        In the units of the quantity, or in standard deviations from the climatology.
    deviations
        Whether ``value`` is in standard deviations.
    """

    above: bool
    value: float
    deviations: bool = False

    @property
    def text(self) -> str:
        """Canonical form, such as ``>305`` or ``<-2sd``."""
        value = f"{self.value:+.10g}sd" if self.deviations else f"{self.value:.10g}"
        return (">" if self.above else "<") + value


@dataclass(frozen=True)
class Event:
    """An event at a lead time.

    Attributes
    ----------
    kind
        What is measured.
    threshold
        The value to pass.
    variable, level
        Canonical name of the field and its level in hPa; None where the kind has none.
    point
        Latitude and longitude, degrees north and east.
    region
        Name as of :func:`pear.metrics.regions.region_weights`.
    longitude
        Of a blocking, degrees east.
    lead_hours
        Lead time; None for the end of the forecast.

    Examples
    --------
    >>> event = parse_event("t2m>305 at 59.3N,18.1E day 3")
    >>> event.variable, event.point, event.lead_hours
    ('2m_temperature', (59.3, 18.1), 72)
    >>> parse_event("mean:t850@45..60N,0..40E>+2sd").text
    'mean:temperature@850@box:45:60:0:40>+2sd'
    """

    kind: Kind
    threshold: Threshold
    variable: str | None = None
    level: int | None = None
    point: tuple[float, float] | None = None
    region: str | None = None
    longitude: float | None = None
    lead_hours: int | None = None

    @property
    def field(self) -> str:
        """The field in short, such as ``temperature@850``; empty where the kind has none."""
        level = "" if self.level is None else f"@{self.level}"
        return f"{self.variable or ''}{level}"

    @property
    def text(self) -> str:
        """Canonical form, which :func:`parse_event` reads."""
        what = {
            "point": self.field,
            "mean": f"mean:{self.field}",
            "wind": f"wind:{'10m' if self.level is None else self.level}",
            "pressure": "pressure:",
            "blocking": f"blocking:{_number(self.longitude or 0.0)}",
        }[self.kind]
        region = "" if self.region is None else f"@{self.region}"
        point = "" if self.point is None else f" at {','.join(map(_number, self.point))}"
        lead = ""
        if self.lead_hours is not None:
            whole = self.lead_hours % 24 == 0
            lead = f" day {self.lead_hours // 24}" if whole else f" hour {self.lead_hours}"
        return f"{what}{region}{self.threshold.text}{point}{lead}"

    @property
    def channels(self) -> tuple[tuple[str, int | None], ...]:
        """The fields that it looks at, with their levels."""
        match self.kind:
            case "wind":
                parts = ("10m_u_component_of_wind", "10m_v_component_of_wind")
                if self.level is not None:
                    parts = ("u_component_of_wind", "v_component_of_wind")
                return tuple((part, self.level) for part in parts)
            case "pressure":
                return (("mean_sea_level_pressure", None),)
            case "blocking":
                return (("geopotential", 500),)
        return ((str(self.variable), self.level),)

    def check_fits(self, layout: Layout) -> Event:
        """Return the event, or raise InputError if a model lacks one of its fields."""
        for name, level in self.channels:
            if (name, level) in layout.channels:
                continue
            where = "" if level is None else f" at {level} hPa"
            levels = f" on {', '.join(map(str, layout.levels))} hPa" if layout.levels else ""
            raise InputError(
                f"the model has no {name}{where}, which event {self.text!r} needs",
                field=_FIELD,
                hint=f"it has {', '.join(layout.names)}{levels}",
            )
        return self

    @property
    def units(self) -> str:
        """Units of the quantity."""
        named = {"wind": "m s-1", "pressure": "hPa", "blocking": "m per degree"}
        return named.get(self.kind) or BY_NAME[str(self.variable)].units

    @property
    def description(self) -> str:
        """Description for people."""
        if self.kind in ("point", "mean"):
            name = BY_NAME[str(self.variable)].long_name
            name = f"{name[0].lower()}{name[1:]}"
            name += "" if self.level is None else f" at {self.level} hPa"
        else:
            height = "10 m" if self.level is None else f"{self.level} hPa"
            name = {
                "wind": f"wind speed at {height}",
                "pressure": "pressure at sea level",
                "blocking": "blocking index",
            }[self.kind]
        where = ""
        if self.point is not None:
            where = f" at {_degrees(self.point[0], 'NS')}, {_degrees(self.point[1], 'EW')}"
        elif self.region is not None:
            how = "least " if self.kind == "pressure" else "mean "
            name, where = how + name, f" over {_region_words(self.region)}"
        elif self.longitude is not None:
            where = f" at {_degrees(self.longitude, 'EW')}"
        side = "above" if self.threshold.above else "below"
        value = f"{self.threshold.value:.10g} {self.units}"
        if self.threshold.deviations:
            value = f"the climatology {self.threshold.value:+g} standard deviations"
        return f"{name}{where} {side} {value}"

    def lead(self, longest: int, step_hours: int) -> int:
        """Return the lead time in a forecast.

        Parameters
        ----------
        longest, step_hours
            Length and time step of the forecast, hours.

        Returns
        -------
        int
            Hours.

        Raises
        ------
        InputError
            If the forecast does not reach it, or no step does.
        """
        lead = longest if self.lead_hours is None else self.lead_hours
        if lead <= 0 or lead > longest or lead % step_hours:
            raise InputError(
                f"event {self.text!r} is at {lead} h, which is not a step of the forecast",
                field=_FIELD,
                hint=f"it goes to {longest} h in steps of {step_hours} h",
            )
        return lead


def parse_event(text: str) -> Event:
    """Read an event.

    Parameters
    ----------
    text
        As the module says.

    Returns
    -------
    Event
        With canonical names.

    Raises
    ------
    _wrong
        An :class:`~pear.errors.InputError` that names the part that is wrong.
    """
    if len(text) > MAX_LENGTH:
        raise _wrong(text[:40] + "…", f"has more than {MAX_LENGTH} letters")
    rest, lead = _split_lead(text)
    rest, at, place = (part.strip() for part in _partition(rest, r"\s+at\s+"))
    point = _parse_point(place, text) if at else None
    kind, colon, body = rest.partition(":")
    if colon and kind.strip() in _KINDS:
        body = body.strip()
    elif colon and re.fullmatch(r"[a-z]+", kind.strip()) and not _is_field(rest):
        raise _wrong(text, f"is of unknown kind {kind.strip()!r}: {', '.join(_KINDS)}")
    else:
        kind, body = "point", rest
    kind = kind.strip()
    if kind == "blocking" and not re.search(r"[<>]", body):
        body += ">0"
    what, threshold = split_condition(body, text)
    if kind == "blocking":
        if point is not None:
            raise _wrong(text, "is a blocking, which is at a longitude and not at a point")
        longitude = _parse_coordinate(what, "EW", 180, text)
        return Event("blocking", threshold, longitude=longitude, lead_hours=lead)
    if kind == "point":
        if point is None:
            raise _wrong(text, "lacks its place")
        variable, level = _parse_field(what, text)
        return Event("point", threshold, variable, level, point, lead_hours=lead)
    return _parse_regional(kind, what, threshold, point, lead, text)


def _parse_regional(
    kind: str,
    what: str,
    threshold: Threshold,
    point: tuple[float, float] | None,
    lead: int | None,
    text: str,
) -> Event:
    """Read a mean, a wind or a pressure, at a point or over a region."""
    name, region = _split_region(what, text)
    if (region is None) == (point is None):
        has = "lacks its place" if region is None else "has a region and a point"
        raise _wrong(text, has)
    if kind == "mean":
        if region is None:
            raise _wrong(text, "is a mean without a region")
        variable, level = _parse_field(name, text)
        return Event("mean", threshold, variable, level, None, region, None, lead)
    if kind == "pressure":
        if name:
            raise _wrong(text, f"names {name!r}, where a pressure has no field")
        return Event("pressure", threshold, None, None, point, region, None, lead)
    height = re.fullmatch(r"(?:(?P<level>\d{1,4})(?:hPa)?|10\s?m)", name)
    if height is None or height["level"] == "10":
        raise _wrong(text, f"has wind at {name!r}, which is neither 10m nor a level in hPa")
    at = None if height["level"] is None else int(height["level"])
    return Event("wind", threshold, None, at, point, region, None, lead)


def split_condition(text: str, whole: str | None = None) -> tuple[str, Threshold]:
    """Split ``FIELD>VALUE`` or ``FIELD<VALUE``.

    Parameters
    ----------
    text
        The condition.
    whole
        Text for messages; default: the condition.

    Returns
    -------
    what, threshold
        What stands before the sign, and the rest.

    Raises
    ------
    _wrong
        An :class:`~pear.errors.InputError`, if the sign or the number is missing.

    Examples
    --------
    >>> split_condition("t850 < -2.5sd")
    ('t850', Threshold(above=False, value=-2.5, deviations=True))
    """
    match = re.fullmatch(r"(?P<what>[^<>]*)(?P<sign>[<>])(?P<value>[^<>]*)", text, re.S)
    if match is None:
        raise _wrong(whole or text, "has no condition, one sign > or < and a number")
    given = match["value"].strip()
    deviations = _DEVIATIONS.fullmatch(given)
    try:
        value = float(deviations["count"] if deviations else given)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _wrong(whole or text, f"has the value {given!r}, which is neither a number nor ±Nsd")
    return match["what"].strip(), Threshold(match["sign"] == ">", value, deviations is not None)


def _split_lead(text: str) -> tuple[str, int | None]:
    match = _LEAD.fullmatch(text)
    if match is None:
        if re.search(r"\b(day|days|hour|hours)\b", text):
            raise _wrong(text, "has a lead time that is not 'day N' or 'hour N' at its end")
        return text.strip(), None
    hours = float(match["count"]) * (24 if match["unit"] == "day" else 1)
    if hours != int(hours) or not 0 < hours < 1e5:
        raise _wrong(text, f"is at {hours:g} h, not a positive number of whole hours")
    return match["rest"], int(hours)


def _split_region(what: str, text: str) -> tuple[str, str | None]:
    """Split ``FIELD@REGION``; a level may stand behind an @ of its own."""
    name, at, place = what.rpartition("@")
    place = place.strip()
    if not at or re.fullmatch(r"\d{1,4}(hPa)?", place):
        return what.strip(), None
    if place in BANDS or place in BOXES or place.startswith(("box:", "band:", "polygon:")):
        return name.strip(), place
    parts = [part.split("..") for part in place.split(",")]
    if [len(part) for part in parts] != [2, 2]:
        known = ", ".join((*BANDS, *BOXES))
        raise _wrong(text, f"has the region {place!r}, not like 45..60N,0..40E or one of {known}")
    south, north = (_parse_coordinate(each, "NS", 90, text) for each in _with_side(parts[0]))
    west, east = (_parse_coordinate(each, "EW", 360, text) for each in _with_side(parts[1]))
    south, north = sorted((south, north))
    if south == north or west == east:
        raise _wrong(text, f"has the region {place!r}, which has no area")
    bounds = ":".join(map(_number, (south, north, west, east)))
    return name.strip(), f"box:{bounds}"


def _with_side(pair: list[str]) -> list[str]:
    """Let a side behind the second number hold for the first one too: ``45..60N``."""
    first, second = (part.strip() for part in pair)
    if second[-1:].isalpha() and not first[-1:].isalpha() and not first.startswith(("+", "-")):
        first += second[-1]
    return [first, second]


def _parse_point(place: str, text: str) -> tuple[float, float]:
    parts = place.split(",")
    if len(parts) != 2:
        raise _wrong(text, f"is at {place!r}, which is not LATITUDE,LONGITUDE")
    latitude = _parse_coordinate(parts[0], "NS", 90, text)
    return latitude, _parse_coordinate(parts[1], "EW", 360, text)


def _parse_coordinate(part: str, sides: str, most: float, text: str) -> float:
    match = _COORDINATE.fullmatch(part.strip())
    kind = "latitude" if sides == "NS" else "longitude"
    side = match["side"].upper() if match else ""
    if match is None or (side and side not in sides) or (side and match["value"][0] in "+-"):
        raise _wrong(text, f"has the {kind} {part.strip()!r}, not like {'60' + sides[0]} or -60")
    value = float(match["value"]) * (-1 if side and side == sides[1] else 1)
    if abs(value) > most:
        raise _wrong(text, f"has the {kind} {value:g}, outside ±{most:g}")
    return value


def _parse_field(name: str, text: str) -> tuple[str, int | None]:
    try:
        found, level = parse_field(name)
    except InputError as error:
        row = _find_derived(name)
        if row is None:
            raise _wrong(text, f"has a wrong field: {error}") from error
        hint = ", or wind:850>20 for a wind speed" if row.name in _SPEEDS else ""
        raise _wrong(
            text,
            f"is of {row.name}, which is derived: an event is of a variable of the model{hint}",
        ) from None
    if found.kind == "upper" and level is None:
        raise _wrong(text, f"has the field {name!r} without a level, such as {name}850")
    return found.name, level


def _find_derived(name: str) -> Variable | None:
    try:
        return parse_quantity(name)[0]
    except InputError:
        return None


def _is_field(text: str) -> bool:
    """Return whether the text before the sign names a field with a colon (``temperature:850``)."""
    try:
        parse_field(re.split(r"[<>@]", text)[0].strip())
    except InputError:
        return False
    return True


def _partition(text: str, pattern: str) -> tuple[str, str, str]:
    match = re.search(pattern, text)
    if match is None:
        return text, "", ""
    return text[: match.start()], match[0], text[match.end() :]


def _wrong(text: str, why: str) -> InputError:
    return InputError(f"event {text.strip()!r} {why}", field=_FIELD, hint=EXAMPLE)


def _number(value: float) -> str:
    return f"{value:.10g}"


def _degrees(value: float, sides: str) -> str:
    return f"{abs(value):g}°{sides[1] if value < 0 else sides[0]}"


def _region_words(region: str) -> str:
    if not region.startswith("box:"):
        return region.replace("_", " ")
    south, north, west, east = (float(part) for part in region.split(":")[1:])
    latitudes = f"{_degrees(south, 'NS')} to {_degrees(north, 'NS')}"
    return f"{latitudes}, {_degrees(west, 'EW')} to {_degrees(east, 'EW')}"
