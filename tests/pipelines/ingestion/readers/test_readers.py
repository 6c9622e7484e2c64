"""Synthetic NetCDF, zip and Zarr: archives, unusable variables, provenance."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr

from pear import resources
from pear.datasets.base import Scan
from pear.datasets.versions import find_preliminary
from pear.errors import InputError
from pear.store.reader import open_store, read_lead_hours
from pear.times import to_iso
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from tests.fixtures.ingestion import (
    H6,
    NSIDE,
    T0,
    check_store,
    file_contents,
    temperature,
    write_netcdf,
)

SKIP = IngestOptions(on_error="skip")


# ------------------------------------------------------------------------------- archives


def zipped(path: Path, **members: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in members.items():
            archive.write(file, f"../../../{name.replace('_', '.')}")  # a hostile path
    return path


def test_zip_of_the_climate_data_store_named_nc(tmp_path: Path) -> None:
    """Members are merged; one with accumulations only is not a fault."""
    state = write_netcdf(temperature(), tmp_path / "i.nc")
    sums = write_netcdf(temperature().rename(t="tp"), tmp_path / "a.nc")
    era5 = zipped(tmp_path / "era5.nc", instant_nc=state, accum_nc=sums)
    (tmp_path / "out").mkdir()
    report = ingest([era5], tmp_path / "out" / "s.zarr", NSIDE)
    check_store(tmp_path / "out" / "s.zarr")
    assert [(s.source.split("!")[1], s.status) for s in report.sources] == [
        ("instant.nc", "read"),
        ("accum.nc", "skipped"),
    ]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["s.zarr"]
    only = zipped(tmp_path / "b.nc", accum_nc=sums)
    with pytest.raises(InputError, match=r"b\.nc!accum\.nc has no variable of PEAR \(tp"):
        ingest([only], tmp_path / "t" / "s.zarr", NSIDE)
    assert not (tmp_path / "t").exists()


def test_a_bad_member_of_a_zip(tmp_path: Path) -> None:
    state = write_netcdf(temperature(), tmp_path / "i.nc")
    inner = zipped(tmp_path / "z.zip", i_nc=state)
    text = tmp_path / "t.txt"
    text.write_text("read me\n")
    for name, file, word in (("t_txt", text, "text"), ("z_zip", inner, "a zip inside")):
        path = zipped(tmp_path / f"{name}.zip", **{name: file, "i_nc": state})
        with pytest.raises(InputError, match=rf"{name}\.zip!{name.replace('_', '.')} is {word}"):
            ingest([path], tmp_path / "s.zarr", NSIDE)
        report = ingest([path], tmp_path / f"{name}.zarr", NSIDE, options=SKIP)
        assert [s.status for s in report.sources] == ["refused", "read"]
        check_store(tmp_path / f"{name}.zarr")


def test_a_damaged_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", i_nc=write_netcdf(temperature(), tmp_path / "i.nc"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged zip"):
        ingest([path], tmp_path / "s.zarr", NSIDE)


# ------------------------------------------------------------------------------- what they are


def levels(data: xr.Dataset, values: list[int], **attributes: str) -> xr.Dataset:
    return data.assign_coords(level=("level", values, attributes))


NO_STATE = {
    "model levels": (
        lambda d: levels(d, [60, 100], units="1", long_name="model_level_number"),
        "not on pressure levels but on model_level_number",
    ),
    "levels in metres": (lambda d: levels(d, [500, 850], units="m"), "'m', are not of pressure"),
    "numbered levels": (lambda d: levels(d, [136, 137]), "are not common pressure levels"),
    "a mean of days": (
        lambda d: d.assign(t=d["t"].assign_attrs(cell_methods="time: mean (interval: 1 hour)")),
        "mean over time .*, not a state",
    ),
    "a maximum of GRIB": (
        lambda d: d.assign(t=d["t"].assign_attrs(GRIB_stepType="max")),
        "max over a period",
    ),
    "bare numbers as times": (
        lambda d: d.assign_coords(time=[0, 6, 12, 18]),
        "a number without units",
    ),
    "several leads": (
        lambda d: d.expand_dims(step=np.arange(2) * H6).assign_coords(
            valid_time=(("time", "step"), d["time"].values[:, None] + np.arange(2) * H6)
        ),
        "has 2 lead times",
    ),
}


@pytest.mark.parametrize("kind", NO_STATE)
def test_variables_that_are_not_states_on_pressure_levels(kind: str, tmp_path: Path) -> None:
    change, word = NO_STATE[kind]
    file = write_netcdf(change(temperature()), tmp_path / "a.nc")
    with pytest.raises(InputError, match=word):
        ingest([file], tmp_path / "s.zarr", NSIDE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nc"]


def test_common_levels_without_units(tmp_path: Path) -> None:
    ingest([levels(temperature(), [500, 850])], tmp_path / "a.zarr", NSIDE)
    check_store(tmp_path / "a.zarr")
    ingest([levels(temperature(), [50_000, 85_000])], tmp_path / "b.zarr", NSIDE)
    check_store(tmp_path / "b.zarr")


def test_netcdf_of_the_climate_data_store(tmp_path: Path) -> None:
    """Names, axis, scalars and text coordinates as in its NetCDF, over the globe."""
    new = temperature().rename(time="valid_time", level="pressure_level")
    new = new.isel(pressure_level=[1, 0]).assign_coords(
        number=0, expver=("valid_time", ["0001", "0001", "0001", "0005"])
    )
    new["t"].attrs |= {
        "GRIB_stepType": "instant",
        "GRIB_shortName": "t",
        "standard_name": "unknown",
    }
    new["pressure_level"].attrs = {"units": "hPa", "positive": "down", "standard_name": "air_pre"}
    encoding = {"units": "seconds since 1970-01-01", "dtype": "i8"}
    report = ingest(
        [write_netcdf(new, tmp_path / "a.nc", valid_time=encoding)], tmp_path / "s.zarr", NSIDE
    )
    check_store(tmp_path / "s.zarr")
    assert report.sources[0].notes == ["t: some times are preliminary (expver 5, ERA5T)"]


@pytest.mark.parametrize("order", [[1, 5], [5, 1]])
def test_the_final_version_comes_first_in_any_order(order: list[int], tmp_path: Path) -> None:
    final = temperature()
    early = final + 3.0
    first = final.where(final["time"] < T0 + 2 * H6)
    versions = {1: first, 5: early.where(early["time"] != T0)}
    both = xr.concat(
        [versions[v] for v in order], xr.DataArray(order, dims="expver", name="expver")
    )
    both["t"].attrs["units"] = "K"
    ingest([write_netcdf(both, tmp_path / "a.nc")], tmp_path / "s.zarr", NSIDE)
    got = open_store(tmp_path / "s.zarr")["temperature"]
    ingest([final], tmp_path / "final.zarr", NSIDE)
    want = open_store(tmp_path / "final.zarr")["temperature"]
    off = np.abs(got - want).max(["level", "cell"]).values
    np.testing.assert_allclose(off, [0, 0, 3, 3], atol=1e-3)


def test_a_final_field_with_gaps_of_its_own_is_final() -> None:
    """The first cell, the middle row, or both, may be missing in a field over the sea."""
    values = np.ones((2, 2, 5, 4))
    values[0, 1] = np.nan  # final data of the second time: not yet there
    values[0, 0, 0, 0] = values[0, 0, 2] = np.nan
    data = xr.DataArray(
        values, dims=("expver", "time", "latitude", "longitude"), coords={"expver": [1, 5]}
    )
    scan = Scan("a.nc", "NetCDF")
    found = find_preliminary(data.to_dataset(name="sst"), data, "time", 2, scan)
    assert found.tolist() == [False, True]
    alone = data.isel(time=0).to_dataset(name="sst")
    assert find_preliminary(alone, alone["sst"], None, 3, scan).tolist() == [False] * 3


def test_forecasts_are_stored_at_their_valid_times_and_noted(tmp_path: Path) -> None:
    lead = temperature().assign_coords(step=np.timedelta64(24, "h"))
    report = ingest([write_netcdf(lead, tmp_path / "a.nc")], tmp_path / "s.zarr", NSIDE)
    assert report.sources[0].notes == ["t: forecasts of 24 h, stored at their valid times"]
    assert open_store(tmp_path / "s.zarr")["time"].values[0] == T0 + np.timedelta64(24, "h")
    hours = read_lead_hours(tmp_path / "s.zarr")
    assert hours[to_iso(T0 + np.timedelta64(24, "h"))] == 24
    assert set(hours.values()) == {24.0}
    leads = open_store(tmp_path / "s.zarr").coords["source_lead_time"]
    assert (leads.dims, set(leads.values)) == (("time",), {np.timedelta64(24, "h")})


def test_analyses_have_no_lead_times(tmp_path: Path) -> None:
    ingest([write_netcdf(temperature(), tmp_path / "a.nc")], tmp_path / "s.zarr", NSIDE)
    assert read_lead_hours(tmp_path / "s.zarr") == {}


# ------------------------------------------------------------------------------- whence they come


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A plain web server on a folder with a WeatherBench2-like store, latitude northwards."""
    data = temperature().rename(t="temperature").transpose("time", "level", "longitude", "latitude")
    data = data.isel(latitude=slice(None, None, -1))
    data.to_zarr(tmp_path / "web" / "era5.zarr", zarr_format=2, consolidated=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def do_GET(self) -> None:
            if self.headers.get("X-Key") == "secret":
                super().do_GET()
            else:
                self.send_error(403)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/era5.zarr"
    server.shutdown()
    server.server_close()
    thread.join()


def test_credentials_of_an_address_come_from_the_fsspec_configuration(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (web, web.replace("era5", "none")):
        with pytest.raises(InputError, match=r"refuses access \(403\)"):
            ingest([address], tmp_path / "t.zarr", NSIDE)
    monkeypatch.setitem(fsspec.config.conf, "http", {"headers": {"X-Key": "secret"}})
    ingest([web], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


def test_simulated_data_are_not_mixed_with_observed_data(tmp_path: Path) -> None:
    sample = next(resources.path("sample").glob("*.nc"))
    store = tmp_path / "s.zarr"
    options = IngestOptions(levels=(850, 500), end=np.datetime64("2006-11-05"))
    report = ingest([sample], store, 4, options=options)
    assert report.sources[0].simulated
    found = open_store(store).attrs
    assert found["title"].startswith("Simulated states on HEALPix")
    assert "SIMULATED weather, not observations" in found["source"]
    assert found["simulated"] == "true"
    before = file_contents(store)
    real = temperature().assign_coords(time=temperature()["time"] + np.timedelta64(20 * 365, "D"))
    with pytest.raises(InputError, match="is simulated, the sources are not simulated"):
        ingest([real], store, 4)
    assert file_contents(store) == before
    with pytest.raises(InputError, match=r"is simulated and .* is not"):
        ingest([sample, real], tmp_path / "t.zarr", 4)


def test_the_store_names_the_origin_of_the_data(tmp_path: Path) -> None:
    real = temperature().assign_attrs(institution="ECMWF", title="ERA5")
    ingest([real], tmp_path / "s.zarr", NSIDE, options=IngestOptions(method="conservative"))
    found = open_store(tmp_path / "s.zarr").attrs
    assert found["title"] == "Analyses on HEALPix, ingested by PEAR"
    assert found["source"] == "ECMWF; ERA5"
    assert found["history"].endswith("ingest, conservative regridding")
    assert "simulated" not in found
    json.dumps(found)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("folder", ["", "deep/era5.zarr/"])
def test_a_zarr_store_in_a_zip(zarr_format: int, folder: str, tmp_path: Path) -> None:
    temperature().to_zarr(tmp_path / "z", zarr_format=zarr_format, consolidated=False)  # type: ignore[call-overload]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted((tmp_path / "z").rglob("*")):
            if path.is_file():
                archive.write(path, folder + str(path.relative_to(tmp_path / "z")))
    report = ingest([tmp_path / "a.zip"], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    assert [source.source for source in report.sources] == [
        f"{tmp_path}/a.zip" + ("!deep/era5.zarr" if folder else "")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "s.zarr", "z"]


def test_names_in_a_zip_that_lead_out_of_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("zarr.json", "{}")
        archive.writestr("../../out.txt", "x")
    with pytest.raises(InputError, match="outside of itself"):
        ingest([tmp_path / "a.zip"], tmp_path / "s.zarr", NSIDE)


def test_addresses_of_files_are_paths(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    write_netcdf(temperature(), tmp_path / "a b" / "a.nc")
    ingest([f"file://{tmp_path}/a%20b/a.nc"], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    with pytest.raises(InputError, match="is on the machine 'elsewhere'"):
        ingest(["file://elsewhere/a.nc"], tmp_path / "t.zarr", NSIDE)
