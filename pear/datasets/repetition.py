"""Fields that are equal bit for bit to another variable or level.

No weather repeats itself in every bit: an equal field was written twice, under a wrong label.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple

import numpy as np

from pear.times import to_iso
from pear.typing import Float32
from pear.variables import wind_partner

NO_DIGEST: Final = 0
_REMEMBERED: Final = 200_000  # fields; some 30 MB
_DRY: Final = 0.9  # share of one value beyond which fields of humidity may be equal


class Place(NamedTuple):
    """Where a field lies: canonical name, pressure level in hPa or None, and valid time."""

    name: str
    level: int | None
    time: np.datetime64

    def __str__(self) -> str:
        level = "" if self.level is None else f" at {self.level} hPa"
        return f"{self.name}{level} at {to_iso(self.time)}"


def digest(values: Float32, name: str) -> int:
    """Return a number that equal fields share, and others do not.

    Parameters
    ----------
    values
        (cell,) or (point,).
    name
        Canonical name.

    Returns
    -------
    int
        Of 64 bits; :data:`NO_DIGEST` for humidity that is one value nearly everywhere.

    Examples
    --------
    >>> from pear.datasets.repetition import digest
    >>> field = np.arange(12, dtype=np.float32)
    >>> digest(field, "temperature") == digest(field.copy(), "geopotential")
    True
    """
    if name == "specific_humidity":
        middle = np.partition(values, values.size // 2)[values.size // 2]
        if np.mean(values == middle) > _DRY:
            return NO_DIGEST
    data = np.ascontiguousarray(values, dtype=np.float32).tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") or 1


class FieldRegister:
    """Remembers the digests of fields, and finds those that were there before.

    Parameters
    ----------
    limit
        Number of fields to remember.

    Examples
    --------
    >>> from pear.datasets.repetition import FieldRegister, Place, digest
    >>> register, field = FieldRegister(), np.arange(12, dtype=np.float32)
    >>> noon = np.datetime64("2001-01-01T12", "s")
    >>> register.find_equal(digest(field, "temperature"), Place("temperature", 500, noon))
    >>> again = Place("temperature", 850, noon)
    >>> print(register.find_equal(digest(field, "temperature"), again))
    temperature at 500 hPa at 2001-01-01T12:00:00Z
    """

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._places: OrderedDict[int, Place] = OrderedDict()

    def find_equal(self, number: int, place: Place) -> Place | None:
        """Return a field of equal digest that was there before, or remember this one.

        Parameters
        ----------
        number
            Result of :func:`digest`.
        place
            Where the field lies.

        Returns
        -------
        Place or None
            None if there is none, or if it may be equal: the same variable and level at two
            times, or the two components of one wind.
        """
        if number == NO_DIGEST:
            return None
        other = self._places.setdefault(number, place)
        if len(self._places) > self._limit:
            self._places.popitem(last=False)
        if other == place:
            return None
        is_pair = wind_partner(place.name) == other.name and other[1:] == place[1:]
        if is_pair:  # wind from the south-west everywhere, as formulas give it
            return None
        # Made and persisted states repeat one field at many times.
        return None if other[:2] == place[:2] else other
