"""Valid times of a variable, from its times, lead times and reference times."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
import xarray as xr

from pear.datasets.base import Scan
from pear.datasets.time_decoding import SECONDS, decode_duration, decode_times
from pear.datasets.time_statements import require_clock
from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Times

Role: TypeAlias = Literal["valid", "time", "reference", "lead"]
"""What a coordinate is; ``time`` is a time that does not say whether it is valid or initial."""

_VALID: Final = ("valid_time", "validtime", "validity_time", "verification_time")
_TIME: Final = ("time", "date", "datetime")
_REFERENCE: Final = (
    "forecast_reference_time",
    "reference_time",
    "reftime",
    "init_time",
    "inittime",
    "initial_time",
    "initialization_time",
    "base_time",
    "analysis_time",
    "run_time",
)
_LEAD: Final = (
    "step",
    "prediction_timedelta",
    "lead_time",
    "leadtime",
    "lead",
    "forecast_period",
    "forecast_hour",
)
_STANDARD: Final[dict[str, Role]] = {
    "time": "valid",
    "forecast_reference_time": "reference",
    "forecast_period": "lead",
}
_SAID_INITIAL: Final = ("initial", "reference time", "start of forecast", "model run", "base time")
_UNITS: Final = sorted(set(SECONDS.values()))
_TOLERANCE: Final = np.timedelta64(30, "s")  # of leads in hours with few digits


def find_role(name: Hashable, coordinate: xr.DataArray) -> Role | None:
    """Return what a coordinate is in time, by its standard name, name and long name.

    Returns
    -------
    {"valid", "time", "reference", "lead"} or None
        None for other coordinates.

    Examples
    --------
    >>> from pear.datasets.valid_times import find_role
    >>> find_role("time", xr.DataArray(0)), find_role("step", xr.DataArray(0))
    ('time', 'lead')
    >>> find_role("Time", xr.DataArray(0, attrs={"standard_name": "time"}))
    'valid'
    """
    key, about = str(name).lower(), str(coordinate.attrs.get("long_name", "")).lower()
    stated = _STANDARD.get(str(coordinate.attrs.get("standard_name", "")).strip())
    if stated == "valid" and any(word in about for word in _SAID_INITIAL):
        return "reference"  # cfgrib calls the initial time of a forecast so
    if stated is not None:
        return stated
    for names, role in ((_VALID, "valid"), (_REFERENCE, "reference"), (_LEAD, "lead")):
        if key in names:
            return role  # type: ignore[return-value]
    dated = key in _TIME or str(coordinate.attrs.get("axis", "")).upper() == "T"
    if not dated:
        return None
    if "valid" in about or "verif" in about:
        return "valid"
    return "reference" if any(word in about for word in _SAID_INITIAL) else "time"


def with_time_coordinates(dataset: xr.Dataset) -> xr.Dataset:
    """Make coordinates of the times and leads that a file keeps as plain variables.

    Returns
    -------
    Dataset
        The same data.

    Examples
    --------
    >>> from pear.datasets.valid_times import with_time_coordinates
    >>> data = xr.Dataset({"t2m": 280.0, "valid_time": np.datetime64("2001-01-01", "ns")})
    >>> list(with_time_coordinates(data).coords)
    ['valid_time']
    """
    found = [
        name
        for name, array in dataset.data_vars.items()
        if array.ndim <= 2 and find_role(name, array) not in (None, "time")
    ]
    return dataset.set_coords(found)


@dataclass
class _Clock:
    """Decoded times of a variable by their role, each with the name of its coordinate."""

    label: str
    notes: list[str] = field(default_factory=list)
    valid: list[xr.DataArray] = field(default_factory=list)
    time: list[xr.DataArray] = field(default_factory=list)
    reference: list[xr.DataArray] = field(default_factory=list)
    lead: list[xr.DataArray] = field(default_factory=list)
    unread_leads: list[tuple[InputError, xr.DataArray]] = field(default_factory=list)
    leads_of_cf: bool = False

    def add(self, name: Hashable, coordinate: xr.DataArray, role: Role) -> None:
        """Decode a coordinate."""
        if role == "lead":
            try:
                values = decode_duration(coordinate.rename(name), self.label)
            except InputError as error:
                self.unread_leads.append((error, coordinate))
                return
            cf = "forecast_period"
            self.leads_of_cf |= cf in (name, coordinate.attrs.get("standard_name"))
            self.lead.append(xr.DataArray(values, dims=coordinate.dims, name=name))
            return
        decoded = decode_times(coordinate.rename(name), self.label)
        require_clock(coordinate.rename(name), self.label)
        if decoded.note:
            self.notes.append(decoded.note)
        if np.isnat(decoded.times).any():
            raise InputError(f"{self.label} has missing times in {name}", field="time")
        array = xr.DataArray(decoded.times, dims=coordinate.dims, name=name)
        getattr(self, role).append(array)


def find_valid_times(
    array: xr.DataArray, scan: Scan
) -> tuple[Times, Hashable | None, tuple[int, ...]]:
    """Find the valid times of a variable.

    A time that is valid already (its standard name is ``time``, or there is a reference time
    beside it) is taken as it is; a time of the start of forecasts gets the lead time added.

    Parameters
    ----------
    array : DataArray
        The variable.
    scan : Scan
        Scan of its source.

    Returns
    -------
    times : (time,) array
        Valid times, in the order of the source.
    dimension : hashable or None
        Dimension of the times, if they have one.
    leads : tuple of int
        Lead times in seconds, of each valid time or one of all.

    Raises
    ------
    InputError
        If a variable has no time, if times contradict each other, or if they have two dimensions.

    Examples
    --------
    >>> from pear.datasets.valid_times import find_valid_times
    >>> times = np.array(["2001-01-01", "2001-01-02"], "datetime64[ns]")
    >>> lead = xr.DataArray(24, attrs={"units": "hours"})
    >>> array = xr.DataArray([1.0, 2.0], {"time": times, "step": lead}, ["time"], name="t2m")
    >>> find_valid_times(array, Scan("the dataset", "memory"))
    (array(['2001-01-02T00:00:00', '2001-01-03T00:00:00'],
          dtype='datetime64[s]'), 'time', (86400,))
    """
    label = f"{scan.source}: {array.name}"
    clock = _Clock(label)
    roles = {name: find_role(name, coordinate) for name, coordinate in array.coords.items()}
    undecided = [name for name, role in roles.items() if role == "time"]
    for name, role in roles.items():
        coordinate = array.coords[name]
        # A date beside the axis of time repeats it, often as a number of digits.
        repeats = len(undecided) > 1 and role == "time" and str(name).lower() != "time"
        if role is not None and not repeats:
            _refuse_climatology(array, coordinate, scan.source)
            clock.add(name, coordinate, role)
    valid, leads = _resolve(clock, array)
    for note in clock.notes:
        scan.note(f"{array.name}: {note}")
    wide = [dim for dim in valid.dims if valid.sizes[dim] > 1]
    if len(wide) > 1:
        sizes = " x ".join(f"{dim} {valid.sizes[dim]}" for dim in wide)
        count = np.unique(leads.values).size
        raise InputError(
            f"{label} has {count} lead times at each init time (valid times by {sizes})",
            field="time",
            hint="select one lead time first; PEAR ingests one field for each valid time",
        )
    dimension = wide[0] if wide else next(iter(valid.dims), None)
    times: Times = np.asarray(valid.values).reshape(-1)
    return times, dimension, tuple(int(lead) for lead in leads.values.ravel().astype(np.int64))


def _refuse_climatology(array: xr.DataArray, coordinate: xr.DataArray, source: str) -> None:
    about = " ".join(str(array.attrs.get(key, "")) for key in ("statistic", "cell_methods")).lower()
    if "climatology" in coordinate.attrs or "long term mean" in about or "over years" in about:
        raise InputError(f"{source}: {array.name} is a climatology, not states", field="time")


def _resolve(clock: _Clock, array: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return valid times and lead times, with the dimensions they vary along."""
    label, lead = clock.label, _one(clock.lead, "lead times", clock.label)
    valid, reference = list(clock.valid), list(clock.reference)
    if valid:
        reference += clock.time  # beside valid times one that does not say more is an initial one
    elif clock.time and (reference or _has_no_lead(clock, lead)):
        valid = clock.time
    elif clock.time and lead is not None:
        _require_initial(clock.time[0], lead, clock)
        reference = clock.time
    start, end = _one(reference, "reference times", label), _one(valid, "valid times", label)
    if end is not None:
        known = _checked(end, start, lead, label)
        for error, raw in clock.unread_leads:
            if start is None or not _fits_some_unit(raw, known[1]):
                raise error
        return known
    if start is None:
        raise _no_time(array, label)
    if lead is None:
        _has_no_lead(clock, lead)
        if str(start.name).lower() not in _TIME:
            raise InputError(
                f"{label} has {start.name}, when forecasts start, but no lead time",
                field="time",
                hint="add a coordinate step with units, or rename the axis to time for analyses",
            )
        clock.notes.append(f"{start.name} is a reference time without a lead: taken as analyses")
        lead = xr.DataArray(np.zeros((), "timedelta64[s]"))
    return _sum(start, lead), lead


