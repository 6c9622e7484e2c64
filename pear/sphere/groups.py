"""Finite groups as product tables.

An element is an index, 0 … order − 1. Tables are all that a layer on a group needs: the group
convolution reads its kernel at g⁻¹h, which is one lookup in :attr:`FiniteGroup.left`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol, Self, TypeVar

import numpy as np

from pear.sphere.symmetry import C4H
from pear.typing import Int64


class _Multiplied(Hashable, Protocol):
    """A group element that knows its product with another."""

    def __mul__(self, other: Self, /) -> Self: ...


_E = TypeVar("_E", bound=_Multiplied)


@dataclass(frozen=True, eq=False)
class FiniteGroup:
    """A finite group by its product table.

    Attributes
    ----------
    name
        For messages, as ``"D3"``.
    product
        (order, order): the index of gh at [g, h].

    Raises
    ------
    ValueError
        If the table does not describe a group; the message names the axiom that fails.

    Examples
    --------
    >>> from pear.sphere.groups import FiniteGroup
    >>> FiniteGroup("C2", [[0, 1], [1, 0]]).inverse
    array([0, 1])
    >>> FiniteGroup("half", [[0, 1], [1, 1]])
    Traceback (most recent call last):
    ValueError: half is not a group: an element lacks an inverse
    """

    name: str
    product: Int64

    def __post_init__(self) -> None:
        table = np.array(self.product, dtype=np.int64)
        if table.ndim != 2 or table.shape[0] != table.shape[1] or table.size == 0:
            raise ValueError(f"{self.name} is not a group: the table is {table.shape}, not square")
        if table.min() < 0 or table.max() >= len(table):
            raise ValueError(f"{self.name} is not a group: a product is not an element")
        if not np.array_equal(table[table], table[:, table]):
            raise ValueError(f"{self.name} is not a group: products are not associative")
        every = np.arange(len(table))
        units = (table == every).all(axis=1) & (table == every[:, None]).all(axis=0)
        if units.sum() != 1:
            raise ValueError(f"{self.name} is not a group: there is no unit")
        if not (table == units.argmax()).any(axis=1).all():
            raise ValueError(f"{self.name} is not a group: an element lacks an inverse")
        table.flags.writeable = False
        object.__setattr__(self, "product", table)

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.product)

    @cached_property
    def unit(self) -> int:
        """Index of the unit element."""
        return int((self.product == np.arange(self.order)).all(axis=1).argmax())

    @cached_property
    def inverse(self) -> Int64:
        """Index of the inverse of each element, (order,)."""
        return np.asarray((self.product == self.unit).argmax(axis=1), dtype=np.int64)

    @cached_property
    def left(self) -> Int64:
        """Index of g⁻¹h at [g, h]: where a group convolution reads its kernel."""
        return np.asarray(self.product[self.inverse], dtype=np.int64)

    @property
    def is_abelian(self) -> bool:
        """Whether gh = hg for all elements."""
        return bool(np.array_equal(self.product, self.product.T))

    @classmethod
    def from_elements(cls, name: str, elements: Sequence[_E]) -> FiniteGroup:
        """Return the group of objects that have a product.

        Parameters
        ----------
        name
            For messages.
        elements
            All elements; their order is that of the indices.

        Returns
        -------
        FiniteGroup
            Refused if a product is not among the elements.
        """
        index = {element: position for position, element in enumerate(elements)}
        table = [[index.get(g * h, -1) for h in elements] for g in elements]
        return cls(name, np.array(table, dtype=np.int64))


@lru_cache(maxsize=16)
def cyclic(n: int) -> FiniteGroup:
    """Return C_n: index r is the rotation by r·360°/n.

    Returns
    -------
    FiniteGroup
        Of order n.

    Examples
    --------
    >>> from pear.sphere.groups import cyclic
    >>> int(cyclic(4).product[3, 2])
    1
    """
    turns = np.arange(n)
    return FiniteGroup(f"C{n}", (turns[:, None] + turns) % n)


@lru_cache(maxsize=16)
def dihedral(n: int) -> FiniteGroup:
    """Return D_n: index r + n·s is the reflection s (0 or 1), followed by the rotation r.

    Returns
    -------
    FiniteGroup
        Of order 2n; not commutative for n > 2.

    Examples
    --------
    >>> from pear.sphere.groups import dihedral
    >>> dihedral(3).order, dihedral(3).is_abelian
    (6, False)
    """
    turns, flips = np.arange(2 * n) % n, np.arange(2 * n) // n
    turned = (turns[:, None] + np.where(flips[:, None] == 1, -1, 1) * turns) % n
    return FiniteGroup(f"D{n}", turned + n * (flips[:, None] ^ flips))


@lru_cache(maxsize=1)
def c4h() -> FiniteGroup:
    """Return C4h in the order of :data:`pear.sphere.symmetry.C4H`.

    Returns
    -------
    FiniteGroup
        Of order 8, commutative.

    Examples
    --------
    >>> from pear.sphere.groups import c4h
    >>> c4h().order, c4h().is_abelian
    (8, True)
    """
    return FiniteGroup.from_elements("C4h", C4H)
