"""``pear forecast``, ``runs``, ``models`` and ``schedule`` as a person or a program calls them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.models import checkpoint
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.storage.data_folder import DataFolder
from service.cli.app import main
from tests.fixtures.engine import START, make_data_folder, normaliser, read_fields, tiny_model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return make_data_folder(tmp_path_factory.mktemp("cli") / "data", days=4)


class Answer:
    """What a command wrote, and how it ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def pear(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: DataFolder
) -> Any:
    def call(*words: str, folder: Path | None = None) -> Answer:
        argv = ["pear", *words, "--data", str(folder or data.root)]
        monkeypatch.setattr(sys, "argv", argv)
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        written = capsys.readouterr()
        return Answer(status, written.out, written.err)

    return call


def test_forecasts_of_a_range_are_made_once_and_listed(pear: Any, data: DataFolder) -> None:
    words = ("forecast", "--init", "2001-03-01..2001-03-03/1d", "--lead", "2d", "--json")
    first = pear(*words)
    assert first.status == 0, first.err
    runs = first.json["runs"]
    assert [run["init_time"][:10] for run in runs] == ["2001-03-01", "2001-03-02", "2001-03-03"]
    for run in runs:
        assert run["status"] == "succeeded"
        assert run["store"] == str(data.forecast(run["id"]))
        assert read_fields(Path(run["store"]))["2m_temperature"].shape[1] == 3
    again = pear(*words)
    assert [run["finished_at"] for run in again.json["runs"]] == [
        run["finished_at"] for run in runs
    ]
    listed = pear("runs", "list", "--json").json
    assert {run["id"] for run in runs} <= {run["id"] for run in listed}
    for key in ("id", "status", "init_time", "lead_hours", "store"):
        assert key in listed[0]
    shown = pear("runs", "show", runs[0]["id"], "--json").json
    assert shown["progress"] == {**shown["progress"], "step": 2, "total": 2, "fraction": 1.0}
    log = pear("runs", "log", runs[0]["id"], "--json").json
    assert [event["message"] for event in log] == ["queued", "started", "succeeded"]
    cancelled = pear("runs", "cancel", runs[0]["id"])
    assert cancelled.status == 2
    assert "has already ended: succeeded" in cancelled.err
    table = pear("runs", "list").out.splitlines()
    assert table[0].split() == ["RUN", "STATUS", "INIT", "TIME", "STEPS", "MODEL"]
    assert len(table) == len(listed) + 1
    assert max(map(len, table)) <= 80
    latest = pear("runs", "show", "latest", "--json").json
    assert latest["init_time"][:10] == "2001-03-03"
    ids = [run["id"] for run in listed]
    short = next(n for n in range(3, 40) if sum(i.startswith(latest["id"][:n]) for i in ids) == 1)
    assert pear("runs", "show", latest["id"][:short], "--json").json == latest
    several = pear("runs", "show", latest["id"][:2])
    assert several.status == 2
    unknown = pear("runs", "show", "nothing")
    assert "no run 'nothing'" in unknown.err


def test_status_counts_what_the_folder_holds(pear: Any, data: DataFolder) -> None:
    found = pear("status", "--json").json
    assert [store["name"] for store in found["stores"]] == ["demo"]
    assert found["stores"][0]["times"] == 4
    assert found["runs"]["failed"] == 0
    shown = pear("status").out
    assert "demo" in shown
    assert "Schedules: none" in shown


def test_a_run_is_removed_once(pear: Any, data: DataFolder) -> None:
    made = pear("forecast", "--init", "2001-03-02", "--lead", "1d", "--json").json["runs"][0]
    assert Path(made["store"]).exists()
    assert pear("runs", "rm", made["id"], "--json").json == {"removed": [made["id"]]}
    assert not Path(made["store"]).exists()
    assert pear("runs", "show", made["id"], "--json").json["status"] == "expired"
    assert pear("runs", "rm", "nothing").status == 2


