"""Where a GRIB field lies by its header: type of level, layers, and increments of the grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pear.datasets.base import SkippedVariableError
from pear.datasets.statements import fits_height
from pear.datasets.units import Quantity, level_types
from pear.errors import InputError

_STEP_ERROR: Final = 2e-3  # degrees: GRIB 1 rounds increments and corners to thousandths


def require_place(get: Callable[[str], str | int | float | None], quantity: Quantity) -> None:
    """Refuse fields of another type of level than the quantity means, and layers.

    Parameters
    ----------
    get : callable
        Returns the value of a GRIB key, or None.
    quantity : Quantity
        What the field is by its short name.

    Raises
    ------
    SkippedVariableError
        If it is not on a pressure level, or not at the height that the name means.
    """
    kind, wanted = str(get("typeOfLevel")), level_types(quantity)
    if quantity.upper:
        if kind not in wanted:
            raise SkippedVariableError(f"not on pressure levels but on {kind}")
        _require_whole_level(get)
        return
    if kind not in wanted:
        raise SkippedVariableError(f"on {kind}, not on {wanted[0]}")
    metres = float(get("level") or 0)
    if kind == "heightAboveGround" and not fits_height(quantity, metres):
        raise SkippedVariableError(f"at {metres:g} m above ground, which {quantity.name} is not")


def _require_whole_level(get: Callable[[str], str | int | float | None]) -> None:
    """Refuse a layer between two pressures, and a level that is not a whole hPa."""
    top, bottom = get("topLevel"), get("bottomLevel")
    if top is not None and bottom is not None and top != bottom:
        raise SkippedVariableError(f"a layer from {bottom} to {top}, not a level")
    scale, value = get("scaleFactorOfFirstFixedSurface"), get("scaledValueOfFirstFixedSurface")
    if isinstance(scale, int) and isinstance(value, int):
        pascal = value * 10.0**-scale
        # Levels above 1 hPa are not whole either, and PEAR does not use them.
        if pascal > 100 and abs(pascal / 100 - round(pascal / 100)) > 0.02:
            raise SkippedVariableError(f"at {pascal / 100:g} hPa, which is not a level of PEAR")


def require_direction(
    first: str | float | None,
    last: str | float | None,
    upwards: str | float | None,
    source: str,
) -> None:
    """Refuse a header whose rows run in another direction than its corners.

    Parameters
    ----------
    first, last : float or None
        Latitudes of the first and the last row, degrees.
    upwards : int or None
        Key ``jScansPositively``: 1 for rows from the south to the north.
    source : str
        Name of the source, for messages.

    Raises
    ------
    InputError
        If they differ.
    """
    if first is None or last is None or upwards is None or float(first) == float(last):
        return
    if (float(last) > float(first)) != bool(int(upwards)):
        raise InputError(
            f"{source}: the header says jScansPositively {upwards}, but its rows run from latitude "
            f"{float(first):g} to {float(last):g}",
            field="grid",
            hint="correct the one that is wrong: are the rows in the other order?",
        )


def require_increments(
    lon: npt.NDArray[np.float64],
    lat: npt.NDArray[np.float64],
    increments: Sequence[str | int | float | None],
    source: str,
) -> None:
    """Refuse a header whose increments do not fit its corners and numbers of points.

    Parameters
    ----------
    lon, lat : (column,), (row,) array
        Coordinates that follow from corners and numbers, degrees.
    increments : sequence
        Increments of longitude and latitude by the header, degrees; None if it has none.
    source : str
        Name of the source, for messages.

    Raises
    ------
    InputError
        If they differ by more than the rounding of GRIB 1.
    """
    for name, axis, stated in zip(("longitude", "latitude"), (lon, lat), increments, strict=True):
        if stated is None or axis.size < 2:
            continue
        step = abs(float(axis[-1] - axis[0])) / (axis.size - 1)
        if abs(step - float(stated)) > _STEP_ERROR:
            raise InputError(
                f"{source}: the header says steps of {float(stated):g} degrees of {name}, but "
                f"its corners {axis[0]:g} and {axis[-1]:g} with {axis.size} points mean {step:g}",
                field="grid",
                hint="the header is damaged, or the file was cut out wrongly",
            )
