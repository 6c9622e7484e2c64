"""Finite groups: axioms by enumeration, and known groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pear.sphere.groups import FiniteGroup, c4h, cyclic, dihedral
from pear.sphere.symmetry import C4H


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.sampled_from([cyclic, dihedral]))
def test_axioms(n: int, family: object) -> None:
    group = family(n)  # type: ignore[operator]
    every = range(group.order)
    for g in every:
        assert group.product[g, group.unit] == g == group.product[group.unit, g]
        assert group.product[g, group.inverse[g]] == group.unit
        for h in every:
            assert group.product[g, group.left[g, h]] == h


def test_orders_and_commutativity() -> None:
    assert [cyclic(n).order for n in (1, 4)] == [1, 4]
    assert [dihedral(n).is_abelian for n in (1, 2, 3, 4)] == [True, True, False, False]
    # In D_n a reflection turns rotations round: s r = r⁻¹ s.
    table = dihedral(5).product
    assert table[5, 1] == table[4, 5]


def test_c4h_has_the_products_of_its_elements() -> None:
    group = c4h()
    for i, g in enumerate(C4H):
        assert C4H[group.inverse[i]] == g.inverse
        for j, h in enumerate(C4H):
            assert C4H[group.product[i, j]] == g * h


@pytest.mark.parametrize(
    ("table", "axiom"),
    [
        ([[0, 1]], "not square"),
        ([[0, 2], [2, 0]], "not an element"),
        ([[1, 0], [1, 0]], "not associative"),
        ([[0, 0], [0, 0]], "no unit"),
        ([[0, 1], [1, 1]], "lacks an inverse"),
    ],
)
def test_a_table_that_is_not_a_group_is_refused(table: list[list[int]], axiom: str) -> None:
    with pytest.raises(ValueError, match=axiom):
        FiniteGroup("G", np.array(table))


def test_half_of_a_group_is_refused() -> None:
    with pytest.raises(ValueError, match="not an element"):
        FiniteGroup.from_elements("part", C4H[1:3])
