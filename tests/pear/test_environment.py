"""Renamed environment variables, and the threads of PEAR's own processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pear import environment
from pear.environment import PASSIVE, RENAMED, check_environment, explicit_threads, shared_cores
from pear.errors import InputError


def test_current_names_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for new in RENAMED.values():
        monkeypatch.setenv(new, "1")
    check_environment()


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_an_error_that_names_the_new_one(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    monkeypatch.setenv(old, "1")
    with pytest.raises(InputError, match=new) as caught:
        check_environment()
    assert caught.value.field == old


def test_threads_of_a_person_win(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PEAR_THREADS", "OMP_NUM_THREADS", "PEAR_MOST_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert explicit_threads() is None
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert explicit_threads() == 4
    monkeypatch.setenv("PEAR_MOST_THREADS", "3")  # then OMP_NUM_THREADS is PEAR's own
    assert explicit_threads() is None
    monkeypatch.setenv("PEAR_THREADS", "2")
    assert explicit_threads() == 2


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_of_threads_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PEAR_THREADS", text)
    with pytest.raises(InputError, match="PEAR_THREADS"):
        check_environment()


@pytest.mark.parametrize(("limit", "cores"), [("150000 100000", 2), ("50000 100000", 1)])
def test_the_quota_of_a_container_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(environment, "_CGROUP", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert environment.usable_cores() == cores
    (tmp_path / "cpu.max").write_text("max 100000")
    assert (environment.usable_cores(), shared_cores(), shared_cores(3)) == (8, 7, 2)


_COMMAND = """
import json, os, sys
import pear.environment
real = pear.environment.prepare_process
def prepare():
    assert "torch" not in sys.modules and "numpy" not in sys.modules
    real()
    print(json.dumps(dict(os.environ)))
pear.environment.prepare_process = prepare
sys.argv = ["pear", "--version"]
from service.cli import main
main()
"""


@pytest.mark.parametrize("chosen", [None, "3"])
def test_a_command_never_spins_and_keeps_the_threads_of_a_person(chosen: str | None) -> None:
    ours = (*PASSIVE, "OMP_NUM_THREADS", "PEAR_THREADS", "PEAR_MOST_THREADS")
    given = {name: value for name, value in os.environ.items() if name not in ours}
    if chosen is not None:
        given["OMP_NUM_THREADS"] = chosen
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND], capture_output=True, text=True, check=True, env=given
    )
    found = json.loads(done.stdout.splitlines()[0])
    assert {name: found[name] for name in PASSIVE} == dict(PASSIVE)
    assert found["OMP_NUM_THREADS"] == (chosen or "1")
    assert ("PEAR_MOST_THREADS" in found) == (chosen is None)
