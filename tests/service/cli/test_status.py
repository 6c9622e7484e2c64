"""``pear status``: what a data folder holds."""

from __future__ import annotations

from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine


def test_stores_runs_and_schedules_are_counted(pear: CommandLine, data: DataFolder) -> None:
    found = pear("status", "--json", data=data).json
    assert [store["name"] for store in found["stores"]] == ["demo"]
    assert found["stores"][0]["times"] == 4
    assert found["runs"]["failed"] == 0
    shown = pear("status", data=data).out
    assert "demo" in shown
    assert "Schedules: none" in shown
