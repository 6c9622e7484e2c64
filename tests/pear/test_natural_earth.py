"""Natural Earth: land where land is, lines that stay on the map, and the builder's rules."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from pear.errors import InputError
from pear.resources.natural_earth import (
    RESOLUTIONS,
    Resolution,
    close_at_pole,
    coastline,
    cut,
    decode_topology,
    land,
    unwrap,
)

LAND = {
    "Stockholm": (18.1, 59.3),
    "Alice Springs": (133.9, -23.7),
    "South Pole": (10.0, -89.9),
    "Chukotka, east of 180°": (-178.0, 67.0),
    "Chukotka, west of 180°": (178.0, 67.0),
    "Antarctica at +180°": (179.9, -85.0),
    "Antarctica at -180°": (-179.9, -85.0),
}
SEA = {
    "North Pole": (0.0, 89.9),
    "Atlantic": (-30.0, 30.0),
    "Ross Sea": (180.0, -75.0),
    "Gulf of Guinea": (0.0, 0.0),
    "Mediterranean": (18.0, 35.0),
    "Pacific": (-140.0, 0.0),
}


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_land_lies_where_it_does(resolution: Resolution) -> None:
    shape = land(resolution)
    assert shape.geom_type == "MultiPolygon"
    assert shape.is_valid
    wrong = [name for name, point in LAND.items() if not shapely.contains_xy(shape, *point)]
    wrong += [name for name, point in SEA.items() if shapely.contains_xy(shape, *point)]
    assert wrong == []


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_land_covers_29_percent_of_the_sphere(resolution: Resolution) -> None:
    lon, lat = np.meshgrid(np.arange(-179.5, 180), np.arange(-89.5, 90))
    weight = np.cos(np.radians(lat))
    share = (weight * shapely.contains_xy(land(resolution), lon, lat)).sum() / weight.sum()
    assert share == pytest.approx(0.29, abs=0.005)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_lines_never_cross_the_map(resolution: Resolution) -> None:
    lines = coastline(resolution)
    assert max(np.abs(np.diff(line[:, 0])).max() for line in lines) < 15
    every = np.concatenate(lines)
    assert np.abs(every[:, 0]).max() <= 180
    assert every[:, 1].min() > -88, "the closing edge at the pole is no coast"
    assert all(not np.all(np.abs(line[:, 0]) == 180) for line in lines)


def test_unknown_resolution_is_an_input_error() -> None:
    with pytest.raises(InputError, match="10m"):
        coastline("10m")  # type: ignore[arg-type]


def test_ring_over_the_date_line_is_cut_in_two() -> None:
    ring = np.array([[170.0, 0], [-170, 0], [-170, 10], [170, 10], [170, 0]])
    parts = list(cut(shapely.Polygon(close_at_pole(unwrap(ring)))))
    assert sorted(part.bounds for part in parts) == [
        (-180.0, 0.0, -170.0, 10.0),
        (170.0, 0.0, 180.0, 10.0),
    ]


def test_ring_round_the_pole_is_closed_there() -> None:
    lon = np.array([0.0, 90, 180, -90, 0])
    ring = np.stack([lon, np.full(5, -70.0)], axis=1)
    parts = list(cut(shapely.Polygon(close_at_pole(unwrap(ring)))))
    assert sum(part.area for part in parts) == pytest.approx(360 * 20)


def test_arcs_are_delta_coded_and_reversible() -> None:
    topology = {
        "transform": {"scale": [0.5, 0.5], "translate": [-180, -60]},
        "arcs": [[[0, 0], [2, 0], [0, 2]], [[0, 0], [0, 2], [2, 0]]],
        "objects": {"land": {"geometries": [{"type": "Polygon", "arcs": [[0, -2]]}]}},
    }
    ((ring,),) = decode_topology(topology)
    want = [[-180, -60], [-179, -60], [-179, -59], [-180, -59], [-180, -60]]
    np.testing.assert_allclose(ring, want)
