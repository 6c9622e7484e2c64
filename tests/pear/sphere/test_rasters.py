"""Weights at the points of rasters, against those of HEALPix's own library point by point."""

from __future__ import annotations

import numpy as np
import pytest

from pear.sphere.healpix import cells_of_nside, interpolation_weights
from pear.sphere.rasters import raster_weights, raster_wind_weights
from pear.sphere.vectors import wind_weights

LATITUDES = np.array([90.0, 89.99, 88.0, 66.6, 41.9, 41.7, 3.3, 0.0, -20.1, -41.9, -75.0, -90.0])
LONGITUDES = np.array([-180.0, -0.001, 0.0, 44.9, 45.0, 90.0, 179.5, 200.3, 359.9999, 360.0])


@pytest.mark.parametrize("nside", [1, 2, 8, 64, 256])
def test_scalars_are_those_of_healpix(nside: int) -> None:
    field = np.random.default_rng(nside).normal(size=cells_of_nside(nside))
    index, weight = raster_weights(LATITUDES, LONGITUDES, nside)
    points = np.meshgrid(LATITUDES, LONGITUDES, indexing="ij")
    cells, weights = interpolation_weights(points[0].ravel(), points[1].ravel(), nside)
    found = (weight * field[index]).sum(axis=0)
    np.testing.assert_allclose(found.ravel(), (weights * field[cells]).sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(weight.sum(axis=0), 1.0, rtol=1e-12)


@pytest.mark.parametrize("nside", [2, 8, 64])
def test_winds_have_the_weights_of_points(nside: int) -> None:
    random = np.random.default_rng(nside)
    # Off the circles and meridians of centres, where either cell may be the neighbour of weight 0.
    latitude, longitude = random.uniform(-89, 89, size=70), random.uniform(-180, 360, size=300)
    field = random.normal(size=cells_of_nside(nside))
    index, weight = raster_wind_weights(latitude, longitude, nside)
    points = np.meshgrid(latitude, longitude, indexing="ij")
    cells, weights = wind_weights(points[0].ravel(), points[1].ravel(), nside)
    found = (weight * field[index]).sum(axis=0)
    np.testing.assert_allclose(found.ravel(), (weights * field[cells]).sum(axis=0), atol=1e-10)
