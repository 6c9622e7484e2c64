"""Index images and outlines of every projection."""

from __future__ import annotations

import numpy as np
import pytest

from pear.errors import InputError
from pear.plotting.projections import PROJECTIONS, View, boundary, index_image, outlines
from pear.sphere.healpix import centres

NSIDE = 32


def test_plate_carree_pixels_are_where_they_say() -> None:
    lat, lon = centres(NSIDE)
    table = index_image(View("plate_carree"), 360, NSIDE)
    assert table.shape == (180, 360)
    want_lon, want_lat = np.meshgrid(np.arange(-179.5, 180), np.arange(89.5, -90, -1))
    for field, want in (
        (np.sin(np.radians(lat)), np.sin(np.radians(want_lat))),
        (
            np.cos(np.radians(lat)) * np.sin(np.radians(lon)),
            np.cos(np.radians(want_lat)) * np.sin(np.radians(want_lon)),
        ),
    ):
        np.testing.assert_allclose(table.image(field), want, atol=0.01)


def test_orthographic_pixels_follow_the_formula() -> None:
    """x = R cos φ sin(λ − λ₀), y = R sin φ for a centre on the equator."""
    lat, lon = centres(NSIDE)
    table = index_image(View("orthographic", 40.0, 0.0), 200, NSIDE)
    unit = (np.arange(200) + 0.5) / 100 - 1
    x, y = np.meshgrid(unit, -unit)
    inside = np.hypot(x, y) < 0.98
    got_y = table.image(np.sin(np.radians(lat)))
    got_x = table.image(np.cos(np.radians(lat)) * np.sin(np.radians(lon - 40.0)))
    np.testing.assert_allclose(got_y[inside], y[inside], atol=0.01)
    np.testing.assert_allclose(got_x[inside], x[inside], atol=0.01)
    assert np.isnan(got_x[0, 0])


@pytest.mark.parametrize("name", PROJECTIONS)
def test_no_seams(name: str) -> None:
    """A field smooth on the sphere is smooth on the map, over the date line and the poles too."""
    lat, lon = centres(NSIDE)
    field = np.cos(np.radians(lat)) * np.sin(np.radians(lon + 77))
    image = index_image(View(name, 0, 60), 400, NSIDE).image(field)
    for axis in (0, 1):
        step = np.diff(image, axis=axis)
        assert np.nanmax(np.abs(step)) < (0.2 if name == "orthographic" else 0.05)
    assert np.isfinite(image).mean() > 0.75
    inner = index_image(View(name, 0, 60), 400, NSIDE).image(np.full(12 * NSIDE**2, 3.0))
    np.testing.assert_allclose(inner[np.isfinite(inner)], 3.0, rtol=1e-6)


@pytest.mark.parametrize("name", PROJECTIONS)
@pytest.mark.parametrize("centre", [0.0, 137.0])
def test_coastlines_stay_on_the_map(name: str, centre: float) -> None:
    edge = boundary(View(name, centre, 20))
    lines = outlines(View(name, centre, 20), "110m")
    assert len(lines) > 10
    every = np.concatenate(lines)
    slack = 1e-3 * np.ptp(edge)
    assert (every >= edge.min(axis=0) - slack).all()
    assert (every <= edge.max(axis=0) + slack).all()
    longest = max(np.hypot(*np.diff(line, axis=0).T).max() for line in lines)
    assert longest < 0.1 * np.ptp(edge), "a line runs across the map"


def test_an_unknown_projection_is_named() -> None:
    with pytest.raises(InputError, match="robinson"):
        View("robinsen")
