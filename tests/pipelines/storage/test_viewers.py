"""Programs that draw or serve stores, unchanged; those that are not installed are skipped.

``pip install uxarray earthkit-plots easygems hvplot xpublish-tiles`` in an environment of their own
brings them all, with 1 GB of packages.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from pear.sphere.healpix import centres
from pear.variables import Layout
from pipelines.storage.forecast_writer import ForecastWriter

# Of these programs and what they import.
pytestmark = pytest.mark.filterwarnings("ignore")
LAYOUT, NSIDE = Layout(("2m_temperature",), ("temperature",), (850, 500)), 8
LEADS = np.arange(2) * np.timedelta64(6, "h")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[xr.Dataset]:
    """A forecast as xarray opens it: at 2 m 250 K at the poles, 300 K at the equator."""
    path: Path = tmp_path_factory.mktemp("viewers") / "f.zarr"
    surface = 250.0 + 50.0 * np.cos(np.radians(centres(NSIDE)[0]))[None]
    writer = ForecastWriter(path, LAYOUT, NSIDE, np.datetime64("2001-01-01", "s"), LEADS)
    for index in range(LEADS.size):
        writer.write_step(index, surface, np.full((1, 2, surface.size), 250.0))
    with xr.open_zarr(writer.publish(), decode_timedelta=True) as opened:
        yield opened


@pytest.fixture
def field(run: xr.Dataset) -> xr.DataArray:
    return run["2m_temperature"].isel(time=0, prediction_timedelta=0)


def test_uxarray_makes_a_mesh_of_it(run: xr.Dataset, field: xr.DataArray) -> None:
    uxarray = pytest.importorskip("uxarray")
    opened = uxarray.UxDataset.from_healpix(run)["2m_temperature"].isel(
        time=0, prediction_timedelta=0
    )
    assert opened.uxgrid.n_face == field.size
    np.testing.assert_array_equal(opened.values, field.values)
    np.testing.assert_allclose(opened.uxgrid.face_lat.values, centres(NSIDE)[0], atol=1e-6)
    zones = opened.zonal_mean(lat=(-60, 60, 60)).values
    assert zones[1] > 298 > 278 > zones[0]


def test_earthkit_plots_draws_its_cells(field: xr.DataArray) -> None:
    plots = pytest.importorskip("earthkit.plots")
    figure = plots.Map(domain=[-30, 30, -60, 60])
    figure.grid_cells(field)
    figure.save(picture := io.BytesIO(), format="png")
    colours = np.unique(np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 5


def test_easygems_knows_resolution_and_order(run: xr.Dataset) -> None:
    healpix = pytest.importorskip("easygems.healpix")
    assert (healpix.get_nside(run), healpix.get_nest(run)) == (NSIDE, True)


def test_hvplot_draws_points_and_lines(run: xr.Dataset, field: xr.DataArray) -> None:
    pytest.importorskip("hvplot.xarray")
    drawn = field.hvplot.scatter(x="longitude", y="latitude", c="2m_temperature")
    np.testing.assert_array_equal(drawn.dimension_values("latitude"), centres(NSIDE)[0])
    np.testing.assert_array_equal(drawn.dimension_values("2m_temperature"), field.values)
    line = run["2m_temperature"].isel(time=0, cell=0).hvplot.line(x="prediction_timedelta")
    assert line.dimension_values(0).size == LEADS.size


def test_xpublish_tiles_serves_it(run: xr.Dataset) -> None:
    plugin = pytest.importorskip("xpublish_tiles.xpublish.tiles").TilesPlugin()
    xpublish, testing = pytest.importorskip("xpublish"), pytest.importorskip("fastapi.testclient")
    # It looks for gaps in coordinates in a way that arrays of dask do not have.
    loaded = run.drop_vars(run.data_vars).load().assign(run.data_vars)
    app = xpublish.Rest({"run": loaded}, plugins={"tiles": plugin}).app
    with testing.TestClient(app) as client:
        listed = client.get("/datasets/run/tiles/").json()["tilesets"]
        assert any("WebMercatorQuad" in str(each) for each in listed)
        options = "variables=2m_temperature&style=raster/viridis&colorscalerange=250,300"
        shape = "width=256&height=256&f=image/png"
        tile = client.get(f"/datasets/run/tiles/WebMercatorQuad/1/0/1?{options}&{shape}")
    assert (tile.status_code, tile.headers["content-type"]) == (200, "image/png")
    picture = np.asarray(Image.open(io.BytesIO(tile.content)).convert("RGB")).astype(int)
    north, south = picture[8].mean(axis=0), picture[-8].mean(axis=0)
    assert south[0] > north[0]  # viridis goes from blue to yellow
