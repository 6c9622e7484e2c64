"""Representations beyond fields and tokens: of finite groups, rotations and gauge groups.

Each is an action in the sense of :class:`pear.equivariant.contract.Representation`; its element is
the kind that the class names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor

from pear.sphere.groups import FiniteGroup
from pear.sphere.harmonics import Rotation, analysis, real_wigner, synthesis, wigner
from pear.sphere.healpix import neighbours
from pear.sphere.symmetry import Element, permutation


@dataclass(frozen=True)
class Invariant:
    """Values that no element of any group changes."""

    def act(self, element: object, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x


@dataclass(frozen=True)
class Regular:
    """Signals on a finite group, (g·f)(h) = f(g⁻¹h); the element is an index.

    Attributes
    ----------
    group
        The group.
    axis
        Axis of the elements.

    Examples
    --------
    >>> from pear.equivariant.representations import Regular
    >>> from pear.sphere.groups import cyclic
    >>> Regular(cyclic(3), axis=0).act(1, torch.tensor([10, 11, 12])).tolist()
    [12, 10, 11]
    """

    group: FiniteGroup
    axis: int = -1

    def act(self, element: int, x: Tensor) -> Tensor:
        """Move the values along the group's axis."""
        source = torch.from_numpy(self.group.left[element].copy()).to(x.device)
        return x.index_select(self.axis, source)


