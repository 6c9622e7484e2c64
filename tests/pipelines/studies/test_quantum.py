"""The quantum study on a short budget: exact claims decided, energies measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.studies import quantum
from pipelines.studies.quantum import QuantumStudy


def test_exact_claims_are_met_on_a_short_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantum, "SITES", 6)
    study = QuantumStudy(folder=tmp_path, minutes=0.002)
    assert study.steps == 2
    report = study.run()
    met = {finding.claim.key: finding.met for finding in report.findings}
    exact = {"diagonal", "invariance", "volume", "area", "area_growth", "volume_growth"}
    assert {key for key, value in met.items() if value is not None} == exact
    assert not report.unmet
    assert all(finding.value is not None for finding in report.findings)
    assert (tmp_path / "quantum.png").stat().st_size > 5000


def test_units_on_all_spins_do_not_obey_the_area_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = quantum.random_state
    monkeypatch.setattr(
        quantum,
        "random_state",
        lambda sites, random, *, local: original(sites, random, local=False),
    )
    monkeypatch.setattr(quantum, "RINGS", (6, 10))
    values = QuantumStudy(folder=tmp_path)._entropies(lambda *_: None)
    assert values["area"] > 2 * 0.6932  # type: ignore[operator]
    assert values["area_growth"] > 0.2  # type: ignore[operator]
