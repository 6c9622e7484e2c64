"""Symmetries that HEALPix shares with a rotating planet, as exact permutations of its cells.

Two isometries of the sphere map the grid onto itself cell by cell and preserve the sense of the
planet's rotation: **R**, the rotation by 90° about the axis, and **M**, the mirror at the equator.
They generate the group C4h of order 8, R⁴ = M² = 1 and RM = MR. (The mirror longitude → −longitude
also maps the grid onto itself, but reverses the planet's rotation.)

An element g acts on a field by moving it: ``(g·x)[cell] = x[permutation(g, nside)[cell]]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from pear.sphere.healpix import check_nside, nest_of_xy, xy_of_nest
from pear.typing import Int64


@dataclass(frozen=True)
class Element:
    """Element of C4h: quarter turns eastward, optionally followed by the mirror at the equator.

    Attributes
    ----------
    turns
        Rotations by 90° towards the east, 0…3.
    mirror
        True if north and south are exchanged.

    Examples
    --------
    >>> (R * R * M).name, R * R.inverse == IDENTITY
    ('R2M', True)
    """

    turns: int = 0
    mirror: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", self.turns % 4)

    def __mul__(self, other: Element) -> Element:
        """Return the product of two elements; the group is commutative."""
        return Element(self.turns + other.turns, self.mirror != other.mirror)

    @property
    def inverse(self) -> Element:
        """Inverse element."""
        return Element(-self.turns, self.mirror)

    @property
    def name(self) -> str:
        """Short name: 1, R, R2, R3, M, RM, R2M, R3M."""
        turn = ("", "R", "R2", "R3")[self.turns]
        return (turn + ("M" if self.mirror else "")) or "1"


IDENTITY: Final = Element()
R: Final = Element(turns=1)
M: Final = Element(mirror=True)
C4: Final = tuple(Element(turns) for turns in range(4))
"""Rotations by multiples of 90°: every PEAR network with the ring rotation commutes with them."""
C4H: Final = tuple(Element(turns, mirror) for mirror in (False, True) for turns in range(4))
"""All eight elements, rotations first."""


@lru_cache(maxsize=64)
def permutation(element: Element, nside: int) -> Int64:
    """Return the cells from which a moved field is read.

    The rotation sends cell k of base pixel f to cell k of the next base pixel to the east. The
    mirror exchanges the polar base pixels f and f ± 8 and reflects every base pixel across its
    east-west diagonal: (x, y) → (nside − 1 − y, nside − 1 − x).

    Parameters
    ----------
    element
        The isometry.
    nside
        Resolution, a power of two.

    Returns
    -------
    numpy.ndarray
        (12 nside²,), nested, read-only.

    Examples
    --------
    >>> permutation(R, 1)
    array([ 3,  0,  1,  2,  7,  4,  5,  6, 11,  8,  9, 10])
    """
    x, y, face = xy_of_nest(check_nside(nside))
    face = 4 * (face // 4) + (face % 4 - element.turns) % 4
    if element.mirror:
        face = np.where(face // 4 == 1, face, (face + 8) % 16)
        x, y = nside - 1 - y, nside - 1 - x
    table = nest_of_xy(x, y, face, nside)
    table.flags.writeable = False
    return table


def block_mirror(cells: int) -> Int64:
    """Return σ, the mirror inside a block of consecutive nested cells.

    The anti-transpose (x, y) → (n − 1 − y, n − 1 − x) of an n × n block; its own inverse.

    Parameters
    ----------
    cells
        Cells in the block, a power of four.

    Returns
    -------
    numpy.ndarray
        (cells,).

    Raises
    ------
    ValueError
        If ``cells`` is not a power of four.

    Examples
    --------
    >>> from pear.sphere.symmetry import block_mirror
    >>> mirror = block_mirror(16)
    >>> mirror[:4], bool((mirror[mirror] == np.arange(16)).all())
    (array([15, 13, 14, 12]), True)
    """
    side = round(cells**0.5)
    if cells < 1 or side * side != cells or side & (side - 1):
        raise ValueError(f"a block of nested cells must be a power of 4, got {cells}")
    return permutation(M, side)[4 * cells : 5 * cells] - 4 * cells
