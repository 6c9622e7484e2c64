"""Unitary links on periodic lattices, their plaquettes, and Chern numbers.

A link U_μ(k) joins the sites k and k + μ̂. The plaquette
W_μν(k) = U_μ(k) U_ν(k + μ̂) U_μ(k + ν̂)† U_ν(k)† changes by Ω_k†WΩ_k under a gauge transformation
(Fukui, Hatsugai and Suzuki, J. Phys. Soc. Jpn. 74, 1674, 2005).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def haar(shape: tuple[int, ...], n: int, generator: torch.Generator) -> Tensor:
    """Draw unitary matrices from the Haar measure.

    The Q of a QR decomposition of a complex Gaussian matrix, its columns multiplied by the phases
    of R's diagonal (Mezzadri, Notices of the AMS 54, 592, 2007).

    Parameters
    ----------
    shape
        Leading axes.
    n
        Size N.
    generator
        Source of random numbers.

    Returns
    -------
    Tensor
        (*shape, N, N), complex128.
    """
    parts = torch.randn(2, *shape, n, n, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(torch.complex(parts[0], parts[1]))
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    unitary: Tensor = q * (diagonal / diagonal.abs())[..., None, :]
    return unitary


def plaquette(links: Tensor, first: int = 0, second: int = 1) -> Tensor:
    """Return the plaquettes W_μν of one plane.

    Parameters
    ----------
    links
        (batch, *sites, direction, N, N).
    first, second
        Directions μ and ν.

    Returns
    -------
    Tensor
        (batch, *sites, N, N).
    """
    u, v = links[..., first, :, :], links[..., second, :, :]
    return u @ v.roll(-1, 1 + first) @ u.roll(-1, 1 + second).mH @ v.mH


def chern_number(eigenvalues: Tensor) -> Tensor:
    """Return C = (1/2π) Σ_k Im Tr log W_k, each eigenvalue with its principal phase.

    Parameters
    ----------
    eigenvalues
        (batch, *sites, N) of the plaquettes of a two-dimensional lattice.

    Returns
    -------
    Tensor
        (batch,), real; an integer to rounding.
    """
    return torch.angle(eigenvalues).flatten(1).sum(1) / (2 * math.pi)


def hermitian_log(w: Tensor) -> Tensor:
    """Return F = −i log W of unitary matrices, with eigenvalues in (−π, π].

    Parameters
    ----------
    w
        (…, N, N), unitary.

    Returns
    -------
    Tensor
        (…, N, N), Hermitian.
    """
    values, vectors = torch.linalg.eig(w)
    # Eigenvectors of a unitary matrix are orthogonal unless eigenvalues coincide; solving with
    # them holds in either case.
    f: Tensor = torch.linalg.solve(vectors, vectors * torch.angle(values)[..., None, :], left=False)
    return (f + f.mH) / 2


def second_chern_number(links: Tensor) -> Tensor:
    """Return C₂ = 1/4π² Σ Re Tr(F₀₁F₂₃ − F₀₂F₁₃ + F₀₃F₁₂) of a four-dimensional lattice.

    Gauge invariant at any lattice constant, an integer only near the continuum. With the imaginary
    part of the logarithm's entries for F, or with plus signs throughout, it is neither.

    Parameters
    ----------
    links
        (batch, *sites, 4, N, N).

    Returns
    -------
    Tensor
        (batch,), real.

    Raises
    ------
    ValueError
        If the lattice does not have four dimensions.
    """
    if links.dim() != 8 or links.shape[-3] != 4:
        raise ValueError(f"links of a four-dimensional lattice have 8 axes, got {links.dim()}")

    def strength(first: int, second: int) -> Tensor:
        return hermitian_log(plaquette(links, first, second))

    def product(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("...ij,...ji->...", a, b).real.flatten(1).sum(1)

    total = product(strength(0, 1), strength(2, 3)) - product(strength(0, 2), strength(1, 3))
    total = total + product(strength(0, 3), strength(1, 2))
    return total / (4 * math.pi**2)


def uniform_flux(side: int, fluxes: Mapping[tuple[int, int], int], axes: int = 4) -> Tensor:
    """Return U(1) links with a uniform flux through planes of a periodic lattice.

    Parameters
    ----------
    side
        Sites along each axis.
    fluxes
        Quanta through the planes (μ, ν), μ < ν.
    axes
        Dimensions of the lattice.

    Returns
    -------
    Tensor
        (1, *sites, direction, 1, 1), complex128.
    """
    sites = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * axes, indexing="ij")
    phases = torch.zeros(*[side] * axes, axes, dtype=torch.float64)
    for (first, second), quanta in fluxes.items():
        unit = 2 * torch.pi * quanta / side**2
        phases[..., second] += unit * sites[first]
        # The last link along the first axis closes the flux over the boundary.
        phases[..., first] -= (sites[first] == side - 1) * unit * side * sites[second]
    links: Tensor = torch.polar(torch.ones_like(phases), phases)
    return links[None, ..., None, None]
