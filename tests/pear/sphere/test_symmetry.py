"""The group C4h moves cells exactly as the isometries of the sphere move their centres."""

from __future__ import annotations

import itertools

import healpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pear.sphere.healpix import neighbours
from pear.sphere.symmetry import C4H, IDENTITY, Element, M, R, block_mirror, permutation

NSIDES = st.sampled_from([1, 2, 4, 8, 16, 32])
ELEMENTS = st.sampled_from(C4H)


@given(ELEMENTS, NSIDES)
def test_cells_move_like_their_centres(element: Element, nside: int) -> None:
    theta, phi = healpy.pix2ang(nside, np.arange(12 * nside**2), nest=True)
    # (g·x)[cell] = x[source]: the source is where the inverse isometry takes the cell.
    back = np.pi - theta if element.mirror else theta
    source = healpy.ang2pix(nside, back, phi - element.turns * np.pi / 2, nest=True)
    np.testing.assert_array_equal(permutation(element, nside), source)


@given(NSIDES)
def test_rotation_keeps_the_order_inside_a_face(nside: int) -> None:
    size = nside**2
    x = np.arange(12 * size)
    moved = x[permutation(R, nside)]
    for face in range(12):
        target = 4 * (face // 4) + (face % 4 + 1) % 4
        np.testing.assert_array_equal(moved[target * size :][:size], x[face * size :][:size])


@pytest.mark.parametrize(("a", "b"), list(itertools.product(C4H, C4H)))
def test_products(a: Element, b: Element) -> None:
    x = np.arange(12 * 4**2)
    moved = x[permutation(b, 4)][permutation(a, 4)]
    np.testing.assert_array_equal(moved, x[permutation(a * b, 4)])
    assert a * b in C4H
    assert a * a.inverse == IDENTITY


def test_orders_and_names() -> None:
    assert R * R * R * R == M * M == IDENTITY
    assert R * M == M * R
    assert [g.name for g in C4H] == ["1", "R", "R2", "R3", "M", "RM", "R2M", "R3M"]
    assert len(set(C4H)) == 8


@given(ELEMENTS, st.sampled_from([2, 4, 8]))
def test_neighbours_stay_neighbours(element: Element, nside: int) -> None:
    table, source = neighbours(nside), permutation(element, nside)
    moved = np.where(table >= 0, source[table], -1)
    np.testing.assert_array_equal(np.sort(moved, axis=1), np.sort(table[source], axis=1))


@given(st.sampled_from([1, 4, 16, 64]), st.sampled_from([8, 16]))
def test_block_mirror_is_the_mirror_inside_blocks(cells: int, nside: int) -> None:
    sigma = block_mirror(cells)
    np.testing.assert_array_equal(sigma[sigma], np.arange(cells))
    source = permutation(M, nside).reshape(-1, cells)
    np.testing.assert_array_equal(source % cells, np.broadcast_to(sigma, source.shape))
    assert (source // cells == source[:, :1] // cells).all()


@pytest.mark.parametrize("cells", [0, 2, 8, 9, 36])
def test_block_mirror_refuses(cells: int) -> None:
    with pytest.raises(ValueError, match="power of 4"):
        block_mirror(cells)
