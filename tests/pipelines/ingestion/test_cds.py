"""Downloads of ERA5 from a local server that speaks the API of the Climate Data Store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.store.reader import describe, open_store
from pear.variables import Layout
from pipelines.ingestion.cds import Account, DataStore, Session, month_requests
from pipelines.ingestion.cds_months import ingest_from_cds
from pipelines.ingestion.fetch import fetch, open_source
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.report import IngestReport
from pipelines.ingestion.sources.transfer import Transfer
from tests.fixtures.data_store import KEY, FakeDataStore, serving_data_store


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDataStore]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    (tmp_path / "server").mkdir()
    with serving_data_store(tmp_path / "server") as state:
        yield state


def client(server: FakeDataStore, folder: Path, key: str = KEY) -> DataStore:
    return DataStore(Account(server.url, key), folder)


def run(server: FakeDataStore, tmp_path: Path, months: list[tuple[int, int]]) -> list[IngestReport]:
    options = IngestOptions(nside=2, levels=(1000, 500), reserve_bytes=0, shard_times=40)
    store, source = tmp_path / "s.zarr", client(server, tmp_path / "cds")
    return list(ingest_from_cds(source, store, months, [12], options=options))


def test_two_months(server: FakeDataStore, tmp_path: Path) -> None:
    server.busy, server.truncated = 2, 1
    reports = run(server, tmp_path, [(2000, 2), (2000, 3)])
    assert [report.times_added for report in reports] == [29, 31]
    described = describe(tmp_path / "s.zarr")
    assert described["completeness"]["complete"] is True
    assert described["times"]["first"] == "2000-02-01T12:00:00Z"
    assert described["times"]["last"] == "2000-03-31T12:00:00Z"
    assert set(described["variables"]) == set(Layout.default().names)
    assert server.seen == {"submitted": 4, "downloads": 5}  # one of them after less than 1 MB
    assert not list((tmp_path / "cds").iterdir())  # files that are ingested are deleted
    surface = next(job for job in server.jobs.values() if "pressure_level" not in job["inputs"])
    assert surface["dataset"] == "reanalysis-era5-single-levels"
    assert surface["inputs"]["day"][-1] == "29"
    assert surface["inputs"]["time"] == ["12:00"]


def test_the_key_is_sent_to_the_data_store_only(server: FakeDataStore, tmp_path: Path) -> None:
    run(server, tmp_path, [(2000, 2)])
    assert server.tokens == {KEY}
    assert server.download_tokens == {None}  # files are on another host
    assert KEY not in repr(Account(server.url, KEY))
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    Session(server.url).get(elsewhere, headers={"PRIVATE-TOKEN": KEY})
    assert server.tokens == {KEY, None}


def test_a_complete_month_is_not_requested_again(server: FakeDataStore, tmp_path: Path) -> None:
    run(server, tmp_path, [(2000, 2)])
    before = server.seen["submitted"]
    reports = run(server, tmp_path, [(2000, 2), (2000, 3)])
    assert [report.times_added for report in reports] == [31]
    assert server.seen["submitted"] == before + 2
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 60


def test_an_interrupted_run_repeats_neither_requests_nor_downloads(
    server: FakeDataStore, tmp_path: Path
) -> None:
    requests = month_requests(2000, 2, range(1, 3), [0], (500,), "netcdf")
    store = client(server, tmp_path / "cds")
    files = store.fetch(requests)
    _, first = next(files)
    del files  # the process is killed
    second = store.path(requests[1])
    second.with_name(f"{second.name}.download").write_bytes(
        (server.folder / "job-1").read_bytes()[:99]
    )
    again = [path for _, path in client(server, tmp_path / "cds").fetch(requests)]
    assert again == [first, second]
    assert server.seen == {"submitted": 2, "downloads": 1, "resumed": 1}
    assert second.read_bytes() == (server.folder / "job-1").read_bytes()


def test_refusals(server: FakeDataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = month_requests(2000, 2, [1], [0], (500,), "netcdf")
    server.refuse = "accept the licence at https://cds…"
    with pytest.raises(InputError, match=r"403.*required licences not accepted accept the"):
        list(client(server, tmp_path / "a").fetch(requests))
    server.refuse = ""
    with pytest.raises(InputError, match=r"401.*operation not allowed") as caught:
        list(client(server, tmp_path / "b", key="wrong-key").fetch(requests))
    assert "wrong-key" not in str(caught.value)
    server.fail = "MARS has no data"
    with pytest.raises(InputError, match=r"request for reanalysis.*MARS has no data"):
        list(client(server, tmp_path / "c").fetch(requests))
    assert len(list((tmp_path / "c").glob("*.job"))) == 1  # the failed one is submitted again
    server.fail, server.busy = "", 100
    with pytest.raises(OSError, match=r"does not respond \(503\)"):
        list(client(server, tmp_path / "d").fetch(requests))
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    monkeypatch.delenv("CDSAPI_KEY", raising=False)
    with pytest.raises(InputError, match="no key for the Climate Data Store"):
        Account.from_environment()


def test_account_from_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rc = tmp_path / "rc"
    rc.write_text("url: https://cds.climate.copernicus.eu/api\nkey: abc-def\n")
    monkeypatch.setenv("CDSAPI_RC", str(rc))
    monkeypatch.delenv("CDSAPI_KEY", raising=False)
    monkeypatch.delenv("CDSAPI_URL", raising=False)
    url = "https://cds.climate.copernicus.eu/api"
    assert Account.from_environment() == Account(url, "abc-def")
    monkeypatch.setenv("CDSAPI_KEY", "xyz")
    assert Account.from_environment().key == "xyz"


@pytest.mark.parametrize("address", ["http://elsewhere/x", "file:///etc/passwd"])
def test_insecure_addresses_are_refused(
    address: str, server: FakeDataStore, tmp_path: Path
) -> None:
    account = Account("https://cds.invalid/api", KEY)
    with pytest.raises(InputError, match=f"insecure address {address}"):
        Session(account.url).get(address)
    if address.startswith("file"):
        server.href = address
        with pytest.raises(InputError, match=f"insecure address {address}"):
            list(
                client(server, tmp_path).fetch(month_requests(2000, 2, [1], [0], (500,), "netcdf"))
            )


def test_era5_is_a_source_of_initial_states(
    server: FakeDataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed after submitting finds its requests again."""
    monkeypatch.setenv("CDSAPI_KEY", KEY)
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    source = open_source("era5", Transfer(), server.url)
    store, first = tmp_path / "era5.zarr", np.array(["2000-02-01T06"], "datetime64[s]")
    options = IngestOptions(nside=2, reserve_bytes=0)
    server.fail = "the machine is off"
    with pytest.raises(InputError, match="the machine is off"):
        list(fetch(source, first, store, options=options, transfer=Transfer()))
    assert not store.exists()
    assert server.seen["submitted"] == 2
    server.fail, server.truncated = "", 1
    (state,) = fetch(source, first, store, options=options, transfer=Transfer())
    assert server.seen["submitted"] == 3  # the second request waited at the data store
    assert state.needed_bytes == sum(p.stat().st_size for p in server.folder.glob("job-[12]"))
    assert describe(store)["completeness"]["complete"] is True
    assert not list(tmp_path.glob(".*"))
    future = np.array(["2999-01-01"], "datetime64[s]")
    with pytest.raises(InputError, match="lies in the future; expected at about 2999-01-07"):
        list(fetch(source, future, store, options=options, transfer=Transfer()))
    assert source.find_latest(np.datetime64("2026-11-25T20", "s")) == np.datetime64("2026-11-19")
