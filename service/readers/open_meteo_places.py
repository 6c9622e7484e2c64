"""Places of a request in open-meteo's format: points, a box of cells, and their time zones."""

from __future__ import annotations

import numpy as np

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.typing import Float64
from service.readers.points import parse_numbers


def parse_box(text: str, nside: int, most: int) -> tuple[Float64, Float64]:
    """Return the centres of the cells in a box.

    Parameters
    ----------
    text
        ``south,west,north,east`` in degrees, as open-meteo orders them; a box whose west lies east
        of its east crosses the date line.
    nside
        Resolution of the run.
    most
        Largest number of cells.

    Returns
    -------
    latitude, longitude
        (cell,) degrees.

    Raises
    ------
    InputError
        If it is not a box, holds no centre of a cell, or more cells than one request may have.

    Examples
    --------
    >>> latitude, longitude = parse_box("30,0,60,90", 1, 10)
    >>> latitude.round(2).tolist(), longitude.tolist()
    ([41.81], [45.0])
    """
    south, west, north, east = _corners(text)
    latitude, longitude = centres(nside)
    width = (east - west) % 360 or (360.0 if east != west else 0.0)
    inside = (latitude >= south) & (latitude <= north) & ((longitude - west) % 360 <= width)
    cells = np.flatnonzero(inside)
    if cells.size == 0:
        raise InputError(
            "no cell has its centre in this box",
            field="bounding_box",
            hint=f"the cells are {58.6 / nside:.2g} degrees wide: use a larger box",
        )
    if cells.size > most:
        raise InputError(
            f"the box has {cells.size} cells, limit {most}",
            field="bounding_box",
            hint="ask for a smaller one, or download the run",
        )
    return latitude[cells], longitude[cells]


def _corners(text: str) -> tuple[float, float, float, float]:
    corners = parse_numbers(text, "bounding_box", 4)
    if corners.size == 4:
        south, west, north, east = corners.tolist()
        in_range = abs(south) <= 90 and abs(north) <= 90 and abs(west) <= 360 and abs(east) <= 360
        if south <= north and in_range:
            return south, west, north, east
    raise InputError(
        "this is not a box", field="bounding_box", hint="write south,west,north,east in degrees"
    )


def find_zones(latitude: Float64, longitude: Float64) -> list[str]:
    """Return the name of the time zone of each point, at sea that of its meridian.

    Returns
    -------
    list of str
        (point,) names of the IANA database.

    Examples
    --------
    >>> find_zones(np.array([59.3, -33.9]), np.array([18.1, 151.2]))
    ['Europe/Stockholm', 'Australia/Sydney']
    """
    import tzfpy

    turns = (longitude + 180) % 360 - 180
    return [
        tzfpy.get_tz(float(east), float(north)) or "GMT"
        for north, east in zip(latitude, turns, strict=True)
    ]
