"""Files that say one thing twice and differently, or are wrapped: refused or read right."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pipelines.ingestion.ingest import ingest
from tests.fixtures.ingestion import NSIDE, check_store, temperature

Change = Callable[[xr.Dataset], xr.Dataset]


def with_repeated_column(data: xr.Dataset, offset: float) -> xr.Dataset:
    again = data.isel(longitude=[0]) + offset
    return xr.concat([data, again.assign_coords(longitude=[360.0])], "longitude")


def with_repeated_time(data: xr.Dataset, offset: float) -> xr.Dataset:
    return xr.concat([data, data.isel(time=[1]) + offset], "time")


def in_fahrenheit(data: xr.Dataset) -> xr.Dataset:
    data["t"] = ((data["t"] - 273.15) * 9 / 5 + 32).assign_attrs(units="degF")
    return data


def said(**attributes: str) -> Change:
    return lambda data: data.assign(t=data["t"].assign_attrs(attributes))


def on_axis(axis: str, **attributes: str) -> Change:
    def change(data: xr.Dataset) -> xr.Dataset:
        data[axis].attrs.update(attributes)
        return data

    return change


def extent(*numbers: object, names: str = "geospatial_lat_min geospatial_lat_max") -> Change:
    return lambda data: data.assign_attrs(dict(zip(names.split(), numbers, strict=True)))


def called(name: str, **attributes: object) -> Change:
    """Return the change to a surface field of a name, with attributes."""
    return lambda data: xr.Dataset(
        {name: (data["t"].isel(level=0, drop=True) + 20).assign_attrs(units="K", **attributes)}
    )


LONGITUDES = "geospatial_lon_min geospatial_lon_max"


def wind(data: xr.Dataset) -> xr.Dataset:
    attributes = {"units": "m s-1", "long_name": "westward wind"}
    return data.assign(u=(data["t"] - 260).assign_attrs(attributes)).drop_vars("t")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: with_repeated_column(data, 0.0),
        lambda data: with_repeated_time(data, 0.0),
        in_fahrenheit,
        said(cell_methods="area: mean"),
        said(cell_methods="lat: lon: mean"),
        on_axis("latitude", stored_direction="decreasing"),
        on_axis("level", stored_direction="increasing", positive="down"),
        on_axis("level", positive="up"),
        extent(-90, 90),
        extent("90.0", "-90.0"),
        extent(-180, 180, names=LONGITUDES),
        extent(0.0, 355.0, names=LONGITUDES),
        extent(2.5, -2.5, names=LONGITUDES),
        extent(-87.5, 87.5),
        extent("unknown", 90),
        lambda data: data.assign_attrs(mip_era="CMIP6", frequency="6hrPt"),
        lambda data: said(cell_methods="area: mean time: point")(data).assign_attrs(
            mip_era="CMIP6", frequency="6hr"
        ),
    ],
)
def test_what_agrees_is_read(change: Change, tmp_path: Path) -> None:
    ingest([change(temperature())], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: with_repeated_column(data, 2.5),
            r"at 360 degrees east is that at 0 degrees, but differs from it by up to 2\.5",
        ),
        (
            lambda data: with_repeated_time(data, 0.5),
            "2001-01-01T06:00:00Z twice, at positions 1 and 4 of its times, with different",
        ),
        (said(cell_methods="longitude: mean"), "mean over longitude"),
        (said(cell_methods="lat: mean"), "mean over lat"),
        (
            lambda data: data.assign_attrs(mip_era="CMIP6", frequency="day"),
            "mean over a period \\(frequency 'day'\\)",
        ),
        (wind, "long_name 'westward wind'"),
        (called("t2m", code=168, table=128), "t2m means 2m_temperature, .* says code 168"),
        (called("t2m", param="6.0.0"), "t2m means 2m_temperature, .* says param 6.0.0"),
        (called("t2m", GRIB_paramId=168), "t2m means 2m_temperature, .* says GRIB_paramId 168"),
        (
            lambda data: data.assign_attrs(frequency="mon"),
            "mean over a period \\(frequency 'mon'\\)",
        ),
        (
            lambda data: data.assign_attrs(ShortName="M2T1NXSLV"),
            "the ShortName of the file says 'M2T1NXSLV', so it is not a state",
        ),
        (
            lambda data: data.assign_attrs(LongName="MERRA2 tavg1_2d_slv_Nx: 1-Hourly"),
            "the LongName of the file says 'tavg1_2d_slv_Nx', so it is not a state",
        ),
        (lambda data: data.assign(t=data["t"] + 0j), "type complex64, not numbers"),
        (
            on_axis("latitude", stored_direction="increasing"),
            "latitude says stored_direction 'increasing', but runs from 90 to -90; correct",
        ),
        (
            on_axis("longitude", stored_direction="Decreasing"),
            "longitude says stored_direction 'decreasing', but runs from 0 to 355",
        ),
        (
            on_axis("level", stored_direction="decreasing"),
            "level of t says stored_direction 'decreasing', but runs from 500 to 850",
        ),
        (
            on_axis("level", positive="up", units=""),
            "level of t says positive 'up', while pressure counts downwards, and has no units",
        ),
        (
            extent(30, 60),
            "latitude runs from 90 to -90, but the file says geospatial_lat_min 30 and geospatial",
        ),
        (
            extent("-30.0", "40.0", names=LONGITUDES),
            "longitude runs from 0 to 355, but the file says geospatial_lon_min -30 and",
        ),
        (
            extent("0.", "90.", names="SouthernmostLatitude NorthernmostLatitude"),
            "but the file says SouthernmostLatitude 0 and NorthernmostLatitude 90",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(change: Change, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        ingest([change(temperature())], tmp_path / "s.zarr", NSIDE)
    assert not list(tmp_path.iterdir())


def gzipped(path: Path) -> Path:
    packed = path.with_suffix(".nc.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def tarred(path: Path) -> Path:
    archive = path.with_suffix(".tar")
    with tarfile.open(archive, "w") as file:
        file.add(path, path.name)
    return archive


def in_a_group(path: Path) -> Path:
    with xr.open_dataset(path) as data:
        data.load()
    data.to_netcdf(path, group="forecast")
    return path


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (gzipped, "is compressed by gzip; uncompress it first"),
        (tarred, "is a tar archive; extract its files"),
        (in_a_group, "has no variables but groups: forecast; write one"),
    ],
)
def test_wrapped_files_are_named(
    wrap: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.nc"
    temperature().to_netcdf(path)
    with pytest.raises(InputError, match=message):
        ingest([wrap(path)], tmp_path / "s.zarr", NSIDE)
    assert not (tmp_path / "s.zarr").exists()


def test_a_time_that_is_missing_is_said_to_be_missing(tmp_path: Path) -> None:
    data = temperature()
    hours = np.array([0, 6, np.iinfo(np.int64).min, 18])
    data["time"] = ("time", hours, {"units": "hours since 2001-01-01"})
    data.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="has values that are not a time"):
        ingest([tmp_path / "a.nc"], tmp_path / "s.zarr", NSIDE)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("t2m", {"code": 167, "table": 128}),
        ("t2m", {"code": 11, "table": 2}),
        ("t2m", {"param": "0.0.0", "GRIB_paramId": 167}),
        ("t2m", {"param": "167.128", "GRIB_paramId": 500011}),
    ],
)
@pytest.mark.parametrize(
    "about",
    [
        {},
        {"ShortName": "M2I1NXASM", "LongName": "MERRA2 inst1_2d_asm_Nx: Instantaneous"},
        {"title": "Status of the atmosphere, hourly", "frequency": "6hr"},
    ],
)
def test_numbers_and_products_that_agree(
    name: str, attributes: dict[str, object], about: dict[str, str], tmp_path: Path
) -> None:
    data = called(name, **attributes)(temperature()).assign_attrs(about)
    assert ingest([data], tmp_path / "s.zarr", NSIDE).fields_written == 4


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (np.array([0.01, 0.02]), "t says scale_factor 0.01, 0.02, which is not one number"),
        ("0.01", "t says scale_factor '0.01', which is not one number"),
    ],
)
@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_packing_of_more_than_a_number(
    kind: str, factor: np.ndarray | str, message: str, tmp_path: Path
) -> None:
    data = temperature()
    packed = ((data["t"] - 260) / 0.01).round().astype("i2")
    data["t"] = packed.assign_attrs(units="K", scale_factor=factor, add_offset=260.0)
    path = tmp_path / f"a.{kind}"
    if kind == "nc":
        data.to_netcdf(path)
    else:
        stated = factor if isinstance(factor, str) else factor.tolist()
        data["t"].attrs["scale_factor"] = stated
        data.to_zarr(path, zarr_format=2, consolidated=False)
    with pytest.raises(InputError, match=message):
        ingest([path], tmp_path / "s.zarr", NSIDE)


def test_levels_without_a_unit_say_what_to_write(tmp_path: Path) -> None:
    data = temperature().assign_coords(level=[37, 51])
    with pytest.raises(InputError, match=r"levels 37, 51 have no units .* write units = 'hPa'"):
        ingest([data], tmp_path / "s.zarr", NSIDE)
