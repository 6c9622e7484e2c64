"""Requests of WMS 1.3.0 and 1.1.1: names in any case, boxes by the axes of their reference system.

Version 1.1.1 is what Leaflet and OWSLib ask for unless told otherwise: its ``SRS``, ``X`` and ``Y``
are ``CRS``, ``I`` and ``J``, and longitude goes first in EPSG:4326, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.typing import Bool, Float64
from service.readers.ogc.tile_grids import MERCATOR_RADIUS, Raster, mercator_latitude
from service.readers.points import parse_decimal, parse_numbers

VERSION: Final = "1.3.0"
EARLIER: Final = "1.1.1"
VERSIONS: Final = (VERSION, EARLIER)
CRS_NAMES: Final = ("CRS:84", "EPSG:4326", "EPSG:3857")
MOST_PIXELS: Final = 2048
"""Along an edge of a map."""
_EARLIER_NAMES: Final = {"srs": "crs", "x": "i", "y": "j"}
WORLD: Final = math.pi * MERCATOR_RADIUS
"""Half the width of the world in EPSG:3857, m."""


def negotiate_version(given: str | None) -> str:
    """Return the version in which capabilities are answered (WMS 1.3.0, 6.2.4).

    Parameters
    ----------
    given
        Version of the request; None means the newest.

    Returns
    -------
    str
        The newest version that is not above that of the request, or else the oldest.

    Examples
    --------
    >>> negotiate_version(None), negotiate_version("1.3.0"), negotiate_version("1.1.0")
    ('1.3.0', '1.3.0', '1.1.1')
    """
    parts = (given or VERSION).split(".")
    if not all(part.isdecimal() and len(part) < 4 for part in parts):
        return VERSION
    number = [int(part) for part in parts]
    return VERSION if number >= [1, 3] else EARLIER


class Parameters:
    """Parameters of a request.

    Parameters
    ----------
    pairs
        Names and values as they were sent; unknown names are passed over, as the standard wants.

    Raises
    ------
    InputError
        If a known parameter is given twice.
    """

    _KNOWN: Final = (
        *("service", "version", "request", "layers", "layer", "styles", "style", "crs", "bbox"),
        *("width", "height", "format", "transparent", "bgcolor", "exceptions", "query_layers"),
        *("info_format", "feature_count", "i", "j", "time", "elevation", "dim_reference_time"),
        *_EARLIER_NAMES,
    )

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.given: dict[str, str] = {}
        for name, value in pairs:
            lower = name.lower()
            if lower not in self._KNOWN:
                continue
            if lower in self.given:
                raise InputError(f"parameter {lower} is given twice", field=lower)
            self.given[lower] = value
        self.version = negotiate_version(self.given.get("version"))
        for earlier, name in _EARLIER_NAMES.items():
            if earlier in self.given and self.version == EARLIER:
                self.given[name] = self.given[earlier]

    def get(self, name: str) -> str | None:
        """Return a value; None if it is missing or empty."""
        return self.given.get(name) or None

    def require(self, name: str) -> str:
        """Return a value; InputError if it is missing."""
        value = self.get(name)
        if value is None:
            raise InputError(f"parameter {name.upper()} is missing", field=name)
        return value

    def choose(self, name: str, known: Mapping[str, str] | Iterable[str]) -> str:
        """Return a value that must be one of these, in any case."""
        value, names = self.require(name), list(known)
        found = next((each for each in names if each.lower() == value.lower()), None)
        if found is None:
            raise InputError(
                f"{name.upper()} {value[:64]!r} is not known",
                field=name,
                hint="known: " + ", ".join(names),
            )
        return found

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a whole number within bounds."""
        text = self.require(name)
        try:
            value = parse_decimal(text)
        except ValueError:
            value = math.nan
        if not (value == int(value) if math.isfinite(value) else False) or not low <= value <= high:
            raise InputError(
                f"{name.upper()} must be a whole number from {low} to {high}", field=name
            )
        return int(value)


@dataclass(frozen=True)
class Frame:
    """Extent and size of a map.

    Attributes
    ----------
    crs
        One of :data:`CRS_NAMES`.
    left, bottom, right, top
        Edges in degrees, or in m for EPSG:3857.
    width, height
        Pixels.
    """

    crs: str
    left: float
    bottom: float
    right: float
    top: float
    width: int
    height: int

    @classmethod
    def read(cls, given: Parameters) -> Frame:
        """Read CRS, BBOX, WIDTH and HEIGHT; of EPSG:4326 latitude comes first in WMS 1.3.0."""
        crs = given.choose("crs", CRS_NAMES)
        if given.version == EARLIER and crs == "EPSG:4326":
            crs = "CRS:84"
        edges = parse_numbers(given.require("bbox"), "bbox", 4).tolist()
        if len(edges) != 4:
            raise InputError("BBOX must be four numbers", field="bbox")
        if crs == "EPSG:4326":
            edges = [edges[1], edges[0], edges[3], edges[2]]
        left, bottom, right, top = edges
        most = 1e9 if crs == "EPSG:3857" else 1e4
        if not left < right or not bottom < top or max(map(abs, edges)) > most:
            hint = "of EPSG:4326 latitude comes first" if crs == "EPSG:4326" else None
            raise InputError("BBOX must be min, min, max, max", field="bbox", hint=hint)
        width, height = (given.integer(name, 1, MOST_PIXELS) for name in ("width", "height"))
        return cls(crs, left, bottom, right, top, width, height)

    def centres(self) -> tuple[Float64, Float64]:
        """Return x (column,) and y (row,) of the centres of the pixels, from the top left."""
        x = self.left + (np.arange(self.width) + 0.5) * (self.right - self.left) / self.width
        y = self.top - (np.arange(self.height) + 0.5) * (self.top - self.bottom) / self.height
        return x, y

    def raster(self) -> tuple[Raster, Bool]:
        """Return the pixels, and which rows (row,) are on the globe; longitudes repeat."""
        x, y = self.centres()
        if self.crs == "EPSG:3857":
            inside = np.abs(y) <= WORLD
            latitude = mercator_latitude(np.clip(y, -WORLD, WORLD))
            longitude = np.degrees(x / MERCATOR_RADIUS)
        else:
            inside = np.abs(y) <= 90.0
            latitude, longitude = np.clip(y, -90.0, 90.0), x
        return Raster(latitude, np.mod(longitude + 180.0, 360.0) - 180.0), inside


def parse_colour(text: str | None) -> tuple[int, int, int]:
    """Parse BGCOLOR, ``0xRRGGBB``; white if it is missing.

    Returns
    -------
    tuple
        Red, green and blue, 0 to 255.

    Raises
    ------
    InputError
        If it is not a colour.
    """
    if text is None:
        return 255, 255, 255
    digits = text[2:]
    if (
        text[:2].lower() != "0x"
        or len(digits) != 6
        or set(digits.lower()) - set("0123456789abcdef")
    ):
        raise InputError("BGCOLOR must be 0xRRGGBB", field="bgcolor")
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
