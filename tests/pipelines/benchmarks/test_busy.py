"""Busy processes beside PEAR: they end with whatever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pear.errors import InputError
from pipelines.benchmarks.busy import BUSY, busy_processes, measure_busy

_STARTER = """
import os, subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())]).pid, flush=True)
time.sleep(60)
"""


def lives(process: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends_soon(process: int) -> bool:
    until = time.monotonic() + 20
    while lives(process) and time.monotonic() < until:
        time.sleep(0.02)
    return not lives(process)


def test_busy_processes_end_with_the_block() -> None:
    with busy_processes(1) as (process,):
        assert lives(process)
    assert not lives(process)


def test_busy_processes_end_with_a_killed_parent() -> None:
    command = [sys.executable, "-c", _STARTER, BUSY]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        child = int(starter.stdout.readline())
        os.kill(starter.pid, signal.SIGKILL)
    assert ends_soon(child)


def test_unknown_work_is_refused() -> None:
    with pytest.raises(InputError, match="unknown work 'sleep'"):
        measure_busy(["sleep"])
