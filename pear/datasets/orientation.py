"""Fields that fit those of the hours before and after only when they are flipped or turned.

What follows from one hour to the next stays where it is: the waves along circles of latitude of two
times that are a day apart, or less, are correlated by more than 0.6 as they are. Where they are
not, but would be if one of the two fields were flipped from north to south or turned about the
axis, its rows or columns were stored in another order than its coordinates say.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from pear.sphere.healpix import cell_of, nside_from_cells
from pear.typing import Complex64, Float32, Int64

LONGEST_GAP: Final = np.timedelta64(24, "h")
GOOD: Final = 0.85
"""Correlation from which on two sketches show the same field."""
_POOR: Final = 0.6
_LEAST_TURN: Final = 45.0  # degrees; in a day waves move by less
_LEAST_NSIDE: Final = 8
_LATITUDES: Final = np.arange(-85.0, 86.0, 10.0)
_LONGITUDES: Final = np.arange(0.0, 360.0, 10.0)
_WAVES: Final = np.arange(1, 7)
_TURNS: Final = np.arange(0.0, 360.0, 5.0)
SHAPE: Final = (_LATITUDES.size, _WAVES.size)


class Agreement(NamedTuple):
    """How well two sketches agree.

    Attributes
    ----------
    as_is
        Correlation of the waves as they are, or moved by less than 45 degrees as weather moves.
    turned
        The same after what ``how`` says.
    how
        ``flipped from north to south``, ``turned by about N degrees of longitude``, or both.
    """

    as_is: float
    turned: float
    how: str

    @property
    def is_suspicious(self) -> bool:
        """Whether one of the two fields lies the wrong way."""
        return self.as_is < _POOR and self.turned > GOOD


def sketch(values: Float32) -> Complex64:
    """Return the long waves of a field along circles of latitude.

    Parameters
    ----------
    values
        (cell,), nested; finite.

    Returns
    -------
    ndarray
        (latitude, wave): Fourier coefficients of the zonal wave numbers 1 to 6 at 85°S, 75°S, …,
        85°N, times the root of the share of the globe; zeros at nside 4 and less.

    Examples
    --------
    >>> from pear.datasets.orientation import sketch
    >>> from pear.sphere.healpix import centres
    >>> latitude, longitude = np.deg2rad(centres(16))
    >>> waves = sketch((np.cos(latitude) * np.cos(2 * longitude)).astype(np.float32))
    >>> waves.shape, int(np.abs(waves).sum(axis=0).argmax()) + 1
    ((18, 6), 2)
    """
    nside = nside_from_cells(values.size)
    if nside < _LEAST_NSIDE:
        return np.zeros(SHAPE, dtype=np.complex64)
    rows = values[_cells(nside)].astype(np.float64)
    waves = np.fft.rfft(rows, axis=1)[:, _WAVES] / _LONGITUDES.size
    return np.asarray(waves * np.sqrt(np.cos(np.deg2rad(_LATITUDES)))[:, None], dtype=np.complex64)


def compare(one: Complex64, other: Complex64) -> Agreement:
    """Compare two fields of the same variable, level and day, as they are and turned.

    Parameters
    ----------
    one, other
        Results of :func:`sketch`.

    Returns
    -------
    Agreement
        Correlations of 0 if one has no waves.

    Examples
    --------
    >>> from pear.datasets.orientation import compare
    >>> rng = np.random.default_rng(0)
    >>> field = (rng.normal(size=(18, 6)) + 1j * rng.normal(size=(18, 6))).astype(np.complex64)
    >>> compare(field, field[::-1]).how
    'flipped from north to south'
    """
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    if scale == 0.0:
        return Agreement(0.0, 0.0, "")
    phases = np.exp(1j * np.deg2rad(_TURNS)[:, None] * _WAVES)
    straight, flipped = (
        (phases * (one * np.conj(each)).sum(axis=0)).real.sum(axis=1) / scale
        for each in (other, other[::-1])
    )
    angles = np.minimum(_TURNS, 360.0 - _TURNS)
    is_near = angles < _LEAST_TURN
    far = int(np.where(is_near, -1.0, straight).argmax())
    both = int(np.where(is_near, -1.0, flipped).argmax())
    turn = "turned by about {:.0f} degrees of longitude"
    found = (
        (float(flipped[0]), "flipped from north to south"),
        (float(straight[far]), turn.format(angles[far])),
        (float(flipped[both]), f"flipped from north to south and {turn.format(angles[both])}"),
    )
    return Agreement(float(straight[is_near].max()), *max(found))


@lru_cache(maxsize=2)
def _cells(nside: int) -> Int64:
    return cell_of(_LATITUDES[:, None], _LONGITUDES[None], nside)
