"""Variables beside the nine from every source, by its own names, or a refusal that names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pear.datasets.base import ScanOptions
from pear.errors import InputError
from pear.store.reader import open_store, stored_layout
from pear.times import HOUR
from pear.variables import variable
from pear.variables.own import load_variables
from pipelines.ingestion.fetch import FetchedState, fetch, open_source
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.sources.archives import Archive, ZarrArchive
from pipelines.ingestion.sources.base import NotPublishedError, Selection, Source
from pipelines.ingestion.sources.transfer import Transfer, TransferOptions
from tests.fixtures.archives import DAY, era5
from tests.fixtures.data_store import KEY, serving_data_store
from tests.fixtures.file_server import serving_files
from tests.fixtures.own_variables import forgetting, write
from tests.fixtures.replica import Replica, analytic_field, serving
from tests.pipelines.ingestion.test_fetch import T12, interpolate, make_source

MORE = ("d2m", "sp", "tcc", "100u", "100v", "w", "tp06")
OWN = """
[skin_temperature]
short_name = "skt"
units = "K"
levels = "single"
valid_range = [150, 360]
level_types = ["surface"]
discipline_category_number = [0, 0, 17]
ncep = ["TMP", "surface"]
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with forgetting():
        yield


@pytest.fixture
def replica() -> Iterator[Replica]:
    with serving() as found:
        yield found


@pytest.fixture
def transfer() -> Transfer:
    return Transfer(TransferOptions(tries=3, backoff_seconds=0.01, timeout_seconds=5))


def options(*also: str) -> IngestOptions:
    names = tuple(variable(name).name for name in also)
    return IngestOptions(nside=8, reserve_bytes=0, scan=ScanOptions(also=names))


def run(
    source: Source | Archive,
    store: Path,
    transfer: Transfer,
    *also: str,
    time: np.datetime64 = T12,
) -> FetchedState:
    (state,) = fetch(source, np.array([time]), store, options=options(*also), transfer=transfer)
    return state


def add(replica: Replica, name: str, **more: tuple[str, ...]) -> None:
    """Add the state at 12 UTC, and the forecast from 06 UTC with its precipitation."""
    if name == "gfs":
        replica.add_gfs(T12, **more)  # type: ignore[arg-type]
        replica.add_gfs(T12 - 6 * HOUR, step=6)
    else:
        model = "ifs" if name == "ifs" else "aifs-single"
        replica.add_ifs(T12, model=model, **more)  # type: ignore[arg-type]
        replica.add_ifs(T12 - 6 * HOUR, model=model, step=6)


