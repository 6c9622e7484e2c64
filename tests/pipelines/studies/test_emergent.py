"""The emergent study on a short budget, the standard error of its estimate, and PEAR members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pear.sphere.symmetry import C4H
from pipelines.studies import emergent
from pipelines.studies.emergent import EmergentStudy, _in_standard_errors
from pipelines.studies.emergent_pear import _split
from tests.fixtures.evaluation import days


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emergent, "_STEPS", 20)
    monkeypatch.setattr(emergent, "_ORBITS", (4, 16))
    monkeypatch.setattr(emergent, "_TESTS", 5)


def test_exact_claims_are_met_on_a_short_budget(tmp_path: Path, small: None) -> None:
    report = EmergentStudy(folder=tmp_path / "s", minutes=0.01).run()
    assert not report.unmet
    for finding in report.findings:
        pear = finding.claim.key.startswith("pear")
        assert (finding.value is None) is pear
        assert finding.met is (None if finding.claim.statistical else True), finding
    assert (tmp_path / "s/emergent.png").stat().st_size > 1000


def test_an_augmentation_that_forgets_the_sign_of_the_wind_is_caught(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = EmergentStudy(folder=tmp_path, minutes=0.01)
    right = emergent._moved
    wrong = emergent.Fields(emergent._NSIDE, (1, 1, 1), channel_axis=1)

    def moved(x: Any, element: Any) -> Any:
        if len(x) != emergent._SAMPLES:  # test states move as they should
            return right(x, element)
        return wrong.act(element, x.view(-1, 3, 48)).reshape(x.shape)

    monkeypatch.setattr(emergent, "_moved", moved)
    assert study._orbit(lambda *_: None)["orbit"] > 1e-3
    assert len(C4H) == 8


def test_the_estimate_is_within_its_error_or_not() -> None:
    rng = np.random.default_rng(0)
    found = []
    for shared in (0.0, 0.5):
        errors = rng.normal(size=(40, 200)) + shared * rng.normal(size=200)
        found.append(_in_standard_errors(errors @ errors.T / 200))
    assert abs(found[0]) < 3
    assert found[1] > 5


def test_few_times_are_refused() -> None:
    with pytest.raises(InputError, match="has 9 times, an ensemble needs 10"):
        _split(days("2001-01-01", 9))
    train, test = _split(days("2001-01-01", 10))
    assert (train.size, test.size) == (8, 2)


@pytest.mark.slow
def test_an_ensemble_of_pear(tmp_path: Path, study_data: dict[str, Any], small: None) -> None:
    study = EmergentStudy(
        folder=tmp_path / "s", minutes=0.01, analysis=study_data["store"], members=2, steps=1
    )
    first = study._pear(lambda *_: None)
    assert first["sizes"] == [1.0, 2.0]
    assert np.isfinite(first["errors"]).all()
    written = (tmp_path / "s/pear/seed1/checkpoint/checkpoint.json").stat().st_mtime_ns
    assert study._pear(lambda *_: None) == first  # members that are there are kept
    assert (tmp_path / "s/pear/seed1/checkpoint/checkpoint.json").stat().st_mtime_ns == written