def _fits_some_unit(raw: xr.DataArray, leads: xr.DataArray) -> bool:
    """Return whether numbers without a unit are leads, as valid and reference times tell them."""
    if raw.dtype.kind not in "iuf" or not np.isfinite(raw.values).all():
        return False
    numbers = xr.DataArray(raw.values.astype(np.float64), dims=raw.dims)
    seconds = xr.DataArray(leads.values / np.timedelta64(1, "s"), dims=leads.dims)
    one, other = xr.broadcast(numbers, seconds)
    return any(np.allclose(one.values * unit, other.values, atol=30.0) for unit in _UNITS)


def _has_no_lead(clock: _Clock, lead: xr.DataArray | None) -> bool:
    """Return whether every lead time is zero; refuse one that cannot be read."""
    if clock.unread_leads:
        raise clock.unread_leads[0][0]
    return lead is None or not lead.values.any()


def _one(many: list[xr.DataArray], what: str, label: str) -> xr.DataArray | None:
    """Return the only coordinate of its kind, or the first of some that agree."""
    if not many:
        return None
    first, *others = sorted(many, key=lambda one: -one.ndim)
    for other in others:
        if not _agree(first, other):
            raise InputError(
                f"{label} has two {what} that differ: {_quote(first)} and {_quote(other)}",
                field="time",
                hint="drop the one that is wrong",
            )
    return first


