"""Preliminary times are marked and replaced by final data; any time can be replaced, whole."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import coarsen
from pear.store.analysis import Analysis
from pear.store.reader import describe, open_store, read_preliminary
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.storage.check import check_store

LAT, LON = np.linspace(90, -90, 19), np.arange(0, 360, 10.0)
TIMES = np.array(["2020-01-01", "2020-01-02"], "M8[ns]")


def data(shift: float, expver: str | None, *names: str) -> xr.Dataset:
    """Return fields of 2 m temperature and dew point, or of what is named, shifted by kelvins."""
    la, lo = np.meshgrid(np.deg2rad(LAT), np.deg2rad(LON), indexing="ij")
    wave = 250 + 50 * np.cos(la) ** 2 + 3 * np.cos(la) * np.cos(lo - 0.7)
    fields = np.stack([wave + shift, wave + shift + 1]).astype("f4")
    coords: dict[str, object] = {"time": TIMES, "latitude": LAT, "longitude": LON}
    if expver is not None:
        coords["expver"] = ("time", [expver] * 2)
    axes = ("time", "latitude", "longitude")
    units = {"t2m": "K", "u10": "m s-1"}
    shapes = {"t2m": fields, "u10": (fields - 260) / 10}
    return xr.Dataset(
        {name: (axes, shapes[name], {"units": units[name]}) for name in names or ("t2m",)}, coords
    )


def mean(store: Path, time: int = 0) -> float:
    return float(open_store(store)["2m_temperature"].isel(time=time).mean())


def test_final_data_replace_preliminary_ones(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    first = ingest([data(5, "0005")], store, 8)
    warm = mean(store)
    assert first.times_preliminary == 2
    assert read_preliminary(store).tolist() == [True, True]
    assert describe(store)["preliminary"]["periods"][0]["count"] == 2
    again = ingest([data(6, "0005")], store, 8)
    assert (again.times_replaced, mean(store)) == (0, warm)
    final = ingest([data(0, "0001")], store, 8)
    assert (final.times_replaced, final.times_added, final.times_filled) == (2, 0, 0)
    assert warm - mean(store) == pytest.approx(5, abs=1e-3)
    assert not read_preliminary(store).any()
    assert ingest([data(9, "0005")], store, 8).times_replaced == 0
    assert check_store(store).is_healthy
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_times_stay_preliminary_at_another_resolution(tmp_path: Path) -> None:
    ingest([data(0, "0005")], tmp_path / "fine.zarr", nside=8)
    report = ingest([tmp_path / "fine.zarr"], tmp_path / "coarse.zarr", nside=4)
    assert report.times_preliminary == 2
    np.testing.assert_allclose(
        open_store(tmp_path / "coarse.zarr")["2m_temperature"],
        coarsen(open_store(tmp_path / "fine.zarr")["2m_temperature"].values, 4),
    )


def test_final_before_preliminary_within_one_ingestion(tmp_path: Path) -> None:
    report = ingest([data(5, "0005"), data(0, "0001")], tmp_path / "s.zarr", 8)
    ingest([data(0, "0001")], tmp_path / "final.zarr", 8)
    assert report.times_preliminary == 0
    assert mean(tmp_path / "s.zarr") == mean(tmp_path / "final.zarr")


def test_part_of_the_final_data_leaves_the_time_as_it_is(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest([data(5, "0005", "t2m", "u10")], store, 8)
    warm = mean(store)
    report = ingest([data(0, "0001")], store, 8)
    assert (report.times_replaced, report.times_preliminary, mean(store)) == (0, 2, warm)
    assert "lack 10m_u_component_of_wind" in report.kept[0]


def test_replace_takes_only_the_span(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest([data(0, None)], store, 8)
    before = mean(store, 1)
    span = (np.datetime64("2020-01-01", "s"), np.datetime64("2020-01-01T12", "s"))
    report = ingest([data(5, None)], store, 8, options=IngestOptions(nside=8, replace=span))
    assert (report.times_replaced, mean(store, 1)) == (1, before)
    assert mean(store) - before == pytest.approx(4, abs=1e-3)
    late = (np.datetime64("2021-01-01", "s"), np.datetime64("2021-01-02", "s"))
    with pytest.raises(InputError, match="of which the sources have none"):
        ingest([data(5, None)], store, options=IngestOptions(nside=8, replace=late))


def test_a_faulty_field_undoes_the_whole_ingestion(tmp_path: Path) -> None:
    bad = data(0, None)
    bad["t2m"][1, :3] = np.nan
    options = IngestOptions(nside=8, shard_times=1)
    with pytest.raises(InputError, match="missing"):
        ingest([bad], tmp_path / "new.zarr", options=options)
    assert list(tmp_path.iterdir()) == []
    store = tmp_path / "s.zarr"
    ingest([data(0, "0005")], store, options=options)
    old = mean(store), mean(store, 1)
    bad = bad.assign_coords(expver=("time", ["0001"] * 2))
    with pytest.raises(InputError, match="missing"):
        ingest([bad], store, options=options)
    assert (mean(store), mean(store, 1)) == old
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_a_state_is_never_of_two_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer replaces the times after the first variable of a state was read."""
    store = tmp_path / "s.zarr"
    span = (np.datetime64("2020-01-01", "s"), np.datetime64("2020-01-03", "s"))
    options = IngestOptions(nside=8, reserve_bytes=0)
    ingest([data(0, None, "t2m", "u10")], store, options=options)
    state = Analysis(store)
    old = state.read(state.times[0])
    pending = [5.0]

    def coarsen_and_replace(values: np.ndarray, nside: int) -> np.ndarray:
        if pending:
            new = data(pending.pop(), None, "t2m", "u10")
            ingest([new], store, options=replace(options, replace=span))
        return coarsen(values, nside)

    monkeypatch.setattr("pear.store.coarse.coarsen", coarsen_and_replace)
    read = state.read(state.times[0])
    change = dict(zip(state.layout.names, (read - old).mean(axis=-1), strict=True))
    assert change["2m_temperature"] == pytest.approx(5, abs=1e-3)
    assert change["10m_u_component_of_wind"] == pytest.approx(0.5, abs=0.01)


