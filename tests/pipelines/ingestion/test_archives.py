"""Archives of ERA5 from local copies of their layout: one time, whole, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.store.reader import open_store, read_preliminary
from pear.times import HOUR, to_iso
from pear.variables import LEVELS, Layout
from pipelines.ingestion.fetch import FetchedState, fetch, open_source
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.sources.archives import Archive, ZarrArchive
from pipelines.ingestion.sources.transfer import Transfer
from tests.fixtures.archives import DAY, SHORT, era5, make_copies
from tests.fixtures.file_server import FileServer, serving_files
from tests.fixtures.replica import analytic_field

NOW = np.datetime64("2026-11-25T20", "s")
OPTIONS = IngestOptions(nside=4, reserve_bytes=0)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_copies(tmp_path_factory.mktemp("copies"))


@pytest.fixture
def web(
    copies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileServer]:
    monkeypatch.setenv("PEAR_RETRY_SECONDS", "0.001")
    monkeypatch.setenv("PEAR_CACHE_DIR", str(tmp_path / "cache"))
    with serving_files() as server:
        for name, folder in copies.items():
            server.add_folder(folder, f"/{name}.zarr")
        yield server


def opened(web: FileServer, name: str) -> Archive:
    source = open_source(name, Transfer(), f"{web.url}/{name}.zarr")
    assert isinstance(source, ZarrArchive)
    source.clock = lambda: NOW
    return source


def run(
    source: Archive, times: list[np.datetime64], store: Path, *, again: bool = False
) -> list[FetchedState]:
    found = np.array(times)
    return list(
        fetch(source, found, store, options=OPTIONS, transfer=Transfer(), replace_times=again)
    )


@pytest.mark.parametrize("name", ["arco", "wb2"])
def test_one_time_costs_its_chunks_alone(name: str, web: FileServer, tmp_path: Path) -> None:
    time = DAY + 6 * HOUR
    (state,) = run(opened(web, name), [time], tmp_path / "s.zarr")
    assert state.report is not None
    assert state.report.fields_missing == 0
    chunks = {path: n for path, n in web.sent.items() if n and path.split("/")[2] in SHORT}
    data = {
        path: n for path, n in chunks.items() if not path.endswith((".json", ".zarray", ".zattrs"))
    }
    assert len(data) == 9  # one chunk of each variable: nothing of another time
    assert state.needed_bytes == sum(data.values())
    assert state.fetched_bytes < 1.05 * state.needed_bytes + 40_000  # metadata, axes
    store = open_store(tmp_path / "s.zarr")
    assert store.attrs["source"].startswith("ARCO" if name == "arco" else "ERA5 of WeatherBench2")
    assert "Copernicus" in store.attrs["license"]
    for variable, level in (("geopotential", 500), ("specific_humidity", 1000)):
        field = store[variable].sel(level=level).values
        hour = 6 if name == "arco" else 1
        expected = analytic_field(SHORT[variable], level, hour)
        assert expected.min() <= field.min()
        assert field.max() <= expected.max()
        assert np.ptp(field) > 0.8 * np.ptp(expected)


def test_both_archives_give_the_same_fields(web: FileServer, tmp_path: Path) -> None:
    """Rows from the south, other order of axes and other chunks, but the same first time."""
    for name in ("arco", "wb2"):
        run(opened(web, name), [DAY], tmp_path / f"{name}.zarr")
    first, second = (open_store(tmp_path / f"{name}.zarr") for name in ("arco", "wb2"))
    for name in Layout.default().names:
        np.testing.assert_allclose(first[name].values, second[name].values, rtol=2e-6, atol=1e-5)


def test_era5t_is_preliminary_and_replaced(web: FileServer, tmp_path: Path) -> None:
    source, store = opened(web, "arco"), tmp_path / "s.zarr"
    assert source.find_latest(NOW) == DAY + 42 * HOUR
    run(source, [DAY + 12 * HOUR, DAY + 31 * HOUR], store)
    assert read_preliminary(store).tolist() == [False, True]
    (again,) = run(source, [DAY + 12 * HOUR], store)
    assert again.report is None
    root = json.loads(web.files["/arco.zarr/zarr.json"])
    root["attributes"]["valid_time_stop"] = "2026-11-18"
    web.files["/arco.zarr/zarr.json"] = json.dumps(root).encode()
    run(source, [DAY + 31 * HOUR], store)
    assert read_preliminary(store).tolist() == [False, False]


def test_a_newer_analysis_replaces_only_when_told(web: FileServer, tmp_path: Path) -> None:
    store, time = tmp_path / "s.zarr", DAY + 6 * HOUR
    run(opened(web, "wb2"), [time], store)
    before = open_store(store)["2m_temperature"].values
    assert run(opened(web, "arco"), [time], store)[0].report is None
    np.testing.assert_array_equal(open_store(store)["2m_temperature"].values, before)
    run(opened(web, "arco"), [time], store, again=True)
    assert not np.allclose(open_store(store)["2m_temperature"].values, before)  # another hour there


def lose(web: FileServer, part: str) -> None:
    for path in [path for path in web.files if part in path]:
        del web.files[path]


@pytest.mark.parametrize(
    ("name", "hours", "words"),
    [
        ("arco", 0.5, r"has times every 1 h from 2026-11-17T00:00:00Z, not 2026-11-17T00:30"),
        ("wb2", 3, r"has times every 6 h"),
        ("wb2", 48, r"ERA5 of WeatherBench2 ends at 2026-11-18T18:00:00Z, before 2026-11-19"),
        (
            "arco",
            59,
            r"ends at 2026-11-18T23:00:00Z, .* not published yet, expected at about 2026-11-26",
        ),
        ("arco", 40 * 24, r"not published yet, expected at about 2027-01-03"),
        ("arco", -1, r"not 2026-11-16T23:00:00Z"),
    ],
)
def test_times_that_an_archive_does_not_have(
    name: str, hours: float, words: str, web: FileServer, tmp_path: Path
) -> None:
    time = DAY + np.timedelta64(int(hours * 3600), "s")
    with pytest.raises(InputError, match=words):
        run(opened(web, name), [time], tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


def test_faults_of_an_archive(web: FileServer, tmp_path: Path) -> None:
    source = opened(web, "wb2")
    web.files["/wb2.zarr/temperature/1.0.0.0"] = web.files["/wb2.zarr/temperature/1.0.0.0"][:-9]
    cases = {
        0: None,
        6: "temperature",
        12: r"its chunk file specific_humidity/2\.0\.0\.0 is missing",
    }
    lose(web, "/wb2.zarr/specific_humidity/2.")
    for hours, words in cases.items():
        store = tmp_path / f"{hours}.zarr"
        if words is None:
            web.cut, web.busy = 2, 2  # passes
            run(source, [DAY], store)
            continue
        with pytest.raises(InputError, match=words):
            run(source, [DAY + hours * HOUR], store)
        assert not store.exists()
        assert not list(tmp_path.glob(".*"))
    web.busy, web.status = 10_000, 500
    with pytest.raises(OSError, match="the server answers 500"):
        run(source, [DAY], tmp_path / "t.zarr")


def test_a_missing_level_and_variable_are_named(web: FileServer, tmp_path: Path) -> None:
    times = DAY + np.arange(2) * 6 * HOUR
    short = era5(times, tuple(sorted(set(LEVELS) - {300}))).drop_vars("mean_sea_level_pressure")
    short.to_zarr(tmp_path / "short", zarr_format=2)
    web.add_folder(tmp_path / "short", "/short.zarr")
    source = open_source("wb2", Transfer(), f"{web.url}/short.zarr")
    with pytest.raises(InputError, match=r"no mean_sea_level_pressure, level 300 hPa"):
        run(source, [DAY], tmp_path / "s.zarr")
    address = open_source(f"{web.url}/short.zarr", Transfer())
    with pytest.raises(InputError, match=r"no mean_sea_level_pressure; .*at 300 hPa.* at 2026"):
        run(address, [DAY], tmp_path / "s.zarr")
    with pytest.raises(InputError, match="unknown source 'wb3'; did you mean wb2"):
        open_source("wb3", Transfer())


def test_any_address_is_a_source(web: FileServer, tmp_path: Path) -> None:
    source = open_source(f"{web.url}/wb2.zarr?key=SECRET", Transfer())
    assert source.name == "wb2"
    assert "SECRET" not in source.title
    source = open_source(f"{web.url}/wb2.zarr", Transfer())
    assert source.find_latest(NOW) == DAY + 42 * HOUR
    (state,) = run(source, [DAY + 6 * HOUR], tmp_path / "s.zarr")
    assert state.time == to_iso(DAY + 6 * HOUR)
    with pytest.raises(InputError, match="times run from 2026-11-17T00"):
        run(source, [DAY + 3 * HOUR], tmp_path / "s.zarr")
