"""CRPS and spread: analytic values, a slow twin, peers, and a reliable ensemble."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pear.metrics import ENSEMBLE_NAMES, ScoreAccumulator, crps, ensemble_sums, mae, rmse, score
from pear.metrics.ensemble import adjusted_variance

VALUES = st.floats(-1e3, 1e3, width=32)


def slow_crps(members: np.ndarray, truth: float, fair: bool) -> float:
    count = len(members)
    pairs = sum(abs(a - b) for a in members for b in members)
    error = np.mean([abs(a - truth) for a in members])
    return float(error - pairs / (2 * count * (count - 1 if fair else count)))


@given(arrays(np.float64, st.integers(2, 7), elements=VALUES), VALUES, st.booleans())
def test_equals_its_definition(members: np.ndarray, truth: float, fair: bool) -> None:
    want = slow_crps(members, truth, fair)
    assert float(crps(members, np.asarray(truth), fair=fair)) == pytest.approx(want, abs=1e-8)


def test_hand_computed() -> None:
    # Members 0 and 2, truth 3: mean error 2, spread term 2/(2·2·1)·2 = 1 fair, 1/2 plain.
    assert float(crps(np.array([0.0, 2.0]), np.asarray(3.0))) == 1.0
    assert float(crps(np.array([0.0, 2.0]), np.asarray(3.0), fair=False)) == 1.5
    assert float(crps(np.array([5.0]), np.asarray(3.0))) == 2.0, "one member: absolute error"


def test_agrees_with_scoringrules() -> None:
    scoringrules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(3)
    members, truth = rng.normal(size=(9, 40)), rng.normal(size=40)
    for fair, estimator in ((True, "fair"), (False, "nrg")):
        want = scoringrules.crps_ensemble(truth, members, m_axis=0, estimator=estimator)
        np.testing.assert_allclose(crps(members, truth, fair=fair), want, rtol=1e-10)


def test_converges_to_the_gaussian_integral() -> None:
    """Standard normal ensemble, truth 0: CRPS = (√2 − 1) / √π (Gneiting & Raftery 2007)."""
    rng = np.random.default_rng(0)
    members = rng.normal(size=(8, 40_000))
    want = (np.sqrt(2) - 1) / np.sqrt(np.pi)
    assert crps(members, np.zeros(40_000)).mean() == pytest.approx(want, abs=0.003)
    assert crps(members, np.zeros(40_000), fair=False).mean() > want + 0.02, "biased when small"


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_reliable_ensemble_has_spread_equal_to_error_at_any_size(count: int) -> None:
    rng = np.random.default_rng(1)
    signal = rng.normal(size=60_000)
    truth = signal + rng.normal(size=60_000)
    members = signal + rng.normal(size=(count, 60_000))
    sums = ScoreAccumulator(TIME, LEAD, (("2m_temperature", None),), names=ENSEMBLE_NAMES)
    weights = np.ones((1, truth.size))
    sums.add_sums(TIME[0], LEAD[0], ensemble_sums(members[:, None], truth[None], weights))
    assert score(sums, "spread_skill")[0, 0, 0] == pytest.approx(1.0, abs=0.01)
    assert score(sums, "rmse_of_mean")[0, 0, 0] == pytest.approx(rmse(members.mean(0), truth))
    assert score(sums, "spread")[0, 0, 0] == pytest.approx(np.sqrt(1 + 1 / count), rel=0.01)
    assert score(sums, "crps")[0, 0, 0] == pytest.approx(crps(members, truth).mean())
    assert score(sums, "crps")[0, 0, 0] < mae(members[0], truth)


TIME = np.array(["2001-01-01"], dtype="datetime64[s]")
LEAD = np.array([86_400], dtype="timedelta64[s]")


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 members"):
        adjusted_variance(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"must be \(member, \(5,\)\)"):
        crps(np.zeros((3, 4)), np.zeros(5))
    sums = ScoreAccumulator(TIME, LEAD, (("2m_temperature", None),), names=ENSEMBLE_NAMES)
    with pytest.raises(ValueError, match="different names"):
        sums.merge(ScoreAccumulator(TIME, LEAD, (("2m_temperature", None),)))
    with pytest.raises(ValueError, match="has no score 'rmse'"):
        score(sums, "rmse")
