"""Initial states from local replicas of the public servers: whole, or a refusal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ecmwf.opendata import Client
from scipy.interpolate import RegularGridInterpolator

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.store.reader import open_store
from pear.times import HOUR, to_iso
from pear.variables import LEVELS
from pipelines.ingestion.fetch import FetchedState, download_state, fetch
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.sources.base import NotPublishedError, Selection, Source
from pipelines.ingestion.sources.gfs import Gfs
from pipelines.ingestion.sources.ifs import OpenData
from pipelines.ingestion.sources.messages import Field, check_framing
from pipelines.ingestion.sources.transfer import Transfer, TransferOptions
from tests.fixtures.replica import LAT, LON, Replica, analytic_field, encode, serving

NOW = np.datetime64("2026-11-25T20:00", "s")
T12 = np.datetime64("2026-11-25T12:00", "s")
OPTIONS = IngestOptions(nside=8, reserve_bytes=0)


@pytest.fixture
def replica() -> Iterator[Replica]:
    with serving() as found:
        yield found


@pytest.fixture
def transfer() -> Transfer:
    return Transfer(TransferOptions(tries=3, backoff_seconds=0.01, timeout_seconds=5))


def make_source(name: str, transfer: Transfer, url: str) -> Source:
    if name == "gfs":
        return Gfs(transfer, url, clock=lambda: NOW)
    model = "ifs" if name == "ifs" else "aifs-single"
    return OpenData(transfer, model, url, clock=lambda: NOW)


def add(replica: Replica, name: str, time: np.datetime64 = T12, **options: Any) -> str:
    if name == "gfs":
        return replica.add_gfs(time, **options)
    if name == "aifs":
        options = {"model": "aifs-single", "geopotential": "z", **options}
    return replica.add_ifs(time, **options)


def run(source: Source, store: Path, transfer: Transfer, *times: np.datetime64) -> FetchedState:
    wanted = np.array(times) if times else None
    (state,) = fetch(source, wanted, store, options=OPTIONS, transfer=transfer)
    return state


def interpolate(name: str, level: int, time: np.datetime64) -> np.ndarray:
    """Interpolate an analytic field to the cells of the store by another library."""
    values = analytic_field(name, level, int(to_iso(time)[11:13]))
    grid = (LAT[::-1], np.append(LON, 360.0))
    wrapped = np.concatenate([values, values[:, :1]], axis=1)[::-1]
    lat, lon = centres(OPTIONS.nside)
    return np.asarray(RegularGridInterpolator(grid, wrapped)(np.stack([lat, lon % 360], axis=-1)))


@pytest.mark.parametrize("name", ["ifs", "aifs", "gfs"])
def test_a_state_is_fetched_and_equals_its_fields(
    name: str, replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    path = add(replica, name)
    store = tmp_path / "live.zarr"
    state = run(make_source(name, transfer, replica.url), store, transfer)
    assert state.report is not None
    assert state.time == "2026-11-25T12:00:00Z"
    index = len(replica.files[index_of(path)])
    assert replica.sent == state.fetched_bytes == state.needed_bytes + index
    assert state.needed_bytes < 0.95 * len(replica.files[path])
    with open_store(store) as dataset:
        assert dataset.attrs["license"]
        for variable, short, level in [
            ("mean_sea_level_pressure", "msl", 0),
            ("2m_temperature", "2t", 0),
            ("temperature", "t", 500),
            ("specific_humidity", "q", 850),
            ("geopotential", "z", 300),
        ]:
            got = dataset[variable].isel(time=0)
            values = (got.sel(level=level) if level else got).values
            wanted = interpolate(short, level, T12)
            assert np.abs(values - wanted).max() < 1e-3 * np.ptp(wanted), variable
    assert not list(tmp_path.glob(".*fetch*"))
    again = run(make_source(name, transfer, replica.url), store, transfer, T12)
    assert (again.fetched_bytes, again.report) == (0, None)


def index_of(path: str) -> str:
    return f"{path}.idx" if path.endswith("f000") else path.removesuffix(".grib2") + ".index"


def test_the_client_of_ecmwf_gets_the_same_messages(replica: Replica, tmp_path: Path) -> None:
    replica.add_ifs(T12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = Client(
            source=replica.url, source_accept_ranges=True, source_accept_multiple_ranges=False
        )
        client.retrieve(
            date="2026-11-25",
            time=12,
            stream="oper",
            type="fc",
            step=0,
            param="gh",
            levtype="pl",
            levelist=list(LEVELS),
            target=str(tmp_path / "theirs.grib"),
        )
    theirs = (tmp_path / "theirs.grib").read_bytes()
    assert check_framing(theirs, "theirs") == len(LEVELS)
    transfer = Transfer()
    source = OpenData(transfer, "ifs", replica.url, clock=lambda: NOW)
    state = source.locate(T12, Selection())
    assert {Field("geopotential", level) for level in LEVELS} <= set(state.fields)
    ours = download_state(state, tmp_path / "ours", transfer).read_bytes()
    for level in LEVELS:
        message = encode("gh", level, T12)
        assert message in theirs
        assert message in ours


def test_relative_humidity_where_there_is_no_specific(
    replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    replica.add_gfs(T12, humidity="RH")
    run(make_source("gfs", transfer, replica.url), tmp_path / "a.zarr", transfer, T12)
    with open_store(tmp_path / "a.zarr") as dataset:
        humidity = dataset["specific_humidity"].isel(time=0)
        assert 1e-4 < float(humidity.sel(level=850).mean()) < 2e-2


@pytest.mark.parametrize("name", ["ifs", "gfs"])
def test_the_latest_cycle_is_the_newest_with_an_index(
    name: str, replica: Replica, transfer: Transfer
) -> None:
    for hours in (12, 24):
        add(replica, name, T12 - hours * HOUR)
    newest = add(replica, name)
    source = make_source(name, transfer, replica.url)
    assert source.find_latest(NOW) == T12
    del replica.files[index_of(newest)]
    assert source.find_latest(NOW) == T12 - 12 * HOUR
    replica.files.clear()
    with pytest.raises(NotPublishedError, match=r"no .* cycle of the last days"):
        source.find_latest(NOW)


@pytest.mark.parametrize("name", ["ifs", "gfs"])
@pytest.mark.parametrize("fault", ["busy", "throttled", "broken"])
def test_faults_that_pass_do_no_harm(
    name: str, fault: str, replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    path = add(replica, name)
    if fault == "broken":
        replica.broken = 2
    else:
        replica.busy, replica.busy_status = 2, 503 if fault == "busy" else 429
    state = run(make_source(name, transfer, replica.url), tmp_path / "a.zarr", transfer, T12)
    assert state.report is not None
    if fault == "broken":  # what had arrived was not fetched again
        index = len(replica.files[index_of(path)])
        assert transfer.fetched == state.needed_bytes + index


REFUSALS = [
    ("half", r"the file has \d+ bytes, but its index names byte \d+; it may still be written"),
    ("without", r"lacks .*(t at 1000 hPa|TMP)"),
    ("other", r"valid at 2026-11-25T06:00:00Z, asked for was 2026-11-25T12:00:00Z"),
    ("garbage", r"not a whole GRIB message"),
    ("noindex", r"is not published yet; expected at about 2026-11-25T(19|16):00"),
    ("html", r"is not an index"),
    ("deaf", r"ignores byte ranges"),
]


@pytest.mark.parametrize("name", ["ifs", "gfs"])
@pytest.mark.parametrize(("fault", "message"), REFUSALS, ids=[fault for fault, _ in REFUSALS])
def test_a_source_that_answers_wrongly_is_refused(
    name: str, fault: str, message: str, replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    without = ("t",) if name == "ifs" else ("TMP",)
    path = add(replica, name, without=without if fault == "without" else ())
    data = replica.files[path]
    index = index_of(path)
    if fault == "half":
        replica.files[path] = data[: len(data) // 2]
    elif fault == "other":  # the bytes of another cycle
        other = add(replica, name, T12 - 6 * HOUR)
        replica.files[path] = replica.files[other]
    elif fault == "garbage":
        replica.files[path] = data[:-200] + bytes(200)
        middle = len(data) // 2
        replica.files[path] = data[:middle] + b"x" * 4000 + data[middle + 4000 :]
    elif fault == "noindex":
        del replica.files[index]
    elif fault == "html":
        replica.files[index] = b"<html>sorry</html>"
    elif fault == "deaf":
        replica.ignores_ranges = True
    store = tmp_path / "a.zarr"
    with pytest.raises(InputError, match=message):
        run(make_source(name, transfer, replica.url), store, transfer, T12)
    assert not store.exists()
    assert not list(tmp_path.glob("**/*.grib"))


def test_a_wrong_time_is_refused_before_anything_is_asked(
    replica: Replica, transfer: Transfer
) -> None:
    for name in ("ifs", "gfs"):
        source = make_source(name, transfer, replica.url)
        with pytest.raises(InputError, match=r"12 and 18 UTC, not at 2026-11-25T03"):
            source.locate(T12 - 9 * HOUR, Selection())
        with pytest.raises(NotPublishedError, match="lies in the future; expected at about"):
            source.locate(T12 + 12 * HOUR, Selection())
    assert not replica.requests


def test_an_interrupted_fetch_goes_on_where_it_stopped(
    replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    path = replica.add_gfs(T12)
    source = make_source("gfs", transfer, replica.url)
    asked = 0

    def stop(count: int) -> None:
        nonlocal asked
        asked += count
        if asked > len(replica.files[path]) // 3:
            raise KeyboardInterrupt

    def fetched(progress: bool) -> list[FetchedState]:
        options = replace(OPTIONS)
        tick = (
            (lambda title: lambda total: lambda count, note="": stop(count)) if progress else None
        )
        return list(
            fetch(
                source,
                np.array([T12]),
                tmp_path / "a.zarr",
                options=options,
                transfer=transfer,
                progress=tick,
            )
        )

    with pytest.raises(KeyboardInterrupt):
        fetched(progress=True)
    first = replica.sent
    transfer.received = lambda _: None
    (state,) = fetched(progress=False)
    index = len(replica.files[f"{path}.idx"])
    again = replica.sent - first - index
    assert again < 0.8 * state.needed_bytes


def test_a_second_source_wins_only_when_told(
    replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    """Both have the same time; what is stored stays, and is replaced as a whole when asked to."""
    replica.add_ifs(T12)
    replica.add_gfs(T12)
    key = "/gfs.20261125/12/atmos/gfs.t12z.pgrb2.0p25.f000"
    warmer = encode("2t", 0, T12, amount=1.01)
    replica.files[key] = replica.files[key].replace(encode("2t", 0, T12), warmer)
    store = tmp_path / "a.zarr"
    run(make_source("ifs", transfer, replica.url), store, transfer, T12)
    first = open_store(store)["2m_temperature"].values
    gfs = make_source("gfs", transfer, replica.url)
    assert run(gfs, store, transfer, T12).report is None
    np.testing.assert_array_equal(open_store(store)["2m_temperature"].values, first)
    (told,) = fetch(
        gfs, np.array([T12]), store, options=OPTIONS, transfer=transfer, replace_times=True
    )
    assert told.report is not None
    assert told.report.times_replaced == 1
    np.testing.assert_allclose(open_store(store)["2m_temperature"].values, 1.01 * first, rtol=1e-4)
