"""Noise on the sphere: unit variance, the correlation it promises, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest

from pear.sphere.healpix import angular_power, centres, gaussian_fields
from pear.sphere.random_fields import EARTH_RADIUS_KM, correlated_noise, correlated_power


def test_the_power_gives_unit_variance_and_the_correlation_of_a_gaussian() -> None:
    length, nside = 1500.0, 32
    power = correlated_power(length, nside)
    angles = np.linspace(0, 3 * length, 7) / EARTH_RADIUS_KM
    weights = (2 * np.arange(power.size) + 1) / (4 * np.pi) * power
    correlation = np.polynomial.legendre.legval(np.cos(angles), weights)
    assert correlation[0] == pytest.approx(1, abs=1e-12)
    gaussian = np.exp(-((angles * EARTH_RADIUS_KM / length) ** 2) / 2)
    np.testing.assert_allclose(correlation, gaussian, atol=0.02)


def test_fields_have_the_variance_and_the_power_they_were_drawn_from() -> None:
    nside, count = 16, 200
    fields = correlated_noise(nside, count, 2000.0, np.random.default_rng(1))
    assert fields.shape == (count, 12 * nside**2)
    # Neighbouring cells are correlated: some 50 independent patches in each of 200 fields.
    assert abs(fields.mean()) < 0.03
    assert fields.var() == pytest.approx(1, abs=0.03)
    power = angular_power(fields[:60], lmax=10).mean(axis=0)
    np.testing.assert_allclose(power, correlated_power(2000.0, nside)[:11], rtol=0.35)


def test_a_dipole_is_where_it_should_be() -> None:
    """One coefficient in, one harmonic out: nested order and the sign of latitude are right."""
    power = np.array([0.0, 1.0])
    field = gaussian_fields(power, 8, 1, np.random.default_rng(3))[0]
    latitude, longitude = (np.radians(angle) for angle in centres(8))
    basis = np.stack(
        [
            np.sin(latitude),
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
        ]
    )
    coefficients, residual, *_ = np.linalg.lstsq(basis.T, field, rcond=None)
    assert residual[0] < 1e-20 * 768
    assert np.abs(coefficients).max() > 0.01


def test_a_seed_gives_the_same_fields() -> None:
    one, other = (correlated_noise(8, 2, 1000.0, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("power", [[-1.0], [np.nan], np.ones(25)])
def test_impossible_powers_are_refused(power: list[float]) -> None:
    with pytest.raises(ValueError, match=r"angular power|lmax"):
        gaussian_fields(power, 8, 1, np.random.default_rng(0))


def test_an_impossible_length_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        correlated_power(0.0, 8)
