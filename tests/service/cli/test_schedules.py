"""``pear schedule``: add, run, pause, list and remove."""

from __future__ import annotations

import pytest

from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine


def test_a_schedule_from_adding_to_removing(
    pear: CommandLine, data: DataFolder, scheduler: str
) -> None:
    words = "schedule add daily --json --forecast 1d --newest 2 --cron"
    (added,) = pear(*words.split(), "30 6 * * *", data=data).json
    assert added["action"]["forecast"]["lead_hours"] == 24
    assert added["next_run_at"][11:16] == "06:30"
    run = ("schedule", "run", "daily", "--once", "--json", "--scheduler", scheduler)
    once = pear(*run, data=data).json
    assert len(once["runs"]) == 2
    assert set(once["jobs"].values()) == {"succeeded"}
    assert pear(*run, data=data).json["runs"] == []
    (paused,) = pear("schedule", "pause", "daily", "--json", data=data).json
    assert (paused["paused"], paused["next_run_at"]) == (True, None)
    (resumed,) = pear("schedule", "pause", "daily", "--resume", "--json", data=data).json
    assert not resumed["paused"]
    assert "daily  30 6 * * *  forecast" in pear("schedule", "list", data=data).out
    assert pear("schedule", "remove", "daily", data=data).status == 0
    assert pear("schedule", "list", "--json", data=data).json == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["add", "x", "--cron", "1 2 3", "--forecast", "1d"],
            "line '1 2 3': 3 fields",
        ),
        (["add", "x", "--cron", "1 2 * * *"], "the action has no parts"),
        (["add", "../x", "--cron", "1 2 * * *", "--forecast", "1d"], "invalid name"),
        (["add", "x", "--cron", "1 2 * * *", "--ingest", "in"], "--ingest needs --analysis"),
        (["add", "x", "--cron", "@reboot", "--forecast", "1d"], "@reboot is not a time"),
        (["add", "x", "--cron", "@daily", "--forecast", "30h"], "24 h model step"),
        (["add", "x", "--cron", "@daily", "--forecast", "1000d"], "must be 8784 or less"),
        (["add", "x", "--cron", "@daily", "--keep-days", "nan"], "--keep-days"),
        (["add", "x", "--cron", "@daily", "--forecast", "1d", "--options", "[1]"], "JSON object"),
        (
            ["add", "x", "--cron", "@daily", "--forecast", "1d", "--options", '{"members": "x"}'],
            "'x' is not a number",
        ),
        (
            ["add", "x", "--cron", "@daily", "--forecast", "1d", "--options", '{"member": 2}'],
            "did you mean members?",
        ),
        (["run", "x"], "all schedules run by cron"),
        (["run", "--once"], "needs the name"),
    ],
)
def test_invalid_schedules_are_refused(
    pear: CommandLine, data: DataFolder, words: list[str], message: str
) -> None:
    pear("schedule", *words, data=data).refused(message)


def test_an_unknown_schedule_is_refused_before_a_worker_starts(
    pear: CommandLine, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.cli.schedules.Engine", None)
    pear("schedule", "run", "none", "--once", data=data).refused("no schedule 'none'")
