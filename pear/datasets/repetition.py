"""Fields that are equal bit for bit to another variable, level or time.

No weather repeats itself in every bit: an equal field was written twice, under a wrong label. Made
states may be the same at all times; where some times differ, an equal one was copied. What is zero
over wide areas, or follows the sea, may stay as it is from one time to the next.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple

import numpy as np

from pear.times import to_iso
from pear.typing import Float32
from pear.variables import BY_NAME, wind_partner

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
        self._patterns: dict[tuple[str, int | None], set[int]] = {}
        self._same: dict[tuple[str, int | None], tuple[Place, Place]] = {}

    def add(self, number: int, place: Place) -> None:
        """Remember a field, if none of equal digest was there before.

        Parameters
        ----------
        number
            Result of :func:`digest`.
        place
            Where the field lies.
        """
        if number == NO_DIGEST:
            return
        self._places.setdefault(number, place)
        if len(self._places) > self._limit:
            self._places.popitem(last=False)
        patterns = self._patterns.setdefault(place[:2], set())
        if len(patterns) < 2:  # more say no more
            patterns.add(number)

    def find_earlier(self, number: int, place: Place) -> Place | None:
        """Return the same variable and level at another time, if its field is equal.

        Parameters
        ----------
        number
            Result of :func:`digest`.
        place
            Where the field lies.

        Returns
        -------
        Place or None
            None also as long as the field is the same at all times that were added, and for what
            may persist: the sea, ice, rain and clouds.

        Examples
        --------
        >>> from pear.datasets.repetition import FieldRegister, Place
        >>> register = FieldRegister()
        >>> day = np.timedelta64(1, "D")
        >>> places = [Place("temperature", 500, np.datetime64("2001") + n * day) for n in range(3)]
        >>> for number, place in zip((7, 7, 8), places):
        ...     register.add(number, place)
        >>> print(register.find_earlier(7, places[1]))
        temperature at 500 hPa at 2001-01-01T00:00:00Z
        """
        other = self._places.get(number)
        if number == NO_DIGEST or other is None or other == place or other[:2] != place[:2]:
            return None
        if _may_persist(place.name):
            return None
        if len(self._patterns[place[:2]]) > 1:
            return other
        self._same.setdefault(place[:2], (place, other))
        return None

    def pop_late(self) -> list[tuple[Place, Place]]:
        """Return equal fields of two times that were found before another time differed.

        Returns
        -------
        list of (Place, Place)
            The later time and the earlier one, once.
        """
        late = [key for key in self._same if len(self._patterns[key]) > 1]
        return [self._same.pop(key) for key in late]

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
            None if there is none, or if it may be equal: the two components of one wind, and the
            same variable and level at two times, for which there is :meth:`find_earlier`.
        """
        if number == NO_DIGEST:
            return None
        self.add(number, place)
        other = self._places.get(number, place)
        if other == place:
            return None
        is_pair = wind_partner(place.name) == other.name and other[1:] == place[1:]
        if is_pair:  # wind from the south-west everywhere, as formulas give it
            return None
        return None if other[:2] == place[:2] else other


def _may_persist(name: str) -> bool:
    row = BY_NAME.get(name)
    return row is None or row.missing is not None or bool(row.common_values)