def test_a_store_that_is_written_all_the_time_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest([data(0, None)], tmp_path / "s.zarr", 8)
    state = Analysis(tmp_path / "s.zarr")
    stamps = itertools.count()
    monkeypatch.setattr("pear.store.replacement.stamp_of", lambda _: next(stamps))
    with pytest.raises(OSError, match="faster than it can be read"):
        state.read(state.times[0])


@pytest.mark.slow
def test_killed_replacements_leave_every_time_old_or_new(tmp_path: Path) -> None:
    """Both variables of a time come from the same data, whenever the process was killed."""
    store = tmp_path / "s.zarr"
    span = (np.datetime64("2020-01-01", "s"), np.datetime64("2020-01-03", "s"))
    options = IngestOptions(nside=8, shard_times=1, reserve_bytes=0, replace=span)

    def pair(shift: float) -> xr.Dataset:
        return data(shift, None, "t2m", "u10")

    def shifts() -> list[tuple[float, float]]:
        with open_store(store) as dataset:
            t2m = dataset["2m_temperature"].mean("cell").values
            u10 = dataset["10m_u_component_of_wind"].mean("cell").values * 10
        return list(zip(t2m - first[0], u10 - first[1], strict=True))

    first = (np.zeros(2), np.zeros(2))
    ingest([pair(0)], store, options=replace(options, replace=None))
    before = np.array(shifts()).T
    first = (before[0], before[1])
    began = time.monotonic()
    ingest([pair(5)], store, options=options)
    usual = time.monotonic() - began
    rng = random.Random(1)
    kills = 0
    for attempt in range(200):
        child = os.fork()
        if child == 0:
            ingest([pair(5 * (attempt % 2))], store, options=options)
            os._exit(0)
        time.sleep(rng.uniform(0, 1.2 * usual))
        os.kill(child, signal.SIGKILL)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
        for warmer, windier in shifts():
            assert warmer == pytest.approx(windier, abs=0.1)
            assert min(abs(warmer), abs(warmer - 5)) < 0.1
        if kills == 40:
            break
    assert kills == 40
    ingest([pair(0)], store, options=options)
    assert np.abs(shifts()).max() < 0.1
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]
