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
    "half a file": "refused",
    "wrong index": "refused",
    "wrong message": "refused",
    "run not complete": "refused",
    "slow mirror": "stored",
    "future time": "refused",
}
_HAS_INDEX = ("ifs", "aifs", "gfs")
_OF_NO_LAYOUT = {
    ("era5", "429 twice"): "the client of the data store repeats what 503 covers",
    ("era5", "bytes damaged"): "its files are read by the reader of files, as those of an address",
    ("era5", "half a file"): "its client compares the length: see the answer that is cut",
    ("era5", "wrong message"): "its files are read by the reader of files, as those of an address",
    ("address", "bytes damaged"): "NetCDF has no checksums; values are checked by the ingestion",
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
    wrong = era5(DAY + np.arange(2) * HOUR, LEVELS)
    wrong = wrong.rename(temperature="specific_humidity", specific_humidity="temperature")
    wrong.to_netcdf(folder / "wrong")
    wrong.chunk(time=1).to_zarr(folder / "wrong.zarr", zarr_format=2)
    names = {"address": "address", "short": "short", "short store": "short.zarr"}
    names |= {"wrong": "wrong", "wrong store": "wrong.zarr"}
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
        _damage_cycle(replica, name, path, fault, time)
        if fault == "refused (403)":
            replica.busy, replica.busy_status = 10**6, 403
        replica.broken = 2 if fault == "answer cut" else 0
        return source, replica, time, transfer
    if name == "era5":
        store = stack.enter_context(serving_data_store(folder))
        store.truncated = int(fault == "answer cut")
        store.refuse = "accept the licence" if fault == "refused (403)" else ""
        failures = {
            "level missing": "MARS has no data",
            "run not complete": "None of the data you have requested is available yet",
        }
        store.fail = failures.get(fault, "")
        return (
            open_source("era5", transfer, store.url),
            store,
            np.datetime64("2000-02-01T06"),
            transfer,
        )
    files = stack.enter_context(serving_files())
    kind = {"level missing": "short", "wrong message": "wrong"}.get(fault)
    if name == "address":
        files.files["/a.nc"] = copies[kind or "address"].read_bytes()
        source = open_source(f"{files.url}/a.nc", transfer)
    else:
        files.add_folder(copies[f"{kind} store" if kind else name], "/a.zarr")
        source = open_source(name, transfer, f"{files.url}/a.zarr")
    for path, data in list(files.files.items()):
        if path.endswith(".nc") or (
            "/temperature/" in path and not path.endswith((".json", "y", "s"))
        ):
            half = len(data) // 2
            if fault == "half a file":
                files.files[path] = data[:half]
            elif fault == "bytes damaged":
                files.files[path] = data[:half] + bytes(len(data) - half)
    files.cut = 2 if fault == "answer cut" else 0
    files.refuses = "/a." if fault == "refused (403)" else ""
    late = fault == "run not complete"
    return source, files, DAY + 59 * HOUR if late else DAY, transfer


def _damage_cycle(replica: Replica, name: str, path: str, fault: str, time: np.datetime64) -> None:
    """Bring a fault into the file of a cycle or into its index."""
    index = f"{path}.idx" if name == "gfs" else path.removesuffix(".grib2") + ".index"
    data = replica.files[path]
    if fault == "bytes damaged":
        replica.files[path] = data[:100] + bytes(1900) + data[2000:]
    elif fault == "half a file":
        replica.files[path] = data[: len(data) // 2]
    elif fault == "run not complete":
        del replica.files[index]
    elif fault in ("wrong index", "wrong message"):
        before = time - 6 * HOUR
        model = "ifs" if name == "ifs" else "aifs-single"
        other = replica.add_gfs(before) if name == "gfs" else replica.add_ifs(before, model=model)
        if fault == "wrong message":
            replica.files[path] = replica.files[other]
        else:
            of_other = f"{other}.idx" if name == "gfs" else other.removesuffix(".grib2") + ".index"
            replica.files[index] = replica.files[of_other]


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
    why = _OF_NO_LAYOUT.get((name, fault))
    if fault == "wrong index" and name not in _HAS_INDEX:
        why = "no index"
    if why is not None:
        _ROWS.append((name, LAYOUTS[name], fault, f"not applicable: {why}"))
        return
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
        if fault == "slow mirror":  # the answers of a cycle come later than the transfer waits
            server.stalls, server.pause = 2, 0.5
            transfer.options = TransferOptions(tries=4, backoff_seconds=0.001, timeout_seconds=0.2)
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
