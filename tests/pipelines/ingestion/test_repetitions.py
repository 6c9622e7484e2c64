"""Ingestion of fields that are equal bit for bit to others, in one file, in several, or stored."""

from __future__ import annotations

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
        ([copied(temperature(3), time=(1, 0))], r"06:00:00Z\) .* at 2001-01-01T00:00:00Z, while"),
        ([copied(temperature(4), time=(3, 0))], r"18:00:00Z\) .* at 2001-01-01T00:00:00Z, while"),
    ],
)
def test_fields_of_the_sources(data: list[xr.Dataset], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=EQUAL) as caught:
        run(data, tmp_path / "s.zarr")
    assert caught.match(words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shard_times", [1, 4])
def test_one_state_at_all_times_is_a_made_one(shard_times: int, tmp_path: Path) -> None:
    same = temperature(3).isel(time=[0, 0, 0]).assign_coords(time=temperature(3).time)
    report = run([same], tmp_path / "s.zarr", shard_times=shard_times)
    assert report.times_added == 3
    with pytest.raises(InputError, match=r"T06:00:00Z.* is equal .*T00:00:00Z, while other times"):
        run([xr.concat([same, temperature(1, start=3)], "time")], tmp_path / "t.zarr")
    assert not (tmp_path / "t.zarr").exists()


def test_a_copy_that_a_later_file_of_the_store_reveals(tmp_path: Path) -> None:
    late = copied(temperature(4), time=(1, 0))
    with pytest.raises(InputError, match=r"T06:00:00Z is equal .*T00:00:00Z, while other times"):
        run([late], tmp_path / "s.zarr", shard_times=2)
    assert list(tmp_path.iterdir()) == []
    report = run([late], tmp_path / "s.zarr", shard_times=2, on_error="skip")
    assert [text[:54] for text in report.duplicates] == [
        "temperature at 500 hPa at 2001-01-01T06:00:00Z is equal"[:54],
        "temperature at 850 hPa at 2001-01-01T06:00:00Z is equal"[:54],
    ]


def test_the_last_times_of_the_store(tmp_path: Path) -> None:
    run([temperature(2)], tmp_path / "s.zarr")
    again = temperature(2).isel(time=[1])
    again["time"] = again["time"] + H6
    with pytest.raises(InputError, match=r"T12:00:00Z\) is equal .*T06:00:00Z, while"):
        run([again], tmp_path / "s.zarr")
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 2
    run([temperature(2, start=2)], tmp_path / "s.zarr")
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 4


def test_a_replaced_time_is_compared_with_those_around_it(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run([temperature(4)], store)
    span = (T0 + H6, T0 + H6)
    wrong = temperature(3).isel(time=[2]).assign_coords(time=temperature(2).time[1:])
    with pytest.raises(InputError, match=r"T06:00:00Z\) is equal .*T12:00:00Z, while"):
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
