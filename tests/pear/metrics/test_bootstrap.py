"""Intervals: coverage of a known truth, pairing, blocks."""

from __future__ import annotations

import numpy as np
import pytest

from pear.metrics import ScoreAccumulator, bootstrap, score
from pear.metrics.bootstrap import default_block, draw_counts

CHANNELS = (("geopotential", 500),)
LEADS = np.array([86_400], dtype="timedelta64[s]")


def table(errors: np.ndarray, seed: int = 0) -> ScoreAccumulator:
    """One cell: the error of each init is given, truth is noise around climatology 0."""
    inits = np.datetime64("2001-01-01", "s") + np.timedelta64(1, "D") * np.arange(len(errors))
    sums = ScoreAccumulator(inits, LEADS, CHANNELS)
    truth = np.random.default_rng(seed).normal(size=(len(errors), 1, 4))
    for init, error, o in zip(inits, errors, truth, strict=True):
        sums.add(init, LEADS[0], o + error, o, np.zeros_like(o))
    return sums


def test_draws_are_blocks_of_consecutive_inits() -> None:
    counts = draw_counts(10, 5, 2000)
    np.testing.assert_array_equal(counts.sum(axis=1), 10)
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.08)
    starts = draw_counts(10, 10, 50)
    np.testing.assert_array_equal(starts, 1.0), "one block of all is all, wherever it starts"
    np.testing.assert_array_equal(draw_counts(7, 3, 5, seed=4), draw_counts(7, 3, 5, seed=4))
    with pytest.raises(ValueError, match="block must lie in 1…7"):
        draw_counts(7, 8, 5)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(120):
        sums = table(rng.normal(scale=2.0, size=80))
        interval = bootstrap(sums, "rmse", replicates=300, block=1)
        hits += bool(interval.low[0, 0, 0] <= 2.0 <= interval.high[0, 0, 0])
    assert 0.86 <= hits / 120 <= 0.99


def test_correlated_errors_need_blocks() -> None:
    rng = np.random.default_rng(5)
    errors = np.repeat(rng.normal(size=20), 10) + 3
    width = {}
    for block in (1, 10):
        interval = bootstrap(table(errors), "bias", block=block)
        width[block] = float(interval.high[0, 0, 0] - interval.low[0, 0, 0])
    assert width[10] > 2 * width[1]
    assert default_block(table(errors)) == 10
    assert default_block(table(errors[:12])) == 3


def test_pairing_sees_a_small_steady_gain_through_a_large_shared_noise() -> None:
    rng = np.random.default_rng(2)
    shared = np.abs(rng.normal(scale=5, size=60)) + 1
    better, worse = table(shared - 0.1), table(shared)
    gain = bootstrap(better, "rmse", worse)
    assert gain.high[0, 0, 0] < 0
    assert gain.excludes_zero.all()
    alone = bootstrap(better, "rmse")
    assert alone.low[0, 0, 0] < score(worse, "rmse")[0, 0, 0] < alone.high[0, 0, 0]
    same = bootstrap(worse, "rmse", worse)
    assert same.low[0, 0, 0] == same.high[0, 0, 0] == 0
    assert not same.excludes_zero.any()


@pytest.mark.parametrize("name", ["rmse", "acc", "acc_per_init", "rmse_per_init", "activity"])
def test_every_score_lies_inside_its_interval(name: str) -> None:
    sums = table(np.random.default_rng(8).normal(size=40))
    interval = bootstrap(sums, name)
    value = score(sums, name)
    assert (interval.low < value).all()
    assert (value < interval.high).all()


def test_tables_must_be_of_the_same_inits() -> None:
    with pytest.raises(ValueError, match="different inits"):
        bootstrap(table(np.ones(5)), "rmse", table(np.ones(6)))
    with pytest.raises(ValueError, match="unknown score 'skill'"):
        bootstrap(table(np.ones(5)), "skill")