def _require_initial(time: xr.DataArray, lead: xr.DataArray, clock: _Clock) -> None:
    """Refuse times of which nothing says whether the lead has been added already."""
    along = bool(set(lead.dims) & set(time.dims))
    if along or (clock.leads_of_cf and not lead.dims):
        raise InputError(
            f"{clock.label}: {_quote(time)} does not say whether {_quote(lead)} is part of it",
            field="time",
            hint="set its standard_name to 'time' (valid) or 'forecast_reference_time' (initial)",
        )


def _checked(
    end: xr.DataArray, start: xr.DataArray | None, lead: xr.DataArray | None, label: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return valid times and their leads; refuse those that reference time and lead contradict."""
    if start is None:
        if lead is None:
            lead = xr.DataArray(np.zeros((), "timedelta64[s]"))
        # The lead of a valid time is told only; along an axis of its own it makes no times.
        if not set(lead.dims) <= set(end.dims):
            if lead.size > 1:
                raise InputError(
                    f"{label} has {lead.size} lead times for one valid time",
                    field="time",
                    hint="select one of them first",
                )
            lead = lead.squeeze()
        return end, lead
    if lead is not None:
        total = _sum(start, lead)
        if not _agree(end, total):
            raise InputError(
                f"{label}: {_quote(end)}, but {_quote(start)} plus {_quote(lead)} is "
                f"{_span(total)}",
                field="time",
                hint="correct the one that is wrong, or drop it",
            )
        return (total if total.ndim > end.ndim else end), lead
    if any(start.sizes[dim] > 1 for dim in start.dims if dim not in end.dims):
        raise InputError(
            f"{label}: {_quote(end)} is one for {start.size} times: {_quote(start)}",
            field="time",
            hint="drop it if it is left over",
        )
    full, begin = xr.broadcast(end, start)
    found = full - begin
    if (found.values < np.timedelta64(0, "s")).any():
        raise InputError(
            f"{label}: {_quote(end)} is before {_quote(start)}",
            field="time",
            hint="correct the one that is wrong, or drop it if it is left over",
        )
    return full, found


def _sum(start: xr.DataArray, lead: xr.DataArray) -> xr.DataArray:
    one, other = xr.broadcast(start, lead)
    values = one.values.astype("datetime64[s]") + other.values.astype("timedelta64[s]")
    return xr.DataArray(values, dims=one.dims)


def _agree(first: xr.DataArray, second: xr.DataArray) -> bool:
    one, other = xr.broadcast(first, second)
    return bool((np.abs(one.values - other.values) <= _TOLERANCE).all())


def _quote(array: xr.DataArray) -> str:
    return f"{array.name} {_span(array)}"


def _span(array: xr.DataArray) -> str:
    """Return the first and last value, in words."""
    first, last = array.values.min(), array.values.max()
    if array.dtype.kind == "m":
        hours = [f"{value / np.timedelta64(1, 'h'):g}" for value in (first, last)]
        return f"{hours[0]} h" if first == last else f"{hours[0]} to {hours[1]} h"
    return to_iso(first) if first == last else f"{to_iso(first)} to {to_iso(last)}"


def _no_time(array: xr.DataArray, label: str) -> InputError:
    dated = [
        str(name)
        for name, coordinate in array.coords.items()
        if coordinate.dtype.kind == "M" or " since " in str(coordinate.attrs.get("units", ""))
    ]
    listed = ", ".join(map(str, array.dims))
    if dated:
        return InputError(
            f"{label} has no time of a known name; {', '.join(dated)} holds dates",
            field="time",
            hint="name it time, or set its standard_name to 'time'",
        )
    return InputError(
        f"{label} has no time (its dimensions: {listed})",
        field="time",
        hint="PEAR needs dated fields",
    )
