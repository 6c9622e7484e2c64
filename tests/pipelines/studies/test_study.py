"""Trials: done once, shared among processes, taken over from dead ones; step times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pear.errors import InputError
from pear.training import Trainer
from pipelines.studies.ablation import Ablation
from pipelines.studies.study import Trial, measure_step, run_trials


def test_processes_share_trials_and_take_over_from_dead_ones(tmp_path: Path) -> None:
    both, did = threading.Barrier(2, timeout=10), []

    def trial(name: str) -> Trial:
        def work(folder: Path) -> None:
            if name in ("a", "b"):
                both.wait()  # only if each of the two has one of these are they done
            did.append(name)
            (folder / name).touch()

        return Trial(name, name, work)

    (tmp_path / ".locks").mkdir()
    (tmp_path / ".locks" / "c.lock").touch()  # of a process that was killed
    ticks: list[str] = []
    trials = [trial(name) for name in "abcd"]
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(run_trials, trials, tmp_path, lambda _, name: ticks.append(name), 0.01)
            for _ in range(2)
        ]:
            done.result()
    assert sorted(did) == list("abcd")
    assert sorted(ticks) == sorted("abcd" * 2)


def test_a_trial_waits_for_what_it_needs(tmp_path: Path) -> None:
    did: list[str] = []

    def trial(name: str, *needs: str) -> Trial:
        def work(folder: Path) -> None:
            did.append(name)
            (folder / name).touch()

        return Trial(name, name, work, needs=needs)

    run_trials([trial("b", "a"), trial("c", "b"), trial("a")], tmp_path, wait=0.01)
    assert did == ["a", "b", "c"]


def test_step_time_is_the_median() -> None:
    naps = iter([0.3, 0.01, 0.01, 0.2, 0.01, 0.01])  # the first warms up, one is held up

    class Slow:
        log = SimpleNamespace(path=Path("no such file"))
        progress: Callable[[float, str], None]

        def run(self) -> None:
            for nap in naps:
                time.sleep(nap)
                self.progress(0.1, "")

    assert 0.01 <= measure_step(cast(Trainer, Slow())) < 0.03


def test_overlapping_periods_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training and test periods overlap"):
        Ablation(
            folder=tmp_path,
            store=Path("a"),
            climatology=Path("c"),
            period=("2000-01-01", "2001-01-01"),
            test=("2001-01-01", "2002-01-01"),
        )
