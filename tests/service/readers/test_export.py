"""Grids, boxes and selections of an export."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from pear.errors import InputError
from pear.sphere.healpix import centres
from pipelines.storage.data_folder import DataFolder
from service.http.caching import RunCache
from service.readers.export import Box, Format, Selection, extract, parse_box, parse_grid, write
from service.readers.forecasts import ForecastReader, ForecastStore
from tests.fixtures.service import LEADS, NSIDE


@pytest.fixture
def store(data: DataFolder, run_id: str) -> ForecastStore:
    return ForecastReader(data.forecast, RunCache(), 10**6).store(run_id)


def test_grids() -> None:
    assert parse_grid("healpix") is None
    assert parse_grid("latlon:1.5") == 1.5
    assert parse_grid("latlon") == 1.0


@pytest.mark.parametrize("text", ["mercator", "latlon:7", "latlon:0", "latlon:nan", "latlon:0.01"])
def test_unknown_grids(text: str) -> None:
    with pytest.raises(InputError, match="unknown grid") as caught:
        parse_grid(text)
    assert caught.value.field == "grid"


@pytest.mark.parametrize("text", ["", "1,2,3", "0,50,10,40", "0,-91,1,1", "5,0,5,1", "inf,0,1,1"])
def test_what_is_not_a_box(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_box(text)
    assert caught.value.field == "bbox"


@pytest.mark.parametrize(
    ("box", "inside", "outside"),
    [
        (Box(-10, 40, 20, 60), (350.0, 0.0, 20.0), (30.0, 340.0)),
        (Box(170, 40, -170, 60), (175.0, -175.0, 180.0), (160.0, 0.0)),
        (Box(-180, 40, 180, 60), (0.0, 180.0, -90.0), ()),
    ],
)
def test_boxes_may_cross_the_date_line(
    box: Box, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert box.contains(50.0, np.array(inside)).all()
    assert not box.contains(50.0, np.array(outside)).any()
    assert not box.contains(30.0, np.array(inside)).any()


def test_selections(store: ForecastStore) -> None:
    whole = Selection.from_request(store, None, None, "healpix", None)
    assert (whole.variables, whole.lead_hours) == (store.names, LEADS)
    part = Selection.from_request(store, "t2m, z500,z850", "48,24,48", "latlon:5", None)
    assert part.variables == ("2m_temperature", "geopotential")
    assert (part.levels, part.lead_hours) == ((500, 850), (24, 48))
    assert part.nbytes(store) == 4 * 37 * 72 * 3 * 2
    with pytest.raises(InputError, match="lead time 25 h"):
        Selection.from_request(store, None, "25", "healpix", None)


def test_a_box_cuts_cells_and_grid_points(store: ForecastStore) -> None:
    lat, lon = centres(NSIDE)
    cells = Selection.from_request(store, "t2m", "24", "healpix", "0,0,90,90")
    kept = extract(store, cells, "model-1")
    np.testing.assert_array_equal(kept["cell_ids"].values, np.flatnonzero((lat >= 0) & (lon <= 90)))
    assert kept.attrs["pear_model"] == "model-1"
    points = Selection.from_request(store, "t2m", "24", "latlon:5", "-20,30,40,75")
    grid = extract(store, points, "model-1")
    assert dict(grid.sizes)["latitude"] == 10
    assert dict(grid.sizes)["longitude"] == 13
    with pytest.raises(InputError, match="no grid point"):
        extract(
            store,
            Selection.from_request(store, "t2m", "24", "healpix", "0,0,0.1,0.1"),
            "model-1",
        )


def test_nested_attributes_become_text(tmp_path: Path) -> None:
    dataset = xr.Dataset({"t": ("x", [1.0])}, attrs={"nested": {"a": 1}, "plain": 2})
    write(dataset, tmp_path / "x.nc", "netcdf")
    with xr.open_dataset(tmp_path / "x.nc") as read:
        assert read.attrs == {"nested": '{"a": 1}', "plain": 2}


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("-20,30,40,75", -20, 40),
        ("340,30,40,75", -20, 40),
        ("170,-30,-170,30", 170, 190),
        ("200,-30,300,30", 200, 300),
        ("-180,-90,180,90", -180, 170),
    ],
)
@pytest.mark.parametrize("kind", ["netcdf", "zarr-zip"])
def test_longitudes_of_a_box_increase(
    store: ForecastStore, text: str, first: int, last: int, kind: Format, tmp_path: Path
) -> None:
    """Also across Greenwich and the date line, and each value stays with its longitude."""
    chosen = Selection.from_request(store, "t2m", "24", "latlon:10", text)
    whole = extract(store, Selection.from_request(store, "t2m", "24", "latlon:10", None), "m")
    target = tmp_path / "part"
    write(extract(store, chosen, "m"), target, kind)
    if kind == "netcdf":
        part = xr.load_dataset(target)
    else:
        part = xr.open_zarr(zarr.storage.ZipStore(target, mode="r"), consolidated=True).load()
    longitude = part["longitude"].values
    assert (np.diff(longitude) > 0).all()
    assert (longitude[0], longitude[-1]) == (first, last)
    same = whole.sel(latitude=part.latitude, longitude=longitude % 360)
    np.testing.assert_array_equal(part["2m_temperature"].values, same["2m_temperature"].values)


@pytest.mark.parametrize("grid", ["healpix", "latlon:10"])
def test_derived_quantities_are_exported(store: ForecastStore, grid: str) -> None:
    wanted = "wind_speed,r850,vorticity,thickness_1000_500,u850,v"
    chosen = Selection.from_request(store, wanted, str(LEADS[0]), grid, None)
    part = extract(store, chosen, "m").compute()
    names = ["wind_speed", "relative_humidity", "vorticity", "thickness_1000_500"]
    assert list(part.data_vars) == [*names, "u_component_of_wind", "v_component_of_wind"]
    assert part["level"].values.tolist() == [850]
    speed = np.hypot(part["u_component_of_wind"], part["v_component_of_wind"])
    np.testing.assert_allclose(part["wind_speed"], speed, rtol=1e-5)
    assert "level" not in part["thickness_1000_500"].dims
    assert part["vorticity"].attrs["units"] == "s-1"
    assert all(np.isfinite(part[name]).all() for name in names)


def test_gdal_reads_boxes_across_greenwich_and_the_date_line(
    store: ForecastStore, tmp_path: Path
) -> None:
    rasterio = pytest.importorskip("rasterio")
    for name, box, edges in (
        ("greenwich", "-20,30,40,70", (-25, 25, 45, 75)),
        ("date-line", "150,-30,-150,30", (145, -35, 215, 35)),
    ):
        chosen = Selection.from_request(store, "t2m", "24", "latlon:10", box)
        part, file = extract(store, chosen, "m"), tmp_path / f"{name}.nc"
        write(part, file, "netcdf")
        with rasterio.open(f"netcdf:{file}:2m_temperature") as opened:
            assert tuple(opened.bounds) == edges
            assert opened.crs.is_geographic
            np.testing.assert_array_equal(opened.read(1), part["2m_temperature"].values[0, 0])


def test_the_programs_of_gdal_find_the_box(store: ForecastStore, tmp_path: Path) -> None:
    """Those of the system, with the library that QGIS uses."""
    gdalinfo = shutil.which("gdalinfo")
    if gdalinfo is None:
        pytest.skip("no gdalinfo: apt-get install gdal-bin")
    chosen = Selection.from_request(store, "t2m", "24", "latlon:10", "-20,30,40,70")
    write(extract(store, chosen, "m"), tmp_path / "a.nc", "netcdf")
    command = [gdalinfo, "-json", "-stats", f"NETCDF:{tmp_path / 'a.nc'}:2m_temperature"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert found["size"] == [7, 5]
    assert found["geoTransform"] == [-25.0, 10.0, 0.0, 75.0, 0.0, -10.0]
    assert "6371229" in found["coordinateSystem"]["wkt"]  # the sphere of the model
    values = extract(store, chosen, "m")["2m_temperature"].values
    assert found["bands"][0]["mean"] == pytest.approx(values.mean(), rel=1e-5)


def test_the_checker_of_cf_finds_no_errors(store: ForecastStore, tmp_path: Path) -> None:
    runner = pytest.importorskip("compliance_checker.runner")
    chosen = Selection.from_request(store, "t2m,z500", "24,48", "latlon:10", None, "valid")
    file, report = tmp_path / "a.nc", tmp_path / "report.json"
    write(extract(store, chosen, "m"), file, "netcdf")
    runner.CheckSuite.load_all_available_checkers()
    runner.ComplianceChecker.run_checker(
        str(file), ["cf:1.11"], 0, "normal", output_filename=str(report), output_format="json"
    )
    found = json.loads(report.read_text())["cf:1.11"]["high_priorities"]
    assert found
    assert [each["msgs"] for each in found if each["msgs"]] == []
    with xr.open_dataset(file) as opened:
        assert opened["2m_temperature"].dims == ("time", "latitude", "longitude")
        np.testing.assert_array_equal(
            opened["time"] - opened["forecast_reference_time"],
            np.array([24, 48], "timedelta64[h]"),
        )
        assert "_FillValue" not in {*opened["latitude"].encoding, *opened["time"].attrs}
        assert json.loads(opened.attrs["libraries"])["python"]
