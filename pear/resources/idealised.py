"""Idealised surface of the Earth: smooth mountains where the great ranges stand, and land.

The simulated atmosphere runs over these mountains. They also serve as static fields of stores that
were ingested without any.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pear.resources.natural_earth import land_fraction
from pear.sphere.healpix import centres, coarsen
from pear.typing import Float64

MOUNTAINS: Final = (
    (85, 34, 4200, 18, 7),
    (70, 48, 1200, 14, 6),
    (250, 42, 2000, 10, 11),
    (291, -20, 2800, 5, 14),
    (285, -42, 1200, 4, 9),
    (319, 73, 2600, 12, 9),
    (38, 5, 1300, 9, 10),
    (28, -27, 1100, 9, 7),
    (53, 33, 1100, 10, 5),
    (115, 58, 700, 25, 8),
    (10, 45, 700, 8, 4),
    (135, -25, 300, 12, 7),
)
"""Longitude, latitude, height in metres, and half-widths in longitude and latitude."""
_FINEST: Final = 64


def mountain_height(longitude: Float64, latitude: Float64) -> Float64:
    """Return the height of the idealised mountains.

    Parameters
    ----------
    longitude, latitude
        Degrees, of one shape.

    Returns
    -------
    numpy.ndarray
        Metres, of the same shape.

    Examples
    --------
    >>> mountain_height(np.array([85.0, 180.0]), np.array([34.0, 0.0])).round()
    array([4202.,    0.])
    """
    height = 2600.0 / (1.0 + np.exp((latitude + 76.0) / 3.0))  # Antarctica
    for east, north, metres, half_lon, half_lat in MOUNTAINS:
        away = (longitude - east + 180.0) % 360.0 - 180.0
        squared = (away / half_lon) ** 2 + ((latitude - north) / half_lat) ** 2
        height = height + metres * np.exp(-squared)
    return np.asarray(height)


def idealised_surface(nside: int) -> dict[str, Float64]:
    """Return the idealised mountains and Natural Earth's land on HEALPix cells.

    Parameters
    ----------
    nside
        Resolution.

    Returns
    -------
    dict
        ``orography`` in metres and ``land_fraction`` in [0, 1], (cell,) means over each cell.

    Examples
    --------
    >>> from pear.resources.idealised import idealised_surface
    >>> surface = idealised_surface(nside=8)
    >>> surface["orography"].shape, round(float(surface["land_fraction"].mean()), 1)
    ((768,), 0.3)
    """
    latitude, longitude = centres(max(nside, _FINEST))
    rows, columns, fraction = land_fraction()
    row = np.clip(np.searchsorted(rows, latitude - 0.5), 0, rows.size - 1)
    column = np.searchsorted(columns, (longitude - 0.5) % 360.0) % columns.size
    return {
        "orography": coarsen(mountain_height(longitude, latitude), nside),
        "land_fraction": coarsen(fraction[row, column], nside),
    }
