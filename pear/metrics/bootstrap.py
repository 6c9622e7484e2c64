"""Confidence intervals: a paired block bootstrap over init times.

Errors of neighbouring init times are correlated, so whole blocks of consecutive init times are
drawn (circular moving blocks, Politis & Romano 1992). Two forecasters are compared on the same
draws, so that variations which they share, such as easy and hard seasons, cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pear.metrics.accumulators import ScoreAccumulator
from pear.metrics.scores import (
    FORMULAS,
    check_same_axes,
    formula_of,
    gain,
    means_of,
    per_init,
    ratio,
)
from pear.metrics.statistics import WEIGHT
from pear.times import DAY
from pear.typing import Bool, Float64


@dataclass(frozen=True)
class Interval:
    """Bounds of a score or of a difference of scores, each (lead, channel, region).

    Examples
    --------
    >>> from pear.metrics import Interval
    >>> Interval(np.array([-1.0, 0.5]), np.array([1.0, 2.0])).excludes_zero
    array([False,  True])
    """

    low: Float64
    high: Float64

    @property
    def excludes_zero(self) -> Bool:
        """True where the whole interval lies on one side of zero."""
        return np.asarray((self.low > 0) | (self.high < 0))


def draw_counts(inits: int, block: int, replicates: int, seed: int = 0) -> Float64:
    """Draw blocks of init times and count how often each init time is drawn.

    Parameters
    ----------
    inits
        Number of init times.
    block
        Init times in a block.
    replicates
        Number of draws.
    seed
        Random seed.

    Returns
    -------
    numpy.ndarray
        (replicate, init); every row sums to the number of init times.

    Raises
    ------
    ValueError
        If the block is not between 1 and the number of init times.

    Examples
    --------
    >>> from pear.metrics.bootstrap import draw_counts
    >>> counts = draw_counts(inits=20, block=5, replicates=100)
    >>> counts.shape, np.unique(counts.sum(axis=1))
    ((100, 20), array([20.]))
    """
    if not 1 <= block <= inits:
        raise ValueError(f"block must lie in 1…{inits}, the number of init times, got {block}")
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, inits, size=(replicates, -(-inits // block)))
    drawn = (starts[..., None] + np.arange(block)) % inits
    drawn = drawn.reshape(replicates, -1)[:, :inits]
    flat = np.repeat(np.arange(replicates), inits) * inits + drawn.ravel()
    counts = np.bincount(flat, minlength=replicates * inits)
    return counts.reshape(replicates, inits).astype(np.float64)


def default_block(sums: ScoreAccumulator) -> int:
    """Return the number of init times in ten days, after which errors are independent.

    Returns
    -------
    int
        At least 1, at most a quarter of the init times.

    Examples
    --------
    >>> from pear.metrics.bootstrap import default_block
    >>> from pear.metrics import ScoreAccumulator
    >>> inits = np.arange("2019-01-01", "2020-01-01", 5, dtype="datetime64[D]")
    >>> default_block(ScoreAccumulator(inits, np.timedelta64(1, "D"), (("temperature", 850),)))
    2
    """
    if sums.inits.size < 2:
        return 1
    apart = float(np.median(np.diff(sums.inits)) / DAY)
    # No more than a quarter of all init times, so that draws differ from each other.
    return int(max(1, min(round(10 / apart), sums.inits.size // 4)))


def bootstrap(
    sums: ScoreAccumulator,
    name: str,
    reference: ScoreAccumulator | None = None,
    *,
    replicates: int = 1000,
    block: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the confidence interval of a score or of its difference from a reference.

    Unknown scores and tables with different axes are a ValueError.

    Parameters
    ----------
    sums
        Table of the forecaster.
    name
        One of :data:`pear.metrics.SCORES`.
    reference
        Table of another forecaster over the same init times; the interval is then that of
        score(sums) − score(reference) on the same draws.
    replicates
        Number of draws.
    block
        Init times in a block; default: :func:`default_block`.
    confidence
        Share of the draws inside the interval.
    seed
        Random seed of the draws.

    Returns
    -------
    Interval
        NaN where a score is undefined.

    Examples
    --------
    >>> from pear.metrics import ScoreAccumulator, bootstrap
    >>> inits = np.arange("2019-01-01", "2019-03-01", dtype="datetime64[D]")
    >>> sums = ScoreAccumulator(inits, np.timedelta64(1, "D"), (("temperature", 850),))
    >>> rng, lead = np.random.default_rng(0), np.timedelta64(1, "D")
    >>> for init in inits:
    ...     sums.add(init, lead, rng.normal(size=(1, 48)), np.zeros((1, 48)), np.zeros((1, 48)))
    >>> interval = bootstrap(sums, "rmse", replicates=200)
    >>> bool(interval.low < 1.0 < interval.high)
    True
    """
    if reference is not None:
        check_same_axes(sums, reference)
    block = default_block(sums) if block is None else block
    counts = draw_counts(sums.inits.size, block, replicates, seed)
    bounds = np.empty((2, sums.leads.size, *sums.values.shape[3:]))
    for lead in range(sums.leads.size):  # one lead at a time bounds the memory
        drawn = _resampled(sums, name, lead, counts)
        if reference is not None:
            drawn = drawn - _resampled(reference, name, lead, counts)
        bounds[:, lead] = _percentiles(drawn, confidence)
    return Interval(*bounds)


