"""The grid against healpy, the independent oracle, and against analytic truths."""

from __future__ import annotations

import itertools

import healpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pear.sphere import healpix

NSIDES = st.sampled_from([1, 2, 4, 8, 16, 32, 64])
LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-720, 720)


@given(NSIDES)
def test_orders_are_healpys(nside: int) -> None:
    cells = np.arange(healpy.nside2npix(nside))
    np.testing.assert_array_equal(healpix.ring_of_nest(nside), healpy.nest2ring(nside, cells))
    np.testing.assert_array_equal(healpix.nest_of_ring(nside), healpy.ring2nest(nside, cells))
    np.testing.assert_array_equal(
        healpix.xy_of_nest(nside), healpy.pix2xyf(nside, cells, nest=True)
    )


@given(NSIDES, st.data())
def test_xy_there_and_back(nside: int, data: st.DataObject) -> None:
    coordinate = st.integers(0, nside - 1)
    x, y, face = data.draw(coordinate), data.draw(coordinate), data.draw(st.integers(0, 11))
    cell = healpix.nest_of_xy(x, y, face, nside)
    assert cell == healpy.xyf2pix(nside, x, y, face, nest=True)
    back = [table[cell] for table in healpix.xy_of_nest(nside)]
    assert back == [x, y, face]


@pytest.mark.parametrize("name", ["x", "y", "face"])
def test_xy_outside_is_refused(name: str) -> None:
    arguments = {"x": 0, "y": 0, "face": 0} | {name: 16}
    with pytest.raises(ValueError, match=name):
        healpix.nest_of_xy(**arguments, nside=4)


@given(NSIDES)
def test_centres_are_healpys(nside: int) -> None:
    lat, lon = healpix.centres(nside)
    theta, phi = healpy.pix2ang(nside, np.arange(12 * nside**2), nest=True)
    np.testing.assert_allclose(lat, 90 - np.degrees(theta), atol=1e-10)
    np.testing.assert_allclose(lon, np.degrees(phi), atol=1e-10)
    assert lon.min() >= 0
    assert lon.max() < 360
    assert not lat.flags.writeable


@given(LATITUDES, LONGITUDES, NSIDES)
def test_cell_of_holds_the_point(lat: float, lon: float, nside: int) -> None:
    cell = healpix.cell_of(lat, lon, nside)
    theta, phi = np.radians(90 - lat), np.radians(lon % 360)
    if np.isclose(lat, [-90, 90]).any():
        cap = healpix.centres(nside)[0][cell]
        assert np.sign(cap) == np.sign(lat)
        return
    # One rounding of the coordinate may put a point on an edge into either cell.
    near = {
        int(healpy.ang2pix(nside, theta + dt, phi + dp, nest=True))
        for dt in (0, -1e-12, 1e-12)
        for dp in (0, -1e-12, 1e-12)
        if 0 <= theta + dt <= np.pi
    }
    assert int(cell) in near


def test_cell_of_refuses_what_is_no_point() -> None:
    with pytest.raises(ValueError, match=r"\[-90, 90\] degrees, got 91"):
        healpix.cell_of(91.0, 0.0, 8)
    with pytest.raises(ValueError, match="finite"):
        healpix.cell_of(np.nan, 0.0, 8)


@given(NSIDES)
def test_neighbours_are_healpys_and_mutual(nside: int) -> None:
    table = healpix.neighbours(nside)
    cells = np.arange(12 * nside**2)
    np.testing.assert_array_equal(table.T, healpy.get_all_neighbours(nside, cells, nest=True))
    if nside == 1:
        return
    assert (table == -1).sum() == 24
    for direction in range(8):
        other = table[:, direction]
        known = other >= 0
        assert (table[other[known]] == cells[known, None]).any(axis=1).all()


@given(LATITUDES, LONGITUDES, NSIDES)
def test_interpolation_weights(lat: float, lon: float, nside: int) -> None:
    index, weight = healpix.interpolation_weights(np.array([lat]), np.array([lon]), nside)
    assert index.shape == weight.shape == (4, 1)
    assert weight.sum() == pytest.approx(1, abs=1e-12)
    assert weight.min() >= -1e-12
    distance = _angle(lat, lon, *(c[index[:, 0]] for c in healpix.centres(nside)))
    assert distance[weight[:, 0] > 1e-9].max() < 1.1 * np.degrees(2.2 / nside)


