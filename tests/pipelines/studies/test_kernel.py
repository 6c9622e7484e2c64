"""The kernel study on the shipped analysis: theorems, finite networks, regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pear.equivariant.contract import Fields
from pear.errors import InputError
from pear.sphere.symmetry import C4H
from pipelines.studies.kernel import KernelStudy
from pipelines.studies.kernel_regression import Regression, characters, load_days, regress
from tests.fixtures.evaluation import days, write_analysis
from tests.fixtures.layer_checks import noise


def test_exact_claims_are_met_on_a_short_budget(tmp_path: Path) -> None:
    report = KernelStudy(folder=tmp_path / "s", minutes=0.01).run()
    met = {finding.claim.key: finding.met for finding in report.findings}
    assert not report.unmet
    assert all(met[key] for key in ("sphere", "torus", "early", "middle", "late", "limit"))
    assert met["decay"] is None
    assert met["weather_same"] is None
    assert (tmp_path / "s/kernel.png").stat().st_size > 1000


@pytest.fixture(scope="module")
def regression() -> Regression:
    return Regression(noise(14, 3, 48), noise(14, 48, seed=8), (1, 1, -1), 2)


def test_characters_are_orthonormal_and_multiplicative() -> None:
    table = characters()
    torch.testing.assert_close(
        table @ table.mH / 8, torch.eye(8, dtype=table.dtype), rtol=0, atol=1e-14
    )
    for i, g in enumerate(C4H):
        for j, h in enumerate(C4H):
            product = table[:, C4H.index(g * h)]
            torch.testing.assert_close(table[:, i] * table[:, j], product, rtol=0, atol=1e-14)


def test_augmented_and_equivariant_regressions_agree(regression: Regression) -> None:
    train, test = torch.arange(8), torch.arange(8, 14)
    times = (1.0, 1e3)
    augmented = regression.predict_augmented(train, test, times)
    equivariant = regression.predict_equivariant(train, test, times)
    plain = regression.predict_plain(train, test, times)
    for a, e, p in zip(augmented, equivariant, plain, strict=True):
        torch.testing.assert_close(a, e, rtol=0, atol=1e-11)
        assert (a - p).abs().max() > 1e-3


def test_the_equivariant_regression_moves_with_the_states(regression: Regression) -> None:
    element = C4H[5]
    states = noise(14, 3, 48)
    moved = states.clone()
    moved[8:] = Fields(2, (1, 1, -1), channel_axis=1).act(element, states[8:])
    other = Regression(moved, regression.targets, (1, 1, -1), 2)
    train, test = torch.arange(8), torch.arange(8, 14)
    (want,) = regression.predict_equivariant(train, test, (10.0,))
    (got,) = other.predict_equivariant(train, test, (10.0,))
    torch.testing.assert_close(got, Fields(2).act(element, want), rtol=0, atol=1e-12)
    (plain,) = regression.predict_plain(train, test, (10.0,))
    (moved_plain,) = other.predict_plain(train, test, (10.0,))
    assert (moved_plain - Fields(2).act(element, plain)).abs().max() > 1e-3


def test_regression_of_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.studies.kernel_regression.VALIDATION_DAYS", 3)
    monkeypatch.setattr("pipelines.studies.kernel_regression.TEST_DAYS", 4)
    store = write_analysis(tmp_path / "a.zarr", days("2001-01-01", 20))
    values = regress(store, (4, 8), 2, lambda *_: None)
    assert values["weather_same"] < 1e-8
    assert values["train_days"] == [4.0, 8.0]
    assert np.isfinite(values["plain"]).all()
    with pytest.raises(InputError, match="19 days with a next day, 107 are needed"):
        load_days(store, 100, 2)
