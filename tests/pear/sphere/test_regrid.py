"""Regridding against analytic fields, healpy's interpolation and ECMWF's own weights."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
from scipy.spatial import ConvexHull

from pear.sphere import healpix
from pear.sphere.conservative import overlap_areas
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.sphere.regrid import (
    apply,
    bilinear_to_healpix,
    conservative_to_healpix,
    healpix_to_latlon_bilinear,
    healpix_to_latlon_conservative,
)

GRIDS = {
    "poles, southwards, from 0": global_grid(73, 144),
    "northwards": LatLonGrid(np.linspace(-90, 90, 73), np.arange(144) * 2.5),
    "from -180": LatLonGrid(np.linspace(90, -90, 73), np.arange(-180, 180, 2.5)),
    "from 45 over the seam": LatLonGrid(
        np.linspace(90, -90, 73), (np.arange(144) * 2.5 + 45) % 360
    ),
    "repeated 360": LatLonGrid(np.linspace(90, -90, 73), np.arange(145) * 2.5),
    "no poles": global_grid(72, 144, poles=False),
    "one pole only": LatLonGrid(90 - 2.5 * np.arange(72), np.arange(144) * 2.5),
    "westwards": LatLonGrid(np.linspace(90, -90, 73), 357.5 - np.arange(144) * 2.5),
}


def smooth(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """A low-order field on the sphere: x, y, z and xy of the unit vector."""
    la, lo = np.deg2rad(lat), np.deg2rad(lon)
    x, y, z = np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)
    return 1.0 + x + 2 * y - z + 3 * x * y


def on(grid: LatLonGrid) -> np.ndarray:
    return smooth(*np.meshgrid(grid.lat, grid.lon, indexing="ij")).ravel()


@pytest.mark.parametrize("name", GRIDS)
def test_constants_are_kept_exactly(name: str) -> None:
    grid = GRIDS[name]
    field = np.full(grid.size, 101_325.0, dtype=np.float32)
    assert np.all(apply(bilinear_to_healpix(grid, 16), field) == np.float32(101_325.0))


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("nside", [8, 64])
def test_smooth_field_wherever_rows_and_columns_start(name: str, nside: int) -> None:
    grid = GRIDS[name]
    got = apply(bilinear_to_healpix(grid, nside), on(grid))
    # bilinear error is at most h² |f''| / 8 per direction; |f''| is 12 at most here
    assert np.abs(got - smooth(*healpix.centres(nside))).max() < 2 * 12 * np.deg2rad(2.5) ** 2 / 8


def test_second_order_in_the_spacing() -> None:
    errors = []
    for rows in (37, 73, 145):
        grid = global_grid(rows, 2 * (rows - 1))
        error = apply(bilinear_to_healpix(grid, 32), on(grid)) - smooth(*healpix.centres(32))
        errors.append(float(np.sqrt((error**2).mean())))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_exact_where_a_centre_is_a_grid_point() -> None:
    # nside 1 has centres on the equator at 0, 90, 180, 270 degrees
    grid = global_grid(181, 360)
    weights = bilinear_to_healpix(grid, 1)
    cells = healpix.cell_of(np.zeros(4), np.array([0.0, 90, 180, 270]), 1)
    assert np.array_equal(apply(weights, on(grid))[cells], smooth(np.zeros(4), np.arange(4) * 90.0))


def test_one_wind_at_a_pole_that_the_grid_leaves_out() -> None:
    # uniform motion over the pole, seen as components: u = -sin(lon), v = -cos(lon) near +90
    grid = global_grid(18, 36, poles=False)
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    u = np.where(lat > 60, -np.sin(np.deg2rad(lon)), 0.0).ravel()
    cells = healpix.cell_of(np.full(8, 89.0), np.arange(8) * 45.0 + 3, 64)
    want = -np.sin(np.deg2rad(healpix.centres(64)[1][cells]))
    vector = apply(bilinear_to_healpix(grid, 64, vector=True), u)[cells]
    scalar = apply(bilinear_to_healpix(grid, 64), u)[cells]
    assert np.abs(vector - want).max() < 0.02
    assert np.abs(scalar - want).max() > 0.5  # the ring mean of a wind is nothing


def test_missing_value_stays_where_it_is() -> None:
    grid = global_grid(37, 72)
    field = on(grid)
    field[18 * 72 + 10] = np.nan
    bad = np.isnan(apply(bilinear_to_healpix(grid, 16), field))
    lat, lon = healpix.centres(16)
    near = (np.abs(lat) < 5) & (np.abs(lon - 50) < 5)
    assert np.array_equal(bad, near)


def test_back_to_the_points_is_healpys_own_interpolation() -> None:
    grid = GRIDS["from 45 over the seam"]
    field = smooth(*healpix.centres(32))
    got = apply(healpix_to_latlon_bilinear(32, grid), field)
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    oracle = healpy.get_interp_val(field, lon.ravel(), lat.ravel(), nest=True, lonlat=True)
    assert np.abs(got - oracle).max() < 1e-12


@pytest.mark.parametrize(
    ("lat", "lon", "word"),
    [
        (np.polynomial.legendre.leggauss(64)[0] * 90, np.arange(128) * 2.8125, "evenly"),
        (np.linspace(90, -90, 73), np.append(np.arange(143) * 2.5, 359), "evenly"),
        (np.linspace(95, -95, 73), np.arange(144) * 2.5, "latitude reaches"),
        (np.linspace(90, -90, 73), np.arange(200) * 2.5, "more than 360"),
        (np.full(73, np.nan), np.arange(144) * 2.5, "finite"),
        ([0.0], np.arange(144) * 2.5, "at least 3"),
    ],
)
def test_what_is_no_regular_grid_is_refused(lat: object, lon: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        LatLonGrid(np.asarray(lat), np.asarray(lon))


def test_regional_grid_is_refused_with_its_bounds() -> None:
    region = LatLonGrid(np.linspace(55, 47, 33), np.linspace(5, 15, 41))
    with pytest.raises(ValueError, match=r"does not cover the globe.*55 to 47"):
        bilinear_to_healpix(region, 8)


def test_weights_are_made_once_per_grid() -> None:
    assert bilinear_to_healpix(global_grid(37, 72), 8) is bilinear_to_healpix(
        global_grid(37, 72), 8
    )


# ------------------------------------------------------------------------------- conservative


def areas(grid: LatLonGrid) -> np.ndarray:
    """Share of the sphere that each point of the grid stands for."""
    middle = (grid.lat[1:] + grid.lat[:-1]) / 2
    north = 90.0 if grid.lat[0] > grid.lat[-1] else -90.0
    edges = np.sin(np.deg2rad(np.concatenate([[north], middle, [-north]])))
    out = np.repeat(np.abs(np.diff(edges)) / 2 / grid.columns, grid.lon.size)
    if grid.closed:
        out.reshape(grid.shape)[:, -1] = 0.0
    return out


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("nside", [1, 4, 64])
def test_conservative_keeps_constants_and_the_global_mean(name: str, nside: int) -> None:
    grid = GRIDS[name]
    there, back = conservative_to_healpix(grid, nside), healpix_to_latlon_conservative(nside, grid)
    noise = np.random.default_rng(1).normal(size=grid.size)
    assert np.all(apply(there, np.full(grid.size, 271.3, dtype="f4")) == np.float32(271.3))
    assert abs(apply(there, noise).mean() - (areas(grid) * noise).sum()) < 1e-13
    cells = np.random.default_rng(2).normal(size=12 * nside**2)
    assert abs((areas(grid) * apply(back, cells)).sum() - cells.mean()) < 1e-13


def test_overlaps_against_a_fine_count() -> None:
    """A slow twin: which of 786 432 fine cells lie in both cells. Edges cost their area."""
    fine, nside = 256, 4
    lat, lon = healpix.centres(fine)
    lat_edges, lon_edges = np.linspace(90, -90, 19), np.arange(0, 361, 20.0)
    row = np.minimum(((90 - lat) / 10).astype(int), 17)
    column = (lon / 20).astype(int)
    counted = np.zeros((12 * nside**2, 18 * 18))
    cell = np.arange(lat.size) // (fine // nside) ** 2
    np.add.at(counted, (cell, row * 18 + column), (nside / fine) ** 2)
    exact = overlap_areas(lat_edges, lon_edges, nside).toarray()
    assert np.abs(exact - counted).max() < 4 * nside / fine
    assert np.sqrt(((exact - counted) ** 2).mean()) < 1e-3
    assert np.abs(exact.sum(1) - 1).max() < 1e-12


def test_conservative_mean_of_harmonics() -> None:
    """Fine points in, coarse means out: those of the spherical harmonics over each cell."""
    grid, nside = global_grid(361, 720, poles=False), 4
    for degree, order in ((1, 0), (2, 1), (5, 3), (9, 9)):
        index = healpy.Alm.getidx(16, degree, order)
        alm = np.zeros(healpy.Alm.getsize(16), dtype=complex)
        alm[index] = 1.0
        fine = healpy.reorder(healpy.alm2map(alm, 256, lmax=16), r2n=True)
        want = fine.reshape(12 * nside**2, -1).mean(1)
        theta, phi = np.meshgrid(np.deg2rad(90 - grid.lat), np.deg2rad(grid.lon), indexing="ij")
        points = healpy.get_interp_val(fine, theta.ravel(), phi.ravel(), nest=True)
        got = apply(conservative_to_healpix(grid, nside), points)
        assert np.abs(got - want).max() < 2e-3 * np.abs(want).max()


def test_there_and_back_on_a_finer_grid_loses_little() -> None:
    grid, nside = global_grid(181, 360), 16
    field = smooth(*healpix.centres(nside))
    for there, back in (
        (healpix_to_latlon_conservative(nside, grid), conservative_to_healpix(grid, nside)),
        (healpix_to_latlon_bilinear(nside, grid), bilinear_to_healpix(grid, nside)),
    ):
        assert np.abs(apply(back, apply(there, field)) - field).max() < 0.1


def test_repeated_column_is_filled_and_has_no_weight() -> None:
    grid = GRIDS["repeated 360"]
    field = np.random.default_rng(0).normal(size=12 * 16**2)
    out = apply(healpix_to_latlon_conservative(16, grid), field).reshape(grid.shape)
    assert np.array_equal(out[:, 0], out[:, -1])
    assert conservative_to_healpix(grid, 16).toarray()[:, 144::145].sum() == 0


def test_part_of_the_globe_may_be_read_out() -> None:
    region = LatLonGrid(np.linspace(60, 40, 9), np.linspace(-10, 20, 13))
    lat, lon = np.meshgrid(region.lat, region.lon, indexing="ij")
    field = smooth(*healpix.centres(64))
    for weights in (
        healpix_to_latlon_bilinear(64, region),
        healpix_to_latlon_conservative(64, region),
    ):
        assert np.abs(apply(weights, field) - smooth(lat, lon).ravel()).max() < 0.02


# ------------------------------------------------------------------------------- ECMWF's weights


def load(shared: Path, name: str) -> np.ndarray:
    with np.load(shared / "data" / "healpix_ref" / f"{name}.npz") as file:
        return np.asarray(file["arr_0"], dtype=np.float64)


def test_ecmwfs_own_regridding_from_healpix(shared: Path) -> None:
    """earthkit-regrid's linear weights, H4 to 10 degrees.

    They come from a mesh of triangles: along the rings of the equatorial belt that is bilinear
    interpolation; elsewhere a quadrilateral is cut along one diagonal, at a pole so that the value
    is the mean of two of the four polar cells.
    """
    grid = LatLonGrid(np.linspace(90, -90, 19), np.arange(36) * 10.0)
    nested = load(shared, "in_H4_nested")
    assert np.array_equal(load(shared, "in_H4_ring")[healpix.ring_of_nest(4)], nested)
    want = load(shared, "out_H4_nested_10x10_linear").reshape(19, 36)
    got = apply(healpix_to_latlon_bilinear(4, grid), nested).reshape(19, 36)
    off = got - want
    assert np.sqrt((off[np.abs(grid.lat) <= 10] ** 2).mean()) < 0.05  # of 60 K
    assert np.sqrt((off[np.abs(grid.lat) <= 30] ** 2).mean()) < 0.25
    ring = nested[healpix.nest_of_ring(4)]
    assert got[0, 0] == pytest.approx(ring[:4].mean())
    assert want[0, 0] == pytest.approx((ring[1] + ring[3]) / 2)
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.99


def unit(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    la, lo = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)], axis=-1)


def on_triangles(points: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A slow twin of ECMWF's linear method: rays through the triangles of the convex hull.

    Returns corners (target, 3) and their weights.
    """
    hull = ConvexHull(points)
    inverse = np.linalg.inv(np.transpose(points[hull.simplices], (0, 2, 1)))
    share = np.einsum("tij,qj->tqi", inverse, targets)
    best = share.min(-1).argmax(0)
    weight = share[best, np.arange(len(targets))]
    weight /= weight.sum(-1, keepdims=True)
    return hull.simplices[best], weight


