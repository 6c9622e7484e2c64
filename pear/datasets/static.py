"""Fields that do not change: the height of the ground and the share of land, in any file."""

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

Floats = npt.NDArray[np.float64]

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
_IN_METRES: Final = ("m", "metre", "metres", "meter", "meters", "gpm")


@dataclass(frozen=True)
class Static:
    """One static field of a source, read when it is wanted.

    Attributes
    ----------
    name
        :data:`GROUND` or :data:`LAND`.
    source
        File or address, for messages.
    units
        As the file states them.
    grid
        Regular grid of the values.
    read
        Returns the values, (point,).
    """

    name: str
    source: str
    units: str
    grid: LatLonGrid
    read: Callable[[], npt.NDArray[Any]]

    def values(self) -> Floats:
        """Return the field in m² s⁻² or as a share in [0, 1], (point,).

        Raises
        ------
        InputError
            If its values are not what its name says.
        """
        values = np.asarray(self.read(), dtype=np.float64).reshape(-1)
        if self.name == GROUND and self.units.strip().lower() in _IN_METRES:
            values = values * STANDARD_GRAVITY
        if self.name == LAND and self.units.strip() == "%":
            values = values / 100.0
        low, high = _RANGE[self.name]
        slack = 1e-3 * (high - low)
        if not (
            np.isfinite(values).all()
            and low - slack <= values.min() <= values.max() <= high + slack
        ):
            raise InputError(
                f"{self.source}: {self.name} runs from {values.min():g} to {values.max():g}",
                field=self.name,
                hint="leave the file out, or give the field in its usual units",
            )
        return np.clip(values, low, high)


def static_name(name: str, leveled: bool = False) -> str | None:
    """Say which static field a name without pressure level means, or None."""
    if leveled:
        return None
    plain = name.strip().lower()
    return next((known for known, aliases in _ALIASES.items() if plain in aliases), None)
