"""Names of wgrib2, of NOMADS' OPeNDAP, of CDO and of MERRA-2, as they write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import ScanOptions
from pear.datasets.units import Quantity, recognise
from pear.datasets.xarray import InMemory, scan_dataset
from pear.errors import InputError
from pear.store.reader import open_store
from pear.variables import STANDARD_GRAVITY
from pipelines.ingestion.ingest import ingest
from tests.fixtures.ingestion import LAT, LON, NSIDE, T0, check_store, nearly, temperature

_UPPER = {"TMP": "temperature", "UGRD": "u_component_of_wind", "VGRD": "v_component_of_wind"}
_UPPER |= {"HGT": "geopotential", "SPFH": "specific_humidity", "VVEL": "vertical_velocity"}


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("TMP_2maboveground", "2m_temperature"),
        ("UGRD_10maboveground", "10m_u_component_of_wind"),
        ("VGRD_10maboveground", "10m_v_component_of_wind"),
        ("UGRD_100maboveground", "100m_u_component_of_wind"),
        ("DPT_2maboveground", "2m_dewpoint_temperature"),
        ("PRMSL_meansealevel", "mean_sea_level_pressure"),
        ("PRES_surface", "surface_pressure"),
        ("TCDC_entireatmosphere", "total_cloud_cover"),
        ("APCP_surface", "total_precipitation_6hr"),
        ("tmp2m", "2m_temperature"),
        ("ugrd10m", "10m_u_component_of_wind"),
        ("vgrd10m", "10m_v_component_of_wind"),
        ("vgrd100m", "100m_v_component_of_wind"),
        ("dpt2m", "2m_dewpoint_temperature"),
        ("prmslmsl", "mean_sea_level_pressure"),
        ("pressfc", "surface_pressure"),
        ("tcdcclm", "total_cloud_cover"),
        ("SLP", "mean_sea_level_pressure"),
        ("T2M", "2m_temperature"),
        ("U10M", "10m_u_component_of_wind"),
        ("V10M", "10m_v_component_of_wind"),
        ("PS", "surface_pressure"),
        ("QV", "specific_humidity"),
        *((f"{name.lower()}prs", canonical) for name, canonical in _UPPER.items()),
    ],
)
def test_names(name: str, canonical: str) -> None:
    assert recognise(name, {}) == Quantity(canonical)


@pytest.mark.parametrize("level", [50, 100, 200, 500, 1000])
@pytest.mark.parametrize(("name", "canonical"), _UPPER.items())
def test_names_with_a_pressure(name: str, canonical: str, level: int) -> None:
    assert recognise(f"{name}_{level}mb", {}) == Quantity(canonical, level)


@pytest.mark.parametrize(
    "name",
    [
        *("TMP_surface", "tmpsfc", "TMP_80maboveground", "ugrd80m", "UGRD_tropopause", "tmptrop"),
        *("TMP_0.995sigmalevel", "UGRD_PVEq2eM06_PVsurface", "HGT_cloudbase", "pres80m"),
        *("UGRD_500mb_ens_spread", "QV2M", "T10M", "H", "var167", "var130", "param0.0.0"),
    ],
)
def test_names_of_other_fields(name: str) -> None:
    assert recognise(name, {}) is None


@pytest.mark.parametrize(
    ("number", "canonical"),
    [
        *((151, "mean_sea_level_pressure"), (165, "10m_u_component_of_wind")),
        *((166, "10m_v_component_of_wind"), (167, "2m_temperature"), (130, "temperature")),
        *((129, "geopotential"), (131, "u_component_of_wind"), (132, "v_component_of_wind")),
        *((133, "specific_humidity"), (157, "relative_humidity"), (134, "surface_pressure")),
    ],
)
def test_numbers_of_cdo(number: int, canonical: str) -> None:
    about = {"code": np.int32(number), "table": np.int32(128)}
    assert recognise(f"var{number}", about) == Quantity(canonical)
    assert recognise(f"var{number}", {"code": number, "table": 2}) is None


@pytest.mark.parametrize(
    ("name", "about", "reason"),
    [
        ("var130", {}, "a number of a table that is not stated, and PEAR knows table 128 alone"),
        ("var11", {"code": 11, "table": 2}, "a number of table 2, and PEAR knows table 128 alone"),
        ("param0.0.0", {"param": "0.0.0"}, "a number that several variables share"),
    ],
)
def test_numbers_that_say_too_little_are_named(
    name: str, about: dict[str, object], reason: str, tmp_path: Path
) -> None:
    data = temperature().rename(t=name)
    data[name].attrs.update(about)
    with pytest.raises(InputError, match=f"no variable of PEAR .{name}: {reason}"):
        ingest([data], tmp_path / "s.zarr", NSIDE)


def test_a_number_that_another_attribute_contradicts(tmp_path: Path) -> None:
    data = temperature().rename(t="var130")
    data["var130"].attrs.update(code=131, table=128)
    with pytest.raises(InputError, match="var130 means temperature, but the file says code 131"):
        ingest([data], tmp_path / "s.zarr", NSIDE)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("var130", {"code": 130, "table": 128}),
        ("tmpprs", {"long_name": "** (1000 975 950 925.. 7 5 3 2 1) temperature [k] "}),
        ("TMP", {"long_name": "Temperature", "short_name": "TMP_lvl"}),
    ],
)
@pytest.mark.parametrize("axis", ["lev", "plevel", "plev"])
def test_temperature_of_each_tool(
    name: str, attributes: dict[str, object], axis: str, tmp_path: Path
) -> None:
    data = temperature().rename(t=name, level=axis)
    data[name].attrs.update(attributes)
    data[axis].attrs.update(units="millibar", long_name="altitude", positive="up")
    if name == "tmpprs":
        del data[name].attrs["units"]
    report = ingest([data], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    assert report.sources[0].converted == []
    assert f"{axis} says positive 'up'" in report.sources[0].notes[0]


def test_levels_in_the_names_of_wgrib2(tmp_path: Path) -> None:
    data = temperature()
    named = {f"TMP_{level}mb": data["t"].sel(level=level, drop=True) for level in (500, 850)}
    for name, field in named.items():
        field.attrs.update(level=name[4:].replace("mb", " mb"), long_name="Temperature")
    ingest([xr.Dataset(named)], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


@pytest.mark.parametrize("units", ["gpm", None])
def test_heights_of_nomads_become_geopotential(units: str | None, tmp_path: Path) -> None:
    data = temperature(1, (500,)).rename(t="hgtprs", level="lev")
    data["hgtprs"] = data["hgtprs"] + 5300
    data["hgtprs"].attrs = {"long_name": "** (1000 .. 1) geopotential height [gpm] "}
    data["hgtprs"].attrs |= {"units": units} if units else {}
    ingest([data], tmp_path / "s.zarr", NSIDE)
    got = open_store(tmp_path / "s.zarr")["geopotential"].values / STANDARD_GRAVITY
    assert 5520 < got.min() < got.max() < 5600


@pytest.mark.parametrize(
    ("ground", "land", "about"),
    [
        ("HGT_surface", "LAND_surface", {"units": "gpm", "level": "surface"}),
        ("hgtsfc", "landsfc", {"long_name": "** surface geopotential height [gpm]", "units": "m"}),
        ("var129", "var172", {"units": "m**2 s**-2", "table": 128}),
    ],
)
def test_static_fields_of_each_tool(
    ground: str, land: str, about: dict[str, object], tmp_path: Path
) -> None:
    north, east = np.meshgrid(LAT, LON, indexing="ij")
    hill = 2000 * np.exp(-(((north - 40) / 20) ** 2) - ((east - 90) / 30) ** 2)
    hill = np.where(hill < 20, 0, hill) * (STANDARD_GRAVITY if "var" in ground else 1)
    mask = (np.abs(north - 40) < 30) & (np.abs(east - 90) < 60)
    dims = ("latitude", "longitude")
    fields = {
        ground: (dims, hill.astype("f4"), about),
        land: (dims, mask.astype("f4"), about | {"units": "1"}),
        "t2m": (("time", *dims), nearly(280, (1, *hill.shape)).astype("f4"), {"units": "K"}),
    }
    data = xr.Dataset(fields, {"time": [T0], "latitude": LAT, "longitude": LON})
    data[land].attrs.pop("long_name", None)
    scan = scan_dataset(InMemory(data), "a.nc", "NetCDF", ScanOptions())
    assert scan.faults == []
    found = {one.name: one.values() for one in scan.static_fields}
    assert set(found) == {"geopotential_at_surface", "land_sea_mask"}
    assert found["geopotential_at_surface"].max() == pytest.approx(19613, rel=0.01)