@pytest.mark.parametrize("name", ["ifs", "aifs", "gfs"])
def test_each_server_gives_them_by_its_own_names(
    name: str, replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    add(replica, name)
    state = run(make_source(name, transfer, replica.url), tmp_path / "a.zarr", transfer, *MORE)
    assert state.lacking == ()
    names = {variable(one).name for one in MORE}
    store = open_store(tmp_path / "a.zarr")
    assert names <= set(stored_layout(tmp_path / "a.zarr")[1].names)
    assert np.isfinite([store[one].isel(time=0).values.max() for one in names]).all()
    for one, short in (("d2m", "2d"), ("sp", "sp"), ("100u", "100u")):
        wanted = interpolate(short, 0, T12)
        got = store[variable(one).name].isel(time=0).values
        assert np.abs(got - wanted).max() < 1e-3 * np.ptp(wanted), one
    rain = store["total_precipitation_6hr"].isel(time=0).values
    assert rain.max() == pytest.approx(interpolate("tp", 0, T12 - 6 * HOUR).max(), rel=1e-3)
    assert not store["source_lead_time"].values.any()
    again = run(make_source(name, transfer, replica.url), tmp_path / "a.zarr", transfer, *MORE)
    assert again.report is None


def test_what_a_source_lacks_is_named(replica: Replica, transfer: Transfer, tmp_path: Path) -> None:
    add(replica, "ifs")
    add(replica, "gfs")
    for name, words in (
        ("ifs", "lacks sst"),
        ("gfs", r"lacks sea_surface_temperature \(the table"),
    ):
        with pytest.raises(InputError, match=words):
            run(make_source(name, transfer, replica.url), tmp_path / "a.zarr", transfer, "sst")
    with pytest.raises(InputError, match=r"lacks ci; leave it out"):
        run(make_source("ifs", transfer, replica.url), tmp_path / "a.zarr", transfer, "siconc")
    assert not (tmp_path / "a.zarr").exists()
    run(make_source("gfs", transfer, replica.url), tmp_path / "a.zarr", transfer, "siconc")
    assert "sea_ice_cover" in open_store(tmp_path / "a.zarr")


def test_rain_whose_forecast_is_not_published_is_refused(
    replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    replica.add_ifs(T12)
    source = make_source("ifs", transfer, replica.url)
    with pytest.raises(NotPublishedError, match="IFS analysis of 2026-11-25T06"):
        run(source, tmp_path / "a.zarr", transfer, "tp06")
    found = source.locate(T12, Selection(optional=("total_precipitation_6hr",)))
    assert found.lacking == ("total_precipitation_6hr",)


@pytest.mark.parametrize("name", ["ifs", "gfs"])
def test_variables_of_ones_own_table_come_by_its_names(
    name: str, replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    load_variables(write(tmp_path, OWN))
    add(replica, name)
    run(make_source(name, transfer, replica.url), tmp_path / "a.zarr", transfer)
    skin = open_store(tmp_path / "a.zarr")["skin_temperature"].isel(time=0).values
    assert np.abs(skin - interpolate("skt", 0, T12)).max() < 0.1
    add(replica, name, without=("skt", "ICEC"))  # an own one is not needed, and named
    if name == "ifs":
        state = run(make_source(name, transfer, replica.url), tmp_path / "b.zarr", transfer)
        assert state.lacking == ("skin_temperature",)
        with pytest.raises(InputError, match="lacks skt"):
            run(make_source(name, transfer, replica.url), tmp_path / "c.zarr", transfer, "skt")


def test_a_store_goes_on_taking_what_it_has(
    replica: Replica, transfer: Transfer, tmp_path: Path
) -> None:
    source = make_source("ifs", transfer, replica.url)
    replica.add_ifs(T12 - 12 * HOUR)
    add(replica, "ifs")
    run(source, tmp_path / "a.zarr", transfer, "d2m", time=T12 - 12 * HOUR)
    run(source, tmp_path / "a.zarr", transfer)
    assert np.isfinite(open_store(tmp_path / "a.zarr")["2m_dewpoint_temperature"].values).all()
    state = run(source, tmp_path / "a.zarr", transfer, "sp")  # filled beside what is there
    assert state.report is not None
    assert state.report.times_filled == 1


def archive(name: str, folder: Path) -> None:
    """Write an archive with precipitation, sea surface temperature and vertical velocity."""
    hours = np.arange(14) * HOUR if name == "arco" else np.arange(3) * 6 * HOUR
    data = era5(DAY + hours, (850, 500))
    surface, upper = data["2m_temperature"], data["temperature"]
    rain = np.stack([analytic_field("tp", 0, hour) for hour in range(hours.size)]).astype("f4")
    rain /= 6 if name == "arco" else 1
    data["total_precipitation" if name == "arco" else "total_precipitation_6hr"] = (
        surface.dims,
        rain,
    )
    land = np.zeros(surface.shape, dtype=bool)
    land[:, 5:9, 3:12] = True
    sea = surface * 0.4 + 175
    data["sea_surface_temperature"] = sea.where(~xr_like(surface, land))
    data["vertical_velocity"] = (
        upper.dims,
        np.stack([0.3 * (t - t.mean()) / 10 for t in upper.values]),
    )
    data.chunk(time=1).to_zarr(folder, zarr_format=2, consolidated=True)


def xr_like(array, mask):  # type: ignore[no-untyped-def]
    return array.copy(data=mask)


@pytest.mark.parametrize("name", ["arco", "wb2"])
def test_archives_give_them_and_hourly_rain_is_added_up(
    name: str, transfer: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_RETRY_SECONDS", "0.001")
    archive(name, tmp_path / "server")
    with serving_files() as web:
        web.add_folder(tmp_path / "server", "/a.zarr")
        source = open_source(name, transfer, f"{web.url}/a.zarr")
        assert isinstance(source, ZarrArchive)
        chosen = replace(options("tp06", "sst", "w"), levels=(850, 500))
        (state,) = fetch(
            source,
            np.array([DAY + 12 * HOUR]),
            tmp_path / "s.zarr",
            options=chosen,
            transfer=transfer,
        )
        assert state.report is not None
        assert not state.report.fields_missing
        rain = open_store(tmp_path / "s.zarr")["total_precipitation_6hr"].values
        hours = range(7, 13) if name == "arco" else [2]
        total = sum(analytic_field("tp", 0, hour) for hour in hours) / len(hours)
        assert rain.max() == pytest.approx(np.max(total), rel=0.02)
        if name == "arco":
            with pytest.raises(InputError, match="no total_precipitation of the 6 h before"):
                list(
                    fetch(
                        source,
                        np.array([DAY + 3 * HOUR]),
                        tmp_path / "t.zarr",
                        options=chosen,
                        transfer=transfer,
                    )
                )
        with pytest.raises(InputError, match="has no sea_ice_cover"):
            run(source, tmp_path / "t.zarr", transfer, "siconc", time=DAY)


def test_the_data_store_is_asked_for_them_and_for_each_hour_of_rain(
    transfer: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDSAPI_KEY", KEY)
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    (tmp_path / "server").mkdir()
    with serving_data_store(tmp_path / "server") as store:
        source = open_source("era5", transfer, store.url)
        time = np.datetime64("2000-02-01T00", "s")
        state = run(source, tmp_path / "s.zarr", transfer, "tp06", "d2m", time=time)
    assert state.report is not None
    assert not state.report.fields_missing
    asked = [job["inputs"] for job in store.jobs.values()]
    assert "2m_dewpoint_temperature" in asked[0]["variable"]
    rain = [(one["month"], one["day"], one["time"]) for one in asked[2:]]
    assert sorted(rain) == [
        (["01"], ["31"], [f"{hour}:00" for hour in range(19, 24)]),
        (["02"], ["01"], ["00:00"]),
    ]
    total = open_store(tmp_path / "s.zarr")["total_precipitation_6hr"].values
    assert total.max() == pytest.approx(0.021, rel=0.05)  # 1 + 2 + … + 6 mm
