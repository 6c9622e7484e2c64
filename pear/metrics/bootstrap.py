"""Confidence intervals: a paired bootstrap over init times, in blocks.

Errors of neighbouring init times are alike, so whole blocks of consecutive init times are drawn
(circular moving blocks, Politis & Romano 1992). Two forecasters are compared on the same draws:
what they share, an easy or a hard season, then cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pear.metrics.accumulators import ScoreAccumulator
from pear.metrics.scores import FORMULAS, check_same, known, per_init, ratio
from pear.metrics.statistics import WEIGHT, Array


@dataclass(frozen=True)
class Interval:
    """Bounds of a score or of a difference of scores, each (lead, channel, region)."""

    low: Array
    high: Array

    @property
    def excludes_zero(self) -> npt.NDArray[np.bool_]:
        """True where the whole interval lies on one side of zero."""
        return np.asarray((self.low > 0) | (self.high < 0))


def draw_counts(inits: int, block: int, replicates: int, seed: int = 0) -> Array:
    """How often each init time is drawn in each replicate, (replicate, init), rows sum to inits.

    Raises
    ------
    ValueError
        If the block is not between 1 and the number of init times.
    """
    if not 1 <= block <= inits:
        raise ValueError(f"blocks of {block} from {inits} init times cannot be drawn")
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, inits, size=(replicates, -(-inits // block)))
    drawn = (starts[..., None] + np.arange(block)) % inits
    drawn = drawn.reshape(replicates, -1)[:, :inits]
    flat = np.repeat(np.arange(replicates), inits) * inits + drawn.ravel()
    counts = np.bincount(flat, minlength=replicates * inits)
    return counts.reshape(replicates, inits).astype(np.float64)


def default_block(sums: ScoreAccumulator) -> int:
    """Init times in ten days, at most a quarter of all: weather forgets its errors in that time."""
    if sums.inits.size < 2:
        return 1
    apart = float(np.median(np.diff(sums.inits)) / np.timedelta64(1, "D"))
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
    """Interval of a score, or of its difference from that of a reference on the same draws.

    Parameters
    ----------
    sums
        Table of the forecaster.
    name
        One of :data:`pear.metrics.SCORES`.
    reference
        Table of another forecaster over the same init times; the interval is then that of
        score(sums) − score(reference).
    replicates
        Number of draws.
    block
        Init times in a block; :func:`default_block` if not given.
    confidence
        Share of the draws inside.
    seed
        Of the draws.

    Returns
    -------
    Interval
        NaN where a score is undefined.

    Raises
    ------
    ValueError
        If the tables differ in axes, or there is no score of this name.
    """
    if reference is not None:
        check_same(sums, reference)
    counts = draw_counts(
        sums.inits.size, default_block(sums) if block is None else block, replicates, seed
    )
    low = np.full((sums.leads.size, *sums.values.shape[3:]), np.nan)
    high = low.copy()
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    for lead in range(sums.leads.size):  # one lead at a time bounds the memory
        drawn = _resampled(sums, name, lead, counts)
        if reference is not None:
            drawn = drawn - _resampled(reference, name, lead, counts)
        low[lead], high[lead] = np.percentile(drawn, tails, axis=0)
    return Interval(low, high)


def _resampled(sums: ScoreAccumulator, name: str, lead: int, counts: Array) -> Array:
    """The score of every replicate, (replicate, channel, region)."""
    formula, averaged = known(name)
    present = sums.values[sums.names.index(WEIGHT), :, lead] > 0
    if averaged:
        values = np.where(present, per_init(sums, name)[:, lead], 0.0)
        used = np.tensordot(counts, present.astype(np.float64), axes=1)
        return ratio(np.tensordot(counts, values, axes=1), used)
    pooled = np.einsum("bi,kicr->kbcr", counts, sums.values[:, :, lead], optimize=True)
    weight = pooled[sums.names.index(WEIGHT)]
    means = {n: ratio(pooled[k], weight) for k, n in enumerate(sums.names) if n != WEIGHT}
    return FORMULAS[formula](means)


def bootstrap_seeds(
    tables: Sequence[ScoreAccumulator],
    name: str,
    reference: Sequence[ScoreAccumulator] | None = None,
    *,
    replicates: int = 1000,
    block: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Array, Interval]:
    """Score of a training repeated with several seeds, and its interval over inits and seeds.

    In every draw both the blocks of init times and the seeds are drawn anew; with a reference both
    come in pairs: a seed orders the samples of two networks alike.

    Parameters
    ----------
    tables
        One for each seed.
    name
        A score that pools init times.
    reference
        Tables of another training with the same seeds, in the same order; the score and the
        interval are then those of the difference.
    replicates, block, confidence, seed
        As in :func:`bootstrap`.

    Returns
    -------
    (score, interval)
        (lead, channel, region).

    Raises
    ------
    ValueError
        If tables differ in their axes or their number, or the score is formed per init time.
    """
    if known(name)[1]:
        raise ValueError(f"{name!r} is formed per init time and is not pooled over seeds")
    first = tables[0]
    for other in (*tables, *(reference or ())):
        check_same(first, other)
    if reference is not None and len(reference) != len(tables):
        raise ValueError(f"{len(tables)} seeds cannot be paired with {len(reference)}")
    block = default_block(first) if block is None else block
    counts = draw_counts(first.inits.size, block, replicates, seed)
    seeds = draw_counts(len(tables), 1, replicates, seed + 1)
    whole, all_seeds = np.ones((1, first.inits.size)), np.ones((1, len(tables)))
    scores: list[Array] = []
    draws: list[Array] = []
    for group in [tables] if reference is None else [tables, reference]:
        stacked = np.stack([table.values for table in group])
        scores.append(_pooled(stacked, name, first.names, whole, all_seeds)[0])
        draws.append(_pooled(stacked, name, first.names, counts, seeds))
    drawn = draws[0] if reference is None else draws[0] - draws[1]
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    low, high = np.percentile(drawn, tails, axis=0)
    return scores[0] if reference is None else scores[0] - scores[1], Interval(low, high)


def _pooled(stacked: Array, name: str, names: Sequence[str], counts: Array, seeds: Array) -> Array:
    """Score of (seed, statistic, init, …) sums at each draw, (replicate, lead, channel, region)."""
    formula, _ = known(name)
    by_seed = np.einsum("bi,skilcr->bsklcr", counts, stacked, optimize=True)
    pooled = np.einsum("bs,bsklcr->kblcr", seeds, by_seed, optimize=True)
    weight = pooled[list(names).index(WEIGHT)]
    found = {n: ratio(pooled[k], weight) for k, n in enumerate(names) if n != WEIGHT}
    return FORMULAS[formula](found)
