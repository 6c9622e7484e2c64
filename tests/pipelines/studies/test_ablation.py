"""A small ablation: equal cost, resumption, and its report."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.models.config import PearConfig
from pipelines.studies.ablation import (
    ARMS,
    BASE,
    Ablation,
    MixingStudy,
    config_of,
    count_parameters,
    matched_width,
)


def test_arms_differ_in_one_choice_and_parameters_can_be_matched(
    study_data: dict[str, Any], tmp_path: Path
) -> None:
    base = config_of(BASE, 16, 128)
    assert base == PearConfig.small(16, embed=128, heads=(4, 8, 8, 4))
    for embed in (64, 128):
        wanted = count_parameters(config_of(BASE, 16, embed))
        for name in ("c4h", "head8", "patch4", "stencil", "spectral"):
            other = config_of(name, 16, matched_width(name, 16, wanted))
            assert count_parameters(other) == pytest.approx(wanted, rel=0.1)
            assert other.embed / other.heads[0] == pytest.approx(ARMS[name].head, rel=0.35)
    with pytest.raises(InputError, match="must be even"):
        config_of("c4h", 16, 33)
    wrong = config_of("wrong_mirror", 16, 128)
    assert set(wrong.signs("upper")) == {1} != set(base.signs("upper"))
    with pytest.raises(InputError, match="unknown arm 'c4'"):
        Ablation(folder=tmp_path, **study_data, arms=("c4",))
    with pytest.raises(InputError, match="unknown axis 'tme'"):
        Ablation(folder=tmp_path, **study_data, axes=("tme",))


@pytest.mark.slow
def test_trials_are_done_once_and_continued(study_data: dict[str, Any], tmp_path: Path) -> None:
    data = {**study_data, "every": 3}
    study = Ablation(folder=tmp_path / "study", **data, arms=("c4h",), axes=("time",))
    folder, plan, trials = study.folder, study.plan(), study.design()
    assert [trial.name for trial in trials[:2]] == [f"time {arm} seed 0" for arm in study.arms]
    networks = [plan[f"time/{arm}"] for arm in study.arms for _ in study.seeds]
    assert study.seconds_left() == pytest.approx(
        sum(network["steps"] * network["step_seconds"] for network in networks)
    )
    assert study.report(study.results()).sizes == {}
    report = study.run()
    made = {p: p.stat().st_mtime_ns for p in folder.rglob("sums.nc")}
    assert (len(made), study.seconds_left()) == (4, 0.0)
    again = folder / "time/c4h/seed1/sums.nc"
    again.unlink()
    assert study.plan() == plan
    study.run()
    assert again.exists()
    assert all(p.stat().st_mtime_ns == t for p, t in made.items() if p != again)
    base = report.sel(arm=BASE)
    assert report["field"].values.tolist() == ["z500", "t2m"]
    assert not base[["difference", "low", "high"]].to_array().any()
    assert (base["seeds"] == 2).all()
    inside = (report["low"] <= report["difference"]) & (report["difference"] <= report["high"])
    assert inside.sel(axis="time").all()
    with (folder / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["arm"] for row in rows if row["axis"] == "time"} == {BASE, "c4h"}
    assert (folder / "ablation.png").stat().st_size > 5000
    more = dataclasses.replace(study, seeds=(0, 1, 2))
    assert len(more.design()) == 6
    with pytest.raises(InputError, match="begun without patch4"):
        dataclasses.replace(study, arms=("patch4",)).design()
    with pytest.raises(InputError, match="another study"):
        dataclasses.replace(study, days=1).plan()


@pytest.mark.slow
def test_every_way_of_mixing_trains_and_forecasts(
    study_data: dict[str, Any], tmp_path: Path
) -> None:
    data = {**study_data, "every": 3, "seeds": (0,), "embed": 32}
    report = MixingStudy(folder=tmp_path / "mixing", **data, axes=("time",)).run()
    found = report.sel(axis="time", day=1, field="z500", score="acc", drop=True)
    arms = ["ring_rotation", "stencil", "spectral", "stencil_attention"]
    assert bool(found["difference"].sel(arm=arms).notnull().all())
    assert (tmp_path / "mixing" / "mixing.csv").is_file()
    assert (tmp_path / "mixing" / "mixing.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("low", "better"), [((-0.2, -0.1, -0.3), []), ((-0.2, 0.01, -0.3), ["spectral"])]
)
def test_what_is_better_than_attention_is_named(low: tuple[float, ...], better: list[str]) -> None:
    assert MixingStudy.better_arms(_low_ends(low)) == better


def test_what_was_not_trained_is_not_judged() -> None:
    with pytest.raises(InputError, match="yet: stencil_attention"):
        MixingStudy.better_arms(_low_ends((-0.2, 0.1, np.nan)))


def _low_ends(values: tuple[float, ...]) -> xr.Dataset:
    """Return a report with these low ends of the differences on its last day."""
    coords = {
        "axis": ["time"],
        "arm": list(MixingStudy.arms),
        "score": ["acc"],
        "field": ["z500"],
        "day": [1, 3],
    }
    days = np.stack([np.ones(1 + len(values)), [0.0, *values]], axis=-1)
    low = days.reshape(1, -1, 1, 1, 2)
    return xr.Dataset({"low": (tuple(coords), low)}, coords)
