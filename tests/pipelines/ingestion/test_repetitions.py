"""Ingestion of fields that are equal bit for bit to others, in one file, in several, or stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.report import IngestReport
from tests.fixtures.ingestion import temperature

EQUAL = "is equal bit for bit to"


def run(data: list[xr.Dataset], store: Path, **options: str) -> IngestReport:
    return ingest(data, store, options=IngestOptions(nside=2, reserve_bytes=0, **options))


def copied(data: xr.Dataset, **where: tuple[int, int]) -> xr.Dataset:
    """Return a dataset in which one position along a dimension is a copy of another."""
    out = data.copy(deep=True)
    for dim, (to, of) in where.items():
        out["t"][{dim: to}] = data["t"].isel({dim: of}).values
    return out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([copied(temperature(3), level=(1, 0))], r"850 hPa at .* at 500 hPa at 2001-01-01T00"),
    ],
)
def test_fields_of_the_sources(data: list[xr.Dataset], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=EQUAL) as caught:
        run(data, tmp_path / "s.zarr")
    assert caught.match(words)
    assert list(tmp_path.iterdir()) == []


def test_another_variable_that_the_store_has(tmp_path: Path) -> None:
    run([temperature(2, levels=(850,))], tmp_path / "s.zarr")
    twice = temperature(2, levels=(850,)).rename(t="t2m").isel(level=0, drop=True)
    with pytest.raises(InputError, match=r"2m_temperature .*is equal bit for bit to temperature"):
        run([twice], tmp_path / "s.zarr")


def test_skipping_leaves_out_the_copy_alone(tmp_path: Path) -> None:
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
