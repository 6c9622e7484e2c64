"""Confidence intervals: a paired bootstrap over init times, in blocks.

Errors of neighbouring init times are alike, so whole blocks of consecutive init times are drawn
(circular moving blocks, Politis & Romano 1992). Two forecasters are compared on the same draws:
what they share, an easy or a hard season, then cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pear.metrics.scores import FORMULAS, check_same, known, per_init, ratio
from pear.metrics.statistics import WEIGHT, Array
from pear.metrics.sums import ScoreSums


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


def default_block(sums: ScoreSums) -> int:
    """Init times in ten days, at most a quarter of all: weather forgets its errors in that time."""
    if sums.inits.size < 2:
        return 1
    apart = float(np.median(np.diff(sums.inits)) / np.timedelta64(1, "D"))
    return int(max(1, min(round(10 / apart), sums.inits.size // 4)))


def bootstrap(
    sums: ScoreSums,
    name: str,
    reference: ScoreSums | None = None,
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


def _resampled(sums: ScoreSums, name: str, lead: int, counts: Array) -> Array:
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
