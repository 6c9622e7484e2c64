"""Axes of a variable: ensemble members, experiment versions, and times in order."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
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
from pear.store.schema import PRELIMINARY
from pear.typing import Times

MEMBERS: Final = re.compile("reali[sz]ation|number|members?|ensemble|ens|ensemble_member")
# Attributes that name the member, without case and separators; those of CMIP6 among them.
_MEMBER_KEYS: Final = (
    *("gribnumber", "gribperturbationnumber", "variantlabel", "memberid", "ensemblemember"),
    *("ensemblemembernumber", "realization", "realisation", "realizationindex"),
)


def note_leads(name: str, seconds: Sequence[int], scan: Scan) -> None:
    """Note that fields are forecasts, which are stored at their valid times.

    Examples
    --------
    >>> from pear.datasets.axes import note_leads
    >>> scan = Scan("forecast.nc", "NetCDF")
    >>> note_leads("t2m", [0, 21600], scan)
    >>> scan.notes
    ['t2m: forecasts of 0, 6 h, stored at their valid times']
    """
    hours = sorted({second / 3600 for second in seconds})
    if hours != [0.0]:
        listed = ", ".join(f"{hour:g}" for hour in hours[:6]) + (" …" if len(hours) > 6 else "")
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
    if "expver" in array.coords and "expver" not in array.dims:
        versions = np.atleast_1d(array.coords["expver"].values)
        note_versions(str(array.name), list(map(str, versions)), scan)
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


def find_preliminary(
    dataset: xr.Dataset, array: xr.DataArray, time_dim: Hashable | None, count: int
) -> npt.NDArray[np.bool_]:
    """Return at which times the data of a variable are preliminary (ERA5T, expver 5).

    Parameters
    ----------
    dataset : Dataset
        Where ``expver`` may be a variable or coordinate.
    array : DataArray
        The variable, whose attributes may state it as well.
    time_dim : hashable or None
        Dimension of the times.
    count : int
        Number of times.

    Returns
    -------
    (time,) array of bool
        In the order of the source. Along an axis of versions, the times without a final field.

    Examples
    --------
    >>> from pear.datasets.axes import find_preliminary
    >>> data = xr.Dataset({"t2m": ("time", [1.0, 2.0]), "expver": ("time", ["0001", "0005"])})
    >>> find_preliminary(data, data["t2m"], "time", 2)
    array([False,  True])
    """
    own = dataset.variables.get(PRELIMINARY)
    if own is not None and own.dims == (time_dim,) and "pear_kind" in dataset.attrs:
        return np.asarray(own.values).astype(bool)
    stated = array.attrs.get("GRIB_expver", dataset.attrs.get("expver"))
    found = array.coords.get("expver", dataset.get("expver"))
    if found is None:
        return np.full(count, stated is not None and _is_preliminary(stated))
    flags = np.array([_is_preliminary(each) for each in np.ravel(found.values)], dtype=bool)
    if found.ndim == 0 or (found.ndim == 1 and found.size == 1):
        return np.full(count, bool(flags[0]))
    if found.dims == (time_dim,):
        return flags
    if found.dims == ("expver",) and "expver" in array.dims and (~flags).any():
        final = array.isel(expver=int(np.flatnonzero(~flags)[0]))
        if time_dim is None:
            return np.full(count, _is_empty(final))
        return np.array([_is_empty(final.isel({time_dim: at})) for at in range(count)], dtype=bool)
    return np.full(count, bool(flags.any()))


def _is_empty(slot: xr.DataArray) -> bool:
    """Return whether a slot of final data is empty, as it is at preliminary times."""
    # A field may have gaps of its own (sea temperature over land), so one point does not tell. One
    # row does in most fields; the whole is read only where that row is missing too.
    if slot.ndim and not np.isnan(np.asarray(slot[slot.shape[0] // 2].values)).all():
        return False
    return bool(np.isnan(np.asarray(slot.values)).all())


def _is_preliminary(version: object) -> bool:
    text = version.decode() if isinstance(version, bytes) else str(version)
    return text.strip().lstrip("0").removesuffix(".0") == "5"


def note_versions(name: str, versions: Sequence[str], scan: Scan) -> None:
    """Note preliminary reanalysis (ERA5T).

    Examples
    --------
    >>> from pear.datasets.axes import note_versions
    >>> scan = Scan("era5.nc", "NetCDF")
    >>> note_versions("t2m", ["1", "5"], scan)
    >>> scan.notes
    ['t2m: some times are preliminary (expver 5, ERA5T)']
    """
    if "5" in {version.lstrip("0") for version in versions}:
        scan.note(f"{name}: some times are preliminary (expver 5, ERA5T)")


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