@dataclass(frozen=True)
class Image:
    """Square images (…, y, x) under the quarter turns in C_n or D_n.

    The element is an index r + n·s of :func:`~pear.sphere.groups.cyclic` or
    :func:`~pear.sphere.groups.dihedral`: reverse x if s = 1, then turn r times by 360°/n. Of finer
    groups than D_4 only the elements whose turn is a multiple of 90° move pixels to pixels; others
    raise ``ValueError``. With ``group_axis`` the image has values on the group too, which move by
    left translation.

    Attributes
    ----------
    group
        ``cyclic(n)`` or ``dihedral(n)``.
    n
        Number of rotations.
    group_axis
        Axis of the group's elements; None for plain images.

    Examples
    --------
    >>> from pear.equivariant.representations import Image
    >>> from pear.sphere.groups import cyclic
    >>> Image(cyclic(4), 4).act(1, torch.tensor([[1, 2], [3, 4]])).tolist()
    [[2, 4], [1, 3]]
    """

    group: FiniteGroup
    n: int
    group_axis: int | None = None

    def act(self, element: int, x: Tensor) -> Tensor:
        """Turn and reflect the image."""
        turns, reflected = element % self.n, element >= self.n
        if reflected:
            x = x.flip(-1)
        if 4 * turns % self.n:
            raise ValueError(f"a turn by {turns}/{self.n} does not move pixels to pixels")
        x = torch.rot90(x, 4 * turns // self.n, (-2, -1))
        if self.group_axis is not None:
            x = Regular(self.group, self.group_axis).act(element, x)
        return x


@dataclass(frozen=True)
class BandLimited:
    """Fields (…, cell) under rotations of the sphere, x → S D(g) S⁺ x.

    A representation on fields band-limited to ``lmax`` alone; any other part of a field is lost.
    It is orthogonal to the extent to which equal-area sums are, some per cent, so gradients are
    not compared for it.

    Attributes
    ----------
    nside
        Resolution.
    lmax
        Largest degree, at most 2 nside.

    Examples
    --------
    >>> from pear.equivariant.representations import BandLimited
    >>> from pear.sphere.harmonics import Rotation
    >>> x = torch.from_numpy(synthesis(2, 1)[:, 2].copy())  # sin(latitude)
    >>> turned = BandLimited(2, 1).act(Rotation(alpha=1.0), x)
    >>> torch.allclose(turned, x, atol=1e-13)
    True
    """

    nside: int
    lmax: int

    def act(self, element: Rotation, x: Tensor) -> Tensor:
        """Rotate the field."""
        matrix = _rotation_of_cells(element, self.nside, self.lmax)
        return x @ matrix.to(x.device, x.dtype).mT


@dataclass(frozen=True)
class SphereCoefficients:
    """Coefficients (…, (lmax + 1)²) of fields on the sphere, f_l → D^l(g) f_l.

    Complex values are coefficients of the complex harmonics, real ones of the real harmonics.

    Attributes
    ----------
    lmax
        Largest degree.

    Examples
    --------
    >>> from pear.equivariant.representations import SphereCoefficients
    >>> from pear.sphere.harmonics import Rotation
    >>> x = torch.tensor([1.0, 0.0, 2.0, 0.0])  # a constant, and 2 sin(latitude)
    >>> SphereCoefficients(1).act(Rotation(beta=torch.pi), x)[[0, 2]].tolist()
    [1.0, -2.0]
    """

    lmax: int

    def act(self, element: Rotation, x: Tensor) -> Tensor:
        """Multiply each degree from the left."""
        parts = torch.split(x, [2 * degree + 1 for degree in range(self.lmax + 1)], -1)
        turned = [part @ _turn(element, degree, x).mT for degree, part in enumerate(parts)]
        return torch.cat(turned, -1)


@dataclass(frozen=True)
class SO3Coefficients:
    """Coefficients of signals on SO(3), F^l → D^l(g) F^l, packed degree by degree.

    Values are (…, Σ(2l + 1)²), degree l as a (2l + 1) × (2l + 1) matrix; real values are those of
    the real D^l (:mod:`pear.sphere.rotations`).

    Attributes
    ----------
    lmax
        Largest degree.
    """

    lmax: int

    def act(self, element: Rotation, x: Tensor) -> Tensor:
        """Multiply each degree from the left."""
        parts, start = [], 0
        for degree in range(self.lmax + 1):
            size = 2 * degree + 1
            part = x[..., start : start + size * size].reshape(*x.shape[:-1], size, size)
            parts.append((_turn(element, degree, x) @ part).flatten(-2))
            start += size * size
        return torch.cat(parts, -1)


@dataclass(frozen=True)
class Tangent:
    """Winds u + iv on the cells, (…, cell) complex, under the symmetries of the grid.

    Cells move; the mirror at the equator, which turns north into south, conjugates.

    Attributes
    ----------
    nside
        Resolution.

    Examples
    --------
    >>> from pear.equivariant.representations import Tangent
    >>> from pear.sphere.symmetry import M
    >>> wind = torch.full((48,), 1 + 2j)
    >>> Tangent(2).act(M, wind)[0].item()
    (1-2j)
    """

    nside: int

    def act(self, element: Element, x: Tensor) -> Tensor:
        """Move the cells; under the mirror conjugate."""
        source = torch.from_numpy(permutation(element, self.nside).copy())
        x = x[..., source.to(x.device)]
        return x.conj().resolve_conj() if element.mirror else x


@dataclass(frozen=True)
class Frames:
    """Winds under a rotation of every cell's own frame, w → e^{iφ}w; the element is (cell,) φ.

    Attributes
    ----------
    winding
        Multiple of φ by which values turn: 1 for winds, 0 for scalars.
    """

    winding: int = 1

    def act(self, element: Tensor, x: Tensor) -> Tensor:
        """Turn the values of each cell."""
        if not self.winding:
            return x
        return x * torch.polar(torch.ones_like(element), self.winding * element).to(x.dtype)


@dataclass(frozen=True)
class CellLinks:
    """Links (8, cell) from each neighbour to each cell, g_pq → e^{iφ_p} g_pq e^{−iφ_q}.

    The element is the angle φ of each cell's frame, (cell,).

    Attributes
    ----------
    nside
        Resolution.
    """

    nside: int

    def act(self, element: Tensor, x: Tensor) -> Tensor:
        """Turn the frames at both ends of every link."""
        around = torch.from_numpy(np.maximum(neighbours(self.nside), 0).T.copy()).to(x.device)
        angle = element - element[around]
        return x * torch.polar(torch.ones_like(angle), angle).to(x.dtype)


@dataclass(frozen=True)
class Adjoint:
    """Matrices at the sites of a lattice, W → Ω†WΩ; the element is the unitary Ω of each site.

    Values are (…, *sites, channel, N, N), the element (*sites, N, N).
    """

    def act(self, element: Tensor, x: Tensor) -> Tensor:
        """Change the basis at every site."""
        omega = element.to(x.dtype)[..., None, :, :]
        return omega.mH @ x @ omega


@dataclass(frozen=True)
class Links:
    """Links of a periodic lattice, U_μ(k) → Ω_k† U_μ(k) Ω_{k+μ}; the element is Ω (*sites, N, N).

    Values are (…, *sites, direction, N, N), directions in the order of the sites' axes.
    """

    def act(self, element: Tensor, x: Tensor) -> Tensor:
        """Change the basis at both ends of every link."""
        omega = element.to(x.dtype)
        ahead = [omega.roll(-1, axis) for axis in range(omega.dim() - 2)]
        return omega.mH[..., None, :, :] @ x @ torch.stack(ahead, dim=-3)


def _turn(element: Rotation, degree: int, like: Tensor) -> Tensor:
    """Return D^l(g), complex or real as the coefficients that it multiplies."""
    matrix = (wigner if like.is_complex() else real_wigner)(element, degree)
    return torch.from_numpy(matrix).to(like.device, like.dtype)


@lru_cache(maxsize=16)
def _rotation_of_cells(element: Rotation, nside: int, lmax: int) -> Tensor:
    """Return S D(g) S⁺, (cell, cell)."""
    blocks = block_diag(*(real_wigner(element, degree) for degree in range(lmax + 1)))
    return torch.from_numpy(synthesis(nside, lmax) @ blocks @ analysis(nside, lmax))
