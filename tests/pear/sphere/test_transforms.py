"""Spherical-harmonic transforms against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from pear.sphere import healpix
from pear.sphere.transforms import angular_power


@pytest.mark.parametrize("degree", [0, 1, 4])
def test_one_harmonic_in_one_coefficient_out(degree: int) -> None:
    lat = healpix.centres(16)[0]
    legendre = np.polynomial.legendre.Legendre.basis(degree)(np.sin(np.radians(lat)))
    harmonic = np.sqrt((2 * degree + 1) / (4 * np.pi)) * legendre
    power = angular_power(np.stack([harmonic, 2 * harmonic]), lmax=8)
    want = np.zeros(9)
    want[degree] = 1 / (2 * degree + 1)
    np.testing.assert_allclose(power, np.stack([want, 4 * want]), atol=1e-6)


def test_angular_power_refuses() -> None:
    values = np.zeros(12 * 4**2)
    with pytest.raises(ValueError, match="lmax"):
        angular_power(values, lmax=12)
    values[3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        angular_power(values)
