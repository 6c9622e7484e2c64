"""Scores as functions of a table of sums.

``rmse mae bias acc activity…`` pool every cell and init time and then form one root or ratio;
``…_per_init`` form it for every init time and then take the mean over init times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from pear.metrics.accumulators import ScoreAccumulator
from pear.metrics.statistics import WEIGHT, Array

Means = dict[str, Array]
"""Mean of every statistic, arrays of one shape."""


def check_same(one: ScoreAccumulator, other: ScoreAccumulator) -> None:
    """Raise ValueError unless two tables have the same axes, entry by entry."""
    for label in ("inits", "leads", "channels", "regions", "names"):
        if not np.array_equal(np.asarray(getattr(one, label)), np.asarray(getattr(other, label))):
            raise ValueError(f"tables with different {label} cannot be compared")


def ratio(numerator: Array, denominator: Array) -> Array:
    """Divide; NaN (never a warning, never infinity) where the denominator is not positive."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _acc(m: Means) -> Array:
    power = m["squared_forecast_anomaly"] * m["squared_truth_anomaly"]
    return ratio(m["anomaly_product"], np.sqrt(power))


def _variance(m: Means, which: str) -> Array:
    # Rounding can leave a vanishing variance slightly below zero.
    return np.maximum(m[f"squared_{which}_anomaly"] - m[f"{which}_anomaly"] ** 2, 0.0)


def _acc_centered(m: Means) -> Array:
    covariance = m["anomaly_product"] - m["forecast_anomaly"] * m["truth_anomaly"]
    return ratio(covariance, np.sqrt(_variance(m, "forecast") * _variance(m, "truth")))


FORMULAS: Final[dict[str, Callable[[Means], Array]]] = {
    "rmse": lambda m: np.sqrt(m["squared_error"]),
    "mae": lambda m: m["absolute_error"],
    "bias": lambda m: m["error"],
    "acc": _acc,
    "acc_centered": _acc_centered,
    "activity": lambda m: np.sqrt(ratio(_variance(m, "forecast"), _variance(m, "truth"))),
    "crps": lambda m: m["crps"],
    "spread": lambda m: np.sqrt(m["adjusted_variance"]),
    "rmse_of_mean": lambda m: np.sqrt(m["squared_error_of_mean"]),
    "spread_skill": lambda m: np.sqrt(ratio(m["adjusted_variance"], m["squared_error_of_mean"])),
}
"""Scores of one set of means."""

SCORES: Final[dict[str, tuple[str, bool]]] = {
    "rmse": ("rmse", False),
    "rmse_per_init": ("rmse", True),
    "mae": ("mae", False),
    "bias": ("bias", False),
    "acc": ("acc", False),
    "acc_per_init": ("acc", True),
    "acc_centered": ("acc_centered", True),
    "activity": ("activity", False),
    "crps": ("crps", False),
    "spread": ("spread", False),
    "rmse_of_mean": ("rmse_of_mean", False),
    "spread_skill": ("spread_skill", False),
}
"""Score → (formula, formed per init time and then averaged?)."""
ENSEMBLE_SCORES: Final = ("crps", "spread", "rmse_of_mean", "spread_skill")
"""Scores of an ensemble's table; all others are scores of a single forecast's."""


def means(sums: ScoreAccumulator, *, per_init: bool = False) -> Means:
    """Mean of every statistic, pooled over init times or one per init time.

    Returns
    -------
    dict
        Statistic → ([init,] lead, channel, region); NaN where nothing was added.
    """
    values = sums.values if per_init else sums.values.sum(axis=1)
    weight = values[sums.names.index(WEIGHT)]
    return {
        name: ratio(values[index], weight)
        for index, name in enumerate(sums.names)
        if name != WEIGHT
    }


def per_init(sums: ScoreAccumulator, name: str) -> Array:
    """One value of a score for every init time: (init, lead, channel, region)."""
    return FORMULAS[known(name)[0]](means(sums, per_init=True))


def score(sums: ScoreAccumulator, name: str) -> Array:
    """Form one of :data:`SCORES` from a table of sums.

    Returns
    -------
    ndarray
        (lead, channel, region). NaN where nothing was added or the ratio is 0/0, such as the
        anomaly correlation of the climatology itself.

    Raises
    ------
    ValueError
        If there is no score of this name, or the table lacks its statistics.
    """
    formula, averaged = known(name)
    if (name in ENSEMBLE_SCORES) != ("crps" in sums.names):
        raise ValueError(f"{name!r} is no score of this table, which holds {sums.names}")
    if not averaged:
        return FORMULAS[formula](means(sums))
    values = FORMULAS[formula](means(sums, per_init=True))
    return _mean_over_inits(values, sums)


def _mean_over_inits(values: Array, sums: ScoreAccumulator) -> Array:
    """Mean over the init times that were added; NaN if one of those is undefined."""
    present = sums.values[sums.names.index(WEIGHT)] > 0
    total = np.where(present, values, 0.0).sum(axis=0)
    return ratio(total, present.sum(axis=0).astype(np.float64))


def known(name: str) -> tuple[str, bool]:
    """Formula of a score, and whether it is formed per init time and then averaged.

    Raises
    ------
    ValueError
        If there is no score of this name.
    """
    if name not in SCORES:
        raise ValueError(f"no score {name!r}; known: {', '.join(SCORES)}")
    return SCORES[name]
