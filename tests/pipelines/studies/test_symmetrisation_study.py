"""A small study of symmetrisation, from trainings to tables."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.studies.symmetrisation_study import KINDS, SymmetrisationStudy


@pytest.mark.slow
def test_members_are_trained_measured_and_compared(
    study_data: dict[str, Any], tmp_path: Path
) -> None:
    study = SymmetrisationStudy(folder=tmp_path, **study_data)
    trials = study.design()
    assert [trial.name for trial in trials[:2]] == ["train augmented seed 0", "train plain seed 0"]
    report = study.run()
    assert all(trial.is_done(tmp_path) for trial in trials)
    assert set(report["models"].values) == set(KINDS)
    assert report["error"].dropna("members").sizes == {"models": 2, "members": 2, "day": 2}
    assert not report["difference"].sel(way="single").any()
    assert report["exact"].sel(way="averaged").max() < 1e-10
    for name, rows in (("errors", 2 * 2 * 2), ("scores", 2 * 4 * 2 * 2 * 2)):
        with (tmp_path / f"symmetrisation-{name}.csv").open() as file:
            assert len(list(csv.DictReader(file))) == rows
    assert (tmp_path / "symmetrisation.png").stat().st_size > 5000

    given = replace(study, model=tmp_path / "plain/seed0/checkpoint")
    more = given.run()
    assert set(more["models"].values) == {"given", *KINDS}
    assert more["value"].sel(models="given", way="both").isnull().all()
    assert more["error"].sel(models="given").dropna("members").sizes["members"] == 1
