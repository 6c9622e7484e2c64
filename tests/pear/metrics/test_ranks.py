"""Ranks of analyses among members, and intervals of gains."""

from __future__ import annotations

import numpy as np
import pytest

from pear.metrics import ScoreAccumulator
from pear.metrics.bootstrap import bootstrap_gain
from pear.metrics.ensemble import rank_names, rank_sums
from pear.metrics.scores import gain


@pytest.mark.parametrize("members", [2, 7])
def test_ranks_of_a_reliable_ensemble_are_even(members: int) -> None:
    rng = np.random.default_rng(4)
    signal = rng.normal(size=50_000)
    drawn = signal + rng.normal(size=(members, 50_000))
    analysis = signal + rng.normal(size=50_000)
    sums = rank_sums(drawn[:, None], analysis[None], np.ones((1, signal.size)))
    assert sums.shape == (members + 1, 1, 1)
    assert sums.sum() == pytest.approx(signal.size)
    shares = sums.ravel() / signal.size
    np.testing.assert_allclose(shares, 1 / (members + 1), atol=0.01)
    narrow = rank_sums(
        signal + 0.5 * (drawn - signal)[:, None], analysis[None], np.ones((1, 50_000))
    )
    assert narrow[[0, -1]].sum() > 1.15 * sums[[0, -1]].sum()
    assert len(rank_names(members)) == members + 1
    assert list(rank_names(members)) == sorted(rank_names(members))


def test_equal_members_share_a_cell_among_their_ranks() -> None:
    """As precipitation of 0 in every member and in the analysis."""
    sums = rank_sums(np.zeros((3, 1, 8)), np.zeros((1, 8)), np.ones((1, 8)))
    np.testing.assert_allclose(sums.ravel(), 2.0)
    weights = np.array([[1.0] * 4 + [0.0] * 4])
    assert rank_sums(np.zeros((3, 1, 8)), np.ones((1, 8)), weights).ravel().tolist() == [0, 0, 0, 4]


def test_gains_are_positive_where_the_forecast_is_better() -> None:
    one, other = np.array([0.9, -2.0]), np.array([0.5, 1.0])
    np.testing.assert_allclose(gain("acc", one, other), [0.4, -3.0])
    np.testing.assert_allclose(gain("bias", one, other), [-0.4, -1.0])
    np.testing.assert_allclose(gain("mae", np.array([1.0]), np.array([4.0])), [0.75])
    assert np.isnan(gain("rmse", np.array([1.0]), np.array([0.0]))).all()


def test_the_interval_of_a_gain_covers_what_is_true() -> None:
    """Errors of equal size: the interval of 95 % leaves out zero in about one case of twenty."""
    inits = np.arange("2019-01-01", "2019-05-01", 10, dtype="datetime64[D]")
    lead, channels = np.timedelta64(1, "D"), tuple(("temperature", level) for level in range(1, 61))
    rng = np.random.default_rng(0)
    tables = []
    for _ in range(2):
        table = ScoreAccumulator(inits, lead, channels)
        for init in inits:
            zero = np.zeros((60, 12))
            table.add(init, lead, rng.normal(size=(60, 12)), zero, zero)
        tables.append(table)
    found = bootstrap_gain(tables[0], "rmse", tables[1], replicates=400)
    assert 0 < found.excludes_zero.sum() < 15
    itself = bootstrap_gain(tables[0], "rmse", tables[0], replicates=50)
    assert (itself.low == 0).all()
    assert not itself.excludes_zero.any()
