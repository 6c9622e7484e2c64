"""Random fields on the sphere with a given correlation length."""

from __future__ import annotations

import numpy as np

from pear.sphere.healpix import Floats, gaussian_fields

EARTH_RADIUS_KM = 6371.0


def correlated_power(length_km: float, nside: int) -> Floats:
    """Angular power of unit-variance noise correlated over a length: (lmax + 1,).

    C_l ∝ exp(−l (l + 1) L² / 2), the heat kernel, whose correlation is exp(−θ² / 2 L²) for lengths
    L (radians) small against the sphere; Σ (2l + 1) C_l / 4π = 1. lmax is 3 nside − 1.

    Raises
    ------
    ValueError
        If the length is not positive.
    """
    if not length_km > 0:
        raise ValueError(f"a correlation length must be positive, got {length_km} km")
    degree = np.arange(3 * nside)
    length = length_km / EARTH_RADIUS_KM
    shape = np.exp(-0.5 * degree * (degree + 1.0) * length**2)
    return np.asarray(4 * np.pi * shape / ((2 * degree + 1) @ shape))


def correlated_noise(
    nside: int, count: int, length_km: float, random: np.random.Generator
) -> Floats:
    """Draw fields of zero mean, unit variance and Gaussian correlation: (count, cell), nested.

    Parameters
    ----------
    length_km
        Distance over which the correlation falls to exp(−1/2).
    random
        A seeded generator gives the same fields.
    """
    return gaussian_fields(correlated_power(length_km, nside), nside, count, random)
