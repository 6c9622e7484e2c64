"""What a file says of its latitudes and longitudes beside their values.

Bounds, directions in words, ranges and the prime meridian: each agrees with the values, or the
file is refused.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.datasets.axis_statements import require_direction, require_extent
from pear.datasets.declared_gaps import outside_declared
from pear.errors import InputError
from pear.typing import Float64

_DIRECTION: Final = {
    "latitude": re.compile(
        r"positive\W*(?:to(?:wards?)? )?(?:the )?south|south(?:wards?)?\W*(?:is |are )?positive"
        r"|latitude,? (?:in )?(?:degrees? )?(?:of )?south|degrees? south|south(?:ern)? latitude"
        r"|southward"
    ),
    "longitude": re.compile(
        r"positive\W*(?:to(?:wards?)? )?(?:the )?west|west(?:wards?)?\W*(?:is |are )?positive"
        r"|longitude,? (?:in )?(?:degrees? )?(?:of )?west|degrees? west|west(?:ern)? longitude"
        r"|west of (?:greenwich|the prime)|westward"
    ),
}
# Words that name the south or west without counting towards it.
_NEGATIVE: Final = re.compile(
    r"(?:south|west)\w* ?(?:to|->) ?(?:north|east)\w*|north\w* ?to ?south\w*|east\w* ?to ?west\w*|"
    r"(?:degrees? )?(?:south|west)(?:wards?|ern)?(?: \w+tudes?)?\W*(?:is |are )?negative"
    r"|negative\W*(?:to(?:wards?)? )?(?:the )?(?:south|west)\w*"
)
_TEXTS: Final = ("long_name", "description", "comment", "note", "positive", "direction")
_GREENWICH: Final = re.compile(r"greenwich|reference|unknown|undefined|^$", re.IGNORECASE)


def require_agreement(
    coordinate: xr.DataArray, dataset: xr.Dataset, standard_name: str, where: str
) -> None:
    """Refuse latitudes or longitudes which the rest of the file contradicts.

    Parameters
    ----------
    coordinate
        (row,) or (column,), in degrees.
    dataset
        Its Dataset, for bounds.
    standard_name
        ``latitude`` or ``longitude``.
    where
        Name of the source and the variable, for messages.

    Raises
    ------
    InputError
        If bounds do not hold the values, a text counts degrees to the south or west, values lie
        outside of ``actual_range``, or the file states another direction or a smaller extent.

    Examples
    --------
    >>> from pear.datasets.horizontal_statements import require_agreement
    >>> lat = xr.DataArray([0.0], dims="lat", attrs={"positive": "south"}, name="lat")
    >>> require_agreement(lat, xr.Dataset(), "latitude", "a.nc: t2m")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t2m: its coordinate lat says positive 'south', while ...
    """
    toward = {"latitude": ("south", "north"), "longitude": ("west", "east")}[standard_name]
    for key in _TEXTS:
        stated = str(coordinate.attrs.get(key, ""))
        plain = _NEGATIVE.sub(" ", re.sub(r"[_\s]+", " ", stated.lower()).strip())
        short = key in ("positive", "direction") and re.fullmatch(
            f"{toward[0][0]}|{toward[0]}(?:wards?|ern)?", plain
        )
        if short or _DIRECTION[standard_name].search(plain):
            raise InputError(
                f"{where}: its coordinate {coordinate.name} says {key} {stated!r}, while "
                f"{standard_name} counts towards {toward[1]}",
                field="grid",
                hint=f"turn its sign and say degrees_{toward[1]}, or correct what it says",
            )
    require_direction(coordinate, f"{where}: its coordinate {coordinate.name}", "grid")
    require_extent(coordinate, dataset.attrs, standard_name, where)
    _require_bounds(coordinate, dataset, standard_name, where)
    if text := outside_declared(coordinate, circle=standard_name == "longitude"):
        raise InputError(
            f"{where}: its coordinate {coordinate.name} has {text}",
            field="grid",
            hint="correct the one that is wrong, or remove the range",
        )


def _require_bounds(
    coordinate: xr.DataArray, dataset: xr.Dataset, standard_name: str, where: str
) -> None:
    """Refuse bounds of which one does not hold its centre."""
    stated = str(coordinate.attrs.get("bounds", coordinate.encoding.get("bounds", "")))
    names = (stated, f"{coordinate.name}_bnds", f"{coordinate.name}_bounds")
    found = next((name for name in names if name and name in dataset.variables), None)
    if found is None:
        return
    edges = np.asarray(dataset[found].values)
    if edges.shape != (coordinate.size, 2) or edges.dtype.kind not in "iuf":
        return
    centres, edges = np.asarray(coordinate.values, np.float64), edges.astype(np.float64)
    if np.isnan(edges).all():
        return
    gone = ~_holds(edges, centres, circle=standard_name == "longitude")
    if gone.any():
        at = int(np.flatnonzero(gone)[0])
        raise InputError(
            f"{where}: its {standard_name} {centres[at]:g} lies outside of its bounds "
            f"{edges[at, 0]:g} to {edges[at, 1]:g} ({found})",
            field="grid",
            hint=f"correct the one that is wrong, or remove {found}",
        )


def _holds(edges: Float64, centres: Float64, *, circle: bool) -> npt.NDArray[np.bool_]:
    """Return where pairs of bounds hold their centres, of longitudes on the circle."""
    width = np.abs(edges[:, 1] - edges[:, 0])
    width = np.where(width > 180.0, 360.0 - width, width) if circle else width
    slack = 1e-3 * width + 1e-4
    apart = [np.abs(edges[:, side] - centres) for side in (0, 1)]
    if circle:
        apart = [np.abs((each + 180.0) % 360.0 - 180.0) for each in apart]
    # Between its bounds a centre is as far from both together as they are from each other.
    return np.asarray(apart[0] + apart[1] <= width + slack)


def require_greenwich(array: xr.DataArray, mapping: str, dataset: xr.Dataset, where: str) -> None:
    """Refuse longitudes that count from another meridian than that of Greenwich.

    Parameters
    ----------
    array
        The variable.
    mapping
        Name of its grid mapping in the Dataset.
    dataset
        Its Dataset.
    where
        Name of the source, for messages.

    Raises
    ------
    InputError
        If the grid mapping names another prime meridian.

    Examples
    --------
    >>> from pear.datasets.horizontal_statements import require_greenwich
    >>> data = xr.Dataset({"crs": ((), 0, {"longitude_of_prime_meridian": 0.0})})
    >>> require_greenwich(xr.DataArray(0.0, name="t2m"), "crs", data, "a.nc")
    """
    attributes = dataset[mapping].attrs
    stated = attributes.get("longitude_of_prime_meridian", 0.0)
    name = str(attributes.get("prime_meridian_name", "")).strip()
    try:
        degrees = float(np.asarray(stated).astype(np.float64).reshape(-1)[0])
    except (TypeError, ValueError, IndexError):
        degrees = np.nan
    if abs((degrees + 180.0) % 360.0 - 180.0) < 1e-6 and _GREENWICH.search(name):
        return
    told = f"longitude_of_prime_meridian {stated}" + (f", {name}" if name else "")
    raise InputError(
        f"{where}: {array.name} has longitudes from another meridian ({mapping} says {told}), "
        "while PEAR counts from Greenwich",
        field="grid",
        hint="add it to the longitudes and set it to 0, or correct the grid mapping",
    )
