"""Static fields of a source: surface geopotential and land-sea mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.sphere.latlon import LatLonGrid
from pear.store.static_fields import GROUND, LAND
from pear.variables import STANDARD_GRAVITY

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
_METRES: Final = ("m", "metre", "metres", "meter", "meters", "gpm")


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
    grid : LatLonGrid
        Regular grid of the values.
    read : callable
        Returns the values, (point,).

    Examples
    --------
    >>> from pear.datasets.static import StaticField
    >>> from pear.sphere.latlon import global_grid
    >>> grid = global_grid(19, 36)
    >>> field = StaticField(LAND, "lsm.nc", "%", grid, lambda: np.full(grid.size, 30.0))
    >>> field.values().shape, field.values().max()
    ((684,), np.float64(0.3))
    """

    name: str
    source: str
    units: str
    grid: LatLonGrid
    read: Callable[[], npt.NDArray[Any]]

    def values(self) -> npt.NDArray[np.float64]:
        """Return the field in m² s⁻², or as a fraction.

        Returns
        -------
        (point,) array
            The values.

        Raises
        ------
        InputError
            If the values are outside the valid range.
        """
        values = np.asarray(self.read(), dtype=np.float64).reshape(-1)
        if self.name == GROUND and self.units.strip().lower() in _METRES:
            values = values * STANDARD_GRAVITY
        if self.name == LAND and self.units.strip() == "%":
            values = values / 100.0
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
        return np.clip(values, low, high)


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
