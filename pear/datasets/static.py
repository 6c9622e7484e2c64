"""Static fields of a source: surface geopotential and land-sea mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pear.datasets.decoding import decoding
from pear.datasets.plausibility import find_implausible
from pear.datasets.statements import is_unknown, statistic_in
from pear.datasets.units import (
    GEOPOTENTIAL_UNITS,
    SHARE_UNITS,
    Conversion,
    Quantity,
    unit_key,
)
from pear.errors import InputError
from pear.sphere.source_grids import SourceGrid
from pear.store.static_fields import GROUND, LAND

_ALIASES: Final = {
    GROUND: (
        GROUND,
        "surface_geopotential",
        "z_sfc",
        "zsfc",
        "phis",
        "z",
        "geopotential",
        "orog",
        "orography",
        "surface_altitude",
    ),
    LAND: (LAND, "lsm", "land_binary_mask", "land_area_fraction"),
}
_RANGE: Final = {GROUND: (-6e3, 9e4), LAND: (0.0, 1.0)}
_UNITS: Final = {GROUND: GEOPOTENTIAL_UNITS, LAND: SHARE_UNITS}
_STANDARD_NAMES: Final = {
    GROUND: "surface_geopotential surface_altitude geopotential geopotential_height"
    " geopotential_at_surface orography height_above_mean_sea_level altitude",
    LAND: "land_area_fraction land_binary_mask land_sea_mask land_mask",
}
# Names that also denote a geopotential aloft, for which the values decide.
_AMBIGUOUS: Final = ("z", "geopotential")
_FULL: Final = 100.0
_SEA: Final = 1000.0
_LEAST_SEA: Final = 0.3
_LEAST_MOUNTAIN: Final = 5000.0


@dataclass(frozen=True)
class StaticField:
    """One static field of a source, read on demand.

    Attributes
    ----------
    name : str
        ``geopotential_at_surface`` or ``land_sea_mask``.
    source : str
        File or address, for messages.
    units : str
        Units stated by the source.
    grid : SourceGrid
        Grid of the values.
    read : callable
        Returns the values, (point,).
    idealised : bool
        Whether the source states that its fields are idealised, such as a globe without land.

    Examples
    --------
    >>> from pear.datasets.static import StaticField
    >>> from pear.sphere.latlon import global_grid
    >>> grid = global_grid(19, 36)
    >>> field = StaticField(LAND, "lsm.nc", "%", grid, lambda: np.linspace(0.0, 30.0, grid.size))
    >>> field.values().shape, field.values().max()
    ((684,), np.float64(0.3))
    """

    name: str
    source: str
    units: str
    grid: SourceGrid
    read: Callable[[], npt.NDArray[Any]]
    idealised: bool = False

    def values(self) -> npt.NDArray[np.float64]:
        """Return the field in m² s⁻², or as a fraction.

        Returns
        -------
        (point,) array
            The values.

        Raises
        ------
        InputError
            If the units are unknown, the values are outside the valid range, or the field cannot
            be one of the Earth.
        """
        with decoding(f"{self.source}: {self.name}"):
            values = np.asarray(self.read(), dtype=np.float64).reshape(-1)
        factor = self._factor()
        if self._is_percent(values * factor):
            factor /= 100.0
        values = values * factor
        low, high = _RANGE[self.name]
        slack = 1e-3 * (high - low)
        valid = low - slack <= values.min() <= values.max() <= high + slack  # False for NaN
        if not valid:
            raise InputError(
                f"{self.source}: {self.name} has values from {values.min():g} to "
                f"{values.max():g}, outside the valid range [{low:g}, {high:g}]",
                field=self.name,
                hint="omit the file, or give the field in m2 s-2, m, % or as a fraction",
            )
        how = Conversion(factor, 0.0, self.units, "")
        fields = values.astype(np.float32)
        fault = find_implausible(fields, self.grid, Quantity(self.name), None, how)
        if fault is not None and not self.idealised:
            raise InputError(
                f"{self.source}: {self.name} has {fault}",
                field=self.name,
                hint="omit the file; a globe without land says so by the attribute idealised = "
                "'true' of its file",
            )
        return np.clip(values, low, high)

    def _is_percent(self, values: npt.NDArray[np.float64]) -> bool:
        """Return whether a mask of dimensionless numbers is one of percent."""
        # A share of 1 never exceeds 1; a mask in percent does so wherever there is land.
        is_share = self.name == LAND and self._factor() == 1.0
        return is_share and bool(values.min() >= -0.1 and _FULL / 2 < values.max() <= _FULL + 0.1)

    def require_units(self) -> None:
        """Refuse a field of unknown units before it is read."""
        self._factor()

    def _factor(self) -> float:
        """Return the factor to m² s⁻² or to a fraction."""
        key, known = unit_key(self.units), _UNITS[self.name]
        if key not in known:
            found = f"has units {self.units!r}, which are unknown" if key else "has no units"
            raise InputError(
                f"{self.source}: {self.name} {found}",
                field=self.name,
                hint="give the field in m2 s-2 or m, a mask in 1 or %, or omit it",
            )
        return known[key][0]


def static_name(name: str) -> str | None:
    """Return the static field denoted by the name of a field without level, or None.

    Returns
    -------
    str or None
        ``geopotential_at_surface``, ``land_sea_mask`` or None.

    Examples
    --------
    >>> from pear.datasets.static import static_name
    >>> static_name("lsm"), static_name("orog"), static_name("t2m")
    ('land_sea_mask', 'geopotential_at_surface', None)
    """
    plain = name.strip().lower()
    return next((known for known, aliases in _ALIASES.items() if plain in aliases), None)


def require_static(name: str, known: str, attributes: Mapping[str, Any], source: str) -> None:
    """Refuse a static field of which the file says that it is something else.

    Parameters
    ----------
    name, known : str
        Name in the source, and the static field that it denotes.
    attributes : mapping
        What the file says of it.
    source : str
        Name of the source, for messages.

    Raises
    ------
    InputError
        If the standard name is another one, or a statistic is named.

    Examples
    --------
    >>> from pear.datasets.static import require_static
    >>> require_static("lsm", LAND, {"standard_name": "sea_area_fraction"}, "a.nc")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: lsm means land_sea_mask, but the file says standard_name ...
    """
    stated = str(attributes.get("standard_name", "")).strip().lower()
    found = ""
    if not is_unknown(stated) and stated not in _STANDARD_NAMES[known].split():
        found = f"standard_name {stated!r}"
    if statistic_in(attributes.get("long_name", "")):
        found = f"long_name {str(attributes['long_name'])!r}"
    if found:
        raise InputError(
            f"{source}: {name} means {known}, but the file says {found}",
            field=name,
            hint="rename the variable, or correct what the file says",
        )


def why_not_ground(
    name: str, attributes: Mapping[str, Any], samples: Sequence[npt.NDArray[Any]]
) -> str:
    """Return why a geopotential without level is not that of the ground, or nothing.

    The ground does not change with time. Under the names ``z`` and ``geopotential`` it must also
    look like the Earth's: near 0 over the oceans, and higher than 500 m somewhere.

    Parameters
    ----------
    name : str
        Name in the source.
    attributes : mapping
        What the file says of it.
    samples : sequence of (point,) array
        The field at some times.

    Returns
    -------
    str
        The reason.

    Examples
    --------
    >>> from pear.datasets.static import why_not_ground
    >>> why_not_ground("z", {"units": "m2 s-2"}, [np.full(4, 54e3), np.full(4, 54e3)])
    'its values of 54000 to 54000 m2 s-2 are nowhere near 0'
    """
    first = np.asarray(samples[0], dtype=np.float64)
    if any(not np.array_equal(first, other, equal_nan=True) for other in samples[1:]):
        return "it changes with time"
    factor = GEOPOTENTIAL_UNITS.get(unit_key(str(attributes.get("units", ""))), (0.0, 0.0))[0]
    about = str(attributes.get("long_name", "")).lower()
    is_said = "surface" in about or "orography" in about or "ground" in about
    is_said = is_said or str(attributes.get("GRIB_typeOfLevel", "")) == "surface"
    is_said = is_said or str(attributes.get("standard_name", "")).startswith("surface_")
    if name.strip().lower() not in _AMBIGUOUS or factor == 0.0 or is_said:
        return ""
    values = first * factor
    low, high = np.nanmin(values), np.nanmax(values)
    if np.mean(np.abs(values) < _SEA) < _LEAST_SEA:
        return f"its values of {low:.0f} to {high:.0f} m2 s-2 are nowhere near 0"
    if high < _LEAST_MOUNTAIN:
        return f"its values of {low:.0f} to {high:.0f} m2 s-2 have no mountain"
    return ""
