"""Fields that are equal bit for bit to another variable, level or time.

No weather repeats itself in every bit: an equal field was written twice, under a wrong label. What
follows the sea may stay as it is from one time to the next, and so may variables of a user's table
that say so. A field of one value is judged by :mod:`pear.datasets.plausibility`, not here.

A field as smooth as a formula (:func:`is_formula`) is not weather: it may be the same at all times,
and wind from the south-west everywhere has u = v. Where some of its times differ, an equal one was
copied.

Nor does weather have the values of another field in another order (flipped, shifted, turned), or
those of another time or level over a quarter of the globe, where a file was filled in part.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple

import numpy as np

from pear.sphere.healpix import angular_power, nside_from_cells
from pear.times import to_iso
from pear.typing import Float32, UInt64
from pear.variables import BY_NAME, wind_partner

NO_DIGEST: Final = 0
PARTS: Final = 16
LEAST_PARTS: Final = 3
"""Equal parts of two fields, of :data:`PARTS`, from which on one was copied in part."""
_SMOOTH_DEGREE: Final = 8
_LEAST_CELLS: Final = 192  # coarser ones do not tell weather from a formula
_LEAST_POINTS: Final = 100  # of a field whose values are compared in any order
_LEAST_PART: Final = 16  # cells
_ROUGH_SHARE: Final = 1e-3
_REMEMBERED: Final = 200_000  # fields; some 30 MB
# splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195)
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31))
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
    """Return a number that equal fields share, of winds also opposite ones, and others do not.

    Parameters
    ----------
    values
        (cell,) or (point,).
    name
        Canonical name.

    Returns
    -------
    int
        Of 64 bits; :data:`NO_DIGEST` for one value everywhere, such as no rain, and for humidity
        that is one value nearly everywhere.

    Examples
    --------
    >>> from pear.datasets.repetition import digest
    >>> field = np.arange(12, dtype=np.float32)
    >>> digest(field, "temperature") == digest(field.copy(), "geopotential")
    True
    """
    if values.min() == values.max():
        return NO_DIGEST
    if name == "specific_humidity" and _is_nearly_one_value(values):
        return NO_DIGEST
    if wind_partner(name) is not None:  # a component of the wrong sign is a copy as well
        first = values[values != 0][0]
        values = values if first > 0 else 0.0 - values
    data = np.ascontiguousarray(values + np.float32(0.0), dtype=np.float32).tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") or 1


def unordered_digest(values: Float32) -> int:
    """Return a number that fields share which have the same values in any order.

    Parameters
    ----------
    values
        (point,), on the grid of the source: only there a field that was flipped, shifted or turned
        has the values of the other one. Their signs do not count, as turning a wind changes them.

    Returns
    -------
    int
        Of 64 bits; :data:`NO_DIGEST` for fewer than 100 points, and where one value covers more
        than 9/10 of them.

    Examples
    --------
    >>> from pear.datasets.repetition import unordered_digest
    >>> field = np.arange(120, dtype=np.float32)
    >>> unordered_digest(field[::-1]) == unordered_digest(field)
    True
    """
    if values.size < _LEAST_POINTS or _is_nearly_one_value(values):
        return NO_DIGEST
    bits = np.ascontiguousarray(np.abs(values), dtype=np.float32).view(np.uint32)
    mixed = bits.astype(np.uint64) + _STEP
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        mixed = (mixed ^ (mixed >> shift)) * multiplier
    mixed ^= mixed >> _SHIFTS[-1]
    return int(mixed.sum(dtype=np.uint64)) or 1


def part_digests(values: Float32, name: str) -> UInt64:
    """Return digests of parts of a field, of which two are equal where one was copied in part.

    Parameters
    ----------
    values
        (cell,), nested.
    name
        Canonical name.

    Returns
    -------
    ndarray
        (part,), of the eastern and western quarters of the eight cells of nside 1 beside the
        poles: each lies between the equator and 67 degrees, and four of them within any quarter of
        the globe. :data:`NO_DIGEST` for parts of fewer than 16 cells, or of few distinct values.

    Examples
    --------
    >>> from pear.datasets.repetition import part_digests
    >>> field = np.arange(768, dtype=np.float32)
    >>> copy = np.where(np.arange(768) < 384, field, -1).astype(np.float32)
    >>> int((part_digests(field, "geopotential") == part_digests(copy, "geopotential")).sum())
    8
    """
    found = np.full(PARTS, NO_DIGEST, dtype=np.uint64)
    size = (nside_from_cells(values.size) // 2) ** 2
    if size < _LEAST_PART:
        return found
    parts = values.reshape(12, 4, size)[[0, 1, 2, 3, 8, 9, 10, 11], 1:3].reshape(PARTS, size)
    for at, part in enumerate(parts):
        if np.unique(part).size >= size // 2:
            found[at] = digest(part, name)
    return found


def is_formula(values: Float32) -> bool:
    """Return whether a field is as smooth as a formula, which weather never is.

    Parameters
    ----------
    values
        (cell,), nested; finite.

    Returns
    -------
    bool
        True if degrees above 8 hold less than 1/1000 of the variance. The smoothest field of
        weather, geopotential aloft, has nine times as much there.

    Examples
    --------
    >>> from pear.datasets.repetition import is_formula
    >>> from pear.sphere.healpix import centres
    >>> latitude, _ = centres(16)
    >>> is_formula((250 + 50 * np.cos(np.deg2rad(latitude)) ** 2).astype(np.float32))
    True
    >>> is_formula(np.random.default_rng(0).normal(size=3072).astype(np.float32))
    False
    """
    power = angular_power(values.astype(np.float64))
    if power.size <= _SMOOTH_DEGREE + 1:
        return False
    variance = power * (2 * np.arange(power.size) + 1)
    rough = float(variance[_SMOOTH_DEGREE + 1 :].sum())
    return rough < _ROUGH_SHARE * float(variance[1:].sum())


def is_rough(values: Float32) -> bool:
    """Return whether a field is as rough as weather.

    Parameters
    ----------
    values
        (cell,), nested; finite.

    Returns
    -------
    bool
        False for a formula (:func:`is_formula`), and at nside 2 and less, which do not tell.

    Examples
    --------
    >>> from pear.datasets.repetition import is_rough
    >>> is_rough(np.random.default_rng(0).normal(size=3072).astype(np.float32))
    True
    """
    return values.size >= _LEAST_CELLS and not is_formula(values)


def _is_nearly_one_value(values: Float32) -> bool:
    middle = np.partition(values, values.size // 2)[values.size // 2]
    return bool(np.mean(values == middle) > _DRY)


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
        patterns = self._patterns.setdefault(place[:2], set())
        if len(patterns) < 2:  # more say no more
            patterns.add(number)
        self._places.setdefault(number, place)
        if len(self._places) > self._limit:
            self._places.popitem(last=False)

    def keep_same(self, place: Place, other: Place) -> bool:
        """Say that a formula is equal at two times; return whether other times differ.

        Parameters
        ----------
        place, other
            The same variable and level at two times.

        Returns
        -------
        bool
            False if all fields so far are equal; the pair is then remembered for
            :meth:`pop_late`.
        """
        if len(self._patterns.get(place[:2], ())) > 1:
            return True
        self._same.setdefault(place[:2], (place, other))
        return False

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
            None if there is none, or if it is the same variable and level at another time and
            the table of variables says that it may repeat, such as the temperature of the sea.

        Examples
        --------
        >>> from pear.datasets.repetition import FieldRegister, Place
        >>> register = FieldRegister()
        >>> days = np.datetime64("2001-01-01", "s") + np.arange(2) * np.timedelta64(1, "D")
        >>> for name in ("2m_temperature", "sea_surface_temperature"):
        ...     number = len(name)
        ...     print([register.find_equal(number, Place(name, None, day)) for day in days][1])
        2m_temperature at 2001-01-01T00:00:00Z
        None
        """
        self.add(number, place)
        other = self._places.get(number, place)
        if other == place or (other[:2] == place[:2] and _may_repeat(place.name)):
            return None
        return other


def _may_repeat(name: str) -> bool:
    row = BY_NAME.get(name)
    return row is None or row.may_repeat
