"""Where spins live: rings, square lattices with periodic sides, and HEALPix cells.

A :class:`Graph` has the pairs of spins that are coupled. :class:`Patches` are the neighbourhoods
that hidden units with shared weights see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from pear.sphere.healpix import neighbours, xy_of_nest
from pear.sphere.stencils import face_halos
from pear.typing import Int64

Kind: TypeAlias = Literal["nearest", "next"]
"""Pairs that share a side, or pairs that share a corner alone."""

_SIDES: Final = (0, 2, 4, 6)  # SW, NW, NE, SE of pear.sphere.healpix.neighbours
_CORNERS: Final = (1, 3, 5, 7)  # W, N, E, S
_PATCH: Final = 4


@dataclass(frozen=True, eq=False)
class Graph:
    """Pairs of coupled spins.

    Attributes
    ----------
    sites
        Number of spins.
    bonds
        (bond, 2) sites; each pair stands once, however often a short periodic lattice joins it.

    Examples
    --------
    >>> from pear.boltzmann.graphs import Graph
    >>> Graph.from_table(np.array([[1], [0]])).bonds
    array([[0, 1]])
    """

    sites: int
    bonds: Int64

    @classmethod
    def from_table(cls, table: Int64) -> Graph:
        """Return the graph of a table of neighbours.

        Parameters
        ----------
        table
            (site, neighbour); -1 where there is none.

        Returns
        -------
        Graph
            With every pair once.
        """
        sites = np.repeat(np.arange(len(table)), table.shape[1])
        pairs = np.sort(np.stack([sites, table.ravel()], axis=1), axis=1)
        real = (pairs[:, 0] >= 0) & (pairs[:, 0] != pairs[:, 1])
        return cls(len(table), np.unique(pairs[real], axis=0))

    def adjacency(self) -> csr_array:
        """Return the symmetric matrix that is 1 for coupled spins, (site, site)."""
        ends = np.concatenate([self.bonds, self.bonds[:, ::-1]]).T
        return csr_array((np.ones(ends.shape[1]), tuple(ends)), shape=(self.sites,) * 2)


def ring(sites: int) -> Graph:
    """Return a periodic chain; of two sites it has one bond.

    Returns
    -------
    Graph
        Of as many bonds as sites, from three sites on.

    Examples
    --------
    >>> from pear.boltzmann.graphs import ring
    >>> len(ring(2).bonds), len(ring(3).bonds)
    (1, 3)
    """
    return Graph.from_table((np.arange(sites)[:, None] + 1) % sites)


def torus(side: int, kind: Kind = "nearest") -> Graph:
    """Return a square lattice with periodic sides, site side·y + x.

    Parameters
    ----------
    side
        Sites along each side.
    kind
        Which pairs.

    Returns
    -------
    Graph
        Of two bonds a site, from side 3 on.

    Examples
    --------
    >>> from pear.boltzmann.graphs import torus
    >>> [len(torus(side).bonds) for side in (2, 4)]
    [4, 32]
    """
    steps = ((0, 1), (1, 0)) if kind == "nearest" else ((1, 1), (1, -1))
    return Graph.from_table(_moved(side, steps))


def cells(nside: int, kind: Kind = "nearest") -> Graph:
    """Return the HEALPix cells that share a side, or a corner alone.

    Parameters
    ----------
    nside
        Resolution, a power of two.
    kind
        Which pairs.

    Returns
    -------
    Graph
        Nested cells; of 24 nside² nearest bonds, each of the four sides of a cell being one.

    Examples
    --------
    >>> from pear.boltzmann.graphs import cells
    >>> len(cells(4).bonds)
    384
    """
    labels = _SIDES if kind == "nearest" else _CORNERS
    return Graph.from_table(neighbours(nside)[:, list(labels)])


@dataclass(frozen=True, eq=False)
class Patches:
    """What hidden units with shared weights see.

    Attributes
    ----------
    sites
        Number of visible units.
    table
        (place, tap) the visible unit at each tap of the hidden units of each place; -1 for none.
    classes
        (tap,) taps of one class, numbered from 0, share their weight.
    """

    sites: int
    table: Int64
    classes: Int64


def torus_patches(side: int, width: int) -> Patches:
    """Return the windows of width × width sites, one for every site of a periodic lattice.

    Parameters
    ----------
    side, width
        Sites along the lattice and along a window; at most the whole lattice.

    Returns
    -------
    Patches
        Of one class a tap.

    Raises
    ------
    ValueError
        If a window is wider than the lattice.

    Examples
    --------
    >>> from pear.boltzmann.graphs import torus_patches
    >>> torus_patches(4, 2).table[5]
    array([ 5,  6,  9, 10])
    """
    if not 1 <= width <= side:
        raise ValueError(f"a window has 1 to {side} sites a side, got {width}")
    steps = tuple((dy, dx) for dy in range(width) for dx in range(width))
    return Patches(side**2, _moved(side, steps), np.arange(width**2))


def parent_patches(nside: int) -> Patches:
    """Return the four children of every nested parent cell and the ring of twelve around them.

    Taps are a square of 4 × 4 in the coordinates (y, x) of the base pixel. Two taps that the mirror
    at the equator exchanges, (y, x) and (3 − x, 3 − y), share their weight, so that a hidden field
    that is made by these weights keeps all of C4h. At the eight corners of the grid where three
    base pixels meet one of the twelve is missing.

    Parameters
    ----------
    nside
        Resolution of the children, a power of two from 2 on.

    Returns
    -------
    Patches
        With a place for each of the 3 nside² parents and 10 classes.

    Raises
    ------
    ValueError
        If the cells have no parents.

    Examples
    --------
    >>> from pear.boltzmann.graphs import parent_patches
    >>> patches = parent_patches(4)
    >>> patches.table.shape, sorted(patches.table[0][[5, 6, 9, 10]].tolist())
    ((48, 16), [0, 1, 2, 3])
    """
    if nside < 2:
        raise ValueError(f"cells of nside {nside} have no parents")
    x, y, face = (each[:, None] for each in xy_of_nest(nside // 2))
    row, column = np.divmod(np.arange(_PATCH**2), _PATCH)
    table = face_halos(nside)[face, 2 * y + row, 2 * x + column]
    last = _PATCH - 1
    pair = np.stack([row * _PATCH + column, (last - column) * _PATCH + last - row])
    classes = np.unique(pair.min(axis=0), return_inverse=True)[1]
    return Patches(12 * nside**2, table, classes)


def _moved(side: int, steps: tuple[tuple[int, int], ...]) -> Int64:
    """Return the sites that lie some steps (y, x) from each site, (site, step)."""
    y, x = np.divmod(np.arange(side**2), side)
    columns = [(y + dy) % side * side + (x + dx) % side for dy, dx in steps]
    return np.stack(columns, axis=1)
