"""Ingestion of real files, or the reason why they are refused."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import ScanOptions
from pear.errors import InputError
from pear.rollout import check_physical
from pear.sphere.healpix import centres
from pear.state import State
from pear.store.reader import describe, open_store
from pear.variables import Layout
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.report import IngestReport

NSIDE = 32


@pytest.fixture(scope="session")
def data(shared: Path) -> Path:
    pytest.importorskip("pyproj")  # before ecCodes, whose own PROJ would crash it
    pytest.importorskip("eccodes")
    return shared / "data"


def run(store: Path, *files: Path, **settings: object) -> IngestReport:
    return ingest(list(files), store, NSIDE, options=IngestOptions(**settings))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def gfs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("gfs") / "gfs.zarr"
    report = run(store, data / "multilevel/gfs.t12z.pgrbf120.2p5deg.grib2")
    assert report.fields_written == 69
    return store


def test_a_gfs_forecast_file_is_a_complete_state(gfs: Path) -> None:
    state = State.from_store(gfs, "2011-01-15T12:00")
    assert state.layout == Layout.default()
    check_physical(state, "GFS", margin=0.0)
    told = describe(gfs)
    assert told["completeness"]["complete"] is True
    assert told["levels"] == list(Layout.default().levels)


def test_gfs_fields_are_consistent(gfs: Path) -> None:
    """Thickness is hydrostatic and winds are geostrophic: levels and names are not mixed up."""
    got = open_store(gfs).isel(time=0)
    lat, _ = centres(NSIDE)
    for low, high in ((1000, 850), (850, 500), (500, 300), (300, 200)):
        thickness = got["geopotential"].sel(level=high) - got["geopotential"].sel(level=low)
        warm = (got["temperature"].sel(level=high) + got["temperature"].sel(level=low)) / 2
        want = 287.05 * warm * np.log(low / high)
        assert np.corrcoef(thickness, want)[0, 1] > 0.98
    # geostrophy north of 30 degrees: westerlies where height falls towards the pole
    z = got["geopotential"].sel(level=500).values
    assert z[lat > 60].mean() < z[np.abs(lat) < 30].mean()
    band = np.abs(np.abs(lat) - 45) < 10
    assert got["u_component_of_wind"].sel(level=300).values[band].mean() > 10
    q = got["specific_humidity"].sel(level=1000).values
    assert 0.012 < q[np.abs(lat) < 10].mean() < 0.02
    assert q[lat > 70].mean() < 0.003


def test_one_field_in_grib_and_in_netcdf(data: Path, tmp_path: Path) -> None:
    for kind in ("grib", "nc"):
        run(tmp_path / f"{kind}.zarr", data / f"multilevel/era5_tz_1deg_20070101.{kind}")
    a, b = open_store(tmp_path / "grib.zarr"), open_store(tmp_path / "nc.zarr")
    assert a["time"].values == b["time"].values == np.datetime64("2007-01-01T12")
    packing = xr.open_dataset(data / "multilevel/era5_tz_1deg_20070101.nc")
    for name, short in (("temperature", "t"), ("geopotential", "z")):
        step = packing[short].encoding["scale_factor"]
        assert float(np.abs(a[name] - b[name]).max()) < 0.6 * step + 1e-2 * (short == "z")
    packing.close()


def test_one_cell_against_the_file(data: Path, tmp_path: Path) -> None:
    """Bilinear by hand at the centre of the cell of Stockholm."""
    run(tmp_path / "s.zarr", data / "multilevel/era5_tz_1deg_20070101.nc")
    cell = healpy.ang2pix(NSIDE, 18.1, 59.3, nest=True, lonlat=True)
    lon, lat = healpy.pix2ang(NSIDE, cell, nest=True, lonlat=True)
    with xr.open_dataset(data / "multilevel/era5_tz_1deg_20070101.nc") as file:
        field = file["t"].isel(time=0).sel(level=500)
        want = float(field.interp(latitude=lat, longitude=lon))
    got = float(
        open_store(tmp_path / "s.zarr")["temperature"].isel(time=0, cell=cell).sel(level=500)
    )
    assert got == pytest.approx(want, abs=1e-3)


def test_a_wind_series_is_a_valid_partial_store(data: Path, tmp_path: Path) -> None:
    report = run(tmp_path / "s.zarr", data / "series/gfs_1p00_wind10m_6h_201810.nc")
    assert report.times_added == 40
    assert report.gaps == [
        {"after": "2018-10-10T12:00:00Z", "before": "2018-10-11T00:00:00Z", "missing": 1}
    ]
    with pytest.raises(InputError, match="lacks mean_sea_level_pressure, 2m_temperature"):
        State.from_store(tmp_path / "s.zarr", "2018-10-10T12", Layout.default())
    got = open_store(tmp_path / "s.zarr").sel(time="2018-10-10T12")
    speed = np.hypot(got["10m_u_component_of_wind"], got["10m_v_component_of_wind"]).values
    lat, lon = centres(NSIDE)
    gulf = (lat > 20) & (lat < 32) & (lon > 262) & (lon < 285)
    eye = np.flatnonzero(gulf)[speed[gulf].argmax()]
    assert abs(lat[eye] - 29) < 3  # Hurricane Michael
    assert abs(lon[eye] - 274) < 3


def test_a_web_page_among_the_files_of_a_series(data: Path, tmp_path: Path) -> None:
    files = sorted((data / "series/gfs_1p00_wind10m_6h_201810_grib2").glob("*.grib2"))
    with pytest.raises(InputError, match=r"2018101018\.grib2 is a web page"):
        run(tmp_path / "s.zarr", *files[14:18])
    assert not (tmp_path / "s.zarr").exists()
    report = run(tmp_path / "s.zarr", *files[14:18], on_error="skip")
    assert [s.status for s in report.sources].count("refused") == 1
    run(tmp_path / "n.zarr", data / "series/gfs_1p00_wind10m_6h_201810.nc")
    a, b = open_store(tmp_path / "s.zarr"), open_store(tmp_path / "n.zarr")
    for name in ("10m_u_component_of_wind", "10m_v_component_of_wind"):
        other = b[name].sel(time=a["time"])
        assert float(np.abs(a[name] - other).max()) < 0.0011  # half of the NetCDF's packing


def test_three_files_of_one_time(data: Path, tmp_path: Path) -> None:
    files = [data / f"multilevel/2005-01-23-0000-{v}.nc" for v in "tuv"]
    report = run(tmp_path / "s.zarr", *files)
    assert report.levels == list(Layout.default().levels)
    assert report.fields_written == 39
    for file in files:  # one after the other gives the same store
        run(tmp_path / "one.zarr", file)
    a, b = open_store(tmp_path / "s.zarr").load(), open_store(tmp_path / "one.zarr").load()
    xr.testing.assert_equal(a.drop_attrs(), b.drop_attrs())


def test_missing_levels_of_two_files_are_marked(data: Path, tmp_path: Path) -> None:
    run(tmp_path / "s.zarr", data / "multilevel/z500.grib", data / "multilevel/t850.grib")
    missing = describe(tmp_path / "s.zarr")["completeness"]["missing"]
    assert {hole["field"] for hole in missing} == {"geopotential@850", "temperature@500"}


def test_ecmwf_at_ten_degrees(data: Path, tmp_path: Path) -> None:
    report = run(tmp_path / "s.zarr", data / "series/ecmwf_pl_10deg_6h_20240603-04.grib")
    assert report.times_added == 8
    got = open_store(tmp_path / "s.zarr")
    assert float(got["specific_humidity"].min()) >= -1e-6
    assert 0.02 < float(got["specific_humidity"].sel(level=1000).max()) < 0.04


def test_members_must_be_chosen(data: Path, tmp_path: Path) -> None:
    file = data / "series/era5-levels-members.grib"
    with pytest.raises(InputError, match="10 ensemble members"):
        run(tmp_path / "s.zarr", file)
    with pytest.raises(InputError, match="does not have ensemble member 10"):
        run(tmp_path / "s.zarr", file, scan=ScanOptions(member=10))
    run(tmp_path / "0.zarr", file, scan=ScanOptions(member=0))
    run(tmp_path / "3.zarr", file, scan=ScanOptions(member=3))
    a, b = (open_store(tmp_path / f"{m}.zarr")["temperature"] for m in (0, 3))
    spread = float(np.sqrt(((a - b) ** 2).mean()))
    assert 0.05 < spread < 1.5  # another member of the same day's weather


def test_pressure_in_hpa(data: Path, tmp_path: Path) -> None:
    report = run(tmp_path / "s.zarr", data / "series/press_erainterim_msl_daily_200001.nc")
    assert report.sources[0].converted == ["msl: hPa to Pa (x 100)"]
    assert (
        100_500 < float(open_store(tmp_path / "s.zarr")["mean_sea_level_pressure"].mean()) < 102_000
    )


@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("formats/cds_new_netcdf_u10v10_hourly_germany_20251104.nc", "does not cover the globe"),
        ("formats/reduced_gg.grib", "on a reduced Gaussian grid \\(reduced_gg\\)"),
        ("formats/regular_gg_pl.grib", "on a regular Gaussian grid \\(regular_gg\\)"),
        ("formats/regular_ll_sfc.grib", "no variable of PEAR.*skt"),
        ("formats/fields_with_missing_values.grib", "10808 of 16380 values missing"),
        ("multilevel/eraint_uvz.nc", "has no time.*month"),
        ("series/uwnd_mean.nc", "is a climatology"),
        ("series/z500_anomaly_daily_1deg_20161002-20161012.nc", "no variable of PEAR.*anom"),
        ("static/eraint_geopotential_sfc_0p75.nc", "has only static fields"),
        ("static/speedy_land-sea_mask.nc", "only static fields .land_sea_mask"),
        ("static/earthkit_coastlines_low.json", "is text"),
        ("static/era5_geopotential_sfc_0p25_pangu_topography.npy", "has an unknown format"),
        ("surface/era5_i10fg_0p25_20110801.nc", "no variable of PEAR.*i10fg"),
        ("README.md", "is text"),
    ],
)
def test_unusable_files_are_refused_with_the_reason(
    file: str, word: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=word):
        run(tmp_path / "s.zarr", data / file)
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("formats/uv_on_different_levels.grib", 16),
        ("surface/era5like_t2m_2deg_20180924.nc", 1),
        ("surface/regular_ll_msl.grib", 1),
        ("surface/t2_for_UC-04.grib", 1),
    ],
)
def test_other_usable_files(file: str, fields: int, data: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "s.zarr", data / file).fields_written == fields


REFUSED = (
    "healpix_ref/*.npz",
    "*.json",
    "*.geojson",
    "*.npy",
    "README.md",
    "formats/cds_new_*",
    "formats/fields_with_missing_values.grib",
    "formats/reduced_gg.grib",
    "formats/regular_gg_pl.grib",
    "formats/regular_ll_sfc.grib",
    "multilevel/eraint_uvz.nc",
    "series/uwnd_mean.nc",
    "series/vwnd_mean.nc",
    "series/z500_anomaly*",
    "static/*",
    "surface/era5_i10fg*",
    "*2018101018.grib2",
)


@pytest.mark.slow
def test_every_file_is_read_whole_or_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    refused: dict[Path, str] = {}
    files = sorted(p for p in data.rglob("*") if p.is_file())
    for number, path in enumerate(files):
        scan = ScanOptions(member=0) if "members" in path.name else ScanOptions()
        store = tmp_path / f"{number}.zarr"
        try:
            report = ingest([path], store, 2, options=IngestOptions(scan=scan))
        except InputError as error:
            refused[path] = str(error)
            continue
        assert (report.fields_written > 0, report.refused_count) == (True, 0), path
    assert {p for p in files if any(p.match(pattern) for pattern in REFUSED)} == set(refused)
    assert all("\n" not in text and path.name in text for path, text in refused.items())
    assert len(list(tmp_path.iterdir())) == len(files) - len(refused)


def test_a_truncated_grib_keeps_what_is_whole(data: Path, tmp_path: Path) -> None:
    whole = (data / "multilevel/era5_tz_1deg_20070101.grib").read_bytes()
    damaged = tmp_path / "d.grib"
    damaged.write_bytes(whole[: len(whole) * 6 // 10])
    report = run(tmp_path / "s.zarr", damaged, on_error="skip")
    assert report.fields_written == 2
    assert "is cut short: message 3" in report.sources[0].notes[0]
    with pytest.raises(InputError, match="is cut short: message 3"):
        run(tmp_path / "t.zarr", damaged)
