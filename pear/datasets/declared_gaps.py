"""Missing values that a file declares in ways that decoding by CF leaves in the data."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import xarray as xr

from pear.typing import Float32, Float64

# Names of attributes without case, underscores and plural, see attribute_key.
_FILLS: Final = frozenset(
    ("fillvalue", "missingvalue", "missing", "nodata", "nodatavalue", "fill", "missingdata")
) | {
    *("missingdatavalue", "undef", "undefined", "undefinedvalue", "undefvalue", "novalue"),
    *("missval", "missvalue", "fillval", "invalidvalue", "invalid", "badvalue", "navalue"),
    *("nanvalue", "emptyvalue", "missingvaluecode", "gdalnodata", "dummyvalue", "nullvalue"),
}
_RANGES: Final = ("validrange", "validmin", "validmax")
_UNSET: Final = 1e19  # beyond it lie the fill values of ranges that were never computed
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def attribute_key(name: object) -> str:
    """Return the name of an attribute without case, separators and plural.

    Returns
    -------
    str
        The same for all spellings.

    Examples
    --------
    >>> from pear.datasets.declared_gaps import attribute_key
    >>> attribute_key("Missing_Values"), attribute_key("_FillValue_"), attribute_key("NoData")
    ('missingvalue', 'fillvalue', 'nodata')
    """
    return re.sub("[^a-z]", "", str(name).lower()).removesuffix("s")


def find_declared_gap(values: Float32, array: xr.DataArray) -> str | None:
    """Look for values that the attributes of a variable declare to be missing.

    Parameters
    ----------
    values
        (point,), decoded; NaN where decoding found missing values.
    array
        The variable they were read from, with its attributes and encoding.

    Returns
    -------
    str or None
        How many values are missing and by which attribute; None without such an attribute.

    Examples
    --------
    >>> from pear.datasets.declared_gaps import find_declared_gap
    >>> array = xr.DataArray([1.0], attrs={"valid_range": [-50.0, 50.0]})
    >>> find_declared_gap(np.array([1.0, -99.0], dtype=np.float32), array)
    '1 of 2 values missing (outside its valid_range -50 to 50)'
    """
    gone = ~np.isfinite(values)
    if gone.any():
        fills = {
            f"{name} {number:g}"
            for name in ("_FillValue", "missing_value")
            for number in numbers_of(array.encoding.get(name))
            if np.isfinite(number)
        }
        count = f"{int(gone.sum())} of {values.size}"
        return f"{count} values missing ({', '.join(sorted(fills))})" if fills else None
    # Zarr's own fill_value stands for chunks that are not there, not for missing values.
    kept = {key: array.encoding.get(key) for key in ("_FillValue", "missing_value")}
    for name, stated in (kept | array.attrs).items():
        if attribute_key(name) not in _FILLS:
            continue
        for number in _unpacked(numbers_of(stated), array, stated):
            same = np.isclose(values, number, rtol=1e-6, atol=0.0)
            if np.isfinite(number) and same.any():
                return f"{int(same.sum())} of {values.size} values missing ({name} {stated})"
    text = _outside(values, array)
    return text or outside_actual_range(array, values) or None


def _outside(values: Float32, array: xr.DataArray) -> str | None:
    for name, low, high in _ranges(array):
        slack = 1e-5 * max((abs(one) for one in (low, high) if np.isfinite(one)), default=0.0)
        slack += abs(_scale(array)[0]) if _is_packed(array) else 0.0
        outside = (values < low - slack) | (values > high + slack)
        if outside.any():
            ends = [f"{one:g}" for one in (low, high) if np.isfinite(one)]
            bounds = " to ".join(ends)
            count = f"{int(outside.sum())} of {values.size}"
            return f"{count} values missing (outside its {name} {bounds})"
    return None


def _ranges(array: xr.DataArray) -> list[tuple[str, float, float]]:
    out: list[tuple[str, float, float]] = []
    for name, stated in array.attrs.items():
        key = attribute_key(name)
        if key not in _RANGES:
            continue
        numbers = _unpacked(numbers_of(stated), array, stated)
        if key == "validrange" and numbers.size == 2:
            out.append((name, float(numbers.min()), float(numbers.max())))
        elif key == "validmin" and numbers.size == 1:
            out.append((name, float(numbers[0]), np.inf))
        elif key == "validmax" and numbers.size == 1:
            out.append((name, -np.inf, float(numbers[0])))
    return out


def outside_actual_range(
    array: xr.DataArray,
    values: Float32 | None = None,
    *,
    circle: bool = False,
    rounding: float = 1e-5,
) -> str:
    """Say how values leave the range that their ``actual_range`` states, by more than rounding.

    Parameters
    ----------
    array
        The variable or axis, with its attributes and encoding.
    values
        Some of its values, decoded; by default all.
    circle
        True for longitudes, which lie in a range also with 360 degrees more or less.
    rounding
        Relative error of the numbers of the range.

    Returns
    -------
    str
        Both sides; empty if they agree, or if nothing or no finite range is stated.

    Examples
    --------
    >>> from pear.datasets.declared_gaps import outside_actual_range
    >>> outside_actual_range(xr.DataArray([1.0, 7.0], attrs={"actual_range": [0.0, 5.0]}))
    'values from 1 to 7, but its actual_range is 0 to 5'
    """
    stated = next(
        (one for name, one in array.attrs.items() if attribute_key(name) == "actualrange"), None
    )
    numbers = _unpacked(numbers_of(stated), array, stated)
    if numbers.size != 2 or not (np.abs(numbers) < _UNSET).all():
        return ""
    found = np.asarray(array.values if values is None else values)
    if found.dtype.kind not in "iuf" or not (kept := found[np.isfinite(found)]).size:
        return ""
    low, high = float(numbers.min()), float(numbers.max())
    slack = rounding * (100.0 * (high - low) + max(abs(low), abs(high)))
    slack += abs(_scale(array)[0]) if _is_packed(array) else 0.0
    inside = (kept >= low - slack) & (kept <= high + slack)
    if circle:
        inside |= (kept - (low - slack)) % 360.0 <= high - low + 2 * slack
    if inside.all():
        return ""
    return (
        f"values from {kept.min():g} to {kept.max():g}, but its {_spelling(array, 'actualrange')}"
        f" is {low:g} to {high:g}"
    )


def outside_declared(axis: xr.DataArray, *, circle: bool = False, rounding: float = 1e-5) -> str:
    """Say how an axis leaves the range that it declares for itself, whichever attribute says it.

    Parameters
    ----------
    axis
        The axis, with its attributes and encoding.
    circle
        True for longitudes, which lie in a range also with 360 degrees more or less.
    rounding
        Relative error of the numbers of the range.

    Returns
    -------
    str
        Both sides; empty if they agree, or if nothing is stated.

    Examples
    --------
    >>> from pear.datasets.declared_gaps import outside_declared
    >>> outside_declared(xr.DataArray([1.0, 7.0], attrs={"valid_max": 5.0}))
    'values from 1 to 7, but its valid_max is 5'
    """
    if text := outside_actual_range(axis, circle=circle, rounding=rounding):
        return text
    found = np.asarray(axis.values)
    if found.dtype.kind not in "iuf" or not (kept := found[np.isfinite(found)]).size:
        return ""
    for name, low, high in _ranges(axis):
        ends = [one for one in (low, high) if np.isfinite(one)]
        if not ends or (circle and len(ends) == 1):  # one end of a circle bounds nothing
            continue
        slack = rounding * (100.0 * (high - low if len(ends) == 2 else 0.0) + max(map(abs, ends)))
        inside = (kept >= low - slack) & (kept <= high + slack)
        if circle:
            inside |= (kept - (low - slack)) % 360.0 <= high - low + 2 * slack
        if not inside.all():
            stated = " to ".join(f"{one:.10g}" for one in ends)
            span = f"{kept.min():.10g} to {kept.max():.10g}"
            return f"values from {span}, but its {name} is {stated}"
    return ""


def _spelling(array: xr.DataArray, key: str) -> str:
    return next(str(name) for name in array.attrs if attribute_key(name) == key)


def numbers_of(stated: object) -> Float64:
    """Return the numbers of an attribute, also of one that is text.

    Returns
    -------
    (number,) array
        Empty if there are none.

    Examples
    --------
    >>> from pear.datasets.declared_gaps import numbers_of
    >>> numbers_of("-1e3 to 5")
    array([-1000.,     5.])
    """
    if stated is None:
        return np.zeros(0)
    if isinstance(stated, str | bytes):
        text = stated.decode("utf-8", "replace") if isinstance(stated, bytes) else stated
        return np.array([float(one) for one in _NUMBER.findall(text)])
    try:
        return np.atleast_1d(np.asarray(stated, dtype=np.float64)).ravel()
    except (TypeError, ValueError):
        return np.zeros(0)


def _scale(array: xr.DataArray) -> tuple[float, float]:
    try:
        factor = float(array.encoding.get("scale_factor", 1.0))
        return factor, float(array.encoding.get("add_offset", 0.0))
    except (TypeError, ValueError):
        return 1.0, 0.0


def _is_packed(array: xr.DataArray) -> bool:
    return _scale(array) != (1.0, 0.0)


def _unpacked(numbers: Float64, array: xr.DataArray, stated: object) -> Float64:
    """Return numbers in the units of the data: whole ones of packed data are packed as well."""
    factor, offset = _scale(array)
    kind = np.asarray(stated).dtype.kind if stated is not None else ""
    packed = kind in "iu" and np.dtype(array.encoding.get("dtype", np.float32)).kind in "iu"
    return numbers * factor + offset if packed else numbers
