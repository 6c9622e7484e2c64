"""Regions: bands, land and sea, cells of one's own, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pear.errors import InputError
from pear.metrics import BANDS, region_weights
from pear.sphere.healpix import centres


def test_bands_have_the_areas_of_the_sphere() -> None:
    latitude, _ = centres(32)
    weights = region_weights(list(BANDS), latitude)
    share = weights.sum(axis=1) / latitude.size
    sine = np.sin(np.radians(20))
    np.testing.assert_allclose(share, [1, (1 - sine) / 2, sine, (1 - sine) / 2], atol=0.01)
    np.testing.assert_array_equal(weights[1:].sum(axis=0), 1.0)


def test_any_band_and_areas_that_differ() -> None:
    latitude = np.array([-80.0, -45.0, 0.0, 45.0, 80.0])
    area = np.cos(np.radians(latitude))
    weights = region_weights(["band:-60:-30", "band:0:45.5"], latitude, area=area)
    np.testing.assert_allclose(weights, [[0, area[1], 0, 0, 0], [0, 0, 1, area[3], 0]])


def test_boxes_run_eastwards_across_the_date_line() -> None:
    latitude, longitude = np.full(5, 40.0), np.array([0.0, 144.0, 180.0, 229.0, 300.0])
    weights = region_weights(["north_pacific", "europe", "box:39:41:-10:1"], latitude, longitude)
    np.testing.assert_array_equal(weights, [[0, 0, 1, 1, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    # A band round the pole needs no longitude; Europe at nside 64 has its share of the sphere.
    assert region_weights(["arctic"], np.array([80.0])).tolist() == [[1.0]]
    share = region_weights(["europe"], *centres(64)).mean()
    exact = (np.sin(np.radians(75)) - np.sin(np.radians(35))) / 2 * 55 / 360
    assert share == pytest.approx(exact, rel=0.02)


def test_polygons_hold_what_lies_between_their_sides_also_across_the_date_line() -> None:
    lat, lon = (axis.ravel() for axis in np.meshgrid(np.arange(-89.5, 90), np.arange(0.5, 360)))
    box, same, other_way = region_weights(
        [
            "box:-10:20:170:-150",
            "polygon:-10:170:-10:-150:20:-150:20:170",
            "polygon:-10:530:20:170:20:-150:-10:210",
        ],
        lat,
        lon,
    )
    assert np.array_equal(box, same)
    assert np.array_equal(box, other_way)
    (triangle,) = region_weights(["polygon:0:-20:0:20:40:0"], lat, lon)
    west = (lon + 180) % 360 - 180
    assert np.array_equal(triangle > 0, (lat > 0) & (lat < 40 - 2 * np.abs(west)))
    (dent,) = region_weights(["polygon:0:0:0:40:40:40:10:20:40:0"], lat, lon)
    inside = (lon < 40) & (lat > 0) & (lat < 10 + 1.5 * np.abs(lon - 20))
    assert np.array_equal(dent > 0, inside)
    with pytest.raises(InputError, match="surrounds a pole"):
        region_weights(["polygon:60:0:60:120:60:-120"], lat, lon)
    with pytest.raises(InputError, match="needs longitudes"):
        region_weights(["polygon:0:0:0:40:40:40"], lat)


def test_land_and_sea_and_cells_of_ones_own() -> None:
    latitude = np.zeros(4)
    weights = region_weights(
        ["sea", "europe", "land"],
        latitude,
        land_fraction=[0.0, 0.49, 0.5, 1.0],
        cells={"europe": [False, False, True, False]},
    )
    np.testing.assert_array_equal(weights, [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["tropic"], "unknown region 'tropic'; did you mean tropics?"),
        (["land"], "region land needs a land fraction"),
        (["global", "global"], "regions repeat a name"),
        (["band:50:40"], "must run from south to north"),
        (["band:-91:0"], "within ±90"),
        (["band:10:11"], "contains no cell"),
        (["europe"], "region europe needs longitudes"),
        (["box:1:2:3"], "unknown region 'box:1:2:3'"),
    ],
)
def test_what_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        region_weights(names, np.array([-45.0, 45.0]))
