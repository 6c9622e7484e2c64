"""The width study on a short budget: exact claims, its table of values, and its figure."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pear.kernels.pointwise import POINTWISE, Pointwise
from pipelines.studies import width
from pipelines.studies.width import WidthStudy, _extrapolate, deep_linear_error


def test_exact_claims_are_met_on_a_short_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(width, "_DEPTH_WIDTH", 8)
    report = WidthStudy(folder=tmp_path / "s", minutes=0.001).run()
    assert not report.unmet
    for finding in report.findings:
        assert finding.value is not None
        assert finding.met is (None if finding.claim.statistical else True), finding
    assert (tmp_path / "s/width.png").stat().st_size > 1000


def test_deep_linear_networks_are_told_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(1, 3, dtype=torch.float64)
    assert deep_linear_error(x, 4) < 1e-12
    bent = Pointwise("linear", lambda z: z + 0.01 * z**3, lambda z: 1 + 0.03 * z**2)
    monkeypatch.setattr(width, "POINTWISE", {**POINTWISE, "linear": bent})
    assert deep_linear_error(x, 4) > 0.1


def test_extrapolation_finds_the_value_at_infinite_width() -> None:
    widths, errors = [8, 16, 32], [torch.full((1, 1), e, dtype=torch.float64) for e in (1, 2, 3)]
    means = [torch.full((1, 1), 2.0 - 3.0 / n, dtype=torch.float64) for n in widths]
    value, error = _extrapolate(widths, means, errors)
    assert value.item() == pytest.approx(2.0, rel=1e-12)
    assert error.item() > 1.0
