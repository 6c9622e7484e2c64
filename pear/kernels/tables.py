"""Index tables: which places a linear layer reads for each place that it writes.

Every linear layer here is f′(p) = Σ_s w_s ± f(table[s, p]): a dense layer reads all places for its
only one, a convolution the neighbours, a lifting the places moved by each group element, a group
convolution the elements gh. The table fixes both the layer and its kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pear.sphere.groups import FiniteGroup, cyclic, dihedral
from pear.sphere.symmetry import C4H, permutation


@dataclass(frozen=True, eq=False)
class Table:
    """Places read, (tap, place written), and their signs.

    Attributes
    ----------
    index
        (tap, place), indices of places read.
    sign
        (tap, place), 1 or -1; None if all are 1.
    """

    index: Tensor
    sign: Tensor | None = None

    @property
    def taps(self) -> int:
        """Number of weights per pair of channels."""
        return int(self.index.shape[0])

    def read(self, x: Tensor) -> Tensor:
        """Return what the taps read: (…, place read) to (…, tap, place written)."""
        values = x[..., self.index]
        return values if self.sign is None else values * self.sign.to(values.dtype)


def dense(places: int) -> Table:
    """Return the table of a dense layer: one place that reads all."""
    return Table(torch.arange(places)[:, None])


def torus(side: int, reach: int = 1) -> Table:
    """Return the table of a convolution on a periodic side × side image.

    Parameters
    ----------
    side
        Pixels along each axis.
    reach
        Largest distance along an axis, so that the stencil has (2·reach + 1)² taps.

    Returns
    -------
    Table
        Places are row · side + column.
    """
    return roto_translations(side, reach, 1).first


@dataclass(frozen=True, eq=False)
class RotoTranslations:
    """Tables on C_n ⋉ Z² or D_n ⋉ Z², element (p, r) at index p·|P| + r.

    Attributes
    ----------
    first
        Lifting from pixels: (p, r) reads p + rq for q in the stencil.
    inner
        Group convolution: (p, r) reads (p + rq, rs) for q in the stencil and all s.
    moves
        (|P|, pixel): where each point transformation about the origin reads, ρ(r)p.
    """

    first: Table
    inner: Table
    moves: Tensor


def roto_translations(
    side: int, reach: int, n: int, *, reflections: bool = False
) -> RotoTranslations:
    """Return the tables on a periodic image with n rotations, and reflections if wanted.

    Parameters
    ----------
    side
        Pixels along each axis.
    reach
        Largest distance of the stencil along an axis.
    n
        Rotations: 1, 2 or 4.
    reflections
        Use D_n instead of C_n.

    Returns
    -------
    RotoTranslations

    Raises
    ------
    ValueError
        If the pixels have no such rotation.
    """
    if n not in (1, 2, 4):
        raise ValueError(f"a square grid has 1, 2 or 4 rotations, not {n}")
    group = dihedral(n) if reflections else cyclic(n)
    matrices = _point_matrices(n, group)
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1)
    places = places.reshape(-1, 2)
    steps = np.arange(-reach, reach + 1)
    stencil = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    # turned[r, q] = r·q, read[q, p, r] = index of p + rq
    turned = np.einsum("rij,qj->rqi", matrices, stencil)
    read = (places[None, :, None] + turned.transpose(1, 0, 2)[:, None]) % side
    pixel = read[..., 0] * side + read[..., 1]
    product = group.product  # product[r, s] = rs
    inner = pixel[:, None] * group.order + product.T[None, :, None, :]
    moved = np.einsum("rij,pj->rpi", matrices, places) % side
    return RotoTranslations(
        Table(torch.from_numpy(pixel.reshape(len(stencil), -1))),
        Table(torch.from_numpy(inner.reshape(len(stencil) * group.order, -1))),
        torch.from_numpy(moved[..., 0] * side + moved[..., 1]),
    )


def group_convolution(group: FiniteGroup) -> Table:
    """Return the table of a convolution over a whole group: g reads gh for all h."""
    return Table(torch.from_numpy(group.product.T.copy()))


def healpix_lifting(nside: int, signs: Sequence[int]) -> Table:
    """Return the table of a lifting from fields on the sphere to C4h.

    Fields are flattened to channel · cells + cell. Element g reads ρ(g)x in every channel, with
    the sign of the channel if g contains the mirror.

    Parameters
    ----------
    nside
        Resolution.
    signs
        1 for scalars, -1 for northward components.

    Returns
    -------
    Table
        (channel · cell, 8).
    """
    cells = 12 * nside**2
    offsets = cells * np.arange(len(signs))[:, None]
    # (g⁻¹·x)[cell] = x[permutation(g⁻¹)[cell]] = x[ρ(g)cell].
    index = [(offsets + permutation(g.inverse, nside)).ravel() for g in C4H]
    sign = [np.repeat(np.array(signs) if g.mirror else np.ones(len(signs)), cells) for g in C4H]
    return Table(torch.from_numpy(np.stack(index, 1)), torch.from_numpy(np.stack(sign, 1)))


def _point_matrices(
    n: int, group: FiniteGroup
) -> np.ndarray[tuple[int, int, int], np.dtype[np.int64]]:
    """Return the integer matrices of the point group, (element, 2, 2)."""
    quarter, flip = np.array([[0, -1], [1, 0]]), np.array([[1, 0], [0, -1]])
    found = [
        np.linalg.matrix_power(quarter, (element % n) * (4 // n))
        @ np.linalg.matrix_power(flip, element // n)
        for element in range(group.order)
    ]
    return np.stack(found)
