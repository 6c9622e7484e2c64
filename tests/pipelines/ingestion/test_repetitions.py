"""Ingestion of fields that are equal bit for bit to others, in one file, in several, or stored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import ScanOptions
from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.report import IngestReport
from tests.fixtures.ingestion import H6, T0, temperature

EQUAL = "is equal bit for bit to"


def run(data: list[xr.Dataset], store: Path, **options: Any) -> IngestReport:
    return ingest(data, store, options=IngestOptions(nside=2, reserve_bytes=0, **options))


def copied(data: xr.Dataset, **where: tuple[int, int]) -> xr.Dataset:
    """Return a dataset in which one position along a dimension is a copy of another."""
    out = data.copy(deep=True)
    (name,) = data.data_vars
    for dim, (to, of) in where.items():
        out[name][{dim: to}] = data[name].isel({dim: of}).values
    return out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([copied(temperature(3), level=(1, 0))], r"850 hPa at .* at 500 hPa at 2001-01-01T00"),
        ([copied(temperature(3), time=(2, 1))], r"12:00:00Z\) .*500 hPa at 2001-01-01T06:00:00Z"),
        ([copied(temperature(3), time=(1, 0))], r"06:00:00Z\) .* at 2001-01-01T00:00:00Z"),
        ([copied(temperature(4), time=(3, 0))], r"18:00:00Z\) .* at 2001-01-01T00:00:00Z"),
        ([copied(temperature(2), time=(1, 0))], r"06:00:00Z\) .* at 2001-01-01T00:00:00Z"),
        (
            [temperature(2), temperature(2).assign_coords(time=temperature(2, start=2).time)],
            r"12:00:00Z\) .* at 2001-01-01T00:00:00Z",
        ),
    ],
)
def test_fields_of_the_sources(data: list[xr.Dataset], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=EQUAL) as caught:
        run(data, tmp_path / "s.zarr")
    assert caught.match(words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shard_times", [1, 4])
def test_one_state_at_all_times_must_say_that_it_is_made(shard_times: int, tmp_path: Path) -> None:
    same = temperature(3).isel(time=[0, 0, 0]).assign_coords(time=temperature(3).time)
    with pytest.raises(InputError, match=r"T06:00:00Z.* is equal .*T00:00:00Z"):
        run([same], tmp_path / "s.zarr", shard_times=shard_times)
    assert list(tmp_path.iterdir()) == []
    made = same.assign_attrs(idealised="true")
    assert run([made], tmp_path / "s.zarr", shard_times=shard_times).times_added == 3


def test_a_northward_wind_that_is_the_eastward_one(tmp_path: Path) -> None:
    u = temperature(1, levels=(500,)).t - 260
    data = xr.Dataset({name: u.assign_attrs(units="m s-1") for name in ("u", "v")})
    with pytest.raises(InputError, match=r"v \(v_comp.* is equal .* u_component_of_wind at 500"):
        run([data], tmp_path / "s.zarr")


def formulas(*warmer: float) -> xr.Dataset:
    """Return one smooth temperature for each number of kelvin that is added to it."""
    data = temperature(len(warmer), levels=(500,))
    angle = np.deg2rad(data["latitude"])
    east = np.cos(angle) * np.cos(np.deg2rad(data["longitude"]) - 0.7)
    field = 250 + 30 * np.cos(angle) ** 2 + 8 * np.sin(angle) + 3 * east
    times = xr.DataArray(list(warmer), dims="time", coords={"time": data["time"]})
    made = (field + times * np.sin(angle)).expand_dims(level=[500]).transpose(*data.t.dims)
    return data.assign(t=made.astype("f4").assign_attrs(units="K"))


def test_a_formula_may_be_the_same_at_all_times(tmp_path: Path) -> None:
    options = IngestOptions(nside=8, reserve_bytes=0, shard_times=1)
    assert ingest([formulas(0, 0, 0)], tmp_path / "s.zarr", options=options).times_added == 3
    u = formulas(0).t - 260
    wind = xr.Dataset({name: u.assign_attrs(units="m s-1") for name in ("u", "v")})
    assert ingest([wind], tmp_path / "w.zarr", options=options).times_added == 1


@pytest.mark.parametrize("shard_times", [1, 4])
@pytest.mark.parametrize("warmer", [(0, 1, 0), (0, 0, 1), (1, 0, 0)])
def test_a_formula_that_is_copied_from_another_time(
    warmer: tuple[float, ...], shard_times: int, tmp_path: Path
) -> None:
    options = IngestOptions(nside=8, reserve_bytes=0, shard_times=shard_times)
    with pytest.raises(InputError, match=EQUAL + ".*, while other times differ"):
        ingest([formulas(*warmer)], tmp_path / "s.zarr", options=options)


def test_a_later_file_under_an_earlier_date(tmp_path: Path) -> None:
    run([temperature(6)], tmp_path / "s.zarr")
    again = temperature(4).assign_coords(time=temperature(4, start=6).time)
    with pytest.raises(InputError, match=r"T12:00:00Z\) is equal .*2001-01-01T00:00:00Z"):
        run([again], tmp_path / "s.zarr")
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 6


def test_the_store_is_compared_as_far_as_reading_is_cheap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run([temperature(6)], tmp_path / "s.zarr")
    fields = 4 * 48 * 2
    for name, room in (("t.zarr", 2 * fields), ("u.zarr", 3 * fields)):
        monkeypatch.setattr("pipelines.ingestion.repetitions._COMPARED_BYTES", room)
        shutil.copytree(tmp_path / "s.zarr", tmp_path / name)
        third = temperature(6).isel(time=[2]).assign_coords(time=temperature(1, start=6).time)
        if room == 2 * fields:
            assert run([third], tmp_path / name).times_added == 1
        else:
            with pytest.raises(InputError, match=EQUAL):
                run([third], tmp_path / name)


def test_the_last_times_of_the_store(tmp_path: Path) -> None:
    run([temperature(2)], tmp_path / "s.zarr")
    again = temperature(2).isel(time=[1])
    again["time"] = again["time"] + H6
    with pytest.raises(InputError, match=r"T12:00:00Z\) is equal .*T06:00:00Z"):
        run([again], tmp_path / "s.zarr")
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 2
    run([temperature(2, start=2)], tmp_path / "s.zarr")
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 4


def test_a_replaced_time_is_compared_with_those_around_it(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run([temperature(4)], store)
    span = (T0 + H6, T0 + H6)
    wrong = temperature(3).isel(time=[2]).assign_coords(time=temperature(2).time[1:])
    with pytest.raises(InputError, match=r"T06:00:00Z\) is equal .*T12:00:00Z"):
        run([wrong], store, replace=span)
    right = temperature(2).isel(time=[1])
    assert run([right], store, replace=span).times_replaced == 1


def test_the_sea_may_stay_as_it_is(tmp_path: Path) -> None:
    sea = temperature(3, levels=(850,)).rename(t="sst").isel(level=0, drop=True)
    sea["sst"] = (0.5 * sea["sst"] + 155).assign_attrs(units="K")
    scan = ScanOptions(also=("sea_surface_temperature",))
    report = run([copied(sea, time=(1, 0))], tmp_path / "s.zarr", scan=scan)
    assert report.fields_written == 3


def test_another_variable_that_the_store_has(tmp_path: Path) -> None:
    run([temperature(2, levels=(850,))], tmp_path / "s.zarr")
    twice = temperature(2, levels=(850,)).rename(t="t2m").isel(level=0, drop=True)
    with pytest.raises(InputError, match=r"2m_temperature .*is equal bit for bit to temperature"):
        run([twice], tmp_path / "s.zarr")


def test_skipping_leaves_out_the_copy_alone(tmp_path: Path) -> None:
    report = run([copied(temperature(3), time=(2, 1))], tmp_path / "t.zarr", on_error="skip")
    assert (report.times_added, report.left_out) == (2, ["2001-01-01T12:00:00Z"])
    report = run([copied(temperature(3), level=(1, 0))], tmp_path / "s.zarr", on_error="skip")
    assert [(one.level, one.time[11:13]) for one in report.refused] == [
        (850, hour) for hour in ("00", "06", "12")
    ]
    assert report.fields_written == 3
    found = open_store(tmp_path / "s.zarr")["temperature"]
    assert np.isfinite(found.sel(level=500).values).all()


def test_an_idealised_source_may_repeat_itself(tmp_path: Path) -> None:
    data = copied(temperature(3), level=(1, 0)).assign_attrs(idealised="true")
    report = run([data], tmp_path / "s.zarr")
    assert report.fields_written == 6
    assert "idealised" in report.sources[0].notes[0]
