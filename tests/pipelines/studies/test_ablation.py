"""An ablation in the small: equal cost, resumption, and what its table says."""

from __future__ import annotations

import csv
import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from pear.errors import InputError
from pear.metrics import ScoreAccumulator, bootstrap
from pear.metrics.bootstrap import bootstrap_seeds
from pear.models.config import PearConfig
from pear.training import Trainer
from pear.variables import Layout
from pipelines.evaluation.climatology import build_climatology as climatology
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.studies import ablation
from pipelines.studies.ablation_report import rows, write
from pipelines.studies.study import Job, seconds_left, share, timed

NSIDE = 8
LAYOUT = Layout(("2m_temperature", "10m_v_component_of_wind"), ("geopotential",), (850, 500))
SIZES = [[2.0], [3.0], [90.0], [150.0]]
DAY = np.timedelta64(86_400, "s")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ablation.Ablation:
    folder = tmp_path_factory.mktemp("ablation")
    days = 366
    times = np.datetime64("2001-01-01", "s") + DAY * np.arange(days)
    rng = np.random.default_rng(1)
    fields = rng.normal(size=(days, 4, 12 * NSIDE**2))
    fields = np.array([280.0, 1.0, 14_000.0, 55_000.0])[:, None] + fields * SIZES
    with AnalysisWriter(folder / "a.zarr", LAYOUT, NSIDE) as writer:
        writer.append(times, fields[:, :2], fields[:, 2:].reshape(days, 1, 2, -1))
    climatology(folder / "a.zarr", folder / "c.zarr", harmonics=1)
    return ablation.Ablation(
        folder / "a.zarr",
        folder / "c.zarr",
        ("2001-01-01", "2001-02-09"),
        ("2001-02-10", "2001-02-25"),
        every=3,
        days=2,
        minutes=0.005,
        seeds=(0, 1),
        arms=("c4h",),
        embed=64,
        batch=2,
    )


def test_arms_differ_in_one_choice_and_parameters_can_be_matched() -> None:
    base = ablation.config_of(ablation.BASE, 16, 128)
    assert base == PearConfig.small(16, embed=128, heads=(4, 8, 8, 4))
    for embed in (64, 128):
        wanted = ablation.parameters(ablation.config_of(ablation.BASE, 16, embed))
        for name in ("c4h", "head8", "patch4"):
            width = ablation.matched_width(name, 16, wanted)
            other = ablation.config_of(name, 16, width)
            assert ablation.parameters(other) == pytest.approx(wanted, rel=0.1)
            assert other.embed / other.heads[0] == pytest.approx(ablation.ARMS[name].head, rel=0.35)
    with pytest.raises(InputError, match="must be even"):
        ablation.config_of("c4h", 16, 33)
    wrong = ablation.config_of("wrong_mirror", 16, 128)
    assert set(wrong.signs("upper")) == {1} != set(base.signs("upper"))
    with pytest.raises(InputError, match="no arm 'c4'"):
        ablation.Ablation(Path("a"), Path("c"), ("2000", "2001"), ("2002", "2003"), arms=("c4",))


