"""Harmonics and Wigner matrices: analytic truths and the group law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import eval_legendre

from pear.sphere.harmonics import Rotation, analysis, real_harmonics, real_wigner, synthesis, wigner
from pear.sphere.healpix import angular_power, centres
from pear.sphere.symmetry import R, permutation
from pear.sphere.vectors import Frames

A, B = Rotation(0.3, 1.1, -2.0), Rotation(-1.4, 0.6, 0.9)


def points(count: int = 20) -> np.ndarray:
    xyz = np.random.default_rng(0).normal(size=(count, 3))
    return xyz / np.linalg.norm(xyz, axis=1, keepdims=True)


def test_addition_theorem() -> None:
    xyz = points()
    values = real_harmonics(xyz, 5)
    for degree in range(6):
        part = values[:, degree**2 : (degree + 1) ** 2]
        want = (2 * degree + 1) / (4 * np.pi) * eval_legendre(degree, xyz @ xyz.T)
        np.testing.assert_allclose(part @ part.T, want, atol=1e-13)


def test_analysis_inverts_synthesis_and_quadrature_does_not() -> None:
    matrix = synthesis(4, 8)
    np.testing.assert_allclose(analysis(4, 8) @ matrix, np.eye(81), atol=1e-12)
    quadrature = 4 * np.pi / 192 * matrix.T @ matrix
    assert np.abs(quadrature - np.eye(81)).max() > 0.01


@pytest.mark.parametrize("degree", range(5))
def test_wigner_matrices_are_a_representation(degree: int) -> None:
    for matrix in (wigner, real_wigner):
        np.testing.assert_allclose(
            matrix(A, degree) @ matrix(B, degree), matrix(A * B, degree), atol=1e-13
        )
        unit = matrix(A, degree) @ matrix(A.inverse, degree)
        np.testing.assert_allclose(unit, np.eye(2 * degree + 1), atol=1e-13)


def test_coefficients_turn_as_the_field_does() -> None:
    xyz = points()
    coefficients = np.random.default_rng(1).normal(size=25)
    turned = np.concatenate(
        [real_wigner(A, d) @ coefficients[d * d : (d + 1) ** 2] for d in range(5)]
    )
    # (R·f)(x) = f(R⁻¹x), and rows of points times R are R⁻¹ applied to each.
    want = real_harmonics(xyz @ A.matrix(), 4) @ coefficients
    np.testing.assert_allclose(real_harmonics(xyz, 4) @ turned, want, atol=1e-13)


def test_a_quarter_turn_is_the_permutation_of_the_cells() -> None:
    quarter = Rotation(np.pi / 2)
    field = synthesis(4, 3) @ np.random.default_rng(2).normal(size=16)
    found = analysis(4, 3) @ field[permutation(R, 4)]
    want = [
        real_wigner(quarter, d) @ (analysis(4, 3) @ field)[d * d : (d + 1) ** 2] for d in range(4)
    ]
    np.testing.assert_allclose(found, np.concatenate(want), atol=1e-13)


@pytest.mark.parametrize("beta", [0.0, np.pi])
def test_products_about_the_axis_have_no_free_angle(beta: float) -> None:
    one, other = Rotation(0.4, beta, 0.3), Rotation(0.2, 0.0, -0.5)
    product = one * other
    np.testing.assert_allclose(product.matrix(), one.matrix() @ other.matrix(), atol=1e-12)


def test_power_of_one_harmonic() -> None:
    field = synthesis(8, 5)[:, 5 * 5 + 5 + 2]
    power = angular_power(field[None], 8)[0]
    assert int(power.argmax()) == 5
    assert power[5] == pytest.approx(1 / 11, rel=2e-3)


def test_a_degree_that_the_grid_does_not_resolve_is_refused() -> None:
    with pytest.raises(ValueError, match="twice nside 2"):
        synthesis(2, 5)
    assert Frames.at(*centres(1)).positions().shape == (3, 12)
