"""Synthetic GRIB: packings, orders of points, level types, versions, multi-field messages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.datasets.base import Scan, ScanOptions
from pear.errors import InputError
from pear.store.reader import describe, open_store
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.readers import scan_source
from pipelines.ingestion.report import IngestReport
from tests.fixtures.ingestion import (
    H6,
    LAT,
    LON,
    NSIDE,
    T0,
    analytic_temperature,
    check_store,
    nearly,
    temperature_on_cells,
)

eccodes = pytest.importorskip("eccodes")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_grib_and_maps_in_one_process(order: tuple[int, int]) -> None:
    """ecCodes brings its own PROJ, which pyproj and cartopy must not call."""
    pytest.importorskip("pyproj")
    halves = (
        "from pipelines.ingestion.readers import eccodes as library; library.load()",
        "import pyproj, cartopy.crs; assert pyproj.CRS.from_epsg(4326).name == 'WGS 84'",
    )
    code = "; ".join(halves[half] for half in order)
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@contextmanager
def message(
    time: int, level: int | None = None, values: np.ndarray | None = None, **keys: Any
) -> Iterator[Any]:
    """Make one field: 5 degrees, from the north pole and 0 E by default."""
    edition = keys.pop("edition", 2)
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_pl_grib{edition}")
    upwards, west = keys.pop("upwards", 0), keys.pop("west", 0.0)
    moment = T0 + time * H6
    date, hour = str(moment)[:10].replace("-", ""), int(str(moment)[11:13])
    lat = LAT[::-1] if upwards else LAT
    ends = {
        "latitudeOfFirstGridPoint": lat[0],
        "latitudeOfLastGridPoint": lat[-1],
        "longitudeOfFirstGridPoint": west,
        "longitudeOfLastGridPoint": (west + 355.0) % 360,
    }
    wanted = {
        "Ni": LON.size,
        "Nj": LAT.size,
        "jScansPositively": upwards,
        "iDirectionIncrementInDegrees": 5.0,
        "jDirectionIncrementInDegrees": 5.0,
        **{f"{name}InDegrees": float(value) for name, value in ends.items()},
        "dataDate": int(date),
        "dataTime": hour * 100,
        "shortName": "t",
        **keys,
    }
    if level is not None:
        wanted["level"] = level
    packing = wanted.pop("packingType", None)
    for name, value in wanted.items():
        eccodes.codes_set(handle, name, value)
    la, lo = np.meshgrid(lat, (LON + west) % 360, indexing="ij")
    field = analytic_temperature(la, lo, time, level or 0) if values is None else values
    eccodes.codes_set_values(handle, field.ravel())
    if packing:
        eccodes.codes_set(handle, "packingType", packing)
    try:
        yield handle
    finally:
        eccodes.codes_release(handle)


def write(path: Path, *fields: dict[str, Any]) -> Path:
    with path.open("wb") as file:
        for keys in fields:
            with message(**keys) as handle:
                eccodes.codes_write(handle, file)
    return path


def whole(**keys: Any) -> list[dict[str, Any]]:
    """Four times of temperature at 850 and 500 hPa, in that order."""
    return [{"time": t, "level": lev, **keys} for t in range(4) for lev in (850, 500)]


def run(path: Path, store: Path, **settings: Any) -> IngestReport:
    return ingest([path], store, NSIDE, options=IngestOptions(**settings))


@pytest.mark.parametrize(
    "keys",
    [
        {"edition": 1},
        {"edition": 2},
        {"packingType": "grid_ccsds"},
        {"packingType": "grid_second_order", "edition": 1},
        {"packingType": "grid_complex_spatial_differencing"},
        {"upwards": 1},
        {"west": 45.0},
        {"west": 180.0, "upwards": 1, "edition": 1},
    ],
    ids=str,
)
def test_packings_and_orders_of_points(keys: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a.grib", *whole(**keys))
    with message(0, 850, **keys) as handle:
        if "packingType" in keys:
            assert eccodes.codes_get(handle, "packingType") == keys["packingType"]
    report = run(path, tmp_path / "s.zarr")
    assert (report.fields_written, report.refused_count) == (8, 0)
    check_store(tmp_path / "s.zarr")


@pytest.mark.parametrize("switched_off", [False, True])
def test_several_fields_in_one_message(switched_off: bool, tmp_path: Path) -> None:
    """NCEP writes both wind components into one message with repeated sections.

    ecCodes unfolds them by a switch of the process, which cfgrib turns off when xarray loads it.
    """
    path = tmp_path / "a.grib2"
    for t in range(4):
        together = eccodes.codes_grib_multi_new()
        for level in (850, 500):
            with message(t, level) as handle:
                eccodes.codes_grib_multi_append(handle, 4, together)
        with path.open("ab") as file:
            eccodes.codes_grib_multi_write(together, file)
        eccodes.codes_grib_multi_release(together)
    assert path.read_bytes().count(b"GRIB") == 4
    if switched_off:
        eccodes.codes_grib_multi_support_off()
    assert run(path, tmp_path / "s.zarr").fields_written == 8
    check_store(tmp_path / "s.zarr")


def test_level_types_are_distinguished(tmp_path: Path) -> None:
    """A name means something else at a height, on a model level or at the surface."""
    warm = nearly(288.0, (LAT.size, LON.size))
    wind = nearly(7.0, (LAT.size, LON.size))
    path = write(
        tmp_path / "a.grib2",
        *whole(),
        {"time": 0, "values": warm, "shortName": "2t"},
        {"time": 0, "values": wind, "shortName": "10u"},
        {"time": 0, "values": wind, "shortName": "100u"},
        {"time": 0, "values": warm, "typeOfLevel": "hybrid", "level": 60},
    )
    report = run(path, tmp_path / "s.zarr")
    assert report.variables == ["10m_u_component_of_wind", "2m_temperature", "temperature"]
    check_store(tmp_path / "s.zarr")
    assert set(report.sources[0].ignored) == {"100u (heightAboveGround)", "t (hybrid)"}
    got = open_store(tmp_path / "s.zarr").isel(time=0)
    np.testing.assert_allclose(got["2m_temperature"], 288.0, atol=1e-3)
    np.testing.assert_allclose(got["10m_u_component_of_wind"], 7.0, atol=1e-3)


def test_final_before_preliminary(tmp_path: Path) -> None:
    """ERA5T (expver 5) is flagged, and left out where ERA5 has the field as well."""
    wrong = nearly(240.0, (LAT.size, LON.size))
    mars = {"edition": 1, "setLocalDefinition": 1, "localDefinitionNumber": 1}
    final = [{**keys, "expver": "0001"} for keys in whole(**mars)]
    early = [{**final[0], "values": wrong, "expver": "0005"}, *final]
    report = run(write(tmp_path / "a.grib", *early), tmp_path / "s.zarr")
    check_store(tmp_path / "s.zarr")
    assert report.sources[0].notes == [
        "t: some times are preliminary (expver 5, ERA5T)",
        "t: experiment versions merged, final first",
    ]


def test_forecasts_are_noted(tmp_path: Path) -> None:
    la, lo = np.meshgrid(LAT, LON, indexing="ij")
    fields = [
        {"time": 0, "level": lev, "stepRange": step, "values": analytic_temperature(la, lo, n, lev)}
        for n, step in enumerate((0, 6))
        for lev in (850, 500)
    ]
    report = run(write(tmp_path / "a.grib", *fields), tmp_path / "s.zarr")
    assert report.sources[0].notes == ["t: forecasts of 0, 6 h, stored at their valid times"]
    assert (
        open_store(tmp_path / "s.zarr")["time"].values.tolist() == (T0 + np.arange(2) * H6).tolist()
    )


def test_a_time_mean_is_skipped(tmp_path: Path) -> None:
    keys = {"productDefinitionTemplateNumber": 8, "stepType": "avg", "stepRange": "0-6"}
    path = write(tmp_path / "a.grib2", {"time": 0, "level": 850, **keys})
    with pytest.raises(InputError, match=r"avg over a period, not a state|avg_t .*not a variable"):
        run(path, tmp_path / "s.zarr")


def test_a_duplicate_field(tmp_path: Path) -> None:
    path = write(tmp_path / "a.grib", *whole(), {"time": 1, "level": 500})
    with pytest.raises(InputError, match=r"temperature at 500 hPa at .*06:00:00Z comes twice"):
        run(path, tmp_path / "s.zarr")
    report = run(path, tmp_path / "s.zarr", on_error="skip")
    assert len(report.duplicates) == 1
    check_store(tmp_path / "s.zarr")


def test_a_bitmap_marks_missing_values(tmp_path: Path) -> None:
    la, lo = np.meshgrid(LAT, LON, indexing="ij")
    values = analytic_temperature(la, lo, 1, 500)
    values[20, :7] = 9999.0
    keys = {"bitmapPresent": 1, "missingValue": 9999.0}
    fields = [f for f in whole() if (f["time"], f["level"]) != (1, 500)]
    path = write(tmp_path / "a.grib", *fields, {"time": 1, "level": 500, "values": values, **keys})
    with pytest.raises(InputError, match="7 of 2664 values missing"):
        run(path, tmp_path / "s.zarr")
    report = run(path, tmp_path / "s.zarr", on_error="skip")
    assert report.fields_written == 7
    assert describe(tmp_path / "s.zarr")["completeness"]["missing"] == [
        {"time": "2001-01-01T06:00:00Z", "field": "temperature@500"}
    ]


def test_a_damaged_message(tmp_path: Path) -> None:
    """A damaged message is lost with what follows inseparably; the rest is kept."""
    data = write(tmp_path / "a.grib", *whole()).read_bytes()
    size = len(data) // 8
    (tmp_path / "b.grib").write_bytes(data[: 3 * size + 50] + data[3 * size + 60 :])
    with pytest.raises(InputError, match=r"b\.grib"):
        run(tmp_path / "b.grib", tmp_path / "s.zarr")
    report = run(tmp_path / "b.grib", tmp_path / "s.zarr", on_error="skip")
    assert report.fields_written >= 3
    assert report.sources[0].notes
    got = open_store(tmp_path / "s.zarr")["temperature"].isel(time=0)
    for level in (500, 850):
        assert np.abs(got.sel(level=level).values - temperature_on_cells(0, level)).max() < 0.1


def test_a_header_of_billions_of_points_is_damaged(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a.grib", whole()[0]).read_bytes())
    (at,) = [
        at for at in range(len(data)) if data[at : at + 8] == bytes([0, 0, 0, 72, 0, 0, 0, 37])
    ]
    data[at] = 127
    (tmp_path / "a.grib").write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"on 37 x 21\d+ points by its header"):
        run(tmp_path / "a.grib", tmp_path / "s.zarr")


def test_the_library_says_nothing_by_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What ecCodes prints about damaged messages goes to the log, not beside the one line."""
    with message(0, 500, edition=1) as handle:
        data = bytearray(eccodes.codes_get_message(handle))
    grid = 8 + int.from_bytes(data[8:11], "big")  # the second section follows the first
    data[grid + 5] = 233  # a kind of grid that does not exist
    (tmp_path / "a.grib").write_bytes(data)
    with caplog.at_level("DEBUG"), pytest.raises(InputError):
        ingest([tmp_path / "a.grib"], tmp_path / "s.zarr", NSIDE)
    assert capfd.readouterr().err == ""
    assert "ecCodes: Unable to find template dataRepresentation" in caplog.text


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"indicatorOfUnitOfTimeRange": 3, "forecastTime": 1}, "lead of 1 months"),
        ({"indicatorOfUnitOfTimeRange": 4, "forecastTime": 2}, "lead of 2 years"),
        ({"indicatorOfUnitOfTimeRange": 7, "forecastTime": 1}, "lead of 1 centuries"),
        ({"unitOfTimeRange": 3, "P1": 1, "edition": 1}, "lead of 1 months"),
        ({"second": 17}, "0000 and 17 s .*not a whole minute"),
        ({"indicatorOfUnitOfTimeRange": 13, "forecastTime": 90}, "lead of 90 s: not a whole"),
    ],
)
def test_times_that_are_not_exact(keys: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.grib", {"time": 0, "level": 500, **keys})
    with pytest.raises(InputError, match=words):
        run(path, tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(
    ("keys", "hours"),
    [
        ({"indicatorOfUnitOfTimeRange": 10, "forecastTime": 4}, 12),
        ({"indicatorOfUnitOfTimeRange": 2, "forecastTime": 1}, 24),
        ({"indicatorOfUnitOfTimeRange": 13, "forecastTime": 7200}, 2),
        ({"indicatorOfUnitOfTimeRange": 3, "forecastTime": 0}, 0),
    ],
)
def test_leads_of_other_units(keys: dict[str, Any], hours: int, tmp_path: Path) -> None:
    run(write(tmp_path / "a.grib", {"time": 0, "level": 500, **keys}), tmp_path / "s.zarr")
    times = open_store(tmp_path / "s.zarr")["time"].values
    assert times.tolist() == [(T0 + np.timedelta64(hours, "h")).astype(times.dtype).item()]


@pytest.mark.parametrize(("upwards", "said"), [(0, 1), (1, 0)])
def test_rows_in_another_direction_than_the_header_says(
    upwards: int, said: int, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.grib", *whole(upwards=upwards, jScansPositively=said))
    ends = "-90 to 90" if upwards else "90 to -90"
    message = f"says jScansPositively {said}, but its rows run from latitude {ends}"
    with pytest.raises(InputError, match=message):
        run(path, tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


def test_a_member_of_a_file_without_members(tmp_path: Path) -> None:
    path = write(tmp_path / "a.grib", *whole())
    with pytest.raises(InputError, match="t does not say of which ensemble member it is"):
        run(path, tmp_path / "s.zarr", scan=ScanOptions(3))


@pytest.mark.parametrize("lost", [1, 2])
def test_a_file_that_was_cut_between_two_messages(lost: int, tmp_path: Path) -> None:
    wind = [{"time": 0, "level": lev, "shortName": name} for name in "uv" for lev in (850, 500)]
    fields = whole() if lost == 1 else wind
    path = write(tmp_path / "a.grib", *fields[:-lost])
    scan = scan_file(path)
    name, level = ("t", 500) if lost == 1 else ("v", 500)
    if lost == 2:  # the second component is not there at all
        assert scan.notes == []
        path = write(tmp_path / "a.grib", *fields[:-1])
        scan = scan_file(path)
    (note,) = scan.notes
    assert f"lacks 1 of the fields that the rest of it implies, first {name} at {level} hPa" in note
    assert scan_file(write(tmp_path / "a.grib", *fields)).notes == []


def test_a_file_that_is_shorter_than_its_index(tmp_path: Path) -> None:
    path = write(tmp_path / "a.grib2", *whole()[:2])
    index = tmp_path / "a.grib2.idx"
    index.write_text("1:0:d=2001010100:TMP:850 mb:anl:\n2:99999:d=2001010100:TMP:500 mb:anl:\n")
    (note,) = scan_file(path).notes
    assert "its index a.grib2.idx lists 2 messages, of which 1 begin beyond" in note
    index.write_text("1:0:d=2001010100:TMP:850 mb:anl:\n")
    assert scan_file(path).notes == []
    index.rename(tmp_path / "a.index").write_text('{"_offset": 0}\n{"_offset": 123456}\n')
    assert "its index a.index lists 2 messages" in scan_file(path).notes[0]


def scan_file(path: Path) -> Scan:
    (scan,) = scan_source(path, ScanOptions(), lambda: path.parent)
    return scan
