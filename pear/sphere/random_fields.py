"""Random fields on the sphere with a given correlation length."""

from __future__ import annotations

from typing import Final

import numpy as np

from pear.sphere.healpix import gaussian_fields
from pear.typing import Float64

EARTH_RADIUS_KM: Final = 6371.0


def correlated_power(length_km: float, nside: int) -> Float64:
    """Return the angular power of unit-variance noise with a given correlation length.

    C_l ∝ exp(−l (l + 1) L² / 2), the heat kernel, whose correlation is exp(−θ² / 2 L²) for lengths
    L (radians) small compared with the sphere; Σ (2l + 1) C_l / 4π = 1.

    Parameters
    ----------
    length_km
        Distance over which the correlation falls to exp(−1/2).
    nside
        Resolution of the fields to draw.

    Returns
    -------
    numpy.ndarray
        (3 nside,) C_l.

    Raises
    ------
    ValueError
        If the length is not positive.

    Examples
    --------
    >>> from pear.sphere.random_fields import correlated_power
    >>> power = correlated_power(1000.0, nside=8)
    >>> degree = np.arange(power.size)
    >>> round(float(((2 * degree + 1) * power).sum() / (4 * np.pi)), 12)
    1.0
    """
    if not length_km > 0:
        raise ValueError(f"correlation length must be positive, got {length_km} km")
    degree = np.arange(3 * nside)
    length = length_km / EARTH_RADIUS_KM
    shape = np.exp(-0.5 * degree * (degree + 1.0) * length**2)
    return np.asarray(4 * np.pi * shape / ((2 * degree + 1) @ shape))


def correlated_noise(
    nside: int, count: int, length_km: float, random: np.random.Generator
) -> Float64:
    """Draw fields of zero mean, unit variance and Gaussian correlation.

    Parameters
    ----------
    nside
        Resolution.
    count
        Number of fields.
    length_km
        Distance over which the correlation falls to exp(−1/2).
    random
        Generator; the same seed gives the same fields.

    Returns
    -------
    numpy.ndarray
        (count, cell), nested.

    Examples
    --------
    >>> correlated_noise(8, 2, 1000.0, np.random.default_rng(0)).shape
    (2, 768)
    """
    return gaussian_fields(correlated_power(length_km, nside), nside, count, random)