def test_where_ecmwfs_triangles_are_known_its_numbers_are_met(shared: Path) -> None:
    """Off the belt its mesh is the convex hull of the centres: order, seam and poles are right."""
    grid = LatLonGrid(np.linspace(90, -90, 19), np.arange(36) * 10.0)
    want = load(shared, "out_H4_nested_10x10_linear").reshape(19, 36)
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    centres = unit(*healpix.centres(4))
    corners, weight = on_triangles(centres, unit(lat.ravel(), lon.ravel()))
    got = (weight * load(shared, "in_H4_nested")[corners]).sum(-1)
    off = np.abs(got.reshape(19, 36) - want)
    assert off[np.isin(np.abs(grid.lat), (30, 40))].max() < 0.01  # of 60 K
    assert (off[np.abs(grid.lat) >= 30] < 0.03).mean() > 0.8


def test_ecmwfs_box_average(shared: Path) -> None:
    """5 to 10 degrees by way of small cells: conservative there and back, poles included."""
    fine = LatLonGrid(np.linspace(90, -90, 37), np.arange(72) * 5.0)
    coarse = LatLonGrid(np.linspace(90, -90, 19), np.arange(36) * 10.0)
    cells = apply(conservative_to_healpix(fine, 128), load(shared, "in_5x5"))
    got = apply(healpix_to_latlon_conservative(128, coarse), cells)
    off = got - load(shared, "out_5x5_10x10_grid-box-average")
    assert np.sqrt((off**2).mean()) < 0.06  # of 100 K; the cells blur the edges of the boxes
    assert np.abs(off).max() < 1.0


