"""Every source with every fault: stored whole, or one line; ``pytest -s`` prints the table."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.times import HOUR
from pear.variables import LEVELS
from pipelines.ingestion.fetch import fetch, open_source
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.sources.archives import Archive
from pipelines.ingestion.sources.base import Source
from pipelines.ingestion.sources.gfs import Gfs
from pipelines.ingestion.sources.ifs import OpenData
from pipelines.ingestion.sources.transfer import Transfer, TransferOptions
from tests.fixtures.archives import DAY, era5, make_copies
from tests.fixtures.data_store import KEY, FakeDataStore, serving_data_store
from tests.fixtures.file_server import FileServer, serving_files
from tests.fixtures.replica import Replica, serving

NOW = np.datetime64("2026-11-25T20", "s")
FUTURE = np.datetime64("2999-01-01", "s")
LAYOUTS = {
    "ifs": "GRIB 2, ranges of .index",
    "aifs": "GRIB 2, ranges of .index",
    "gfs": "GRIB 2, ranges of .idx",
    "era5": "OGC processes, two files",
    "arco": "Zarr 3, hourly, 37 levels",
    "wb2": "Zarr 2, rows from the south",
    "address": "NetCDF on the web",
}
FAULTS = {
    "none": "stored",
    "answer cut": "stored",
    "503 twice": "stored",
    "429 twice": "stored",
    "500 for good": "refused",
    "refused (403)": "refused",
    "level missing": "refused",
    "bytes damaged": "refused",
    "future time": "refused",
}
_ROWS: list[tuple[str, str, str, str]] = []
Server = FileServer | Replica | FakeDataStore


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("copies")
    era5(DAY + np.arange(2) * HOUR, LEVELS).to_netcdf(folder / "address")
    short = era5(DAY + np.arange(2) * HOUR, tuple(level for level in LEVELS if level != 300))
    short.to_netcdf(folder / "short")
    short.to_zarr(folder / "short.zarr", zarr_format=2)
    names = {"address": "address", "short": "short", "short store": "short.zarr"}
    return make_copies(folder) | {name: folder / file for name, file in names.items()}


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    print("\n| source | layout | fault | outcome |\n| --- | --- | --- | --- |")  # noqa: T201
    for row in _ROWS:
        print("| " + " | ".join(row) + " |")  # noqa: T201


def start(
    name: str, copies: dict[str, Path], fault: str, stack: ExitStack, folder: Path
) -> tuple[Source | Archive, Server, np.datetime64, Transfer]:
    """Start a server with one state and a fault; return the source that asks it."""
    transfer = Transfer(TransferOptions(tries=4, backoff_seconds=0.001, timeout_seconds=5))
    if name in ("ifs", "aifs", "gfs"):
        replica = stack.enter_context(serving())
        time = np.datetime64("2026-11-25T12", "s")
        lost = ("TMP" if name == "gfs" else "t",) if fault == "level missing" else ()
        if name == "gfs":
            path = replica.add_gfs(time, without=lost)
            source: Source | Archive = Gfs(transfer, replica.url, clock=lambda: NOW)
        else:
            model = "ifs" if name == "ifs" else "aifs-single"
            path = replica.add_ifs(time, without=lost, model=model)
            source = OpenData(transfer, model, replica.url, clock=lambda: NOW)
        if fault == "bytes damaged":
            data = bytearray(replica.files[path])
            data[100:2000] = bytes(1900)
            replica.files[path] = bytes(data)
        if fault == "refused (403)":
            replica.busy, replica.busy_status = 10**6, 403
        replica.broken = 2 if fault == "answer cut" else 0
        return source, replica, time, transfer
    if name == "era5":
        store = stack.enter_context(serving_data_store(folder))
        store.truncated = int(fault == "answer cut")
        store.refuse = "accept the licence" if fault == "refused (403)" else ""
        store.fail = "MARS has no data" if fault == "level missing" else ""
        return (
            open_source("era5", transfer, store.url),
            store,
            np.datetime64("2000-02-01T06"),
            transfer,
        )
    files = stack.enter_context(serving_files())
    if name == "address":
        lacking = fault == "level missing"
        files.files["/a.nc"] = copies["short" if lacking else "address"].read_bytes()
        source = open_source(f"{files.url}/a.nc", transfer)
    else:
        lacking = fault == "level missing"
        files.add_folder(copies["short store" if lacking else name], "/a.zarr")
        source = open_source(name, transfer, f"{files.url}/a.zarr")
    for path in list(files.files):
        if fault == "bytes damaged" and ("/temperature/" in path or path.endswith(".nc")):
            files.files[path] = files.files[path][: len(files.files[path]) // 2]
    files.cut = 2 if fault == "answer cut" else 0
    files.refuses = "/a." if fault == "refused (403)" else ""
    return source, files, DAY, transfer


@pytest.mark.nightly
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_source_with_a_fault(
    name: str,
    fault: str,
    copies: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name == "era5" and fault in ("429 twice", "bytes damaged"):
        pytest.skip("the files of the data store are the user's own, read by the reader of files")
    monkeypatch.setenv("PEAR_RETRY_SECONDS", "0.001")
    monkeypatch.setenv("PEAR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CDSAPI_KEY", KEY)
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    monkeypatch.setattr(clock, "sleep", lambda _: None)
    (tmp_path / "server").mkdir()
    store = tmp_path / "s.zarr"
    with ExitStack() as stack:
        source, server, time, transfer = start(name, copies, fault, stack, tmp_path / "server")
        if fault[:3].isdigit():
            server.busy = 2 if "twice" in fault else 10**6
            status = "busy_status" if isinstance(server, Replica) else "status"
            setattr(server, status, int(fault[:3]))
        wanted = np.array([FUTURE if fault == "future time" else time])
        options = IngestOptions(nside=4, reserve_bytes=0)
        try:
            (state,) = fetch(source, wanted, store, options=options, transfer=transfer)
        except (InputError, OSError) as error:
            outcome = str(error)
        else:
            share = f", {state.fetched_bytes / state.needed_bytes:.2f} of the bytes needed"
            outcome = "stored" + (share if state.needed_bytes else "")
    expected = FAULTS[fault]
    _ROWS.append((name, LAYOUTS[name], fault, outcome))
    assert "\n" not in outcome
    assert outcome.startswith("stored") == (expected == "stored"), outcome
    assert store.exists() == (expected == "stored")
    assert KEY not in outcome
    if fault == "future time" and name not in ("address", "wb2"):
        assert "expected at about 2999-01-0" in outcome
