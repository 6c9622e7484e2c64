"""The polynomial study: the dimension formula, and what is not in the fibre."""

from __future__ import annotations

from pathlib import Path

import pytest

from pear.sphere.groups import c4h, cyclic, dihedral
from pipelines.studies.polynomial import PolynomialStudy, dimension


@pytest.mark.parametrize(("group", "depth"), [(cyclic(3), 1), (dihedral(3), 2), (c4h(), 3)])
def test_dimension(group: object, depth: int) -> None:
    assert dimension(group, depth, 2, 0) == depth * (group.order - 1) + 1  # type: ignore[attr-defined,arg-type]


def test_without_a_power_all_layers_are_one() -> None:
    assert dimension(cyclic(3), 3, 1, 0) == 3


def test_all_claims_are_met(tmp_path: Path) -> None:
    report = PolynomialStudy(folder=tmp_path).run()
    assert all(finding.met for finding in report.findings)
