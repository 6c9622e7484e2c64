"""Spherical harmonics at the cell centres, and how rotations act on their coefficients.

Harmonics are orthonormal with the Condon–Shortley phase, Y_lm at index l² + l + m. A rotation is
R = R_z(α) R_y(β) R_z(γ), acts on fields by (R·f)(x) = f(R⁻¹x), and on coefficients by
(R·f)_l = D^l(R) f_l with D^l(α, β, γ)_mn = e^{−imα} d^l_mn(β) e^{−inγ} and d^l(β) = e^{−iβJ_y}
(Varshalovich, Moskalev and Khersonskii, Quantum Theory of Angular Momentum, 1988).

Fields are analysed by the pseudo-inverse of the synthesis and not by quadrature: sums over cells
are wrong by some per cent, the pseudo-inverse is exact on band-limited fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.special

from pear.sphere.healpix import centres
from pear.sphere.vectors import Frames
from pear.typing import Float64

LARGEST_DEGREE: Final = 32
"""Of filters on tokens; their tables have (degree + 1)² · 12 nside² numbers."""
_CACHED: Final = 8


@dataclass(frozen=True)
class Rotation:
    """Rotation of the sphere, R_z(α) R_y(β) R_z(γ), angles in radians.

    Attributes
    ----------
    alpha, beta, gamma
        Euler angles.

    Examples
    --------
    >>> from pear.sphere.harmonics import Rotation
    >>> bool(np.allclose((Rotation(beta=0.3) * Rotation(beta=-0.3)).matrix(), np.eye(3)))
    True
    """

    alpha: float = 0.0
    beta: float = 0.0
    gamma: float = 0.0

    def matrix(self) -> Float64:
        """Return the rotation as a (3, 3) matrix on column vectors."""
        return _about_z(self.alpha) @ _about_y(self.beta) @ _about_z(self.gamma)

    def __mul__(self, other: Rotation) -> Rotation:
        """Return the product: first ``other``, then this rotation."""
        m = self.matrix() @ other.matrix()
        beta = float(np.arctan2(np.hypot(m[0, 2], m[1, 2]), m[2, 2]))
        if np.hypot(m[0, 2], m[1, 2]) < 1e-12:  # a rotation about z, or a half turn: γ is free
            sign = 1.0 if m[2, 2] > 0 else -1.0
            return Rotation(float(np.arctan2(sign * m[1, 0], sign * m[0, 0])), beta, 0.0)
        alpha, gamma = np.arctan2(m[1, 2], m[0, 2]), np.arctan2(m[2, 1], -m[2, 0])
        return Rotation(float(alpha), beta, float(gamma))

    @property
    def inverse(self) -> Rotation:
        """Inverse rotation."""
        return Rotation(-self.gamma, -self.beta, -self.alpha)


def real_harmonics(xyz: npt.ArrayLike, lmax: int) -> Float64:
    """Return the real harmonics at unit vectors.

    √2 (−1)^m Re Y_lm for m > 0, Y_l0, and √2 (−1)^m Im Y_l|m| for m < 0.

    Parameters
    ----------
    xyz
        (point, 3).
    lmax
        Largest degree.

    Returns
    -------
    ndarray
        (point, (lmax + 1)²).
    """
    x, y, z = np.asarray(xyz, dtype=np.float64).T
    colatitude, longitude = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    # Points lie on rings: the Legendre functions of a ring are computed once.
    _, first, ring = np.unique(colatitude.round(12), return_index=True, return_inverse=True)
    legendre = np.asarray(scipy.special.sph_legendre_p_all(lmax, lmax, colatitude[first]))
    legendre = legendre.reshape(lmax + 1, 2 * lmax + 1, -1)
    order = np.arange(1, lmax + 1)
    turn = 2**0.5 * (-1.0) ** order * np.exp(1j * longitude[:, None] * order)
    table = np.empty((len(x), (lmax + 1) ** 2))
    for degree in range(lmax + 1):
        middle, m = degree * degree + degree, order[:degree]
        values = legendre[degree, : degree + 1][:, ring].T
        table[:, middle] = values[:, 0]
        table[:, middle + m] = values[:, 1:] * turn.real[:, :degree]
        table[:, middle - m] = values[:, 1:] * turn.imag[:, :degree]
    return table


@lru_cache(maxsize=_CACHED)
def synthesis(nside: int, lmax: int) -> Float64:
    """Return S, the real harmonics at the cell centres: field = S · coefficients.

    Parameters
    ----------
    nside
        Resolution, a power of two.
    lmax
        Largest degree, at most 2 nside.

    Returns
    -------
    ndarray
        (cell, (lmax + 1)²), read-only.

    Raises
    ------
    ValueError
        If the grid does not resolve the degree.

    Examples
    --------
    >>> from pear.sphere.harmonics import analysis, synthesis
    >>> unit = analysis(4, 6) @ synthesis(4, 6)
    >>> bool(np.allclose(unit, np.eye(49), atol=1e-13))
    True
    """
    if not 0 <= lmax <= 2 * nside:
        raise ValueError(f"degree {lmax} is outside 0 … {2 * nside}, twice nside {nside}")
    table = real_harmonics(Frames.at(*centres(nside)).positions().T, lmax)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=_CACHED)
def analysis(nside: int, lmax: int) -> Float64:
    """Return S⁺, the pseudo-inverse of :func:`synthesis`: coefficients = S⁺ · field.

    Parameters
    ----------
    nside, lmax
        As for :func:`synthesis`.

    Returns
    -------
    ndarray
        ((lmax + 1)², cell), read-only.
    """
    table = np.empty(((lmax + 1) ** 2, 12 * nside**2))
    degree = np.floor(np.sqrt(np.arange(len(table)))).astype(int)
    order = np.arange(len(table)) - degree * (degree + 1)
    # Quarter turns and mirrors of the grid keep these classes of harmonics orthogonal: S^T S has
    # one block for each, and S⁺ = (S^T S)^-1 S^T.
    turns = np.where(order % 2, 1, order % 4)
    classes = 4 * turns + 2 * (order < 0) + (degree + order) % 2
    for each in np.unique(classes):
        rows = classes == each
        part = synthesis(nside, lmax)[:, rows]
        table[rows] = scipy.linalg.solve(part.T @ part, part.T, assume_a="pos")
    table.flags.writeable = False
    return table


def filtered_degree(nside: int) -> int:
    """Return the largest degree that is filtered on a grid of tokens.

    Parameters
    ----------
    nside
        Resolution of the tokens.

    Returns
    -------
    int
        All that the grid resolves, 2 nside, but at most :data:`LARGEST_DEGREE`.

    Examples
    --------
    >>> from pear.sphere.harmonics import filtered_degree
    >>> filtered_degree(4), filtered_degree(32)
    (8, 32)
    """
    return min(2 * nside, LARGEST_DEGREE)


def wigner(rotation: Rotation, degree: int) -> npt.NDArray[np.complex128]:
    """Return D^l of a rotation, on coefficients of the complex harmonics, m = −l … l.

    Returns
    -------
    ndarray
        (2l + 1, 2l + 1), unitary.
    """
    m = np.arange(-degree, degree + 1)
    raising = np.diag(np.sqrt(degree * (degree + 1) - m[:-1] * (m[:-1] + 1)), -1)
    small = scipy.linalg.expm(-rotation.beta * (raising - raising.T) / 2)
    left, right = np.exp(-1j * m * rotation.alpha), np.exp(-1j * m * rotation.gamma)
    return np.asarray(left[:, None] * small * right, dtype=np.complex128)


def real_wigner(rotation: Rotation, degree: int) -> Float64:
    """Return D^l of a rotation, on coefficients of the real harmonics.

    Returns
    -------
    ndarray
        (2l + 1, 2l + 1), orthogonal.
    """
    change = real_of_complex(degree)
    return np.asarray((change @ wigner(rotation, degree) @ change.conj().T).real)


def real_of_complex(degree: int) -> npt.NDArray[np.complex128]:
    """Return the unitary matrix from complex to real coefficients, (2l + 1, 2l + 1)."""
    matrix = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=np.complex128)
    matrix[degree, degree] = 1.0
    for m in range(1, degree + 1):
        sign = (-1) ** m
        matrix[degree + m, [degree + m, degree - m]] = np.array([sign, 1]) / 2**0.5
        matrix[degree - m, [degree + m, degree - m]] = np.array([sign, -1]) * 1j / 2**0.5
    return matrix


def _about_z(angle: float) -> Float64:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _about_y(angle: float) -> Float64:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
