"""Axes of a variable: ensemble members, other dimensions, and times in order."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np
import xarray as xr

from pear.datasets.base import (
    Scan,
    ScanOptions,
    choose_member,
    member_key,
    require_unnumbered,
)
from pear.datasets.declared_gaps import attribute_key
from pear.errors import InputError
from pear.typing import Times

MEMBERS: Final = re.compile("reali[sz]ation|number|members?|ensemble|ens|ensemble_member")
# Attributes that name the member, without case and separators; those of CMIP6 among them.
_MEMBER_KEYS: Final = (
    *("gribnumber", "gribperturbationnumber", "variantlabel", "memberid", "ensemblemember"),
    *("ensemblemembernumber", "realization", "realisation", "realizationindex"),
)


def note_leads(name: str, seconds: Sequence[int], scan: Scan) -> None:
    """Note that fields are forecasts, which are stored at their valid times.

    A negative lead is that of a state before the reference time of its file, which knows what came
    after it: it is an analysis.

    Examples
    --------
    >>> from pear.datasets.axes import note_leads
    >>> scan = Scan("forecast.nc", "NetCDF")
    >>> note_leads("t2m", [0, 21600], scan)
    >>> scan.notes
    ['t2m: forecasts of 0, 6 h, stored at their valid times']
    """
    hours = sorted({second / 3600 for second in seconds})
    early, later = [hour for hour in hours if hour < 0], [hour for hour in hours if hour >= 0]
    if early:
        listed = ", ".join(f"{hour:g}" for hour in early[:6]) + (" …" if len(early) > 6 else "")
        scan.note(
            f"{name}: leads of {listed} h, of times before the reference time: stored as analyses"
        )
    if later not in ([], [0.0]):
        listed = ", ".join(f"{hour:g}" for hour in later[:6]) + (" …" if len(later) > 6 else "")
        scan.note(f"{name}: forecasts of {listed} h, stored at their valid times")


def fix_other_dimensions(
    array: xr.DataArray, known: set[Hashable | None], scan: Scan, options: ScanOptions
) -> tuple[tuple[tuple[Hashable, int], ...], Hashable | None]:
    """Choose a position along dimensions other than time, level, latitude and longitude.

    Parameters
    ----------
    array : DataArray
        The variable.
    known : set
        Dimensions of time, level, latitude and longitude.
    scan : Scan
        Scan of its source.
    options : ScanOptions
        Ensemble member to read.

    Returns
    -------
    fixed : tuple of (dimension, position)
        Dimensions of which one position is read.
    expver : hashable or None
        Dimension of experiment versions, which are merged.

    Raises
    ------
    InputError
        If a dimension has several positions of which none was chosen.

    Examples
    --------
    >>> from pear.datasets.axes import fix_other_dimensions
    >>> array = xr.DataArray(np.zeros((2, 1)), {"number": [0, 3]}, ["number", "height"])
    >>> fix_other_dimensions(array, set(), Scan("the dataset", "memory"), ScanOptions(member=3))
    ((('number', 1), ('height', 0)), None)
    """
    fixed: list[tuple[Hashable, int]] = []
    expver = None
    for dim in array.dims:
        if dim in known:
            continue
        size = array.sizes[dim]
        if dim == "expver" and size > 1:
            expver = dim
            scan.note(f"{array.name}: {size} experiment versions merged, final first")
        elif _is_member(dim, array[dim]):
            fixed.append((dim, _position_of_member(array, dim, scan, options)))
        elif size == 1:
            fixed.append((dim, 0))
        else:
            raise InputError(
                f"{scan.source}: {array.name} has an unknown dimension {dim!s} of size {size}",
                field=str(array.name),
                hint="select one position of it first",
            )
    return tuple(fixed), expver


def _position_of_member(
    array: xr.DataArray, dim: Hashable, scan: Scan, options: ScanOptions
) -> int:
    """Return the position of the wanted member, by its number or name."""
    labels = [_label(label) for label in np.atleast_1d(array[dim].values).tolist()]
    return choose_member(labels, options, f"{scan.source}: {array.name}")


def _is_member(name: Hashable, coordinate: xr.DataArray) -> bool:
    """Return whether a coordinate counts or names the members of an ensemble."""
    said = coordinate.attrs.get("standard_name") == "realization"
    return said or MEMBERS.fullmatch(str(name).lower()) is not None


def find_member(
    array: xr.DataArray,
    dataset: xr.Dataset,
    fixed: Sequence[tuple[Hashable, int]],
    options: ScanOptions,
    source: str,
) -> str:
    """Return the ensemble member that is read of a variable.

    Parameters
    ----------
    array : DataArray
        The variable.
    dataset : Dataset
        Its Dataset, whose attributes may name the member.
    fixed : sequence of (dimension, position)
        Dimensions of which one position is read.
    options : ScanOptions
        The member chosen by the user, if any.
    source : str
        Name of the source and the variable, for messages.

    Returns
    -------
    str
        Its number or name; empty if nothing says which one it is.

    Raises
    ------
    InputError
        If it is another one than that asked for, if two statements differ, or if the member
        changes with time.

    Examples
    --------
    >>> from pear.datasets.axes import find_member
    >>> array = xr.DataArray(280.0, {"number": 7}, name="t2m")
    >>> find_member(array, array.to_dataset(), (), ScanOptions(), "a.nc: t2m")
    '7'
    """
    found: dict[str, str] = {}
    for name, coordinate in array.coords.items():
        if not _is_member(name, coordinate):
            continue
        at = {dim: position for dim, position in fixed if dim in coordinate.dims}
        labels = {_label(each) for each in np.ravel(coordinate.isel(at).values).tolist()}
        if len(labels) > 1:
            raise InputError(
                f"{source}: its {name} is {', '.join(sorted(labels)[:5])} along "
                f"{', '.join(map(str, coordinate.dims))}",
                field="--member",
                hint="select one member, and write it to a file of its own",
            )
        found |= {str(name): label for label in labels if label not in ("", "nan", "None")}
    if any(_is_member(dim, array[dim]) for dim, _ in fixed):  # chosen along its dimension
        return next(iter(found.values()), "")
    attributes = {attribute_key(key): (key, one) for key, one in dataset.attrs.items()}
    attributes |= {attribute_key(key): (key, one) for key, one in array.attrs.items()}
    for plain in _MEMBER_KEYS:
        if plain in attributes and np.ndim(attributes[plain][1]) == 0:
            key, value = attributes[plain]
            found[str(key)] = _label(value)
    return _only_member(found, options, source)


def _only_member(found: dict[str, str], options: ScanOptions, source: str) -> str:
    """Return the first of the members that are stated; refuse numbers that differ."""
    numbers = {name: one for name, one in found.items() if isinstance(member_key(one), int)}
    if len({member_key(one) for one in numbers.values()}) > 1:
        told = " and ".join(f"{name} {one}" for name, one in numbers.items())
        raise InputError(
            f"{source} says of its ensemble member: {told}",
            field="--member",
            hint="correct the one that is wrong",
        )
    if not found:
        require_unnumbered(options, source)
        return ""
    labels = list(found.values())
    if options.member is None or member_key(options.member) not in map(member_key, labels):
        choose_member(labels[:1], options, source)
    return labels[0]


def _label(label: object) -> str:
    """Return the number or the name of a member as text."""
    if isinstance(label, bytes):
        return label.decode(errors="replace").rstrip("\0 ")
    if isinstance(label, np.generic):
        label = label.item()
    return f"{label:g}" if isinstance(label, int | float) else str(label).strip()


def sort_times(times: Times, name: str, scan: Scan) -> tuple[list[int], Times]:
    """Sort times and drop repetitions, which is noted in the scan.

    Parameters
    ----------
    times : (time,) array
        Valid times.
    name : str
        Name of the variable.
    scan : Scan
        Scan of its source.

    Returns
    -------
    positions : list of int
        Positions of the sorted times.
    times : (time,) array
        Increasing.

    Examples
    --------
    >>> from pear.datasets.axes import sort_times
    >>> times = np.array(["2001-01-02", "2001-01-01"], "datetime64[s]")
    >>> positions, sorted_times = sort_times(times, "t2m", Scan("the dataset", "memory"))
    >>> positions, bool((times[positions] == sorted_times).all())
    ([1, 0], True)
    """
    unique, first = np.unique(times, return_index=True)
    if unique.size < times.size:
        scan.note(f"{name}: {times.size - unique.size} times come twice; the first is taken")
    elif not np.array_equal(unique, times):
        scan.note(f"{name}: times were not in order")
    return first.tolist(), unique
