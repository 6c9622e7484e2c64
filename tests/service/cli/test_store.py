"""``pear store``, and the other commands on hosts that share stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from pear.store.reader import read_completeness
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import VARIABLE
from tests.fixtures.command_line import CommandLine
from tests.fixtures.engine import make_data_folder, perform, submit
from tests.fixtures.ingestion import NSIDE, temperature, write_netcdf


def test_a_folder_is_sent_and_listed_on_another_host(
    pear: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data_folder(tmp_path / "data")
    with Catalog(data.catalog_url) as catalog:
        refresh(data, catalog)
        run = submit(data, catalog, lead=48)
        perform(data, catalog, run)
        unfinished = submit(data, catalog, lead=72)
    pear("store", "push", data=data).refused("no shared stores")
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path / 'objects'}")
    pear("store", "push", "stars", data=data).refused("unknown kind 'stars'")
    sent = pear("store", "push", "--json", data=data).json
    assert [each["kind"] for each in sent] == ["analyses", "models", "forecasts"]
    assert pear("store", "push", "--json", data=data).json == sent
    other = DataFolder.create(tmp_path / "other")
    assert pear("catalog", "rebuild", "--json", data=other).json["entered"]["runs"] == 1
    listed = pear("store", "list", "forecasts", "--json", data=other).json
    assert listed == [{"kind": "forecasts", "name": run.id, "here": True}]
    assert unfinished.id != run.id
    assert pear("runs", "list", "--json", data=other).json[0]["id"] == run.id
    assert pear("check", str(other.root)).status == 0
    pear("runs", "rm", run.id, data=other)
    assert pear("store", "list", "forecasts", "--json", data=data).json == []


def test_what_is_ingested_on_one_host_is_continued_on_another(
    pear: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path / 'objects'}")
    monkeypatch.setenv("PEAR_CATALOG", str(tmp_path / "catalog.sqlite"))
    one, other = DataFolder(tmp_path / "one"), DataFolder(tmp_path / "other")
    days = temperature(4)
    for name, part in (("a", days.isel(time=slice(0, 2))), ("b", days.isel(time=slice(2, 4)))):
        write_netcdf(part, tmp_path / f"{name}.nc")
    options = ("--analysis", "demo", "--nside", str(NSIDE))
    assert pear("ingest", str(tmp_path / "a.nc"), *options, data=one).status == 0
    assert pear("ingest", str(tmp_path / "b.nc"), *options, data=other).status == 0
    assert read_completeness(other.analysis("demo"))[0].size == 4
    assert pear("store", "list", "--json", data=one).json[0]["name"] == "demo"
    assert read_completeness(one.analysis("demo"))[0].size == 4
