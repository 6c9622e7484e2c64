"""Signals on rotations: Wigner matrices of many angles, spins, and what a grid resolves."""

from __future__ import annotations

import numpy as np
import pytest

from pear.sphere.harmonics import Rotation, synthesis, wigner
from pear.sphere.rotations import (
    check_rotation_grid,
    small_wigner,
    so3_offset,
    spin_analysis,
    spin_columns,
    spin_synthesis,
)


@pytest.mark.parametrize("degree", [0, 1, 2, 7, 16])
def test_many_angles_at_once(degree: int) -> None:
    angles = np.array([0.0, 0.3, 1.6, np.pi])
    want = [wigner(Rotation(beta=beta), degree) for beta in angles]
    np.testing.assert_allclose(small_wigner(degree, angles), want, atol=1e-12)


def test_packing() -> None:
    assert [so3_offset(d) for d in range(6)] == [
        sum((2 * k + 1) ** 2 for k in range(d)) for d in range(6)
    ]
    columns = [spin_columns(3, spin) for spin in range(-3, 4)]
    assert sorted(np.concatenate(columns)) == list(range(so3_offset(4)))


def test_spin_zero_is_the_harmonics() -> None:
    table = spin_synthesis(2, 3, 0)
    size = np.concatenate([np.full(2 * d + 1, (4 * np.pi / (2 * d + 1)) ** 0.5) for d in range(4)])
    np.testing.assert_allclose(table, synthesis(2, 3) * size, atol=1e-13)


@pytest.mark.parametrize("spin", [1, 4])
def test_analysis_inverts_synthesis(spin: int) -> None:
    unit = spin_analysis(2, 4, spin) @ spin_synthesis(2, 4, spin)
    np.testing.assert_allclose(unit, np.eye(25 - spin**2), atol=1e-12)


def test_what_a_grid_does_not_resolve_is_refused() -> None:
    check_rotation_grid(2, 9, 4)
    with pytest.raises(ValueError, match="degree 5 is outside 0 … 4, twice nside 2"):
        check_rotation_grid(2, 11, 5)
    with pytest.raises(ValueError, match="degree 4 needs at least 9 angles, got 8"):
        check_rotation_grid(2, 8, 4)
