"""Links, faces and holonomies against the geometry of the sphere."""

from __future__ import annotations

import numpy as np
import pytest

from pear.sphere.healpix import centres, corners, neighbours
from pear.sphere.symmetry import M, R, permutation
from pear.sphere.transport import (
    ancestor_links,
    bearings,
    chern_number,
    dual_faces,
    face_areas,
    face_holonomies,
    links,
    links_between,
)
from pear.sphere.vectors import Frames

SIDES = [1, 2, 4, 8]


@pytest.mark.parametrize("nside", SIDES)
def test_holonomy_is_area_and_the_chern_number_is_eulers(nside: int) -> None:
    faces, areas = dual_faces(nside), face_areas(nside)
    assert len(faces) == 12 * nside**2 + 2
    assert (faces[:, 3] < 0).sum() == 8
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(4 * np.pi, abs=1e-12)
    np.testing.assert_allclose(face_holonomies(nside), np.exp(1j * areas), atol=1e-13)
    assert chern_number(nside) == pytest.approx(2, abs=1e-12)


def test_each_face_surrounds_one_vertex_of_the_grid() -> None:
    found = {tuple(np.round(x, 9) + 0.0) for x in corners(4).reshape(-1, 3)}
    assert len(found) == len(dual_faces(4))


def test_links_are_inverse_there_and_back_and_follow_the_symmetries() -> None:
    nside = 4
    table, around = links(nside), neighbours(nside)
    for cell, row in enumerate(around):
        for k, other in enumerate(row):
            if other >= 0:
                back = list(around[other]).index(cell)
                assert table[cell, k] * table[other, back] == pytest.approx(1, abs=1e-14)
    # R moves the links with their cells; M also conjugates them and exchanges N and S.
    mirror = [2, 1, 0, 7, 6, 5, 4, 3]
    for each in (table, bearings(nside)):
        np.testing.assert_allclose(each[permutation(R, nside)], each, atol=1e-14)
        np.testing.assert_allclose(each[permutation(M, nside)][:, mirror], each.conj(), atol=1e-14)


def test_a_great_circle_carries_its_own_tangent() -> None:
    latitude, longitude = np.zeros(3), np.array([0.0, 40.0, 95.0])
    frames = Frames.at(latitude, longitude)
    np.testing.assert_allclose(links_between(frames.take([1, 2]), frames.take([0, 1])), 1)
    # Over the pole a northward wind arrives as a southward one.
    source, target = Frames.at([80.0], [0.0]), Frames.at([80.0], [180.0])
    np.testing.assert_allclose(links_between(target, source), -1)


def test_bearings_point_to_the_neighbours() -> None:
    latitude, longitude = centres(8)
    cell = int(np.abs(latitude).argmin())
    row = neighbours(8)[cell]
    seen = bearings(8)[cell]
    step = (
        (longitude[row] - longitude[cell] + 180) % 360 - 180 + 1j * (latitude[row] - latitude[cell])
    )
    np.testing.assert_allclose(seen, step / np.abs(step), atol=0.01)


def test_frames_of_a_coarse_cell_carry_its_direction_and_follow_the_symmetries() -> None:
    nside, coarse = 8, 2
    table = ancestor_links(nside, coarse)
    parents = np.arange(len(table)) // (nside // coarse) ** 2
    here, there = Frames.at(*centres(nside)), Frames.at(*centres(coarse)).take(parents)
    np.testing.assert_allclose(table, links_between(here, there), atol=1e-14)
    np.testing.assert_array_equal(table[permutation(R, nside)], table)
    np.testing.assert_allclose(table[permutation(M, nside)], table.conj(), atol=1e-14)
    np.testing.assert_array_equal(ancestor_links(2, 2), 1)
    with pytest.raises(ValueError, match="nside 2 lie in no cell of nside 4"):
        ancestor_links(2, 4)


@pytest.mark.parametrize(("nside", "largest"), [(16, 0.1), (32, 0.055)])
def test_winds_across_the_poles_are_smooth_inside_a_base_pixel(nside: int, largest: float) -> None:
    """Solid rotation about an axis in the equator, largest speed 1."""
    flow = polar_flow(nside)
    around, pixel = neighbours(nside), np.arange(12 * nside**2) // nside**2
    inside = (around >= 0) & (pixel[around] == pixel[:, None])

    def jump(winds: np.ndarray) -> float:
        return float(np.abs(winds[around] - winds[:, None])[inside].max())

    assert jump(flow) > 0.7
    assert jump(flow * ancestor_links(nside, 1).conj()) < largest


def polar_flow(nside: int) -> np.ndarray:
    frames = Frames.at(*centres(nside))
    x, _, z = frames.positions()
    u, v = frames.from_cartesian(np.stack([z, np.zeros_like(x), -x]))
    return u + 1j * v


def test_points_without_a_great_circle_are_refused() -> None:
    here, there = Frames.at([10.0], [20.0]), Frames.at([-10.0], [200.0])
    for other in (here, there):
        with pytest.raises(ValueError, match="no link"):
            links_between(here, other)
