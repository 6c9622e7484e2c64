"""Signals on the rotation group SO(3): their coefficients, and grids of rotations to sample them.

A signal is F(R) = Σ_lmn conj(D^l_mn(R)) F^l_mn with D^l of :mod:`pear.sphere.harmonics`. A rotation
g acts by (g·F)(R) = F(g⁻¹R), and on coefficients by F^l → D^l(g) F^l. Coefficients are packed
degree by degree and row by row. Real signals have real coefficients with respect to the real D^l.

The rotations of a grid are R_z(α) R_y(β) R_z(γ) with (β, α) the centre of a cell and γ one of
several equidistant angles. With z = e^{inγ}, F(R) = Σ_n z G_n(β, α) where
G_n = Σ_lm e^{imα} d^l_mn(β) F^l_mn is a field of spin n, so that a Fourier transform over γ and one
matrix (cell, coefficient) for each n replace the matrix (rotation, coefficient), as in Kostelec and
Rockmore, FFTs on the rotation group (2008), which separates α as well.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pear.sphere.harmonics import real_of_complex
from pear.sphere.healpix import centres
from pear.typing import Float64, Int64

Complex128 = npt.NDArray[np.complex128]


def so3_offset(degree: int) -> int:
    """Return where a degree begins in packed coefficients, Σ_{l<degree} (2l + 1)².

    Parameters
    ----------
    degree
        The degree; one more than the largest gives the number of coefficients.

    Returns
    -------
    int
        The index.

    Examples
    --------
    >>> from pear.sphere.rotations import so3_offset
    >>> [so3_offset(degree) for degree in (0, 1, 2, 5, 9)]
    [0, 1, 10, 165, 969]
    """
    return degree * (4 * degree * degree - 1) // 3


def small_wigner(degree: int, beta: npt.ArrayLike) -> Float64:
    """Return d^l(β) = e^{−iβJ_y} for many angles.

    Parameters
    ----------
    degree
        The degree l.
    beta
        (angle,), radians.

    Returns
    -------
    ndarray
        (angle, 2l + 1, 2l + 1), orthogonal, m and n from −l to l.

    Examples
    --------
    >>> from pear.sphere.rotations import small_wigner
    >>> bool(np.allclose(small_wigner(1, [0.0, np.pi])[1], [[0, 0, 1], [0, -1, 0], [1, 0, 0]]))
    True
    """
    m = np.arange(-degree, degree + 1)
    raising = np.diag(np.sqrt(degree * (degree + 1) - m[:-1] * (m[:-1] + 1)), -1)
    _, vectors = np.linalg.eigh((raising - raising.T) / 2j)  # J_y; its eigenvalues are m
    turns = np.exp(-1j * np.multiply.outer(np.asarray(beta, dtype=np.float64), m))
    return np.asarray(((vectors * turns[:, None, :]) @ vectors.conj().T).real)


def check_rotation_grid(nside: int, angles: int, lmax: int) -> None:
    """Check that a grid of rotations resolves a degree.

    Parameters
    ----------
    nside, angles
        Resolution of the cells, and number of angles γ.
    lmax
        Largest degree.

    Raises
    ------
    ValueError
        If it does not.
    """
    if not 0 <= lmax <= 2 * nside:
        raise ValueError(f"degree {lmax} is outside 0 … {2 * nside}, twice nside {nside}")
    if angles < 2 * lmax + 1:
        raise ValueError(f"degree {lmax} needs at least {2 * lmax + 1} angles, got {angles}")


@lru_cache(maxsize=64)
def spin_synthesis(nside: int, lmax: int, spin: int) -> Complex128:
    """Return the matrix from coefficients of a spin to its field G_n at the cell centres.

    The coefficients are c₊ F^l_{m,n} + c₋ F^l_{m,−n} of a real signal with c of
    :func:`spin_weights`, for l from n to ``lmax`` and m from −l to l.

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Largest degree.
    spin
        n, not negative.

    Returns
    -------
    ndarray
        (cell, (lmax + 1)² − n²), read-only.

    Examples
    --------
    >>> from pear.sphere.rotations import spin_synthesis
    >>> spin_synthesis(2, 3, 1).shape
    (48, 15)
    """
    latitude, longitude = (np.deg2rad(angle) for angle in centres(nside))
    rings, ring = np.unique(latitude.round(12), return_inverse=True)
    parts = []
    for degree in range(spin, lmax + 1):
        m = np.arange(-degree, degree + 1)
        column = small_wigner(degree, np.pi / 2 - rings)[:, :, degree + spin]
        values = np.exp(1j * np.outer(longitude, m)) * column[ring]
        parts.append(values @ real_of_complex(degree).conj().T)
    table = np.asarray(np.concatenate(parts, axis=1), dtype=np.complex128)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=64)
def spin_analysis(nside: int, lmax: int, spin: int) -> Complex128:
    """Return the pseudo-inverse of :func:`spin_synthesis`, read-only."""
    table = np.asarray(np.linalg.pinv(spin_synthesis(nside, lmax, spin)), dtype=np.complex128)
    table.flags.writeable = False
    return table


def spin_weights(spin: int) -> tuple[complex, complex]:
    """Return c₊ and c₋: what columns n and −n of real coefficients give to the complex column n.

    Parameters
    ----------
    spin
        n, not negative.

    Returns
    -------
    tuple of complex
        The first is real, the second imaginary; 1 and 0 for spin 0.

    Examples
    --------
    >>> from pear.sphere.rotations import spin_weights
    >>> spin_weights(0)
    ((1+0j), 0j)
    """
    if spin == 0:
        return 1 + 0j, 0j
    matrix = real_of_complex(spin)  # its rows and columns ±n are alike for all degrees
    return complex(matrix[2 * spin, 2 * spin]), complex(matrix[0, 2 * spin])


def spin_columns(lmax: int, spin: int) -> Int64:
    """Return where a column n of all degrees lies in packed coefficients.

    Parameters
    ----------
    lmax
        Largest degree.
    spin
        n, of either sign.

    Returns
    -------
    ndarray
        ((lmax + 1)² − n²,): l from |n|, m from −l to l.

    Examples
    --------
    >>> from pear.sphere.rotations import spin_columns
    >>> spin_columns(1, -1).tolist(), spin_columns(1, 0).tolist()
    ([1, 4, 7], [0, 2, 5, 8])
    """
    return np.concatenate(
        [
            so3_offset(degree) + np.arange(2 * degree + 1) * (2 * degree + 1) + degree + spin
            for degree in range(abs(spin), lmax + 1)
        ]
    )
