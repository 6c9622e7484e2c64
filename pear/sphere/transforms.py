"""Spherical-harmonic transforms of fields on the nested HEALPix grid, by healpy.

Spectra, random fields with a given spectrum, and the derivatives of vectors. The matrices of
harmonics that layers use are in :mod:`pear.sphere.harmonics`.
"""

from __future__ import annotations

import healpy
import numpy as np
import numpy.typing as npt

from pear.sphere.healpix import (
    cells_of_nside,
    check_nside,
    nest_of_ring,
    nside_from_cells,
    ring_of_nest,
)
from pear.typing import Array, Float64


def angular_power(values: Array, lmax: int | None = None) -> Float64:
    """Return the angular power spectrum of fields.

    C_l = Σ_m |a_lm|² / (2l + 1), a_lm the spherical-harmonic coefficients (healpy's anafast with
    three Jacobi iterations).

    Parameters
    ----------
    values
        (…, cell), nested, finite.
    lmax
        Largest degree; default: 2 nside, beyond which the coefficients are not reliable.

    Returns
    -------
    numpy.ndarray
        (…, lmax + 1), units squared.

    Raises
    ------
    ValueError
        If a value is not finite or ``lmax`` exceeds 3 nside - 1.

    Examples
    --------
    >>> from pear.sphere.healpix import centres
    >>> from pear.sphere.transforms import angular_power
    >>> zonal = np.sin(np.deg2rad(centres(16)[0]))  # only degree 1
    >>> angular_power(zonal).shape, int(angular_power(zonal).argmax())
    ((33,), 1)
    """
    nside = nside_from_cells(values.shape[-1])
    lmax = 2 * nside if lmax is None else lmax
    if not 0 <= lmax <= 3 * nside - 1:
        raise ValueError(f"lmax must lie in 0…{3 * nside - 1} at nside {nside}, got {lmax}")
    if not np.isfinite(values).all():
        raise ValueError("angular_power needs finite values everywhere")
    ring = np.asarray(values, dtype=np.float64).reshape(-1, values.shape[-1])[
        :, nest_of_ring(nside)
    ]
    power = np.stack([healpy.anafast(field, lmax=lmax, iter=3) for field in ring])
    return power.reshape(*values.shape[:-1], lmax + 1)


def gaussian_fields(
    power: npt.ArrayLike, nside: int, count: int, random: np.random.Generator
) -> Float64:
    """Draw isotropic Gaussian fields with a given angular power.

    The a_lm are independent, complex with variance C_l (real for m = 0), and synthesised exactly
    (healpy's alm2map). The variance at a point is Σ (2l + 1) C_l / 4π.

    Parameters
    ----------
    power
        (lmax + 1,) C_l, units squared, not negative; lmax at most 3 nside - 1.
    nside
        Resolution, a power of two.
    count
        Number of fields.
    random
        Generator; the same seed gives the same fields.

    Returns
    -------
    numpy.ndarray
        (count, cell), nested.

    Raises
    ------
    ValueError
        If the power is negative, not finite, or exceeds the degrees of the grid.

    Examples
    --------
    >>> from pear.sphere.transforms import gaussian_fields
    >>> power = np.full(9, 4 * np.pi / 81)  # Σ (2l + 1) C_l / 4π = 1
    >>> fields = gaussian_fields(power, nside=8, count=100, random=np.random.default_rng(0))
    >>> fields.shape, round(float(fields.var()), 1)
    ((100, 768), 1.0)
    """
    spectrum = np.asarray(power, dtype=np.float64)
    lmax = spectrum.size - 1
    if not 0 <= lmax <= 3 * check_nside(nside) - 1:
        raise ValueError(f"lmax must lie in 0…{3 * nside - 1} at nside {nside}, got {lmax}")
    if not np.isfinite(spectrum).all() or (spectrum < 0).any():
        raise ValueError("angular power must be finite and not negative")
    degree, order = healpy.Alm.getlm(lmax)
    amplitude = np.sqrt(spectrum[degree])
    fields = np.empty((count, cells_of_nside(nside)))
    for row in fields:
        real, imaginary = random.standard_normal((2, degree.size))
        alm = np.where(order == 0, real, (real + 1j * imaginary) / np.sqrt(2)) * amplitude
        row[:] = healpy.alm2map(alm, nside, lmax=lmax)[ring_of_nest(nside)]
    return fields


def curl_and_divergence(east: Array, north: Array) -> tuple[Float64, Float64]:
    """Return curl and divergence of vectors on the unit sphere, by spin-1 spherical harmonics.

    The transform to coefficients is refined by six Jacobi iterations, which bring its error for
    smooth flows below 1e-5, at the poles too. Divided by the radius the results are vorticity and
    divergence of a wind.

    Parameters
    ----------
    east, north
        Components, (…, cell), nested, finite.

    Returns
    -------
    curl, divergence : ndarray
        (…, cell), float64.

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> from pear.sphere.healpix import centres
    >>> from pear.sphere.transforms import curl_and_divergence
    >>> lat = np.deg2rad(centres(8)[0])
    >>> curl, divergence = curl_and_divergence(np.cos(lat), 0 * lat)  # solid-body rotation
    >>> bool(np.allclose(curl, 2 * np.sin(lat), atol=1e-5)), bool(np.abs(divergence).max() < 1e-5)
    (True, True)
    """
    nside = nside_from_cells(east.shape[-1])
    if not (np.isfinite(east).all() and np.isfinite(north).all()):
        raise ValueError("curl_and_divergence needs finite values everywhere")
    lmax, cells = 2 * nside, east.shape[-1]
    degree = healpy.Alm.getlm(lmax)[0]
    factor = -np.sqrt(degree * (degree + 1.0))
    order, back = nest_of_ring(nside), ring_of_nest(nside)
    found = []
    flat = (np.asarray(one, dtype=np.float64).reshape(-1, cells) for one in (east, north))
    for u, v in zip(*flat, strict=True):
        field = [-v[order], u[order]]  # healpy's vectors point south and east
        coefficients = np.stack(healpy.map2alm_spin(field, 1, lmax=lmax))
        for _ in range(6):
            missed = field - np.stack(healpy.alm2map_spin(list(coefficients), nside, 1, lmax))
            coefficients += np.stack(healpy.map2alm_spin(list(missed), 1, lmax=lmax))
        gradient, curl = (healpy.alm2map(one * factor, nside, lmax=lmax) for one in coefficients)
        found.append((curl[back], gradient[back]))
    both = np.stack(found).reshape(*east.shape[:-1], 2, cells)
    return np.asarray(both[..., 0, :]), np.asarray(both[..., 1, :])
