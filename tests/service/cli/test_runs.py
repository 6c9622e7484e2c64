"""``pear runs``: list, show, log, cancel and rm; unique prefixes and ``latest``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipelines.catalog import Catalog
from pipelines.ingestion.readers import eccodes
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine
from tests.fixtures.engine import DAY, START, perform, submit


@pytest.fixture(scope="module")
def runs(data: DataFolder) -> list[str]:
    """Return the ids of three finished runs, one a day."""
    with Catalog(data.catalog) as catalog:
        found = [submit(data, catalog, START + day * DAY, lead=48) for day in range(3)]
        for run in found:
            perform(data, catalog, run)
    return [run.id for run in found]


def test_runs_are_listed(pear: CommandLine, data: DataFolder, runs: list[str]) -> None:
    listed = pear("runs", "list", "--json", data=data).json
    assert {run["id"] for run in listed} == set(runs)
    assert {"id", "status", "init_time", "lead_hours", "store"} <= set(listed[0])
    table = pear("runs", "list", data=data).out.splitlines()
    assert table[0].split() == ["RUN", "STATUS", "INIT", "TIME", "STEPS", "MODEL"]
    assert len(table) == len(listed) + 1
    assert max(map(len, table)) <= 80


def test_a_run_has_progress_and_a_log(pear: CommandLine, data: DataFolder, runs: list[str]) -> None:
    progress = pear("runs", "show", runs[0], "--json", data=data).json["progress"]
    assert progress == {**progress, "step": 2, "total": 2, "fraction": 1.0}
    log = pear("runs", "log", runs[0], "--json", data=data).json
    assert [event["message"] for event in log] == ["queued", "started", "succeeded"]


def test_latest_and_unique_prefixes_name_a_run(
    pear: CommandLine, data: DataFolder, runs: list[str]
) -> None:
    def show(run: str) -> Any:
        return pear("runs", "show", run, "--json", data=data).json

    latest = show("latest")
    assert latest["init_time"][:10] == "2001-03-03"
    short = next(n for n in range(3, 40) if sum(i.startswith(latest["id"][:n]) for i in runs) == 1)
    assert show(latest["id"][:short]) == latest
    assert pear("runs", "show", latest["id"][:2], data=data).status == 2
    pear("runs", "show", "nothing", data=data).refused("no run 'nothing'")


def test_a_run_is_exported_as_grib_or_netcdf(
    pear: CommandLine, data: DataFolder, runs: list[str], tmp_path: Path
) -> None:
    codes = eccodes.load()
    file = tmp_path / "run.grib2"
    done = pear(
        "runs", "export", runs[0], "-o", str(file), "--variables", "t2m", "--json", data=data
    )
    assert done.json == {"run": runs[0], "file": str(file), "bytes": file.stat().st_size}
    with xr.open_zarr(data.forecast(runs[0])) as dataset, file.open("rb") as opened:
        for lead in range(dataset.sizes["prediction_timedelta"]):
            message = codes.codes_grib_new_from_file(opened)
            values = codes.codes_get_values(message)
            np.testing.assert_array_equal(values, dataset["2m_temperature"][0, lead])
            codes.codes_release(message)
    refused = pear("runs", "export", runs[0], "-o", str(tmp_path / "run.txt"), data=data)
    refused.refused("no ending of a format that PEAR writes")
    box = ("--bbox", "0,30,40,70")
    pear("runs", "export", runs[0], "-o", str(file), *box, data=data).refused("whole HEALPix grids")
    assert [each.name for each in tmp_path.iterdir()] == ["run.grib2"]


def test_a_finished_run_cannot_be_cancelled(
    pear: CommandLine, data: DataFolder, runs: list[str]
) -> None:
    answer = pear("runs", "cancel", runs[0], data=data)
    assert answer.status == 2
    assert "has already ended: succeeded" in answer.err


def test_a_run_is_removed_once(pear: CommandLine, data: DataFolder) -> None:
    with Catalog(data.catalog) as catalog:
        run = submit(data, catalog, START, lead=24)
        perform(data, catalog, run)
    store: Path = data.forecast(run.id)
    assert store.exists()
    assert pear("runs", "rm", run.id, "--json", data=data).json == {"removed": [run.id]}
    assert not store.exists()
    assert pear("runs", "show", run.id, "--json", data=data).json["status"] == "expired"
    assert pear("runs", "rm", "nothing", data=data).status == 2


def test_the_catalog_of_the_environment_is_used(
    pear: CommandLine, data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_CATALOG", str(tmp_path / "elsewhere.sqlite"))
    assert pear("runs", "list", "--json", data=data).json == []
    pear("schedule", "add", "daily", "--cron", "0 6 * * *", "--forecast", "1d", data=data)
    with Catalog(tmp_path / "elsewhere.sqlite") as catalog:
        assert [schedule.name for schedule in catalog.schedules.all()] == ["daily"]
    with Catalog(data.catalog) as catalog:
        assert catalog.schedules.all() == []


def test_a_missing_data_folder_is_named(pear: CommandLine, tmp_path: Path) -> None:
    pear("runs", "list", "--data", str(tmp_path / "nowhere")).refused("no data folder")
