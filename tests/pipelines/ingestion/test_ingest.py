"""Ingestion of synthetic files: conventions of many origins, refusals, resumed ingestions."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.state import State
from pear.store import schema
from pear.store.reader import describe, open_store
from pear.variables import Layout
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from service.cli.app import main
from service.cli.ingest import parse_ranges
from tests.fixtures.ingestion import (
    H6,
    NSIDE,
    T0,
    check_store,
    file_contents,
    nearly,
    temperature,
    write_netcdf,
)

# ------------------------------------------------------------------------------- conventions


def celsius(d: xr.Dataset) -> xr.Dataset:
    return d.assign(t=(d["t"] - 273.15).assign_attrs(units="degC"))


CONVENTIONS = {
    "as is": lambda d: d,
    "valid_time": lambda d: d.rename(time="valid_time"),
    "levels in Pa, descending": lambda d: (
        d.assign_coords(level=("level", d["level"].values * 100.0, {"units": "Pa"}))
        .isel(level=[1, 0])
        .rename(level="plev")
    ),
    "pressure_level": lambda d: d.rename(level="pressure_level"),
    "isobaricInhPa": lambda d: d.rename(level="isobaricInhPa"),
    "northwards": lambda d: d.isel(latitude=slice(None, None, -1)),
    "from -180": lambda d: d.roll(longitude=36, roll_coords=True).assign_coords(
        longitude=np.arange(-180, 180, 5.0)
    ),
    "from 45 over the seam": lambda d: d.roll(longitude=-9, roll_coords=True),
    "repeated 360": lambda d: xr.concat(
        [d, d.isel(longitude=[0]).assign_coords(longitude=[360.0])], "longitude"
    ),
    "lat lon": lambda d: d.rename(latitude="lat", longitude="lon"),
    "other order of axes": lambda d: d.transpose("longitude", "level", "latitude", "time"),
    "scalars of GRIB": lambda d: d.assign_coords(number=0, step=0 * H6, surface=0.0),
    "expver axis": lambda d: xr.concat(
        [d.where(d["time"] < T0 + 2 * H6), d.where(d["time"] >= T0 + 2 * H6)],
        xr.DataArray([1, 5], dims="expver", name="expver"),
    ),
    "expver along time": lambda d: d.assign_coords(
        expver=("time", np.array(["0001", "0001", "0005", "0005"]))
    ),
    "degrees Celsius": celsius,
    "long name": lambda d: d.rename(t="temperature"),
    "upper-case name": lambda d: d.rename(t="TMP"),
    "times out of order": lambda d: d.isel(time=[2, 0, 3, 1]),
    "a time twice": lambda d: xr.concat([d, d.isel(time=[1])], "time"),
    "axis of one member": lambda d: d.expand_dims(number=[0]),
    "no units": lambda d: d.assign(t=d["t"].assign_attrs(units="")),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_conventions_of_files(convention: str, tmp_path: Path) -> None:
    file = write_netcdf(CONVENTIONS[convention](temperature()), tmp_path / "a.nc")
    report = ingest([file], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    assert report.fields_written == 8
    assert report.fields_missing == 0
    said = " ".join(report.sources[0].notes + report.sources[0].converted)
    for name, word in {
        "expver axis": "merged",
        "expver along time": "preliminary",
        "degrees Celsius": "degC to K",
        "a time twice": "come twice",
        "times out of order": "not in order",
        "no units": "no units",
    }.items():
        among = ("expver axis", "expver along time") if word == "preliminary" else (name,)
        assert (word in said) == (convention in among), said


def test_packed_integers_with_an_odd_fill_value(tmp_path: Path) -> None:
    encoding = {"dtype": "i2", "scale_factor": 0.002, "add_offset": 260.0, "_FillValue": -12345}
    ingest([write_netcdf(temperature(), tmp_path / "a.nc", t=encoding)], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


def test_hours_since_1900_and_scalar_times(tmp_path: Path) -> None:
    files = []
    for t in range(4):
        one = temperature(1, start=t).isel(time=0)
        encoding = {"units": "hours since 1900-01-01", "dtype": "i4"}
        files.append(write_netcdf(one, tmp_path / f"{t}.nc", time=encoding))
    ingest(files, tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


def test_zarr_of_weatherbench(tmp_path: Path) -> None:
    data = temperature().rename(t="temperature").transpose("time", "level", "longitude", "latitude")
    data = data.isel(latitude=slice(None, None, -1))
    data.to_zarr(tmp_path / "w.zarr", zarr_format=2, consolidated=True)
    ingest([tmp_path / "w.zarr"], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


def test_an_address_and_a_dataset(tmp_path: Path) -> None:
    data = temperature()
    data.to_zarr(tmp_path / "w.zarr", zarr_format=2)
    ingest([f"file://{tmp_path}/w.zarr"], tmp_path / "a.zarr", NSIDE)
    ingest([data], tmp_path / "b.zarr", NSIDE)
    check_store(tmp_path / "a.zarr")
    check_store(tmp_path / "b.zarr")


def test_height_and_relative_humidity_are_converted(tmp_path: Path) -> None:
    data = temperature(1)
    level = nearly(1.0, data["t"].shape[2:]).astype("f4")
    height = xr.full_like(data["t"], 5570.0).assign_attrs(units="gpm")
    height.loc[{"level": 850}] = 1457.0
    height[:] *= level
    humid = xr.full_like(data["t"], 50.0).assign_attrs(units="%")
    humid[:] *= level
    file = write_netcdf(data.assign(gh=height, r=humid), tmp_path / "a.nc")
    report = ingest([file], tmp_path / "s.zarr", NSIDE)
    got = open_store(tmp_path / "s.zarr").isel(time=0)
    np.testing.assert_allclose(got["geopotential"].sel(level=500), 5570 * 9.80665, rtol=1e-5)
    # e_s(T) of Bolton (1980) as an independent formula, over water where it is warm
    t = got["temperature"].sel(level=850).values.astype("f8")
    q = got["specific_humidity"].sel(level=850).values
    e = 0.5 * 611.2 * np.exp(17.67 * (t - 273.15) / (t - 29.65))
    bolton = 0.622 * e / (85_000 - 0.378 * e)
    warm = t > 273.2
    np.testing.assert_allclose(q[warm], bolton[warm], rtol=0.02)
    assert any("relative to specific" in text for text in report.sources[0].converted)


# ------------------------------------------------------------------------------- refusals


def html(path: Path) -> Path:
    path.write_text("<!DOCTYPE html><html>file not present</html>")
    return path


def truncated(path: Path) -> Path:
    write_netcdf(temperature(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def with_nan(path: Path) -> Path:
    data = temperature()
    data["t"][2, 1, 5, 6] = np.nan
    return write_netcdf(data, path)


def edited(**changes: Any) -> Any:
    return lambda path: write_netcdf(temperature().assign(**changes), path)


def changed(function: Any) -> Any:
    return lambda path: write_netcdf(function(temperature()), path)


def units(data: xr.Dataset, text: str, **more: str) -> xr.Dataset:
    out = data.copy()
    for name in out.data_vars:
        out[name].attrs = {"units": text, **more}
    return out


BAD = {
    "missing": (lambda path: path, "no such file"),
    "empty": (lambda path: (path.write_bytes(b"") and path) or path, "is empty"),
    "text named nc": (lambda path: path.write_text("hello\n") and path, "is text, not data"),
    "web page": (html, "is a web page"),
    "truncated": (truncated, r"is cut short: \d+ of \d+ bytes"),
    "unknown variable": (changed(lambda d: d.rename(t="i10fg")), "no variable of PEAR.*i10fg"),
    "one NaN": (with_nan, r"t at 850 hPa at 2001-01-01T12:00:00Z: 1 of 2664 values missing"),
    "regional": (changed(lambda d: d.isel(longitude=slice(0, 20))), "does not cover the globe"),
    "Gaussian": (
        changed(
            lambda d: d.assign_coords(
                latitude=np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(37)[0][::-1]))
            )
        ),
        "not evenly spaced",
    ),
    "curvilinear": (
        changed(
            lambda d: d.drop_vars(["latitude", "longitude"]).assign_coords(
                latitude=(("latitude", "longitude"), np.ones((37, 72))),
                longitude=(("latitude", "longitude"), np.ones((37, 72))),
            )
        ),
        "curvilinear",
    ),
    "no time": (changed(lambda d: d.isel(time=0, drop=True)), "has no time"),
    "months": (
        changed(lambda d: d.rename(time="month").assign_coords(month=[1, 2, 3, 4])),
        "has no time",
    ),
    "a calendar of 360 days": (
        changed(
            lambda d: d.assign_coords(
                time=xr.date_range(
                    "2001-01-01", periods=4, freq="6h", calendar="360_day", use_cftime=True
                )
            )
        ),
        "calendar '?360_day",
    ),
    "Celsius called K": (
        changed(lambda d: d.assign(t=(d["t"] - 273.15).assign_attrs(units="K"))),
        "they fit units of 'c': is the attribute units='K' wrong",
    ),
    "unknown unit": (
        changed(lambda d: d.assign(t=d["t"].assign_attrs(units="furlong"))),
        "unknown for temperature",
    ),
    "height called geopotential": (
        changed(lambda d: d.assign(z=xr.full_like(d["t"], 5500.0).assign_attrs(units="m2 s-2"))),
        "they fit units of 'gpm'",
    ),
    "mislabelled": (changed(lambda d: d.rename(t="u")), r"has units 'K', which are unknown for u_"),
    "several members": (
        changed(lambda d: xr.concat([d, d], xr.DataArray([0, 1], dims="number", name="number"))),
        "2 ensemble members",
    ),
    "several leads": (changed(lambda d: d.expand_dims(step=np.arange(2) * H6)), "2 lead times"),
    "surface geopotential": (
        changed(
            lambda d: units(
                d.isel(level=0, time=0, drop=True).rename(t="z"),
                "m2 s-2",
                long_name="Surface geopotential",
            )
        ),
        "has only static fields .geopotential_at_surface",
    ),
    "wind at 100 m": (
        changed(lambda d: d.isel(level=0, drop=True).rename(t="u100")),
        "no variable of PEAR",
    ),
    "relative humidity alone": (
        changed(lambda d: units(d.rename(t="r") - 250, "%")),
        "without temperature",
    ),
    "a climatology": (
        changed(lambda d: units(d, "K", cell_methods="time: mean over years")),
        "is a climatology",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_in_one_line_and_changes_nothing(kind: str, tmp_path: Path) -> None:
    make, word = BAD[kind]
    (tmp_path / "in").mkdir()
    file = make(tmp_path / "in" / "bad.nc")
    for existing in (False, True):
        folder = tmp_path / str(existing)
        store = folder / "s.zarr"
        if existing:
            ingest([temperature(2, start=-2)], store, NSIDE)
        before = file_contents(folder)
        with pytest.raises(InputError, match=word) as caught:
            ingest([file], store, NSIDE)
        assert "\n" not in str(caught.value)
        assert file_contents(folder) == before
        assert folder.exists() == existing


def test_a_skipped_field_is_marked_as_missing_and_filled_later(tmp_path: Path) -> None:
    bad = with_nan(tmp_path / "bad.nc")
    store = tmp_path / "s.zarr"
    report = ingest(
        [bad, html(tmp_path / "w.nc")], store, NSIDE, options=IngestOptions(on_error="skip")
    )
    assert report.fields_written == 7
    assert [(r.variable, r.level, r.time) for r in report.refused] == [
        ("temperature", 850, "2001-01-01T12:00:00Z")
    ]
    assert [s.status for s in report.sources] == ["read", "refused"]
    assert describe(store)["completeness"]["missing"] == [
        {"time": "2001-01-01T12:00:00Z", "field": "temperature@850"}
    ]
    json.dumps(report.to_dict(), allow_nan=False)
    again = ingest([temperature()], store, NSIDE)
    assert (again.times_added, again.times_filled, again.times_present) == (0, 1, 3)
    assert again.fields_written == 1
    check_store(store)
    ingest([temperature()], tmp_path / "whole.zarr", NSIDE)
    assert file_contents(store) == file_contents(tmp_path / "whole.zarr")


def test_stored_fields_are_not_written_again(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest([temperature(2)], store, NSIDE, options=IngestOptions(shard_times=3))
    report = ingest([temperature(4)], store, NSIDE)
    assert (report.times_added, report.times_present, report.fields_written) == (2, 2, 4)
    check_store(store)
    before = file_contents(store)
    last = ingest([temperature(4)], store, NSIDE)
    assert (last.times_added, last.fields_written) == (0, 0)
    assert file_contents(store) == before


def test_times_before_the_store_are_refused(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest([temperature(2, start=2)], store, NSIDE)
    before = file_contents(store)
    with pytest.raises(InputError, match="lie before or between"):
        ingest([temperature(4)], store, NSIDE)
    assert file_contents(store) == before


def test_a_variable_is_added_to_an_old_store(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest([temperature()], store, NSIDE)
    wind = units(temperature(2).rename(t="u") - 260, "m s-1")
    report = ingest([wind], store, NSIDE)
    assert report.times_filled == 2
    data = open_store(store)
    assert set(data.data_vars) == {"temperature", "u_component_of_wind"}
    assert describe(store)["completeness"]["missing_count"] == 4
    check_store(store)
    assert np.isnan(data["u_component_of_wind"][2:]).all()
    assert np.isfinite(data["u_component_of_wind"][:2]).all()


def test_one_field_from_two_sources(tmp_path: Path) -> None:
    a, b = temperature(4), temperature(4)
    with pytest.raises(InputError, match="comes twice"):
        ingest([a, b], tmp_path / "s.zarr", NSIDE)
    b["t"] = b["t"] + 5
    report = ingest([a, b], tmp_path / "s.zarr", NSIDE, options=IngestOptions(on_error="skip"))
    assert len(report.duplicates) == 1
    check_store(tmp_path / "s.zarr")


def test_gaps_are_reported_and_not_filled(tmp_path: Path) -> None:
    report = ingest([temperature(6).isel(time=[0, 1, 4, 5])], tmp_path / "s.zarr", NSIDE)
    assert [gap["missing"] for gap in report.gaps] == [2]
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 4


def test_selection_of_times(tmp_path: Path) -> None:
    options = IngestOptions(start=T0 + H6, end=T0 + 5 * H6, every_hours=12)
    ingest([temperature(8)], tmp_path / "s.zarr", NSIDE, options=options)
    times = open_store(tmp_path / "s.zarr")["time"].values
    assert times.tolist() == (T0 + np.array([2, 4]) * H6).tolist()


def test_a_full_disk_is_detected_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk too full"):
        ingest(
            [temperature()], tmp_path / "s.zarr", NSIDE, options=IngestOptions(reserve_bytes=10**18)
        )
    assert not (tmp_path / "s.zarr").exists()


# ------------------------------------------------------------------------------- command line


@dataclass
class Ran:
    status: int
    out: str
    err: str


def pear(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> Ran:
    """Run the command line in this process, because a new one takes seconds to start."""
    monkeypatch.setattr(sys, "argv", ["pear", *map(str, arguments)])
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    captured = capsys.readouterr()
    return Ran(status, captured.out, captured.err)


def test_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(pear, capsys, monkeypatch)
    file = write_netcdf(temperature(), tmp_path / "a.nc")
    done = run(
        "ingest",
        file,
        "--data",
        tmp_path / "data",
        "--analysis",
        "made",
        "--nside",
        8,
        "--json",
        "--overviews",
        "4,2",
    )
    assert done.status == 0, done.err
    assert json.loads(done.out)["times_added"] == 4
    store = tmp_path / "data" / "analyses" / "made.zarr"
    check_store(store)
    told = run("inspect", store, "--json")
    assert json.loads(told.out)["grid"]["nside"] == 8
    assert json.loads(told.out)["grid"]["coarser"] == [4, 2]
    assert "complete" in run("inspect", store).out
    picture = tmp_path / "t850.png"
    drawn = run(
        "inspect",
        store,
        "--map",
        "t850",
        "--time",
        "2001-01-01T06:00Z",
        "--source",
        file,
        "--output",
        picture,
        "--json",
    )
    assert json.loads(drawn.out)["time"] == "2001-01-01T06:00:00Z"
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = tmp_path / "t.nc"
    text.write_text("hello")
    for arguments in (
        ("ingest", tmp_path / "none.nc", "--output", tmp_path / "x.zarr"),
        ("ingest", text, "--output", tmp_path / "x.zarr"),
        ("ingest", file, "--output", store, "--nside", 16),
        ("ingest", file, "--output", tmp_path / "x.zarr", "--nside", 12),
        ("ingest", file, "--output", tmp_path / "x.zarr", "--nside", 8, "--overviews", "3"),
        ("ingest", file, "--output", tmp_path / "x.zarr", "--nside", 8, "--overviews", "x"),
        ("ingest", file),
        ("inspect", tmp_path / "x.zarr"),
        ("inspect", store, "--map", "t700"),
        ("inspect", store, "--map", "t"),
        ("inspect", store, "--map", "msl"),
        ("inspect", store, "--map", "t850", "--time", "1999-01-01"),
        ("inspect", store, "--map", "t850", "--source", text),
    ):
        bad = run(*arguments)
        assert bad.status == 2, bad.err
        assert bad.err.count("\n") == 1
        assert bad.err.startswith("pear: ")
    assert not (tmp_path / "x.zarr").exists()


def test_a_partial_store_is_not_a_state(tmp_path: Path) -> None:
    ingest([temperature()], tmp_path / "s.zarr", NSIDE)
    with pytest.raises(InputError, match="lacks mean_sea_level_pressure"):
        State.from_store(tmp_path / "s.zarr", T0, Layout.default())


def test_options_of_the_climate_data_store() -> None:
    assert parse_ranges("1990..1992,1995") == (1990, 1991, 1992, 1995)
    assert parse_ranges("0,6,12,18") == (0, 6, 12, 18)
    for text in ("x", "1..", ""):
        with pytest.raises(InputError, match="invalid numbers"):
            parse_ranges(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "mine"), "pear ingest gs://"),
        (("--source", "mine"), "fsspec/conf.json"),
        (("--source", "cds"), "needs --years"),
        (("--source", "cds", "--years", "1890..1891"), "--years must be in 1940..2100"),
        (("--source", "cds", "--years", "1990", "a.nc"), "does not accept files"),
        (("a.nc", "--on-error", "stop"), "'raise', 'skip'"),
        (("a.nc", "--every", "6"), "use --step"),
        (("a.nc", "--levels", "500,x"), "invalid list '500,x'"),
    ],
)
def test_bad_options(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = pear(capsys, monkeypatch, "ingest", "--data", tmp_path, *options)
    assert bad.status == 2
    assert message in bad.err.replace("\n", " ")


def test_the_report_lists_what_is_stored(tmp_path: Path) -> None:
    """Names of fields that are all refused, or not needed, are not listed as read."""
    data = temperature(2)
    data["u"] = (data["t"] * 0 + 3).assign_attrs(units="m s-1")
    data["r"] = (data["t"] * 0.1 + 20).assign_attrs(units="%")
    data["q"] = (data["t"] * 1e-5).assign_attrs(units="kg kg-1")
    options = IngestOptions(nside=2, reserve_bytes=0, on_error="skip")
    (source,) = ingest([data], tmp_path / "s.zarr", options=options).sources
    assert source.fields == ["t", "q"]
    assert source.ignored == {
        "u": "all its fields are refused",
        "r": "not needed beside the others",
    }


def test_a_mask_in_percent_without_saying_so(tmp_path: Path) -> None:
    data = temperature(1)
    share = np.clip(np.cos(np.radians(3 * data["longitude"])), 0, 1) + 0 * data["latitude"]
    data["lsm"] = (100 * share).transpose("latitude", "longitude").assign_attrs(units="1")
    report = ingest([data], tmp_path / "s.zarr", options=IngestOptions(nside=8, reserve_bytes=0))
    assert report.static == ["land_sea_mask"]
    mask = np.asarray(schema.open_group(tmp_path / "s.zarr")["static/land_sea_mask"])
    assert 0.9 < mask.max() <= 1.0