def bootstrap_gain(
    sums: ScoreAccumulator,
    name: str,
    reference: ScoreAccumulator,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the 95 % interval of the gain over a reference, on the same draws of init times.

    Parameters
    ----------
    sums, reference
        Tables of two forecasters with the same axes.
    name
        One of :data:`pear.metrics.SCORES`.
    replicates, seed
        As in :func:`bootstrap`.

    Returns
    -------
    Interval
        Of :func:`pear.metrics.scores.gain`, each (lead, channel, region).

    Examples
    --------
    >>> from pear.metrics import ScoreAccumulator
    >>> from pear.metrics.bootstrap import bootstrap_gain
    >>> inits = np.arange("2019-01-01", "2019-02-01", dtype="datetime64[D]")
    >>> lead, tables = np.timedelta64(1, "D"), []
    >>> for size in (1.0, 2.0):  # errors of two forecasters; they grow alike in hard times
    ...     table = ScoreAccumulator(inits, lead, (("temperature", 850),))
    ...     for number, init in enumerate(inits):
    ...         table.add(init, lead, np.full((1, 48), size * (1 + number)), *np.zeros((2, 1, 48)))
    ...     tables.append(table)
    >>> found = bootstrap_gain(tables[0], "rmse", tables[1], replicates=100)
    >>> round(found.low.item(), 9), round(found.high.item(), 9)
    (0.5, 0.5)
    """
    check_same_axes(sums, reference)
    counts = draw_counts(sums.inits.size, default_block(sums), replicates, seed)
    bounds = np.empty((2, sums.leads.size, *sums.values.shape[3:]))
    for lead in range(sums.leads.size):
        drawn = [_resampled(table, name, lead, counts) for table in (sums, reference)]
        bounds[:, lead] = _percentiles(gain(name, *drawn), 0.95)
    return Interval(*bounds)


def _resampled(sums: ScoreAccumulator, name: str, lead: int, counts: Float64) -> Float64:
    """Return the score of every replicate, (replicate, channel, region)."""
    formula, averaged = formula_of(name)
    if averaged:
        present = sums.values[sums.names.index(WEIGHT), :, lead] > 0
        values = np.where(present, per_init(sums, name)[:, lead], 0.0)
        used = np.tensordot(counts, present.astype(np.float64), axes=1)
        return ratio(np.tensordot(counts, values, axes=1), used)
    pooled = np.einsum("bi,kicr->kbcr", counts, sums.values[:, :, lead], optimize=True)
    return FORMULAS[formula](means_of(pooled, sums.names))


def _percentiles(drawn: Float64, confidence: float) -> Float64:
    """Return the lower and the upper bound over the replicates, (2, …)."""
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    return np.asarray(np.percentile(drawn, tails, axis=0))


def bootstrap_seeds(
    tables: Sequence[ScoreAccumulator],
    name: str,
    reference: Sequence[ScoreAccumulator] | None = None,
    *,
    replicates: int = 1000,
    block: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Float64, Interval]:
    """Return the score of a training repeated with several seeds, and its confidence interval.

    Every draw resamples both the blocks of init times and the seeds; with a reference, pairs of
    seeds: a seed orders the samples of two networks alike.

    Parameters
    ----------
    tables
        Table of each seed.
    name
        A score that pools init times.
    reference
        Tables of another training with the same seeds, in the same order; the score and the
        interval are then those of the difference.
    replicates, block, confidence, seed
        As in :func:`bootstrap`.

    Returns
    -------
    score : numpy.ndarray
        (lead, channel, region).
    interval : Interval
        Its bounds.

    Raises
    ------
    ValueError
        If tables differ in number, or the score is averaged over init times.

    Examples
    --------
    >>> from pear.metrics.bootstrap import bootstrap_seeds
    >>> from pear.metrics import ScoreAccumulator
    >>> inits = np.arange("2019-01-01", "2019-02-01", dtype="datetime64[D]")
    >>> lead, channels = np.timedelta64(1, "D"), (("temperature", 850),)
    >>> seeds = [ScoreAccumulator(inits, lead, channels) for _ in range(2)]
    >>> for table, error in zip(seeds, (1.0, 3.0), strict=True):
    ...     for init in inits:
    ...         table.add(init, lead, np.full((1, 48), error), *np.zeros((2, 1, 48)))
    >>> found, interval = bootstrap_seeds(seeds, "mae", replicates=100)
    >>> found.item(), interval.low.item(), interval.high.item()
    (2.0, 1.0, 3.0)
    """
    if formula_of(name)[1]:
        raise ValueError(f"{name!r} is averaged over init times and cannot be pooled over seeds")
    first = tables[0]
    for other in (*tables, *(reference or ())):
        check_same_axes(first, other)
    if reference is not None and len(reference) != len(tables):
        raise ValueError(f"{len(tables)} seeds cannot be paired with {len(reference)}")
    block = default_block(first) if block is None else block
    counts = draw_counts(first.inits.size, block, replicates, seed)
    seeds = draw_counts(len(tables), 1, replicates, seed + 1)
    whole, all_seeds = np.ones((1, first.inits.size)), np.ones((1, len(tables)))
    scores: list[Float64] = []
    draws: list[Float64] = []
    for group in [tables] if reference is None else [tables, reference]:
        stacked = np.stack([table.values for table in group])
        scores.append(_pooled(stacked, name, group[0].names, whole, all_seeds)[0])
        draws.append(_pooled(stacked, name, group[0].names, counts, seeds))
    drawn = draws[0] if reference is None else draws[0] - draws[1]
    found = scores[0] if reference is None else scores[0] - scores[1]
    return found, Interval(*_percentiles(drawn, confidence))


def _pooled(
    stacked: Float64, name: str, names: Sequence[str], counts: Float64, seeds: Float64
) -> Float64:
    """Return the score of every draw from (seed, statistic, init, lead, channel, region) sums."""
    formula, _ = formula_of(name)
    by_seed = np.einsum("bi,skilcr->bsklcr", counts, stacked, optimize=True)
    pooled = np.einsum("bs,bsklcr->kblcr", seeds, by_seed, optimize=True)
    return FORMULAS[formula](means_of(pooled, names))
