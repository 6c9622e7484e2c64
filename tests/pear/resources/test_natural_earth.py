"""Natural Earth: coastlines stay on the map, land lies where it should, and how both are built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import shapely

from pear.errors import InputError
from pear.resources.natural_earth import (
    DEGREES_PER_UNIT,
    Resolution,
    borders,
    build,
    close_at_pole,
    coastline,
    cut,
    decode_borders,
    decode_topology,
    land_fraction,
    rasterise,
    unwrap,
)


@pytest.mark.parametrize("resolution", get_args(Resolution))
def test_lines_never_cross_the_map(resolution: Resolution) -> None:
    lines = coastline(resolution)
    assert max(np.abs(np.diff(line[:, 0])).max() for line in lines) < 15
    every = np.concatenate(lines)
    assert np.abs(every[:, 0]).max() <= 180
    assert every[:, 1].min() > -88, "the closing edge at the pole is not a coast"
    assert all(not np.all(np.abs(line[:, 0]) == 180) for line in lines)


def test_land_covers_the_continents_and_a_good_quarter_of_the_globe() -> None:
    lat, lon, fraction = land_fraction()
    area = np.cos(np.radians(lat))[:, None]
    assert 0.27 < (fraction * area).sum() / (area.sum() * lon.size) < 0.31

    def at(north: float, east: float) -> float:
        return float(fraction[np.abs(lat - north).argmin(), np.abs(lon - east).argmin()])

    for place in ((23.5, 10.5), (60.5, 100.5), (-25.5, 135.5), (-80.5, 0.5), (40.5, 260.5)):
        assert at(*place) == 1.0
    for place in ((0.5, 200.5), (30.5, 320.5), (-50.5, 100.5), (85.5, 0.5)):
        assert at(*place) == 0.0
    # Eurasia crosses the antimeridian and Antarctica surrounds the pole: neither may leave a
    # band of land or of sea across all longitudes.
    assert at(67.5, 100.5) == at(67.5, 182.5) == at(67.5, 210.5) == 1.0
    assert at(67.5, 0.5) == at(66.5, 334.5) == 0.0
    assert fraction[lat < -87.0].min() == 1.0


def test_the_caspian_sea_is_water() -> None:
    lat, lon, fraction = land_fraction()
    assert fraction[lat == 40.5, lon == 51.5] == 0.0


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
        "type": "Topology",
        "transform": {"scale": [0.5, 0.5], "translate": [-180, -60]},
        "arcs": [[[0, 0], [2, 0], [0, 2]], [[0, 0], [0, 2], [2, 0]]],
        "objects": {"land": {"geometries": [{"type": "Polygon", "arcs": [[0, -2]]}]}},
    }
    ((ring,),) = decode_topology(topology)
    want = [[-180, -60], [-179, -60], [-179, -59], [-180, -59], [-180, -60]]
    np.testing.assert_allclose(ring, want)


def test_a_square_is_rasterised_with_its_hole() -> None:
    square = shapely.box(0, 0, 40, 40).difference(shapely.box(10, 10, 30, 30))
    assert isinstance(square, shapely.Polygon)
    wanted = np.zeros((180, 360))
    wanted[90:130, 0:40] = 1.0
    wanted[100:120, 10:30] = 0.0
    np.testing.assert_array_equal(rasterise([square], samples=2), wanted)


def test_a_document_without_land_is_refused() -> None:
    with pytest.raises(InputError, match="not a TopoJSON document with land"):
        list(decode_topology({"type": "Topology", "objects": {"sea": {}}}))


def test_build_writes_the_packaged_files(tmp_path: Path) -> None:
    # A square ring of 40 degrees with a hole, both delta-coded in steps of 10 degrees; the hole is
    # given a turn further east, as after unwrapping from another start.
    topology = {
        "type": "Topology",
        "transform": {"scale": [10, 10], "translate": [0, 0]},
        "arcs": [
            [[0, 0], [4, 0], [0, 4], [-4, 0], [0, -4]],
            [[37, 1], [0, 2], [2, 0], [0, -2], [-2, 0]],
        ],
        "objects": {"land": {"type": "Polygon", "arcs": [[0], [-2]]}},
    }
    left, right = ({"type": "Polygon", "arcs": [arcs]} for arcs in ([0, 1], [-1, 2]))
    countries = {
        **topology,
        "arcs": [[[0, 0], [0, 4]], [[0, 4], [-2, 0], [2, -4]], [[0, 0], [2, 0], [-2, 4]]],
        "objects": {"countries": {"type": "GeometryCollection", "geometries": [left, right]}},
    }
    for resolution in get_args(Resolution):
        (tmp_path / f"land-{resolution}.json").write_text(json.dumps(topology))
        (tmp_path / f"countries-{resolution}.json").write_text(json.dumps(countries))
    build(tmp_path, tmp_path)
    with np.load(tmp_path / "land_fraction.npz") as data:
        fraction = data["fraction"]
    assert fraction[95, 5] == 255
    assert fraction[110, 20] == 0
    with np.load(tmp_path / "natural_earth_110m.npz") as data:
        assert data["line_starts"].tolist() == [0, 5]
    with np.load(tmp_path / "borders_50m.npz") as data:
        points = np.cumsum(data["line_points"], axis=0) * DEGREES_PER_UNIT
    np.testing.assert_allclose(points, [[0, 0], [0, 40]], atol=0.01)  # the coasts are left out


@pytest.mark.parametrize("resolution", get_args(Resolution))
def test_borders_are_on_land_and_between_known_countries(resolution: Resolution) -> None:
    lines = borders(resolution)
    points = np.concatenate(lines)
    assert (np.abs(points) <= [180, 90]).all()
    lon, lat = points.T
    # The 49th parallel from the Lake of the Woods to the Pacific, and none in the ocean.
    along = points[(np.abs(lat - 49) < 0.2) & (lon > -123.5) & (lon < -95)]
    assert along[:, 0].min() < -120
    assert along[:, 0].max() > -97
    ocean = (np.abs(lon + 30) < 8) & (np.abs(lat) < 60)
    assert not ocean.any()


def test_a_document_without_countries_is_refused() -> None:
    with pytest.raises(InputError, match="not a TopoJSON document with countries"):
        decode_borders({"type": "Topology", "objects": {"land": {}}})
