"""Datasets on HEALPix to latitude-longitude grids and to points: winds, titles, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pear
from pear.errors import InputError
from tests.fixtures.winds import AXES, largest_error, rotating_cells, rotation

PAIRS = (
    ("10m_u_component_of_wind", "10m_v_component_of_wind"),
    ("u_component_of_wind", "v_component_of_wind"),
)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("nside", "bound"), [(16, 1.4e-3), (64, 1e-4)])
def test_winds_on_a_grid_with_poles(
    axis: tuple[float, float, float], nside: int, bound: float
) -> None:
    cells = rotating_cells(axis, nside)
    grid = pear.to_latlon(cells, step=3)
    truth = rotation(axis, *np.meshgrid(grid["latitude"], grid["longitude"], indexing="ij"))
    for pair in PAIRS:
        found = [grid[name].squeeze(drop=True).values for name in pair]
        assert largest_error(found, truth) < bound
    assert list(grid.data_vars) == list(cells.data_vars)
    assert grid["10m_u_component_of_wind"].dtype == np.float32
    lazy = pear.to_latlon(cells.chunk({"cell": 100}), step=3)
    assert lazy["u_component_of_wind"].chunks is not None
    xr.testing.assert_allclose(lazy.compute(), grid)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("axis", AXES)
def test_winds_at_points(axis: tuple[float, float, float], method: str) -> None:
    cells = rotating_cells(axis, 16)
    for lat, lon in ((90, 0), (90, 137), (-90, 300), (89.5, -20), (-88, 44), (10, 20), (0, 0)):
        point = cells.pear.sel_point(lat, lon, method=method)
        truth = rotation(axis, lat, lon)
        for pair in PAIRS:
            found = [point[name].squeeze().values for name in pair]
            assert largest_error(found, truth) < (2e-3 if method == "bilinear" else 0.06)
            assert point[pair[0]].attrs["units"] == "m s-1"
            assert point[pair[0]].dims == cells[pair[0]].dims[:-1]


def test_one_component_alone_is_refused() -> None:
    alone = rotating_cells(AXES[1], 8)[["u_component_of_wind"]]
    with pytest.raises(InputError, match="without v_component_of_wind: a wind is a vector"):
        pear.to_latlon(alone)
    with pytest.raises(InputError, match="without v_component_of_wind: a wind is a vector"):
        alone.pear.sel_point(10, 20)


def test_a_statistic_by_component_is_no_vector() -> None:
    spread = rotating_cells(AXES[1], 8).assign_attrs(pear_statistic="spread") * 0 + 2.0
    spread.attrs["pear_statistic"] = "spread"
    grid = pear.to_latlon(spread[["u_component_of_wind"]], step=10)
    np.testing.assert_allclose(grid["u_component_of_wind"], 2.0, rtol=1e-6)


def test_title_and_coordinates_are_those_of_the_grid() -> None:
    analysis = pear.sample_analysis(nside=4).isel(time=[0])[["2m_temperature"]]
    names = ["2m_temperature"]
    held = analysis.assign_coords(complete=(("time", "channel"), [[1]]), channel=names)
    grid = pear.to_latlon(held, step=10)
    assert set(grid.coords) == {"time", "latitude", "longitude", "crs"}
    assert grid["2m_temperature"].attrs["grid_mapping"] == "crs"
    assert grid["crs"].attrs["grid_mapping_name"] == "latitude_longitude"
    assert "HEALPix" not in grid.attrs["title"]
    assert grid.attrs["title"].endswith("on a latitude-longitude grid of 10 degrees")
    assert grid.attrs["history"].endswith(
        "regridded to a latitude-longitude grid of 10 degrees, bilinear"
    )
    assert grid.attrs["simulated"] == "true"
    assert not {"dggs", "zarr_conventions", "regridding_method"} & set(grid.attrs)