def test_ecmwfs_linear_from_5_to_10_degrees(shared: Path) -> None:
    """The points of the coarse grid are points of the fine one; cells between them lose little."""
    fine = LatLonGrid(np.linspace(90, -90, 37), np.arange(72) * 5.0)
    coarse = LatLonGrid(np.linspace(90, -90, 19), np.arange(36) * 10.0)
    want = load(shared, "out_5x5_10x10_linear")
    assert np.array_equal(load(shared, "in_5x5").reshape(37, 72)[::2, ::2].ravel(), want)
    cells = apply(bilinear_to_healpix(fine, 256), load(shared, "in_5x5"))
    off = apply(healpix_to_latlon_bilinear(256, coarse), cells) - want
    assert np.sqrt((off**2).mean()) < 0.2  # of 110 K


@pytest.mark.parametrize("nside", [4, 16])
def test_temperature_of_the_ten_degree_file_against_triangles(shared: Path, nside: int) -> None:
    """Linear on triangles, as ECMWF regrids, and bilinear differ by less than 0.2 K rms."""
    pytest.importorskip("eccodes")
    from pear.datasets.base import ScanOptions
    from pipelines.ingestion.readers import scan_source

    path = shared / "data" / "series" / "ecmwf_pl_10deg_6h_20240603-04.grib"
    (scan,) = scan_source(path, ScanOptions(), lambda: path)
    (variable,) = (one for one in scan.variables if one.quantity.name == "temperature")
    grid = variable.grid
    lat, lon = np.meshgrid(grid.lat[1:-1], grid.lon, indexing="ij")
    points = np.concatenate([[[0, 0, 1.0]], unit(lat.ravel(), lon.ravel()), [[0, 0, -1.0]]])
    corners, weight = on_triangles(points, unit(*healpix.centres(nside)))
    for position in range(variable.times.size):
        field = variable.read(position, variable.levels.index(500)).astype(np.float64)
        rows = field.reshape(grid.shape)
        values = np.concatenate([rows[0, :1], rows[1:-1].ravel(), rows[-1, :1]])
        off = apply(bilinear_to_healpix(grid, nside), field) - (weight * values[corners]).sum(-1)
        assert np.sqrt((off**2).mean()) < 0.2
