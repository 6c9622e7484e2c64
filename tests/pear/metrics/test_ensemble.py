"""CRPS and spread: analytic values, a slow twin, peers, and a reliable ensemble."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pear.metrics import ENSEMBLE_NAMES, ScoreAccumulator, crps, ensemble_sums, mae, rmse, score
from pear.metrics.ensemble import adjusted_variance, energy_score
from pear.metrics.scores import has_score

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


def slow_energy(members: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """Energy score of one field (cell,) by its definition."""

    def size(field: np.ndarray) -> float:
        return float(np.sqrt(sum(w * d * d for w, d in zip(weights, field, strict=True))))

    count = len(members)
    pairs = sum(size(a - b) for a in members for b in members)
    error = sum(size(a - truth) for a in members) / count
    return (error - pairs / (2 * count * (count - 1))) / float(np.sqrt(weights.sum()))


@pytest.mark.parametrize("count", [2, 5])
def test_the_energy_score_equals_its_definition(count: int) -> None:
    rng = np.random.default_rng(count)
    members, truth = rng.normal(size=(count, 3, 48)), rng.normal(size=(3, 48))
    weights = np.stack([np.ones(48), rng.random(48) * (np.arange(48) < 20)])
    found = energy_score(members, truth, weights)
    for channel in range(3):
        for region in range(2):
            want = slow_energy(members[:, channel], truth[channel], weights[region])
            assert found[channel, region] == pytest.approx(want, rel=1e-12)
    sums = ensemble_sums(members, truth, weights)
    np.testing.assert_allclose(sums[-1] / sums[0], found, rtol=1e-12)


def test_the_energy_score_agrees_with_scoringrules() -> None:
    scoringrules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(3)
    members, truth = rng.normal(size=(6, 4, 30)), rng.normal(size=(4, 30))
    found = energy_score(members, truth, np.ones((1, 30)))[:, 0]
    wanted = scoringrules.es_ensemble(truth, members, m_axis=0, v_axis=-1, estimator="fair")
    np.testing.assert_allclose(found * np.sqrt(30), wanted, rtol=1e-10)


def test_the_energy_score_of_one_cell_is_the_crps() -> None:
    rng = np.random.default_rng(4)
    members, truth = rng.normal(size=(7, 5, 1)), rng.normal(size=(5, 1))
    found = energy_score(members, truth, np.ones((1, 1)))
    np.testing.assert_allclose(found, crps(members, truth), rtol=1e-12)
    alone = energy_score(members[:1], truth, np.ones((1, 1)))
    np.testing.assert_allclose(alone, abs(members[0] - truth), rtol=1e-12)


def test_the_energy_score_sees_whether_members_vary_as_analyses_do() -> None:
    """Cells vary as one in the analyses: members that do so too score better, at equal CRPS."""
    rng = np.random.default_rng(5)
    truth = np.repeat(rng.normal(size=(400, 1)), 50, axis=1)
    together = np.repeat(rng.normal(size=(8, 400, 1)), 50, axis=2)
    apart = rng.normal(size=(8, 400, 50))
    weights = np.ones((1, 50))
    scores = [energy_score(members, truth, weights).mean() for members in (together, apart)]
    assert scores[0] < 0.9 * scores[1]
    assert crps(together, truth).mean() == pytest.approx(crps(apart, truth).mean(), rel=0.1)


def test_an_evaluation_without_the_statistic_has_no_energy_score() -> None:
    old = ScoreAccumulator(TIME, LEAD, (("2m_temperature", None),), names=ENSEMBLE_NAMES[:-1])
    assert has_score(old, "crps")
    assert not has_score(old, "energy_score")


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
    with pytest.raises(ValueError, match=r"must be \(member, \(2, 5\)\)"):
        energy_score(np.zeros((3, 1, 5)), np.zeros((2, 5)), np.ones((1, 5)))
    sums = ScoreAccumulator(TIME, LEAD, (("2m_temperature", None),), names=ENSEMBLE_NAMES)
    with pytest.raises(ValueError, match="different names"):
        sums.merge(ScoreAccumulator(TIME, LEAD, (("2m_temperature", None),)))
    with pytest.raises(ValueError, match="has no score 'rmse'"):
        score(sums, "rmse")