def test_a_study_is_done_once_and_goes_on(study: ablation.Ablation, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    plan = ablation.plan_of(study, folder)
    jobs = ablation.jobs_of(study, folder, plan, ("time",))
    assert [job.name for job in jobs[:2]] == [f"time {arm} seed 0" for arm in study.arms]
    steps = [plan["time"][arm] for arm in study.arms for _ in study.seeds]
    assert seconds_left(jobs) == pytest.approx(sum(x["steps"] * x["step_seconds"] for x in steps))
    share(jobs, folder)
    made = {p: p.stat().st_mtime_ns for p in folder.rglob("sums.npz")}
    assert (len(made), seconds_left(jobs)) == (4, 0.0)
    again = folder / "time/c4h/seed1/sums.npz"
    again.unlink()
    assert ablation.plan_of(study, folder) == plan
    share(jobs, folder)
    assert again.exists()
    assert all(p.stat().st_mtime_ns == t for p, t in made.items() if p != again)
    found = rows(study, folder, plan)
    base = [row for row in found if row.arm == ablation.BASE]
    assert {row.field for row in found} == {"z500", "t2m"}
    assert all(row.difference == row.low == row.high == 0.0 and row.seeds == 2 for row in base)
    assert all(row.low <= row.difference <= row.high for row in found)
    write(found, folder)
    with (folder / "ablation.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(found)
    assert (folder / "ablation.png").stat().st_size > 5000
    more = dataclasses.replace(study, seeds=(0, 1, 2))
    assert len(ablation.jobs_of(more, folder, ablation.plan_of(more, folder), ("time",))) == 6
    with pytest.raises(InputError, match="begun without patch4"):
        ablation.plan_of(dataclasses.replace(study, arms=("patch4",)), folder)
    with pytest.raises(InputError, match="another study"):
        ablation.plan_of(dataclasses.replace(study, days=1), folder)


def test_several_processes_share_a_study_and_take_over_from_the_dead(tmp_path: Path) -> None:
    both, did = threading.Barrier(2, timeout=10), []

    def job(name: str) -> Job:
        def work() -> None:
            if name in ("a", "b"):
                both.wait()  # only if each of the two has one of these are they done
            did.append(name)
            (tmp_path / name).touch()

        return Job(name, tmp_path / name, work)

    (tmp_path / ".locks").mkdir()
    (tmp_path / ".locks" / "c.lock").touch()  # of a process that was killed: nobody holds it
    ticks: list[str] = []
    jobs = [job(name) for name in "abcd"]
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(share, jobs, tmp_path, lambda _, name: ticks.append(name), 0.01)
            for _ in range(2)
        ]:
            done.result()
    assert sorted(did) == list("abcd")
    assert sorted(ticks) == sorted("abcd" * 2)


def test_intervals_over_one_seed_are_those_over_init_times_and_widen_with_more() -> None:
    rng = np.random.default_rng(0)
    inits = np.datetime64("2001-01-01", "s") + 5 * DAY * np.arange(30)

    def table(offset: float) -> ScoreAccumulator:
        sums = ScoreAccumulator(inits, np.array([DAY]), (("2m_temperature", None),))
        for init in inits:
            truth = rng.normal(size=(1, 50))
            error = offset + 0.1 * rng.normal(size=(1, 50))
            sums.add(init, DAY, truth + error, truth, np.zeros((1, 50)))
        return sums

    one, two = table(1.0), table(2.0)
    score, interval = bootstrap_seeds([one], "rmse")
    plain = bootstrap(one, "rmse")
    assert score[0, 0, 0] == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose([interval.low, interval.high], [plain.low, plain.high])
    _, wide = bootstrap_seeds([one, two], "rmse")
    assert (wide.low < 1.05, wide.high > 1.95) == (True, True)
    gap, far = bootstrap_seeds([two], "rmse", [one])
    assert gap[0, 0, 0] == pytest.approx(1.0, abs=0.05)
    assert far.excludes_zero.all()
    paired, near = bootstrap_seeds([one, two], "rmse", [one, two])
    assert not np.any([paired, near.low, near.high])
    with pytest.raises(ValueError, match="cannot be paired"):
        bootstrap_seeds([one, two], "rmse", [one])
    with pytest.raises(ValueError, match="cannot be pooled"):
        bootstrap_seeds([one], "acc_per_init")


def test_a_step_is_timed_by_the_middle_one() -> None:
    naps = iter([0.3, 0.01, 0.01, 0.2, 0.01, 0.01])  # the first one warms up, one is held up

    class Slow:
        log = SimpleNamespace(path=Path("no such file"))
        progress: Callable[[float, str], None]

        def run(self) -> None:
            for nap in naps:
                time.sleep(nap)
                self.progress(0.1, "")

    assert 0.01 <= timed(cast(Trainer, Slow())) < 0.03
