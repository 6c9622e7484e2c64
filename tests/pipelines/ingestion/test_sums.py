"""Hourly precipitation becomes that of 6 h: whole sums, exactly, or a refusal by name."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import ScanOptions
from pear.errors import InputError
from pear.store.reader import open_store, read_completeness
from pear.times import HOUR, to_iso
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.readers import scan_source
from pipelines.ingestion.remote_files import FileCache
from tests.fixtures.ingestion import H6, LAT, LON, NSIDE, T0, temperature
from tests.fixtures.replica import encode

NAME = "total_precipitation_6hr"
HOURLY = {"units": "m", "cell_methods": "time: sum (interval: 1 hour)"}


def options(on_error: str = "raise", **more: object) -> IngestOptions:
    return IngestOptions(
        nside=NSIDE, on_error=on_error, scan=ScanOptions(also=(NAME,)), reserve_bytes=0, **more
    )  # type: ignore[arg-type]


def rain(first: int, count: int, **attributes: object) -> xr.Dataset:
    """Return sums over the hours that end at ``first`` h after the first time, and later."""
    la, lo = np.meshgrid(np.deg2rad(LAT), np.deg2rad(LON), indexing="ij")
    hours = np.arange(first, first + count)
    fields = [np.clip(0.003 * np.cos(la) * np.cos(lo - 0.3 * hour), 0, None) for hour in hours]
    data = xr.Dataset(
        {"tp": (("time", "latitude", "longitude"), np.stack(fields).astype("f4"))},
        {"time": T0 + hours * HOUR, "latitude": LAT, "longitude": LON},
    )
    data["tp"].attrs.update(HOURLY | attributes)
    return data


def stored(path: Path) -> np.ndarray:
    return np.asarray(open_store(path)[NAME].values)


def test_six_hours_make_the_same_field_as_their_sum(tmp_path: Path) -> None:
    hourly = rain(-5, 18)
    ingest([temperature(3), hourly], tmp_path / "a.zarr", options=options())
    six = hourly["tp"].astype("f8").rolling(time=6).sum().isel(time=[5, 11, 17])
    whole = six.astype("f4").drop_attrs().assign_attrs(units="m").to_dataset(name=NAME)
    ingest([temperature(3), whole], tmp_path / "b.zarr", options=options())
    np.testing.assert_array_equal(stored(tmp_path / "a.zarr"), stored(tmp_path / "b.zarr"))
    assert np.isfinite(stored(tmp_path / "a.zarr")).all()
    assert float(stored(tmp_path / "a.zarr").max()) > 0.006


@pytest.mark.parametrize("stated", ["bounds", "long_name", "three"])
def test_the_interval_is_what_the_file_says(stated: str, tmp_path: Path) -> None:
    data = rain(-5, 12)
    del data["tp"].attrs["cell_methods"]
    if stated == "bounds":
        ends = data["time"].values
        data["time"].attrs["bounds"] = "time_bnds"
        data["time_bnds"] = (("time", "bnds"), np.stack([ends - HOUR, ends], axis=-1))
    elif stated == "long_name":
        data["tp"].attrs["long_name"] = "Total precipitation in 1 hour"
    else:
        three = data["tp"].rolling(time=3).sum().isel(time=slice(2, None, 3))
        data = three.assign_attrs(HOURLY | {"cell_methods": "time: sum (interval: 3 hours)"})
        data = data.to_dataset(name="tp")
    report = ingest([temperature(2), data], tmp_path / "a.zarr", options=options())
    ingest([temperature(2), rain(-5, 12)], tmp_path / "b.zarr", options=options())
    np.testing.assert_allclose(
        stored(tmp_path / "a.zarr"), stored(tmp_path / "b.zarr"), rtol=1e-5, atol=1e-8
    )
    count, hours = (2, 3) if stated == "three" else (6, 1)
    assert f"tp: {count} fields of {hours} h added up" in report.sources[1].converted


def test_times_that_begin_the_hour_are_refused(tmp_path: Path) -> None:
    data = rain(-5, 12)
    starts = data["time"].values
    data["time"].attrs["bounds"] = "time_bnds"
    data["time_bnds"] = (("time", "bnds"), np.stack([starts, starts + HOUR], axis=-1))
    with pytest.raises(InputError, match="is not the end of its period"):
        ingest([temperature(2), data], tmp_path / "a.zarr", options=options())


def test_a_gap_is_named_and_nothing_is_summed_over_it(tmp_path: Path) -> None:
    data = rain(-5, 18).drop_isel(time=8)  # the hour that ends at 03 UTC
    gone = to_iso(T0 + 3 * HOUR)
    with pytest.raises(InputError, match=rf"{to_iso(T0 + H6)} cannot be added up .*{gone} is miss"):
        ingest([temperature(3), data], tmp_path / "a.zarr", options=options())
    assert not (tmp_path / "a.zarr").exists()
    report = ingest([temperature(3), data], tmp_path / "a.zarr", options=options("skip"))
    assert [(one.variable, one.time) for one in report.refused] == [(NAME, to_iso(T0 + H6))]
    assert np.isfinite(stored(tmp_path / "a.zarr")).all(axis=1).tolist() == [True, False, True]


def test_what_begins_before_the_files_is_left_out_with_a_note(tmp_path: Path) -> None:
    report = ingest([temperature(2), rain(0, 7)], tmp_path / "a.zarr", options=options())
    (note,) = [one for one in report.sources[1].notes if "left out" in one]
    assert note.startswith(f"{NAME} at {to_iso(T0)} is left out: the sums that end at")
    assert np.isfinite(stored(tmp_path / "a.zarr")).all(axis=1).tolist() == [False, True]


def test_rain_alone_is_summed_at_the_times_of_the_store(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    ingest([temperature(2)], store, options=options())
    ingest([rain(-5, 6), rain(1, 6)], store, options=options())  # over the edge of two files
    assert np.isfinite(stored(store)).all()
    ingest([rain(-5, 20)], tmp_path / "alone.zarr", options=options())
    times = read_completeness(tmp_path / "alone.zarr")[0]
    assert (times.astype("datetime64[h]").astype(int) % 6 == 0).all()


def test_an_hour_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="comes twice"):
        ingest([temperature(1), rain(-5, 6), rain(-5, 6)], tmp_path / "a.zarr", options=options())


def test_hourly_rain_of_era5_in_grib_is_no_forecast(tmp_path: Path) -> None:
    """Each hour comes from a forecast from 06 or 18 UTC, as in the Climate Data Store."""
    path = tmp_path / "tp.grib"
    time = np.datetime64("2020-01-01T06", "s")
    ends = time - np.arange(5, -1, -1) * HOUR
    start = np.datetime64("2019-12-31T18", "s")
    steps = ((ends - start) / HOUR).astype(int)
    keys = [{"stepRange": f"{step - 1}-{step}"} for step in steps]
    messages = [encode("tp", 0, start, amount=0.1 * (i + 1), **k) for i, k in enumerate(keys)]
    path.write_bytes(b"".join(messages))
    state = tmp_path / "t.grib"
    state.write_bytes(encode("2t", 0, time))
    ingest([path, state], tmp_path / "a.zarr", options=options())
    values = stored(tmp_path / "a.zarr")
    assert values.shape[0] == 1
    assert np.isfinite(values).all()
    assert not open_store(tmp_path / "a.zarr")["source_lead_time"].values.any()


def test_a_sum_travels_to_a_worker_with_its_parts_alone() -> None:
    with FileCache.from_environment() as files:
        scans = list(scan_source(rain(-5, 18), ScanOptions(also=(NAME,)), lambda: Path(), files))
    from pear.datasets.sums import add_up

    summed, gaps = add_up(scans[0].variables, T0 + np.arange(3) * H6)
    assert summed is not None
    assert not gaps
    one = summed.select(np.array([T0 + H6]))
    assert one is not None
    again = pickle.loads(pickle.dumps(one))  # noqa: S301
    np.testing.assert_array_equal(again.read(0, 0), summed.read(1, 0))
    assert [part.times.size for part in one.reader.parts] == [6]  # type: ignore[attr-defined]
