"""Missing values that a file declares in ways that decoding by CF leaves in the data."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import xarray as xr

from pear.typing import Float32, Float64

_FILLS: Final = (
    *("_FillValue", "missing_value", "FillValue", "fillvalue", "_fillvalue", "fill_value"),
    *("Fill_Value", "missing", "MissingValue", "nodata", "NoData", "no_data", "NODATA_value"),
)
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


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
            for number in _numbers(array.encoding.get(name))
            if np.isfinite(number)
        }
        count = f"{int(gone.sum())} of {values.size}"
        return f"{count} values missing ({', '.join(sorted(fills))})" if fills else None
    for name in _FILLS:
        # Zarr's own fill_value stands for chunks that are not there, not for missing values.
        kept = array.encoding.get(name) if name in _FILLS[:2] else None
        stated = array.attrs.get(name, kept)
        for number in _unpacked(_numbers(stated), array, stated):
            same = np.isclose(values, number, rtol=1e-6, atol=0.0)
            if np.isfinite(number) and same.any():
                return f"{int(same.sum())} of {values.size} values missing ({name} {stated})"
    return _outside(values, array)


def _outside(values: Float32, array: xr.DataArray) -> str | None:
    for name, low, high in _ranges(array):
        slack = 1e-5 * max((abs(one) for one in (low, high) if np.isfinite(one)), default=0.0)
        slack += abs(_scale(array)[0]) if _is_packed(array) else 0.0
        outside = (values < low - slack) | (values > high + slack)
        if outside.any():
            bounds = {"valid_min": f"{low:g}", "valid_max": f"{high:g}"}.get(
                name, f"{low:g} to {high:g}"
            )
            count = f"{int(outside.sum())} of {values.size}"
            return f"{count} values missing (outside its {name} {bounds})"
    return None


def _ranges(array: xr.DataArray) -> list[tuple[str, float, float]]:
    out: list[tuple[str, float, float]] = []
    for name in ("valid_range", "valid_min", "valid_max"):
        stated = array.attrs.get(name)
        numbers = _unpacked(_numbers(stated), array, stated)
        if name == "valid_range" and numbers.size == 2:
            out.append((name, float(numbers.min()), float(numbers.max())))
        elif name == "valid_min" and numbers.size == 1:
            out.append((name, float(numbers[0]), np.inf))
        elif name == "valid_max" and numbers.size == 1:
            out.append((name, -np.inf, float(numbers[0])))
    return out


def _numbers(stated: object) -> Float64:
    """Return the numbers of an attribute, also of one that is text."""
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
