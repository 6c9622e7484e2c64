"""Scores as functions of a table of sums.

``rmse mae bias acc activity…`` pool every cell and init time and then form one root or ratio;
``…_per_init`` form it for every init time and then take the mean over init times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from pear.metrics.statistics import NAMES, WEIGHT, Array
from pear.metrics.sums import ScoreSums

Means = dict[str, Array]
"""Mean of every statistic, arrays of one shape."""


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Divide; NaN (never a warning, never infinity) where the denominator is not positive."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _acc(m: Means) -> Array:
    power = m["squared_forecast_anomaly"] * m["squared_truth_anomaly"]
    return _ratio(m["anomaly_product"], np.sqrt(power))


def _variance(m: Means, which: str) -> Array:
    # Rounding can leave a vanishing variance slightly below zero.
    return np.maximum(m[f"squared_{which}_anomaly"] - m[f"{which}_anomaly"] ** 2, 0.0)


def _acc_centered(m: Means) -> Array:
    covariance = m["anomaly_product"] - m["forecast_anomaly"] * m["truth_anomaly"]
    return _ratio(covariance, np.sqrt(_variance(m, "forecast") * _variance(m, "truth")))


FORMULAS: Final[dict[str, Callable[[Means], Array]]] = {
    "rmse": lambda m: np.sqrt(m["squared_error"]),
    "mae": lambda m: m["absolute_error"],
    "bias": lambda m: m["error"],
    "acc": _acc,
    "acc_centered": _acc_centered,
    "activity": lambda m: np.sqrt(_ratio(_variance(m, "forecast"), _variance(m, "truth"))),
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
}
"""Score → (formula, formed per init time and then averaged?)."""


def means(sums: ScoreSums, *, per_init: bool = False) -> Means:
    """Mean of every statistic, pooled over init times or one per init time.

    Returns
    -------
    dict
        Statistic → ([init,] lead, channel, region); NaN where nothing was added.
    """
    values = sums.values if per_init else sums.values.sum(axis=1)
    weight = values[NAMES.index(WEIGHT)]
    return {
        name: _ratio(values[index], weight) for index, name in enumerate(NAMES) if name != WEIGHT
    }


def per_init(sums: ScoreSums, name: str) -> Array:
    """One value of a score for every init time: (init, lead, channel, region)."""
    return FORMULAS[_known(name)[0]](means(sums, per_init=True))


def score(sums: ScoreSums, name: str) -> Array:
    """Form one of :data:`SCORES` from a table of sums.

    Returns
    -------
    ndarray
        (lead, channel, region). NaN where nothing was added or the ratio is 0/0, such as the
        anomaly correlation of the climatology itself.

    Raises
    ------
    ValueError
        If there is no score of this name.
    """
    formula, averaged = _known(name)
    if not averaged:
        return FORMULAS[formula](means(sums))
    values = FORMULAS[formula](means(sums, per_init=True))
    return _mean_over_inits(values, sums)


def _mean_over_inits(values: Array, sums: ScoreSums) -> Array:
    """Mean over the init times that were added; NaN if one of those is undefined."""
    present = sums.values[NAMES.index(WEIGHT)] > 0
    total = np.where(present, values, 0.0).sum(axis=0)
    return _ratio(total, present.sum(axis=0).astype(np.float64))


def _known(name: str) -> tuple[str, bool]:
    if name not in SCORES:
        raise ValueError(f"no score {name!r}; known: {', '.join(SCORES)}")
    return SCORES[name]
