"""What cfgrib wrote of the grid of a message, compared with the axes that a file has now."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.typing import Float64

_REGULAR: Final = ("regular_ll", "unknown", "")
_CORNER_ERROR: Final = 0.1  # of a step
_STEP_ERROR: Final = 0.02  # of a step; GRIB 1 rounds to thousandths of a degree
_ROUNDING: Final = 2e-3  # degrees
_MISSING_STEP: Final = 60.0  # degrees; 65.535 stands for a missing one
_SIZES: Final = {"Nx": 1, "Ni": 1, "Ny": 0, "Nj": 0}
_STEPS: Final = {"iDirectionIncrementInDegrees": 1, "jDirectionIncrementInDegrees": 0}
_CORNERS: Final = {
    "latitudeOfFirstGridPointInDegrees": 0,
    "latitudeOfLastGridPointInDegrees": 0,
    "longitudeOfFirstGridPointInDegrees": 1,
    "longitudeOfLastGridPointInDegrees": 1,
}
_AXES: Final = ("latitude", "longitude")


def require_same_grid(array: xr.DataArray, lat: Float64, lon: Float64, source: str) -> None:
    """Refuse a variable of which attributes of GRIB describe another grid than its axes.

    cfgrib writes the header of a message beside the axes that it makes of it. Where they differ,
    one of them was changed, and the values fit only one. The order of the axes is not compared:
    sorting a field by its latitude, or beginning it at the date line, moves the values along.

    Parameters
    ----------
    array
        The variable.
    lat, lon
        (row,), (column,) its axes in degrees, as the file has them.
    source
        Name of the source, for messages.

    Raises
    ------
    InputError
        If kind, size, corners or steps differ; quotes both.

    Examples
    --------
    >>> from pear.datasets.grib_statements import require_same_grid
    >>> array = xr.DataArray(0.0, attrs={"GRIB_Nx": 72}, name="t2m")
    >>> require_same_grid(array, np.linspace(90, -90, 19), np.arange(36) * 10.0, "a.nc")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t2m: GRIB_Nx says 72, but its longitude has 36 values; ...
    """
    found = _find_contradiction(array, (lat, lon))
    if found:
        raise InputError(
            f"{source}: {array.name}: {found}",
            field="grid",
            hint="correct the axis, or remove the attributes GRIB_* if the fields were regridded "
            "together with their axes",
        )


def _find_contradiction(array: xr.DataArray, axes: tuple[Float64, Float64]) -> str:
    kind = str(array.attrs.get("GRIB_gridType", "")).strip()
    if kind not in _REGULAR:
        shape = " x ".join(str(axis.size) for axis in axes)
        return f"GRIB_gridType says {kind!r}, but its axes are those of {shape} points"
    for key, which in _SIZES.items():
        stated, size = _number(array, key), axes[which].size
        if stated is not None and stated != size:
            return f"GRIB_{key} says {stated:g}, but its {_AXES[which]} has {size} values"
    count, points = _number(array, "numberOfPoints"), axes[0].size * axes[1].size
    if count is not None and count != points:
        return f"GRIB_numberOfPoints says {count:g}, but its axes mean {points}"
    return _compare_places(array, axes)


def _compare_places(array: xr.DataArray, axes: tuple[Float64, Float64]) -> str:
    steps = [abs(float(np.median(np.diff(axis)))) if axis.size > 1 else 0.0 for axis in axes]
    for key, which in _STEPS.items():
        stated, step = _number(array, key), steps[which]
        if stated is None or not 0.0 < stated < _MISSING_STEP:
            continue
        if abs(stated - step) > _STEP_ERROR * step + _ROUNDING:
            return f"GRIB_{key} says {stated:g}, but its {_AXES[which]} has steps of {step:g}"
    for key, which in _CORNERS.items():
        stated, axis = _number(array, key), axes[which]
        if stated is None:
            continue
        ends = axis[[0, -1]]
        apart = stated - ends
        if which == 1:
            apart = (apart + 180.0) % 360.0 - 180.0
            if abs(axis.size * steps[1] - 360.0) < steps[1] / 2:  # a circle begins anywhere
                apart = apart - np.round(apart / steps[1]) * steps[1]
        if float(np.abs(apart).min()) > _CORNER_ERROR * steps[which] + _ROUNDING:
            return (
                f"GRIB_{key} says {stated:g}, but its {_AXES[which]} runs from "
                f"{ends[0]:g} to {ends[1]:g}"
            )
    return ""


def _number(array: xr.DataArray, key: str) -> float | None:
    """Return the number that an attribute states, if it does."""
    try:
        number = float(array.attrs[f"GRIB_{key}"])
    except (KeyError, TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
