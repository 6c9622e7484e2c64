"""The study of Boltzmann machines on a short budget, and on a year of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pear.progress import no_progress
from pipelines.studies import boltzmann, boltzmann_spins
from pipelines.studies.boltzmann import BoltzmannStudy
from pipelines.studies.boltzmann_spins import learn_weather


def test_exact_claims_are_met_on_a_short_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boltzmann, "SMALL", 3)
    monkeypatch.setattr(boltzmann, "SAMPLES", {"small": 100, "sphere": 5})
    monkeypatch.setattr(boltzmann_spins, "LATTICE_SAMPLES", 20)
    monkeypatch.setattr(boltzmann_spins, "NSIDE", 4)
    monkeypatch.setattr(boltzmann_spins, "_SETTLING", 2)
    report = BoltzmannStudy(folder=tmp_path, minutes=0.001).run()
    met = {finding.claim.key: finding.met for finding in report.findings}
    exact = {"decimation", "bonds", "identity", "kaufman", "sphere_symmetry", "deep_bound"}
    assert {key for key, value in met.items() if value is not None} == exact
    assert not report.unmet
    missing = {finding.claim.key for finding in report.findings if finding.value is None}
    assert missing == {"weather_parent"}
    assert (tmp_path / "boltzmann.png").stat().st_size > 5000


def test_a_wrong_decimation_is_unmet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert boltzmann._decimation_error() < 1e-12
    monkeypatch.setattr(boltzmann, "decimated_coupling", lambda coupling: np.tanh(coupling) ** 2)
    assert boltzmann._decimation_error() > 0.01


def test_a_year_of_weather_is_coarsened(
    study_data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of noise: correlations vanish at every level, parents still follow their children."""
    monkeypatch.setattr(boltzmann_spins, "NSIDE", 8)
    monkeypatch.setattr(boltzmann_spins, "_SETTLING", 2)
    values = learn_weather(study_data["store"], 1, 0, no_progress)
    assert max(abs(x) for x in values["majority"]) < 0.05  # type: ignore[union-attr]
    assert max(abs(x) for x in values["majority_couplings"]) < 0.05  # type: ignore[union-attr]
    assert values["parent_0"] > 0.9  # type: ignore[operator]
    assert len(values["angles"]) == 3  # type: ignore[arg-type]


def test_a_store_that_is_too_short_is_refused(
    study_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boltzmann_spins, "NSIDE", 8)
    monkeypatch.setattr(boltzmann_spins, "LEAST_DAYS", 400)
    with pytest.raises(InputError, match="366 states, 400 are needed"):
        BoltzmannStudy(folder=tmp_path, analysis=study_data["store"])
