"""ERA5 from a stand-in of the Climate Data Store that speaks its protocol, faults included."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.reader import describe, open_store
from pear.variables import Layout, valid_range
from pipelines.ingestion.cds import Account, DataStore, month
from pipelines.ingestion.cds_months import ingest_from_cds, month_times, span
from pipelines.ingestion.executor import Settings

KEY = "0123-secret"
SHORT = {
    "mean_sea_level_pressure": "msl",
    "10m_u_component_of_wind": "u10",
    "10m_v_component_of_wind": "v10",
    "2m_temperature": "t2m",
    "geopotential": "z",
    "specific_humidity": "q",
    "temperature": "t",
    "u_component_of_wind": "u",
    "v_component_of_wind": "v",
}
UNITS = {"msl": "Pa", "t2m": "K", "t": "K", "z": "m**2 s**-2", "q": "kg kg**-1"}


def answer_to(inputs: dict[str, Any], path: Path) -> None:
    """Write the NetCDF that the new Climate Data Store makes of a request."""
    year, number = int(inputs["year"][0]), int(inputs["month"][0])
    hours = [int(text[:2]) for text in inputs["time"]]
    times = month_times(year, number, hours)[: len(inputs["day"]) * len(hours)]
    lat, lon = np.linspace(90, -90, 13), np.arange(24) * 15.0
    coords: dict[str, Any] = {"valid_time": times, "latitude": lat, "longitude": lon, "number": 0}
    levels = [int(p) for p in inputs.get("pressure_level", [])]
    axes: tuple[str, ...] = ("valid_time", "latitude", "longitude")
    if levels:
        coords["pressure_level"] = ("pressure_level", levels, {"units": "hPa"})
        axes = ("valid_time", "pressure_level", "latitude", "longitude")
    out = xr.Dataset(coords=coords)
    for name in inputs["variable"]:
        short = SHORT[name]
        shape = tuple(out.sizes[axis] for axis in axes)
        values = np.zeros(shape, dtype="f4")
        for row in range(max(len(levels), 1)):
            low, high = valid_range(name, levels[row] if levels else None)
            middle = (low + high) / 2 if name != "specific_humidity" else high / 3
            if levels:
                values[:, row] = middle
            else:
                values[:] = middle
        out[short] = (axes, values, {"units": UNITS.get(short, "m s**-1")})
    out.to_netcdf(path)


@dataclass
class StandIn:
    """What the stand-in remembers, and the faults it is asked for."""

    folder: Path
    url: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    tokens: set[str | None] = field(default_factory=set)
    download_tokens: set[str | None] = field(default_factory=set)
    busy: int = 0  # times an answer is 503 first
    cut: int = 0  # times a download breaks off half-way
    fail: str = ""
    refuse: str = ""


class Handler(BaseHTTPRequestHandler):
    world: StandIn

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def reply(self, code: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        world = self.world
        world.tokens.add(self.headers.get("PRIVATE-TOKEN"))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if world.busy:
            world.busy -= 1
            self.reply(503, {"title": "busy"})
            return
        if self.headers.get("PRIVATE-TOKEN") != KEY:
            self.reply(401, {"title": "operation not allowed"})
            return
        if world.refuse:
            self.reply(403, {"title": "required licences not accepted", "detail": world.refuse})
            return
        parts = self.path.split("/")
        assert parts[1:5] == ["api", "retrieve", "v1", "processes"]
        assert parts[6] == "execution"
        world.seen["submitted"] += 1
        job = f"job-{len(world.jobs)}"
        file = world.folder / f"{job}.nc"
        answer_to(body["inputs"], file)
        world.jobs[job] = {"dataset": parts[5], "inputs": body["inputs"], "polls": 0, "file": file}
        href = f"{world.url}/retrieve/v1/jobs/{job}"
        self.reply(
            201, {"jobID": job, "status": "accepted", "links": [{"rel": "monitor", "href": href}]}
        )

    def do_GET(self) -> None:
        world = self.world
        parts = self.path.split("/")
        token = self.headers.get("PRIVATE-TOKEN")
        if parts[1] == "files":
            world.download_tokens.add(token)
            self.download(world.jobs[parts[2]]["file"])
            return
        world.tokens.add(token)
        job = world.jobs[parts[5]]
        if len(parts) > 6:
            if world.fail:
                self.reply(400, {"title": "the request failed", "detail": world.fail})
                return
            href = f"{world.url.replace('127.0.0.1', 'localhost')[:-4]}/files/{parts[5]}"
            size = job["file"].stat().st_size
            self.reply(200, {"asset": {"value": {"href": href, "file:size": size}}})
            return
        job["polls"] += 1
        status = ("accepted", "running", "failed" if world.fail else "successful")
        self.reply(200, {"status": status[min(job["polls"], 3) - 1]})

    def download(self, file: Path) -> None:
        data = file.read_bytes()
        self.world.seen["downloads"] += 1
        start = 0
        asked = self.headers.get("Range")
        if asked:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            self.world.seen["resumed"] += 1
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.world.cut:
            self.world.cut -= 1
            self.wfile.write(data[start : start + (len(data) - start) // 2])
            return
        self.wfile.write(data[start:])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StandIn]:
    (tmp_path / "server").mkdir()
    stand_in = StandIn(tmp_path / "server")
    handler = type("Bound", (Handler,), {"world": stand_in})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    stand_in.url = f"http://127.0.0.1:{server.server_port}/api"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield stand_in
    server.shutdown()
    server.server_close()
    thread.join()


def client(world: StandIn, folder: Path, key: str = KEY) -> DataStore:
    return DataStore(Account(world.url, key), folder, sleep=lambda _: None)


SETTINGS = Settings(nside=2, levels=(1000, 500), reserve_bytes=0, shard_times=40)


def run(world: StandIn, tmp_path: Path, months: list[tuple[int, int]]) -> list[Any]:
    return list(
        ingest_from_cds(
            client(world, tmp_path / "cds"),
            tmp_path / "s.zarr",
            months,
            [12],
            settings=SETTINGS,
            data_format="netcdf",
        )
    )


def test_two_months(world: StandIn, tmp_path: Path) -> None:
    world.busy, world.cut = 2, 1
    reports = run(world, tmp_path, [(2000, 2), (2000, 3)])
    assert [report.times_added for report in reports] == [29, 31]
    told = describe(tmp_path / "s.zarr")
    assert told["completeness"]["complete"] is True
    assert (told["times"]["first"], told["times"]["last"]) == (
        "2000-02-01T12:00:00Z",
        "2000-03-31T12:00:00Z",
    )
    assert set(told["variables"]) == set(Layout.default().names)
    assert world.seen["submitted"] == 4
    assert world.seen["resumed"] == 1  # the download that broke off went on where it was
    assert not list((tmp_path / "cds").iterdir())  # nothing is kept that is in the store
    single = next(job for job in world.jobs.values() if "pressure_level" not in job["inputs"])
    assert single["dataset"] == "reanalysis-era5-single-levels"
    assert single["inputs"]["day"][-1] == "29"
    assert single["inputs"]["time"] == ["12:00"]


def test_the_key_goes_to_the_store_alone(world: StandIn, tmp_path: Path) -> None:
    run(world, tmp_path, [(2000, 2)])
    assert world.tokens == {KEY}
    assert world.download_tokens == {None}  # downloads lie on another host
    assert KEY not in repr(Account(world.url, KEY))


def test_what_the_store_has_is_not_asked_for_again(world: StandIn, tmp_path: Path) -> None:
    run(world, tmp_path, [(2000, 2)])
    before = world.seen["submitted"]
    reports = run(world, tmp_path, [(2000, 2), (2000, 3)])
    assert [report.times_added for report in reports] == [31]
    assert world.seen["submitted"] == before + 2
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 60


def test_a_stopped_run_neither_asks_nor_downloads_twice(world: StandIn, tmp_path: Path) -> None:
    requests = month(2000, 2, range(1, 3), [0], (500,), "netcdf")
    fetched = client(world, tmp_path / "cds").fetch(requests)
    first = next(fetched)[1]
    assert first.exists()
    del fetched  # killed here
    again = [path for _, path in client(world, tmp_path / "cds").fetch(requests)]
    assert again[0] == first
    assert (world.seen["submitted"], world.seen["downloads"]) == (2, 2)


def test_refusals(world: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = month(2000, 2, [1], [0], (500,), "netcdf")
    world.refuse = "accept the licence at https://cds…"
    with pytest.raises(InputError, match=r"\(403\): required licences not accepted; accept the"):
        list(client(world, tmp_path / "a").fetch(requests))
    world.refuse = ""
    with pytest.raises(InputError, match=r"\(401\): operation not allowed") as caught:
        list(client(world, tmp_path / "b", key="wrong-key").fetch(requests))
    assert "wrong-key" not in str(caught.value)
    world.fail = "MARS has no data"
    with pytest.raises(InputError, match=r"failed the request for reanalysis.*MARS has no data"):
        list(client(world, tmp_path / "c").fetch(requests))
    world.fail, world.busy = "", 100
    with pytest.raises(OSError, match="does not answer"):
        list(client(world, tmp_path / "d").fetch(requests))
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    monkeypatch.delenv("CDSAPI_KEY", raising=False)
    with pytest.raises(InputError, match="no key for the Climate Data Store"):
        Account.found()


def test_the_account_is_where_its_users_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rc = tmp_path / "rc"
    rc.write_text("url: https://cds.climate.copernicus.eu/api\nkey: abc-def\n")
    monkeypatch.setenv("CDSAPI_RC", str(rc))
    monkeypatch.delenv("CDSAPI_KEY", raising=False)
    monkeypatch.delenv("CDSAPI_URL", raising=False)
    assert Account.found() == Account("https://cds.climate.copernicus.eu/api", "abc-def")
    monkeypatch.setenv("CDSAPI_KEY", "xyz")
    assert Account.found().key == "xyz"


def test_an_https_store_is_not_left_for_http(tmp_path: Path) -> None:
    store = DataStore(Account("https://cds.invalid/api", KEY), tmp_path, sleep=lambda _: None)
    with pytest.raises(InputError, match="points to http://elsewhere"):
        store._open("GET", "http://elsewhere/x")
    with pytest.raises(InputError, match="points to file:///etc"):
        store._open("GET", "file:///etc/passwd")


def test_spans() -> None:
    assert span("1990-1992,1995", "--years", 1940, 2100) == [1990, 1991, 1992, 1995]
    assert span("0,6,12,18", "--hours", 0, 23) == [0, 6, 12, 18]
    for text in ("x", "24", "1-", ""):
        with pytest.raises(InputError):
            span(text, "--hours", 0, 23)
