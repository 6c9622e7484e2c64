"""Bonds counted once, and the patches of parents."""

from __future__ import annotations

import numpy as np
import pytest

from pear.boltzmann.graphs import cells, parent_patches, ring, torus, torus_patches
from pear.sphere.healpix import neighbours


def test_short_periodic_lattices_have_each_bond_once() -> None:
    assert ring(2).bonds.tolist() == [[0, 1]]
    assert len(torus(2).bonds) == 4
    assert len(torus(2, "next").bonds) == 2
    assert [len(torus(side, kind).bonds) for side in (3, 4) for kind in ("nearest", "next")] == [
        18,
        18,
        32,
        16 * 2,
    ]


@pytest.mark.parametrize("nside", [1, 4])
def test_cells_have_four_sides(nside: int) -> None:
    degree = np.bincount(cells(nside).bonds.ravel())
    assert (degree == 4).all()
    missing = np.bincount(cells(nside, "next").bonds.ravel(), minlength=12 * nside**2)
    assert missing.sum() == (neighbours(nside)[:, 1::2] >= 0).sum()
    pairs = {tuple(pair) for pair in cells(nside).bonds.tolist()}
    assert not pairs & {tuple(pair) for pair in cells(nside, "next").bonds.tolist()}


def test_the_adjacency_is_symmetric() -> None:
    table = torus(3).adjacency().toarray()
    np.testing.assert_array_equal(table, table.T)
    assert (table.sum(1) == 4).all()


def test_parents_see_their_children_and_all_around_them() -> None:
    patches, around = parent_patches(4), neighbours(4)
    for parent, row in enumerate(patches.table):
        children = set(range(4 * parent, 4 * parent + 4))
        assert set(row[[5, 6, 9, 10]]) == children
        ringed = set(around[list(children)].ravel()) - children - {-1}
        assert set(row) - children - {-1} == ringed
    assert (patches.table < 0).sum() == 24
    assert patches.classes[5] == patches.classes[10] != patches.classes[6]


def test_patches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="have no parents"):
        parent_patches(1)
    with pytest.raises(ValueError, match="1 to 3 sites a side, got 4"):
        torus_patches(3, 4)