def test_interpolation_is_exact_for_a_linear_function_of_latitude() -> None:
    lat, lon = np.array([3.0, -14.2, 29.0]), np.array([0.1, 181.0, 359.9])
    index, weight = healpix.interpolation_weights(lat, lon, 32)
    theta = np.radians(90 - healpix.centres(32)[0])
    np.testing.assert_allclose((weight * theta[index]).sum(0), np.radians(90 - lat), atol=1e-12)


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([8, 16, 32]))
def test_coarsen_is_healpys_mean(coarse: int, fine: int) -> None:
    values = np.random.default_rng(0).standard_normal((2, 12 * fine**2))
    got = healpix.coarsen(values, coarse)
    want = [healpy.ud_grade(v, coarse, order_in="NESTED", order_out="NESTED") for v in values]
    np.testing.assert_allclose(got, want, atol=1e-14)


@given(st.sampled_from([1, 2, 4]), st.sampled_from([4, 8, 16]))
def test_refine_undone_by_coarsen(coarse: int, fine: int) -> None:
    values = np.random.default_rng(0).standard_normal(12 * coarse**2)
    refined = healpix.refine(values, fine)
    np.testing.assert_allclose(healpix.coarsen(refined, coarse), values, rtol=1e-15)
    lat, lon = healpix.centres(fine)
    np.testing.assert_array_equal(refined, values[healpix.cell_of(lat, lon, coarse)])


def test_coarsen_keeps_the_type_and_sums_in_double() -> None:
    values = np.full((12 * 64**2,), 1e5, np.float32) + np.float32(0.0078125)
    coarse = healpix.coarsen(values, 1)
    assert coarse.dtype == np.float32
    np.testing.assert_array_equal(coarse, values[:12])


def test_wrong_ways_are_refused() -> None:
    values = np.zeros(12 * 4**2)
    with pytest.raises(ValueError, match="use refine"):
        healpix.coarsen(values, 8)
    with pytest.raises(ValueError, match="use coarsen"):
        healpix.refine(values, 2)
    with pytest.raises(ValueError, match="not a power of two"):
        healpix.centres(12)


@pytest.mark.parametrize("cells", [0, -12, 13, 12 * 9, 12 * 6**2, 49_151])
def test_cells_that_are_no_grid(cells: int) -> None:
    with pytest.raises(ValueError, match="not form a full HEALPix grid"):
        healpix.nside_from_cells(cells)


@given(NSIDES)
def test_cells_there_and_back(nside: int) -> None:
    assert healpix.nside_from_cells(healpix.cells_of_nside(nside)) == nside
    starts = healpix.ring_starts(nside)
    lat = healpix.centres(nside)[0][healpix.nest_of_ring(nside)]
    assert len(starts) == 4 * nside
    for start, stop in itertools.pairwise(starts):
        assert np.ptp(lat[start:stop]) < 1e-10
    assert (np.diff(lat[starts[:-1]]) < 0).all()


@pytest.mark.parametrize("degree", [0, 1, 4])
def test_one_harmonic_in_one_coefficient_out(degree: int) -> None:
    lat = healpix.centres(16)[0]
    legendre = np.polynomial.legendre.Legendre.basis(degree)(np.sin(np.radians(lat)))
    harmonic = np.sqrt((2 * degree + 1) / (4 * np.pi)) * legendre
    power = healpix.angular_power(np.stack([harmonic, 2 * harmonic]), lmax=8)
    want = np.zeros(9)
    want[degree] = 1 / (2 * degree + 1)
    np.testing.assert_allclose(power, np.stack([want, 4 * want]), atol=1e-6)


def test_angular_power_refuses() -> None:
    values = np.zeros(12 * 4**2)
    with pytest.raises(ValueError, match="lmax"):
        healpix.angular_power(values, lmax=12)
    values[3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        healpix.angular_power(values)


def _angle(lat: float, lon: float, lats: np.ndarray, lons: np.ndarray) -> np.ndarray:
    a, b = (
        np.radians(np.stack([np.atleast_1d(p), np.atleast_1d(q)]))
        for p, q in ((lat, lon), (lats, lons))
    )
    va, vb = (
        np.stack([np.cos(c[0]) * np.cos(c[1]), np.cos(c[0]) * np.sin(c[1]), np.sin(c[0])])
        for c in (a, b)
    )
    return np.degrees(np.arccos(np.clip((va * vb).sum(0), -1, 1)))
