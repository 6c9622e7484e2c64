"""Times of which not a single field can be stored are left out, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.store.reader import open_store
from pipelines.ingestion.block_writer import BlockWriter
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.report import IngestReport
from tests.fixtures.ingestion import H6, T0, temperature

NSIDE = 4
SKIPPING = IngestOptions(nside=NSIDE, on_error="skip", shard_times=2, reserve_bytes=0)


@pytest.fixture
def client(scheduler: str) -> Iterator[Client]:
    with Client(scheduler) as found:  # type: ignore[no-untyped-call]
        yield found


def without(data: xr.Dataset, *positions: int) -> xr.Dataset:
    """Return a dataset without values at some times, and without 850 hPa at the first of all."""
    values = data["t"].values.copy()
    values[list(positions)] = np.nan
    values[0, 1] = np.nan
    return data.assign(t=(data["t"].dims, values, data["t"].attrs))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Return all fields, (time, level, cell)."""
    store = tmp_path_factory.mktemp("whole") / "s.zarr"
    ingest([temperature(7)], store, NSIDE)
    return open_store(store)["temperature"].values


def check(store: Path, whole: np.ndarray, report: IngestReport, empty: tuple[int, ...]) -> None:
    kept = [at for at in range(len(whole)) if at not in empty]
    found = open_store(store)
    np.testing.assert_array_equal(found["time"].values, T0 + np.array(kept) * H6)
    assert [time[8:13] for time in report.left_out] == [str(T0 + at * H6)[8:13] for at in empty]
    assert (report.times_added, report.times_left_out) == (len(kept), len(empty))
    assert report.fields_written == 2 * len(kept) - 1
    assert report.refused_count == 2 * len(empty) + 1
    values, expected = found["temperature"].values, whole[kept]
    np.testing.assert_array_equal(values[1:], expected[1:])
    np.testing.assert_array_equal(values[0, 0], expected[0, 0])
    assert np.isnan(values[0, 1]).all()


@pytest.mark.parametrize("empty", [(1, 2, 6), (3, 4, 5)], ids=str)
def test_empty_times_are_left_out(
    empty: tuple[int, ...], whole: np.ndarray, tmp_path: Path
) -> None:
    report = ingest([without(temperature(7), *empty)], tmp_path / "s.zarr", options=SKIPPING)
    check(tmp_path / "s.zarr", whole, report, empty)
    assert f"{len(empty)} left out" in report.summary


def test_on_a_cluster(whole: np.ndarray, tmp_path: Path, client: Client) -> None:
    done: list[float] = []

    def progress(total: int) -> ProgressCallback:
        return lambda advance=1, note="": done.append(advance)

    report = ingest(
        [without(temperature(7), 1, 4)],
        tmp_path / "s.zarr",
        options=SKIPPING,
        client_for=lambda total: client,
        progress=progress,
    )
    check(tmp_path / "s.zarr", whole, report, (1, 4))
    assert sum(done) == 14


def test_a_time_of_the_store_that_gets_nothing_stays(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest([temperature(2, levels=(500,))], store, options=SKIPPING)
    warm = temperature(4, levels=(500,)).isel(level=0, drop=True).rename(t="t2m") + 1.0
    warm["t2m"].attrs["units"] = "K"
    warm["t2m"][[1, 3]] = np.nan
    report = ingest([warm], store, options=SKIPPING)
    assert (report.times_added, report.left_out) == (1, ["2001-01-01T18:00:00Z"])
    assert open_store(store).sizes["time"] == 3
    assert np.isnan(open_store(store)["2m_temperature"].values).any(axis=1).tolist() == [
        False,
        True,
        False,
    ]


def test_nothing_but_empty_times(tmp_path: Path) -> None:
    empty = temperature(3) * np.nan
    empty["t"].attrs["units"] = "K"
    with pytest.raises(InputError, match=r"all fields are refused .*2664 of 2664 values missing"):
        ingest([empty], tmp_path / "s.zarr", options=SKIPPING)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_of_each_variable_is_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was filled half-way is refused before all that comes before is computed."""
    filled = temperature(6)
    filled["t"][5] = np.nan
    commits: list[object] = []
    monkeypatch.setattr(BlockWriter, "_commit", lambda *arguments: commits.append(arguments))
    with pytest.raises(InputError, match="2001-01-02T06:00:00Z: 2664 of 2664 values missing"):
        ingest([filled], tmp_path / "s.zarr", options=replace(SKIPPING, on_error="raise"))
    assert commits == []
    assert list(tmp_path.iterdir()) == []