def test_chosen_outputs_of_an_ensemble(pear: Any, data: DataFolder) -> None:
    answer = pear(
        "forecast",
        "--init",
        "2001-03-04",
        "--lead",
        "2d",
        "--members",
        "3",
        "--variables",
        "t2m,z",
        "--levels",
        "500",
        "--leads",
        "2d",
        "--quantiles",
        "10,90",
        "--json",
    )
    assert answer.status == 0, answer.err
    (run,) = answer.json["runs"]
    assert run["options"]["members"] == 3
    assert set(read_fields(Path(run["store"]))) == {"2m_temperature", "geopotential"}
    spread = read_fields(data.forecast(f"{run['id']}.spread"))
    assert spread["geopotential"].shape == (1, 1, 1, 768)
    assert (data.forecast(f"{run['id']}.q90")).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--init", "2001-03-09"], "2001-03-09T00:00:00Z is not in analysis demo"),
        (["--init", "yesterday"], "invalid time 'yesterday'"),
        (["--init", "2001-03-01", "--lead", "30h"], "not a multiple of the 24 h model step"),
        (["--init", "2001-03-01", "--model", "none"], "no model 'none'"),
        (["--init", "2001-03-01", "--levels", "high"], "expected whole numbers"),
        (["--init", "2001-03-01", "--variables", "rain"], "unknown variable"),
        (["--init", "2001-03-01", "--scheduler", "tcp://127.0.0.1:9"], "no scheduler answers"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(
    pear: Any, words: list[str], said: str
) -> None:
    answer = pear("forecast", *words)
    assert answer.status == 2
    assert answer.err.startswith("pear: ") or "\npear: " in answer.err
    assert said in answer.err
    assert answer.out == ""


def test_every_command_uses_the_catalog_that_is_set(
    pear: Any, data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_CATALOG", str(tmp_path / "elsewhere.sqlite"))
    assert pear("runs", "list", "--json").json == []
    pear("schedule", "add", "daily", "--cron", "0 6 * * *", "--forecast", "1d")
    with Catalog(tmp_path / "elsewhere.sqlite") as catalog:
        assert [schedule.name for schedule in catalog.schedules.all()] == ["daily"]
    with Catalog(data.catalog) as catalog:
        assert catalog.schedules.all() == []


def test_no_data_folder_is_said(pear: Any, tmp_path: Path) -> None:
    answer = pear("runs", "list", folder=tmp_path / "nowhere")
    assert answer.status == 2
    assert "no data folder" in answer.err


def test_a_field_with_holes_fails_the_run_with_one_line(pear: Any, tmp_path: Path) -> None:
    """The store says a state is complete, its chunk was lost since: fill values, silently."""
    data = make_data_folder(tmp_path / "data", days=1)
    for shard in (data.analysis("demo") / "2m_temperature" / "c").rglob("*"):
        if shard.is_file():
            shard.unlink()
    answer = pear("forecast", "--init", "2001-03-01", "--lead", "1d", folder=data.root)
    assert answer.status == 2
    assert "2m_temperature" in answer.err.splitlines()[-1]
    assert not list((data.root / "forecasts").glob("*.zarr"))


def test_models_are_added_once_and_listed(pear: Any, data: DataFolder, tmp_path: Path) -> None:
    saved = checkpoint.save(tmp_path / "new", tiny_model(seed=5), normaliser(), {"name": "five"})
    added = pear("models", "add", str(tmp_path / "new"), "--name", "other", "--json").json
    assert added["id"] == saved.id
    assert pear("models", "add", str(tmp_path / "new"), "--json").json["id"] == saved.id
    listed = pear("models", "list", "--json").json
    assert sorted(model["id"] for model in listed).count(saved.id) == 1
    (tmp_path / "new" / "model.safetensors").write_bytes(b"damaged")
    broken = pear("models", "add", str(tmp_path / "new"))
    assert broken.status == 2
    missing = pear("models", "add", str(tmp_path / "missing"))
    assert missing.status == 2
    assert "no checkpoint" in missing.err


def test_a_schedule_from_adding_to_removing(pear: Any, tmp_path: Path) -> None:
    data = make_data_folder(tmp_path / "data", days=3)
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)

    def call(*words: str) -> Answer:
        answer: Answer = pear("schedule", *words, folder=data.root)
        return answer

    added = call(
        "add", "daily", "--cron", "30 6 * * *", "--forecast", "1d", "--newest", "2", "--json"
    )
    assert added.json[0]["action"]["forecast"]["lead_hours"] == 24
    assert added.json[0]["next_run_at"][11:16] == "06:30"
    once = call("run", "daily", "--once", "--json")
    assert once.status == 0, once.err
    assert len(once.json["runs"]) == 2
    assert set(once.json["jobs"].values()) == {"succeeded"}
    assert call("run", "daily", "--once", "--json").json["runs"] == []
    paused = call("pause", "daily", "--json").json[0]
    assert (paused["paused"], paused["next_run_at"]) == (True, None)
    assert not call("pause", "daily", "--resume", "--json").json[0]["paused"]
    assert "daily  30 6 * * *  forecast" in call("list").out
    assert call("remove", "daily").status == 0
    assert call("list", "--json").json == []
    for words, said in (
        (["run", "daily", "--once"], "no schedule 'daily'"),
        (["add", "x", "--cron", "1 2 3", "--forecast", "1d"], "has 3 fields"),
        (["add", "x", "--cron", "1 2 * * *"], "the action has no parts"),
        (["add", "../x", "--cron", "1 2 * * *", "--forecast", "1d"], "invalid name"),
        (["add", "x", "--cron", "1 2 * * *", "--ingest", "in"], "--ingest needs --analysis"),
        (["run", "x"], "all schedules run by cron"),
        (["run", "--once"], "needs the name"),
    ):
        refused = call(*words)
        assert refused.status == 2
        assert said in refused.err


def test_the_times_of_the_world_are_the_ones_these_tests_name() -> None:
    assert np.datetime64("2001-03-01") == START
