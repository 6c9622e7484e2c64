"""Claims and their reports: rules, resumption, folders of another study."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import ClassVar

import pytest

from pear.errors import InputError
from pear.progress import ProgressCallback
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values


def claim(key: str, rule: str, tolerance: float, **more: object) -> Claim:
    return Claim(key, f"the {key}", "arXiv 0000.00000", rule, tolerance, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "met", "unmet"),
    [("at most", 0.1, 0.11), ("at least", 0.1, 0.09), ("near", 1.05, 1.2)],
)
def test_rules(rule: str, met: float, unmet: float) -> None:
    each = claim("x", rule, 0.1, published=1.0)
    assert each.is_met(met)
    assert not each.is_met(unmet)
    assert not each.is_met(math.nan)
    assert not each.is_met(math.inf)


class Small(ClaimStudy):
    """Three claims measured in two parts."""

    name: ClassVar[str] = "small"
    help: ClassVar[str] = ""
    usual_time: ClassVar[str] = ""
    full_minutes: ClassVar[float] = 2.0
    claims: ClassVar[tuple[Claim, ...]] = (
        claim("error", "at most", 1e-12),
        claim("accuracy", "at least", 0.9, published=0.95, statistical=True),
        claim("absent", "at most", 1.0),
    )
    calls: ClassVar[list[str]] = []
    accuracy: ClassVar[float] = 0.5

    def parts(self) -> list[Part]:
        return [Part("exact", self.exact), Part("training", self.training, 10)]

    def exact(self, tick: ProgressCallback) -> Values:
        self.calls.append("exact")
        return {"error": 0.0}

    def training(self, tick: ProgressCallback) -> Values:
        self.calls.append("training")
        tick(4)
        if self.accuracy == 0:
            raise KeyboardInterrupt
        return {"accuracy": self.accuracy, "curve": [0.1, 0.5]}


def test_a_report_has_published_and_measured_values(tmp_path: Path) -> None:
    units: list[float] = []
    report = Small(folder=tmp_path / "s").run(lambda advance=1, note="": units.append(advance))
    assert sum(units) == 11
    assert [finding.met for finding in report.findings] == [True, False, None]
    assert [finding.claim.key for finding in report.unmet] == ["accuracy"]
    written = json.loads((tmp_path / "s/report.json").read_text())
    assert written["claims"][1]["here"] == 0.5
    assert written["claims"][1]["published"] == 0.95
    assert written["settings"]["seed"] == 0
    assert "torch" in written["versions"]


def test_a_short_budget_decides_exact_claims_alone(tmp_path: Path) -> None:
    for minutes, met in ((1.0, None), (2.0, False)):
        report = Small(folder=tmp_path / str(minutes), minutes=minutes).run()
        assert [finding.met for finding in report.findings] == [True, met, None]


def test_a_stopped_study_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Small(folder=tmp_path)
    monkeypatch.setattr(Small, "calls", [])
    monkeypatch.setattr(Small, "accuracy", 0)
    with pytest.raises(KeyboardInterrupt):
        study.run()
    monkeypatch.setattr(Small, "accuracy", 0.97)
    assert not study.run().unmet
    assert Small.calls == ["exact", "training", "training"]


def test_a_value_that_is_not_finite_is_unmet_and_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Small, "accuracy", math.nan)
    report = Small(folder=tmp_path).run()
    assert len(report.unmet) == 1
    assert json.loads((tmp_path / "report.json").read_text())["claims"][1]["here"] is None


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    Small(folder=tmp_path).run()
    with pytest.raises(InputError, match="belongs to another study"):
        Small(folder=tmp_path, seed=1).run()
