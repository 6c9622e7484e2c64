"""``pear forecast``: runs are computed once, and each error is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from pipelines.engine import cluster
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine
from tests.fixtures.engine import make_data_folder, read_fields

RANGE = ("forecast", "--init", "2001-03-01..2001-03-03/1d", "--lead", "2d", "--json")


def test_forecasts_of_a_range_are_computed_once(
    pear: CommandLine, data: DataFolder, scheduler: str, tmp_path: Path
) -> None:
    runs = pear(*RANGE, "--scheduler", scheduler, data=data).json["runs"]
    assert [run["init_time"][:10] for run in runs] == ["2001-03-01", "2001-03-02", "2001-03-03"]
    for run in runs:
        assert run["status"] == "succeeded"
        assert run["store"] == str(data.forecast(run["id"]))
        assert read_fields(Path(run["store"]))["2m_temperature"].shape[1] == 3
    out = tmp_path / "out"
    words = (*RANGE, "--scheduler", scheduler, "--output", f"file://{out}")
    for sent in (True, False):  # the second time everything is there
        published = pear(*words, data=data).json["published"]
        assert [each["name"] for each in published] == [
            f"forecasts/{run['id']}.zarr" for run in runs
        ]
        assert all((each["sent_files"] > 0) == sent for each in published)
    with xr.open_zarr(out / published[0]["name"], chunks=None) as copy:
        assert copy["2m_temperature"].shape[:2] == (1, 3)
    again = pear(*RANGE, "--scheduler", scheduler, data=data).json["runs"]
    assert [run["finished_at"] for run in again] == [run["finished_at"] for run in runs]


@pytest.mark.slow
def test_workers_are_started_without_a_scheduler(pear: CommandLine, tmp_path: Path) -> None:
    data = make_data_folder(tmp_path / "data")
    runs = pear(*RANGE, "--workers", "2", data=data).json["runs"]
    assert [run["status"] for run in runs] == ["succeeded"] * 3


def test_outputs_of_an_ensemble_are_chosen(
    pear: CommandLine, data: DataFolder, scheduler: str
) -> None:
    words = "forecast --init 2001-03-04 --lead 2d --members 3 --variables t2m,z --levels 500"
    outputs = f"--leads 2d --quantiles 10,90 --json --scheduler {scheduler}"
    (run,) = pear(*words.split(), *outputs.split(), data=data).json["runs"]
    assert run["options"]["members"] == 3
    assert set(read_fields(Path(run["store"]))) == {"2m_temperature", "geopotential"}
    spread = read_fields(data.forecast(f"{run['id']}.spread"))
    assert spread["geopotential"].shape == (1, 1, 1, 768)
    assert data.forecast(f"{run['id']}.q90").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--init", "2001-03-09"], "2001-03-09T00:00:00Z is not in analysis demo"),
        (["--init", "yesterday"], "invalid time 'yesterday'"),
        (["--init", "2001-03-01", "--lead", "30h"], "not a multiple of the 24 h model step"),
        (["--init", "2001-03-01", "--model", "none"], "no model 'none'"),
        (["--init", "2001-03-01", "--levels", "high"], "expected whole numbers"),
        (["--init", "2001-03-01", "--output", "out.zarr"], "'out.zarr' is not an address"),
        (["--init", "2001-03-01", "--output", "s3://a:b@c/d"], "s3://c/d holds credentials"),
        (["--init", "2001-03-01", "--variables", "rain"], "unknown variable"),
    ],
)
def test_invalid_requests_are_refused_in_one_line(
    pear: CommandLine, data: DataFolder, words: list[str], message: str
) -> None:
    pear("forecast", *words, data=data).refused(message)


def test_a_scheduler_that_does_not_answer_is_named(
    pear: CommandLine, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.2)
    words = ("forecast", "--init", "2001-03-01", "--scheduler", "tcp://127.0.0.1:9")
    pear(*words, data=data).refused("no scheduler answers")


def test_a_field_with_holes_fails_the_run(
    pear: CommandLine, tmp_path: Path, scheduler: str
) -> None:
    """The store says that a state is complete, but its chunk is lost: zarr reads fill values."""
    data = make_data_folder(tmp_path / "data", days=1)
    for shard in (data.analysis("demo") / "2m_temperature" / "c").rglob("*"):
        if shard.is_file():
            shard.unlink()
    words = ("forecast", "--init", "2001-03-01", "--lead", "1d", "--scheduler", scheduler)
    pear(*words, data=data).refused("2m_temperature")
    assert not list((data.root / "forecasts").glob("*.zarr"))
