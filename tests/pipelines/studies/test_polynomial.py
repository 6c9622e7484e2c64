"""The polynomial study: the dimension formula, and what is not in the fibre."""

from __future__ import annotations

from pathlib import Path

import pytest

from pear.sphere.groups import c4h, cyclic, dihedral
from pipelines.studies.polynomial import PolynomialStudy, dimension, fibre


@pytest.mark.parametrize(("group", "depth"), [(cyclic(3), 1), (dihedral(3), 2), (c4h(), 3)])
def test_dimension(group: object, depth: int) -> None:
    assert dimension(group, depth, 2, 0) == depth * (group.order - 1) + 1  # type: ignore[attr-defined,arg-type]


def test_without_a_power_all_layers_are_one() -> None:
    assert dimension(cyclic(3), 3, 1, 0) == 3


def test_a_commutative_group_hides_the_wrong_side() -> None:
    assert fibre(dihedral(4), 3, 1)["other_side"] > 0.01
    assert fibre(c4h(), 3, 1)["other_side"] < 1e-12


@pytest.mark.parametrize("group", [dihedral(3), c4h()], ids=["D3", "C4h"])
@pytest.mark.parametrize("power", [2, 3])
def test_the_fibre_is_scalings_and_translations(group: object, power: int) -> None:
    found = fibre(group, power, 2)  # type: ignore[arg-type]
    assert max(found[name] for name in ("scaling", "translation", "directions")) < 1e-12
    # As many directions as the rank lacks.
    assert dimension(group, 3, power, 2) == 3 * group.order - 2  # type: ignore[attr-defined,arg-type]


def test_all_claims_are_met(tmp_path: Path) -> None:
    report = PolynomialStudy(folder=tmp_path).run()
    assert all(finding.met for finding in report.findings)
    assert (tmp_path / "polynomial.png").is_file()
